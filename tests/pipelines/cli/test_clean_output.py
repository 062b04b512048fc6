"""What people see is clean: no control character on a terminal, whatever the data hold, in any verb."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.lakes import trichord
from trichord.pipelines.api import open_workspace
from trichord.pipelines.cli import recover, render, render_diff, render_init, render_rag
from trichord.pipelines.cli.options import print_result

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x00\x08\x7f\x9b31m\u202e\u2066\u200f\u200b\ufeff\u2028\udc9b\r\x0b[red]x[/] <script>"
SECRET = "s3cr3tV4lue"
URL = f"https://user:{SECRET}@host/a.jpg?X-Amz-Signature={SECRET}&token={SECRET}"
CONTROL = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
KEYS = [
    *(f"k{number:02d}{char}x" for number, char in enumerate(
        "\x00\x01\x07\x08\x09\x0a\x0b\x0c\x0d\x1b\x7f\x80\x85\x90\x9b\x9d\x9f\u00ad\u061c\u200b\u200d\u200e\u2028\u202a\u202e"
        "\u2060\u2066\u2069\ufeff\U000e0041"
    )),
]  # fmt: skip


def spoiled(value: Any) -> Any:
    """A result in which every text ends with something hostile."""
    if isinstance(value, str):
        return f"{value}{HOSTILE}{URL}"
    if isinstance(value, dict):
        return {name: spoiled(item) for name, item in value.items()}
    return [spoiled(item) for item in value] if isinstance(value, list) else value


ANSWER = {
    "answer": "a\nb", "publication": "p", "id": "i", "cited": [1], "cited_unknown": [2], "finish_reason": "length",
    "order_kept": "why", "sources": [{"number": 1, "score": 0.5, "rerank_score": None, "key": "k", "text": "t"}],
}  # fmt: skip
RESULTS: dict[str, tuple[Callable[[Any], None], Any]] = {
    "init": (render_init.started, {
        "path": "p", "looked_at": "l", "notes": ["n"], "records": [{"key": "k", "text": "t"}],
        "source": {"path": "p", "kind": "k", "fields": {"key": "id", "text": None}}}),
    "ask": (render_rag.answer, ANSWER),
    "feedback": (render_rag.feedback, {"rating": 1, "answer": "a", "publication": "p"}),
    "exported": (render.exported, {
        "rows": 1, "files": 1, "path": "p", "kind": "k", "media_root": "m", "not_read": {"reason": 1}}),
    "diff": (render_diff.diff, {
        "before": "b", "after": "a", "model_changed": False, "counts": {"c": [1, 2]},
        "figures": {"mixed.f": [1.0, 2.0]},
        **{name: {"count": 2, "first": ["k"], "fates": {"kept": 1, "f": 1}}
           for name in ("added", "changed", "removed")},
        "fields": {"compared": 1, "fields": {"text": 1}, "first": []}, "rejects": {"r": [1, 2]},
        "moved": [{"before": "kept", "after": "rejected (r)", "count": 1, "first": ["k"]}],
        "gate": [{"name": "n", "before": None, "after": {"value": "v", "passed": False, "accepted": False}}],
        "scores": [{"source": "s", "score": "n", "drifted": True, "comparisons": [
            {"of": "all", "before": {"p50": 1.0}, "after": {"p50": 2.0}, "distance": 0.5, "limit": 0.1,
             "drifted": True}]}],
        "vectors": {"why_not": None, "views": [
            {"source": "s", "view": "v", "shift": 0.1, "cosines": None, "drifted": True,
             "comparisons": [{"of": "added", "separability": 0.9, "limit": 0.7}]}]},
        "queries": {"why_not": None, "k": 10, "asked": 2, "changed": 1, "reordered": 0, "mean_overlap": 0.9,
            "mean_jaccard": 0.8, "most_changed": [{"key": "k", "by": "text", "overlap": 0.9,
                "before": [{"key": "k", "change": "removed"}], "after": [{"key": "l", "change": None}]}]}}),
    "diff without an index": (render_diff.diff, {
        "before": "b", "after": "a", "model_changed": None, "counts": {}, "figures": {}, "rejects": {}, "moved": [],
        **{name: {"count": 0, "first": [], "fates": {}} for name in ("added", "changed", "removed")},
        "fields": {"compared": 0, "fields": {}, "first": []}, "gate": [], "scores": [],
        "vectors": {"why_not": "w", "views": []}, "queries": {"why_not": "w"}}),
    "gc": (render.collected, {"removed": 0, "at_work": ["run"], "files": 1, "bytes": 1,
                              "paths": ["p"], "collections": ["c"]}),
    "verify": (render.verified, {"files": 1, "bytes": 1, "publications": 1, "damaged_caches": 1, "notes": ["p"]}),
    "recover": (recover.render, {
        "done": False, "steps": [{"path": "p", "problem": "q", "action": "a"}], "live": "l", "searchable": True,
        "next": "n"}),
    "doctor": (render.doctor, {"checks": [{"ok": True, "name": "n", "found": "f", "advice": "a"}]}),
    "rejects": (render.rejects, {
        "total": 1, "by_reason": [{"op": "o", "reason": "r", "rows": 1}],
        "rows": [{"key": "k", "op": "o", "reason": "r", "detail": "d"}]}),
    "reject": (render.reject, {"rejects": [{"key": "k", "payload": {"raw": "r"}}]}),
    "explain": (render.explanation, {
        "key": "k", "outcome": "o", "journey": [{"step": "s", "group": "g", "meta": {"a": "b"}}],
        "history": [
            {"event": event, "publication": "p", "at": "2026-12-01T02:00:00+00:00", "kind": "publish", "last": "l",
             "before": "kept", "after": "rejected (r)"} for event in ("went", "moved", "changed", "came")]}),
    "hits": (render.hits, {
        "publication": "p", "hits": [{"score": 1.0, "key": "k", "view": "v", "source": "s", "text": "t"}]}),
}  # fmt: skip


@pytest.mark.parametrize("as_json", [False, True], ids=["terminal", "json"])
@pytest.mark.parametrize("name", RESULTS)
def test_no_renderer_lets_a_control_character_or_a_secret_pass(
    name: str, as_json: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show, result = RESULTS[name]
    monkeypatch.setenv("COLUMNS", "400")
    print_result(spoiled(result), as_json, show)
    shown = capsys.readouterr().out
    assert shown
    assert not CONTROL.search(shown)
    assert SECRET not in shown


def test_thirty_hostile_keys_reach_no_terminal_in_any_verb(tmp_path: Path) -> None:
    assert len(KEYS) == 30
    rows = [{"id": key, "text": f"words {key}", "split": key[:3], "image": f"{key}.jpg"} for key in KEYS]
    rows += [{"id": f"good{n}", "text": f"words {n} \x1b[31m\u202e", "group": "g"} for n in range(3)]
    rows += [
        {"id": key, "text": "words in a record whose name is spelt with a joiner"} for key in ("mo\u200dha", "z\u200cz")
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = tmp_path / "fi\x1bles"
    folder.mkdir()
    (folder / "a\x1b[31m\u202e.txt").write_text("words of a file")
    (folder / "b.txt").write_text("words of another file")
    project = tmp_path / "p.yaml"
    project.write_text(json.dumps({
        "lake": "lake", "engine": {"workers": 1}, "gate": {"max_row_drop": 1.0, "max_reject_ratio": 1.0},
        "sources": [{"name": "s", "kind": "manifest", "path": "m.jsonl", "optional_fields": ["image"]},
                    {"name": "f", "kind": "folder", "path": "fi\x1bles"}],
    }))  # fmt: skip
    common = ("--project", str(project))
    verbs: list[tuple[str, ...]] = [
        ("init", str(tmp_path / "m.jsonl"), "--out", str(tmp_path / "new.yaml")), ("plan", *common),
        ("prepare", *common, "--report", str(tmp_path / "page.html")), ("plan", *common), ("status", *common),
        ("rejects", "ls", *common), ("rejects", "export", *common, "--out", str(tmp_path / "re\x1bjects.jsonl")),
        ("rejects", "replay", *common), ("gc", *common), ("verify", *common), ("doctor", *common),
        *(("explain", key, *common) for key in ("good1", r"mo\u200dha", "z\u200cz", "k\x1bx", KEYS[9])),
        *(("rejects", "show", key, *common) for key in (r"k09\u001bx", r"k25\u2060x", "k\x1bx")),
        ("search", "--text", "a\x1b", *common), ("diff", "\x1b", "\u202e", *common), ("rollback", "\x9b", *common),
        ("feedback", "\x1b", "--rating", "1", *common), ("evaluate", *common), ("no\x1bverb",), ("plan", "--no\x9b"),
        ("search", "--image", str(tmp_path / "no\x1bfile"), *common),
        ("rag-eval", str(tmp_path / "no\x1bfile"), *common),
        ("plan", "--project", str(tmp_path / "no\x1b\u202e.yaml")), ("plan", *common, "--set", "a\x7f.b=\u202e"),
    ]  # fmt: skip
    ends = {}
    for verb in verbs:
        for options in ((), ("--json",)):
            done = trichord(*verb, *options, check=None)
            said = done.stdout + done.stderr
            assert said, verb
            assert not CONTROL.search(said), (verb, said)
            assert "Traceback" not in said
            assert "UnexpectedError" not in said, (verb, said)
            ends[verb[:2], options] = done.returncode
    assert ends[("explain", r"mo\u200dha"), ()] == 0, "what the terminal shows can be typed"
    assert ends[("explain", "z\u200cz"), ()] == 0
    assert ends[("rejects", "show"), ()] == 2
    assert ends[("prepare", "--project"), ()] == 0
    for page in ("page.html", "dataset_card.md"):
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert not CONTROL.search(text)
    kept = open_workspace(project).records().to_table(columns=["key"])["key"].to_pylist()
    assert sorted(kept) == ["b", "good0", "good1", "good2", "mo\u200dha", "z\u200cz"]


def test_a_narrow_table_shows_the_whole_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    key = "a-key-without-any-space-" + "".join(map(str, range(40)))
    render.table("Rows", {"key": "left", "text": "left"}, [[key, "many words " * 9]])
    cells = [line.split("│")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert "".join(cells) == key
