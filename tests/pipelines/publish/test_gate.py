"""The gate measures, or refuses: a loss is named with its sources and keys, and only a person lets it pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import trichord as product
from tests.command import Finished
from tests.pipelines.lakes import copy_of, result_of, rows_of, trichord, workspace_of
from tests.shared import made_once
from tests.warm_workers import warm_workers
from trichord.pipelines.demo.corpus import write_corpus

ROWS = 120  # 80 of source a and 40 of source b; 20 are in German
WORSE = ("train.policy=always", "train.epochs=0", "gate.max_recall_drop=1")
SETTINGS: dict[str, Any] = {
    "engine": {"workers": 1},
    "prepare": {"rows_per_partition": 50, "audio": {"vad": False}},
    "model": {"dimension": 32, "hidden": 64},
    "train": {"epochs": 10, "batch_size": 64, "validation": 0.1, "test": 0.4, "learning_rate": 0.003},
    "evaluate": {"content_rows": 0},
    "gate": {"max_row_drop": 0.3, "min_over_chance": 0.0},  # 72 records teach little
}


def _write(corpus: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows of sources a and b to a file each."""
    for source in ("a", "b"):
        lines = [json.dumps({k: v for k, v in row.items() if k != "of"}) for row in rows if row["of"] == source]
        (corpus / f"{source}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def _index(folder: Path) -> None:
    corpus = folder / "corpus"
    write_corpus(corpus, records=ROWS, seed=11, defects=0.0)
    rows = rows_of(corpus)
    for place, row in enumerate(rows):
        row |= {"of": "b" if place % 3 == 0 else "a", "language": "de" if place % 6 == 1 else "en"}
    (folder / "rows.json").write_text(json.dumps(rows))
    _write(corpus, rows)
    sources = [{"name": name, "kind": "manifest", "path": f"corpus/{name}.jsonl"} for name in ("a", "b")]
    project = folder / "trichord.yaml"
    project.write_text(yaml.safe_dump({"lake": "lake", "sources": sources, **SETTINGS}))
    with warm_workers():
        trichord("reindex", "--project", str(project))


@pytest.fixture(scope="module")
def live(shared_folder: Path) -> Path:
    """A lake of two sources with a good index, published under the default gate. Read only."""
    return made_once(shared_folder / "gated", _index)


@pytest.fixture
def lake(live: Path, tmp_path: Path) -> Path:
    """Project file of a copy that may be changed."""
    return copy_of(live, tmp_path / "copy")


def _rows(lake: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((lake.parent / "rows.json").read_text())
    return rows


def _halve(lake: Path) -> None:
    rows = _rows(lake)
    _write(lake.parent / "corpus", [row for place, row in enumerate(rows) if row["of"] == "a" or place % 2])


def _refused(lake: Path, *settings: str) -> str:
    """The next night is refused with exit code 3 and its message; what was live stays live."""
    before = workspace_of(lake).publications.live()
    overrides = [word for setting in settings for word in ("--set", setting)]
    message = _message(trichord("reindex", "--project", str(lake), *overrides, check=3))
    assert workspace_of(lake).publications.live() == before
    assert "stays live" in message
    return message


def _message(done: Finished) -> str:
    """The error's text on one line, however stderr shows it."""
    last = done.stderr.strip().splitlines()[-1]
    text = json.loads(last)["message"] if last.startswith("{") else done.stderr
    return " ".join(text.split())


def _failed(lake: Path) -> dict[str, dict[str, Any]]:
    status = result_of(trichord("status", "--project", str(lake), "--json"))
    return {check["name"]: check for check in status["candidate"]["verdict"]["checks"] if not check["passed"]}


def test_a_renamed_column_is_refused_and_its_figures_and_source_are_named(lake):
    _write(lake.parent / "corpus", [{"photo" if k == "image" else k: v for k, v in row.items()} for row in _rows(lake)])
    message = _refused(lake)
    assert {"figures_against_live", "modality:image"} <= set(_failed(lake))
    assert "recall_at_10.text.image" in message
    assert "source a:" in message
    assert "→ 0 records with image" in message
    assert "trichord publish --accept modality:image --accept" in message


def test_one_modality_of_one_source_that_is_lost_is_refused(lake):
    rows = [row if row["of"] == "a" else row | {"audio": None} for row in _rows(lake)]
    _write(lake.parent / "corpus", rows)
    message = _refused(lake)
    assert "audio_of:b: 0 against" in message
    assert "audio_of:b" in _failed(lake)


def test_a_halved_source_is_refused_although_the_lake_loses_little(lake):
    _halve(lake)
    message = _refused(lake)
    assert set(_failed(lake)) == {"records_of:b"}
    assert "records of source b; the live index holds" in message


def test_a_dropped_language_is_refused_and_the_sources_that_lost_it_are_named(lake):
    _write(lake.parent / "corpus", [row for row in _rows(lake) if row["language"] == "en"])
    message = _refused(lake)
    assert "language:de: 0 against" in message
    assert "source a: 20 → 0 records in de" in message
    assert set(_failed(lake)) == {"language:de"}
    assert product.open(str(lake)).reindex(accept=["language:de"]).publication is not None  # tonight, and in Python
    verdict = workspace_of(lake).publications.require_live().verdict
    assert [one.name for one in verdict.accepted] == ["language:de"]
    assert (verdict.contents["a"].records, verdict.contents["a"].languages) == (60, {"en": 60})


def test_a_worse_model_is_refused_with_the_records_that_it_no_longer_finds(lake):
    message = _refused(
        lake, "train.policy=always", "train.epochs=0", "gate.min_over_chance=0", "gate.max_recall_drop=1"
    )
    failed = _failed(lake)
    assert "against_live:mixed.ndcg_at_10" in failed
    assert all(name.startswith("against_live:") for name in failed)
    assert "is not chance" in message
    assert "source a: -" in message
    keys = {row["id"] for row in _rows(lake)}
    [worst] = [line for line in failed["against_live:mixed.ndcg_at_10"]["evidence"] if line.startswith("fell most")]
    assert worst.split("/")[1].split(" ")[0] in keys


def test_random_encoders_are_refused_because_their_intervals_touch_chance(live, tmp_path):
    lake = copy_of(live, tmp_path / "random")
    noise = "{kind: plugin, plugin: 'tests.pipelines.publish.noise:Noise', options: {modality: %s}}"
    settings = [f"model.{name}={noise % name}" for name in ("text", "image", "audio")]
    settings += [f"lake={tmp_path / 'lake'}", "gate.min_over_chance=1"]
    flags = [word for setting in settings for word in ("--set", setting)]
    message = _message(trichord("reindex", "--project", str(lake), *flags, check=3))
    assert "Nothing is live" in message
    assert "must be above" in message
    assert "not found: a/" in message
    assert "recall_text_to_image" in message


def test_an_intended_drop_is_accepted_by_name_recorded_and_shown(lake):
    _halve(lake)
    project = ["--project", str(lake)]
    wrong = trichord("reindex", *project, "--accept", "record_of:b", check=2)
    assert "did you mean records_of:b" in _message(wrong)
    assert "integrity" in _message(trichord("reindex", *project, "--accept", "vectors_sound", check=2))
    assert len(workspace_of(lake).publications.rows()) == 1

    trichord("reindex", *project, check=3)
    assert "did you mean" in _message(trichord("publish", *project, "--accept", "records_of:c", check=2))
    trichord("publish", *project, check=3)
    trichord("publish", *project, "--accept", "records_of:b")
    live = workspace_of(lake).publications.require_live()
    assert live.sequence == 2
    [accepted] = live.verdict.accepted
    assert (accepted.name, accepted.passed, accepted.value, accepted.threshold) == ("records_of:b", False, 20, 28)
    assert "accepted: records_of:b: 20 against 28" in trichord("status", *project).stdout
    assert trichord("reindex", *project).stdout.startswith("Nothing changed")


@pytest.mark.full
def test_what_older_publications_lack_is_compared_by_intervals_and_does_not_stop_a_night(lake):
    for path in (lake.parent / "lake" / "_outcomes").iterdir():  # as after `gc`, or of an older version
        path.unlink()
    message = _refused(
        lake, "train.policy=always", "train.epochs=0", "gate.min_over_chance=0", "gate.max_recall_drop=1"
    )
    assert "on other test records" in message
