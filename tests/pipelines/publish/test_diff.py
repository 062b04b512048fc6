"""diff: exactly what an edit of the corpus added, changed, removed and moved, in words, as JSON and as a page."""

from __future__ import annotations

import html.parser
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pytest
from PIL import Image, ImageOps

import trichord
from tests.pipelines.lakes import copy_of, result_of, rows_of, write_rows
from tests.pipelines.lakes import trichord as command
from trichord.infra.errors import ConfigError
from trichord.infra.lake.shard import read_shard
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.demo.corpus import read_labels
from trichord.pipelines.publish.diff_rows import Rows
from trichord.pipelines.publish.diff_sides import find_sides


@dataclass(frozen=True, kw_only=True)
class Edited:
    """A copy of the lake before and after one edit of its corpus, and the keys of the edit."""

    project: Path
    added: list[str]
    changed: dict[str, str]  # key -> field
    removed: list[str]
    rejected: str  # it was kept
    copy: str  # it now has the content of the next
    duplicate: str  # it was kept
    restored: str  # it was rejected

    @property
    def workspace(self) -> trichord.Workspace:
        return trichord.open(self.project)


@pytest.fixture(scope="module")
def edited(indexed, tmp_path_factory) -> Edited:
    """5 changed, 3 removed, 10 added rows; one is now rejected, one kept, and one dropped for a copy of it."""
    project = copy_of(indexed[0].parent, tmp_path_factory.mktemp("edited") / "copy")
    corpus, workspace = project.parent / "corpus", trichord.open(project)
    spoilt = {label["key"] for label in read_labels(corpus) if label["defects"]}
    rows = {row["id"]: row for row in rows_of(corpus)}
    involved = _involved(workspace)
    clean = [row for key, row in rows.items() if key not in spoilt | involved and row.get("image") and row.get("audio")]
    donors, clean = clean[-12:], clean[:-12]
    text, words, image, audio, meta, rejected, copy, *rest = clean
    removed = [row["id"] for row in rest[:3]]
    edits = {
        text["id"]: text | {"text": "Seven grey geese on a pond."},
        words["id"]: words | {"text": "A kite above the roofs."},
        image["id"]: image | {"image": "other.png"},
        audio["id"]: audio | {"audio": donors[10]["audio"]},
        meta["id"]: meta | {"note": "looked at"},
    }
    changed = dict(zip(edits, ("text", "text", "image", "audio", "meta"), strict=True))
    with Image.open(corpus / donors[9]["image"]) as picture:
        ImageOps.invert(ImageOps.mirror(picture.convert("RGB"))).save(corpus / "other.png")
    (corpus / "cut.png").write_bytes((corpus / "other.png").read_bytes()[:900])
    edits[rejected["id"]] = rejected | {"image": "cut.png"}
    edits[copy["id"]] = donors[11] | {"id": copy["id"]}  # whose earlier row survives
    restored = next(key for key in _keys(workspace, "rejects") if key in rows)
    edits[restored] = {"id": restored, "text": "A boat with a red sail.", "image": donors[0]["image"]}
    added = [
        {"id": f"new-{n}", "text": f"A lighthouse in the fog, seen from boat {name}.", "image": donors[n]["image"],
         "audio": donors[(n + 1) % 10]["audio"]}
        for n, name in enumerate(("Ada", "Bea", "Cleo", "Dora", "Eva", "Fay", "Gina", "Hope", "Ida", "June"))
    ]  # fmt: skip
    write_rows(corpus, [*(edits.get(key, row) for key, row in rows.items() if key not in removed), *added])
    workspace.reindex()
    return Edited(
        project=project, added=[row["id"] for row in added], changed=changed, removed=removed,
        rejected=rejected["id"], copy=copy["id"], duplicate=donors[11]["id"], restored=restored,
    )  # fmt: skip


def _keys(workspace: Workspace, table: str) -> list[str]:
    shards = workspace.pinned_shards(table, workspace.publications.live()).values()
    return [key for ref in shards for key in read_shard(workspace.lake, ref, ["key"])["key"].to_pylist()]


def _involved(workspace: Workspace) -> set[str]:
    """Keys of records that another one resembles: what becomes of one decides about the other."""
    found = set()
    for table, other in (("duplicates", "survivor_key"), ("matches", "other_key")):
        for ref in workspace.pinned_shards(table, workspace.publications.live()).values():
            rows = read_shard(workspace.lake, ref, ["key", other])
            found |= {*rows["key"].to_pylist(), *rows[other].to_pylist()}
    return found


def named(*keys: str) -> tuple[str, ...]:
    return tuple(sorted(f"demo/{key}" for key in keys))


def test_a_diff_counts_what_was_added_changed_and_removed(edited):
    first, second = edited.workspace.publications.rows()
    found = edited.workspace.diff()
    assert (found.before, found.after) == (first.id, second.id)
    assert (found.added.count, found.added.first, found.added.fates) == (10, named(*edited.added), {"kept": 10})
    assert (found.removed.count, found.removed.first, found.removed.fates) == (3, named(*edited.removed), {"kept": 3})
    assert (found.changed.count, found.changed.first) == (6, named(*edited.changed, edited.copy))
    assert found.changed.fates == {"kept": 6}
    assert not found.model_changed
    assert found.counts["rows_in"] == (first.counts.rows_in, first.counts.rows_in + 10 - 3)


def test_a_diff_names_the_fields_that_differ(edited):
    found = edited.workspace.diff(queries=0).fields
    assert found.compared == 6
    by_key = {one.key: one.fields for one in found.first}
    for key, name in edited.changed.items():
        assert name in by_key[key], key
        follows = {"text": {"captions"}}.get(name, set()) | {"scores", "labels", "changes", "segments", "group", name}
        assert set(by_key[key]) <= follows, key
    assert Counter(name for fields in by_key.values() for name in fields) == found.fields


def test_a_diff_names_the_moves_between_fates(edited):
    found = edited.workspace.diff(queries=0)
    moves = {one.first: (one.before, one.after) for one in found.moved}
    assert sum(one.count for one in found.moved) == len(moves) == 3
    before, after = moves[named(edited.rejected)]
    assert before == "kept"
    assert after.startswith("rejected (")
    assert moves[named(edited.duplicate)] == ("kept", "duplicate (exact_content)")
    assert moves[named(edited.restored)][1] == "kept"
    assert moves[named(edited.restored)][0].startswith("rejected (")
    was, now = (sum(pair[side] for pair in found.rejects.values()) for side in (0, 1))
    first, second = edited.workspace.publications.rows()
    assert (was, now) == (first.counts.rows_rejected, second.counts.rows_rejected)


def test_keys_before_and_what_came_and_went_are_the_keys_after(edited):
    workspace = edited.workspace
    first, second = workspace.publications.rows()
    was, now = (
        {
            (row["source"], row["key"])
            for table in ("records", "rejects")
            for ref in workspace.pinned_shards(table, one).values()
            for row in read_shard(workspace.lake, ref, ["source", "key"]).to_pylist()
        }
        for one in (first, second)
    )
    rows = Rows(workspace, *find_sides(workspace, None, None))
    assert rows.changes("added").count == len(now - was)
    assert rows.changes("removed").count == len(was - now)


def test_a_diff_the_other_way_swaps_its_sides(edited):
    first, second = (row.id for row in edited.workspace.publications.rows())
    forth, back = edited.workspace.diff(first, second), edited.workspace.diff(second, first)
    assert (back.added, back.removed) == (forth.removed, forth.added)
    assert {(one.after, one.before, one.first) for one in back.moved} == {
        (one.before, one.after, one.first) for one in forth.moved
    }
    assert back.figures == {name: (after, before) for name, (before, after) in forth.figures.items()}
    assert back.queries.changed == forth.queries.changed
    assert back.queries.mean_jaccard == forth.queries.mean_jaccard


def test_a_publication_does_not_differ_from_itself(edited):
    second = edited.workspace.publications.live().id
    same = edited.workspace.diff(second, second)
    assert (same.added.count, same.changed.count, same.removed.count, same.moved) == (0, 0, 0, ())
    assert (dict(same.figures), dict(same.counts), same.scores) == ({}, {}, ())
    assert same.vectors.why_not == "no record differs"
    assert same.queries.why_not == "both publications are the same index"


def test_hits_that_came_or_went_are_those_of_the_edit(edited):
    """The index is exact and its vectors repeat, so only rows of the edit move a list, and rows that they push out."""
    found = edited.workspace.diff().queries
    assert found.why_not is None
    assert found.asked >= found.records > 0
    assert 0 < found.changed <= found.asked
    assert 0 < found.mean_jaccard <= found.mean_overlap < 1
    for one in found.most_changed:
        was, now = ({hit.key: hit for hit in side} for side in (one.before, one.after))
        assert len(was) == len(now) == 10
        assert one.overlap == len(was.keys() & now.keys()) / 10 < 1
        came = [now[key] for key in now.keys() - was.keys()]
        went = [was[key] for key in was.keys() - now.keys()]
        assert all(hit.change or any(other.change for other in went) for hit in came)
        assert all(hit.change or any(other.change for other in came) for hit in went)
        marks = {hit.key: hit.change for hit in (*came, *went) if hit.change}
        assert all(marks[key] == "added" for key in marks.keys() & set(edited.added))
        assert all(marks[key] == "removed" for key in marks.keys() & set(edited.removed))
        assert all(marks[key] == "changed" for key in marks.keys() & set(edited.changed))


def test_darkened_pictures_drift_and_nothing_else_does(lake_copy):
    """Changed records are compared with themselves: that these are scenes of one kind is no drift of their texts."""
    corpus, workspace = lake_copy.parent / "corpus", trichord.open(lake_copy)
    rows, dark = rows_of(corpus), 0
    for row in rows:
        if dark < 60 and row.get("image") and (corpus / row["image"]).suffix == ".jpg":
            name = f"dark-{dark}.jpg"
            try:
                with Image.open(corpus / row["image"]) as picture:
                    picture.convert("RGB").point([value * 2 // 5 for value in range(256)] * 3).save(corpus / name)
            except OSError:
                continue  # one of the spoilt ones
            row["image"], dark = name, dark + 1
    write_rows(corpus, rows)
    workspace.prepare()
    found = workspace.diff("records@0", "records@1")
    drifted = {one.score for one in found.scores if one.drifted}
    assert "image_contrast" in drifted
    assert all(score.startswith("image_") for score in drifted)
    assert [one.score for one in found.scores[: len(drifted)]] == sorted(
        drifted, key=[one.score for one in found.scores].index
    )
    [contrast] = [one for one in found.scores if one.score == "image_contrast"]
    [changed] = [one for one in contrast.comparisons if one.of == "changed"]
    assert changed.after.p50 < 0.6 * changed.before.p50
    assert changed.distance > 0.5 > changed.limit
    assert all(sum(one.histogram) == pytest.approx(1, abs=0.01) for one in (changed.before, changed.after))
    assert not any(one.drifted for one in workspace.diff("records@1", "records@1").scores)

    words = ("Hund", "Vogel", "Baum", "Fluss", "Berg", "Stein", "Wagen", "Tisch")
    for number, row in enumerate(row for row in rows if str(row.get("image")).startswith("dark-")):
        first, second = words[number % 8], words[number // 8 % 8]
        row["text"], row["captions"] = f"Auf diesem Bild sieht man hinter dem {first} noch einen {second}.", []
    write_rows(corpus, rows)
    workspace.prepare()
    texts = {one.score for one in workspace.diff("records@1", "records@2").scores if one.drifted}
    assert "language:de" in texts
    assert not any(score.startswith(("image_", "audio_")) for score in texts)


def test_versions_of_tables_are_compared_without_an_index(edited):
    found = edited.workspace.diff("records@0", "records@1")
    assert (found.before, found.after) == ("records@0", "records@1")
    whole = edited.workspace.diff(queries=0)
    assert (found.added, found.removed, found.changed, found.moved) == (
        whole.added, whole.removed, whole.changed, whole.moved,
    )  # fmt: skip
    assert found.rejects == whole.rejects
    assert found.scores == whole.scores
    assert found.model_changed is None
    assert found.gate == ()
    assert found.vectors.why_not
    assert found.queries.why_not
    by_version = edited.workspace.diff("publications@0", "publications@1", queries=0)
    assert (by_version.before, by_version.after) == (whole.before, whole.after)


def test_a_diff_of_what_is_not_there_is_refused(edited, indexed):
    with pytest.raises(ConfigError, match=r"There is no publication none-1\. Known: "):
        edited.workspace.diff("none-1")
    with pytest.raises(ConfigError, match=r"There is no records@9: the table records has the versions 0 to 1"):
        edited.workspace.diff("records@9")
    with pytest.raises(ConfigError, match="Name both"):
        edited.workspace.diff(None, "records@1")
    with pytest.raises(ConfigError, match="is the first publication"):
        trichord.open(indexed[0]).diff()
    with pytest.raises(ConfigError, match="Nothing is published yet"):
        trichord.open(indexed[0], f"lake={edited.project.parent / 'empty'}").diff()


def test_a_diff_with_a_publication_that_gc_removed_says_so(edited, tmp_path):
    project = copy_of(edited.project.parent, tmp_path / "copy")
    workspace = trichord.open(project, "keep_publications=1", "gc_grace_s=0")
    workspace.gc(delete=True)
    with pytest.raises(ConfigError, match=r"-1 cannot be compared: `trichord gc` has removed files of it"):
        workspace.diff()


def test_the_command_prints_the_comparison_and_writes_a_page(edited, tmp_path):
    page = tmp_path / "diff.html"
    project = ("--project", str(edited.project))
    shown = " ".join(command("diff", *project, "--report", str(page)).stdout.split())
    assert "added 10:" in shown
    assert "removed 3:" in shown
    assert "changed 6:" in shown
    assert "find other records among the first 10" in shown
    result = result_of(command("diff", *project, "--queries", "0", "--json"))
    assert set(result) == {
        "before", "after", "added", "changed", "removed", "fields", "moved", "rejects", "model_changed", "counts",
        "figures", "gate", "scores", "vectors", "queries",
    }  # fmt: skip
    assert result["queries"]["why_not"] == "not wanted (--queries 0)"
    assert result["fields"]["fields"]["text"] == 3
    text = page.read_text(encoding="utf-8")
    assert text.count("Content-Security-Policy") == 1
    assert "<script" not in text
    assert len(text) < 3_000_000
    for section in ("changed", "came", "fates", "queries", "drift", "gate", "figures"):
        assert f'id="{section}"' in text
    assert "demo/new-0" in text
    assert "geese" in text
    assert text.count("data:image/jpeg;base64,") > 20
    _Closed().feed(text)


class _Closed(html.parser.HTMLParser):
    """Fails where a tag is closed that is not open; a browser would guess."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID and tag != "audio":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "audio":
            while self.open[-1] in ("tr", "td", "p", "thead", "th") and self.open[-1] != tag:
                self.open.pop()  # their end may be left out
            assert self.open.pop() == tag


def test_explain_says_when_a_record_came_changed_moved_and_went(edited):
    first, second = (row.id for row in edited.workspace.publications.rows())

    def history(key: str) -> list[tuple[str, str, str | None]]:
        return [(one.event, one.publication, one.last) for one in edited.workspace.explain(key).history]

    gone = edited.workspace.explain(edited.removed[0])
    assert (gone.outcome, gone.publication) == ("deleted", second)
    assert history(edited.removed[0]) == [("went", second, first), ("came", first, None)]
    assert gone.history[0].before == "kept"
    assert [step["step"] for step in gone.journey] == ["prepared", "encoded", "indexed"]
    assert edited.workspace.explain(f"demo/{edited.removed[1]}").outcome == "deleted"
    assert history(edited.added[0]) == [("came", second, first)]
    assert history(next(iter(edited.changed))) == [("changed", second, first), ("came", first, None)]
    assert history(edited.rejected) == [("moved", second, first), ("came", first, None)]
    moved = edited.workspace.explain(edited.rejected).history[0]
    assert (moved.before, moved.after.partition(" ")[0]) == ("kept", "rejected")
    assert edited.workspace.explain(edited.duplicate).history[0].after == "duplicate"
    shown = " ".join(command("explain", edited.removed[0], "--project", str(edited.project)).stdout.split())
    assert f"deleted from its source: last in publication {first} (kept), absent from publication {second}" in shown
    with pytest.raises(ConfigError, match="in the live publication or an earlier one that is kept"):
        edited.workspace.explain("no-such-key")


def test_explain_after_a_rollback_says_what_it_took_back(edited, tmp_path):
    workspace = trichord.open(copy_of(edited.project.parent, tmp_path / "copy"))
    workspace.rollback()
    found = workspace.explain(edited.added[0])
    assert (found.outcome, found.history[0].event, found.history[0].kind) == ("deleted", "went", "rollback")
    assert workspace.explain(edited.removed[0]).outcome == "indexed"
    assert workspace.diff().removed.first == named(*edited.added)


def test_tables_are_those_of_the_live_publication_whatever_was_prepared_since(edited, tmp_path):
    project = copy_of(edited.project.parent, tmp_path / "copy")
    workspace, corpus = trichord.open(project), project.parent / "corpus"

    def is_there() -> bool:
        return workspace.records().count_rows(filter=pc.field("key") == edited.added[0]) == 1

    assert is_there()
    write_rows(corpus, [row for row in rows_of(corpus) if row["id"] != edited.added[0]])
    workspace.prepare()
    assert is_there()
    workspace.rollback()
    assert not is_there()
