"""What an index was trained with is kept while it fits, and made anew where codes or recall got worse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.bench.vectors_lake import model_of, workspace_at, write_vectors
from trichord.index_builders.manifest import read_manifest
from trichord.infra.config import EngineConfig
from trichord.infra.engines import open_engine
from trichord.infra.lake.publication import Check, Publication, RowCounts, Verdict
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index import build_faiss as build
from trichord.pipelines.index.build_faiss import build_faiss
from trichord.pipelines.index.shards import Built
from trichord.pipelines.index.vector_tables import spread

D, ROWS, RECALL = 32, 300, 0.7
# recall is what the codes allow
INDEX = {"kind": "ivf_pq_fast", "nlist": 4, "parts": 32, "refine": "none", "recall": RECALL}


def published(built: Built) -> Publication:
    """The publication of an index whose recall was 1."""
    recall = Check(name="ann_recall_at_10", passed=True, value=1.0, threshold=RECALL)
    return Publication(
        id="first", sequence=1, kind="publish", manifest=built.manifest.path, manifest_digest=built.manifest.digest,
        inputs_digest="", model="", fingerprint="", table_versions={}, counts=RowCounts(), recipe={},
        verdict=Verdict(against=None, passed=True, checks=(recall,), evaluation={}), created_at="",
    )  # fmt: skip


@pytest.fixture(scope="module")
def engine():
    with open_engine(EngineConfig(workers=1)) as opened:
        yield opened


def vectors(number: int, first: int, last: int) -> np.ndarray:
    """float32 (ROWS, D), L2-normalised, that differ in these dimensions alone."""
    made = np.full((ROWS, D), 0.01, np.float32)
    made[:, first:last] = np.random.default_rng(number).standard_normal((ROWS, last - first))
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def corpus(workspace: Workspace, folder: Path, shifted: int) -> dict[str, ShardRef]:
    """Six partitions, the last `shifted` of which lie in other dimensions than the rest."""
    return {
        f"source{n}": write_vectors(
            workspace.storage, folder, n, vectors(n, *((16, 32) if n >= 6 - shifted else (0, 16))), f"-{shifted}"
        )
        if n >= 6 - shifted
        else write_vectors(workspace.storage, folder, n, vectors(n, 0, 16))
        for n in range(6)
    }


def nights(engine, folder: Path, growth: float, shifted: int, *, whole: bool = False) -> tuple[Built, Built]:
    """A first index of vectors of one sort (of all, if `whole`), and the next night's with some of another."""
    workspace = workspace_at(folder, INDEX | {"max_error_growth": growth}, workers=1)
    first = build_faiss(workspace, engine, corpus(workspace, folder, shifted if whole else 0), model_of(D), None)
    live = published(first)
    return first, build_faiss(workspace, engine, corpus(workspace, folder, shifted), model_of(D), live)


def test_what_fits_is_kept(engine, tmp_path):
    first, second = nights(engine, tmp_path, 0.2, 0)
    assert second.manifest == first.manifest
    assert (len(second.made), second.reused) == (0, first.made)


def test_codes_that_got_worse_are_trained_anew(engine, tmp_path, capsys):
    first, second = nights(engine, tmp_path, 0.2, 3)
    assert second.manifest.quantiser != first.manifest.quantiser
    assert "codes_drifted" in capsys.readouterr().err


@pytest.mark.usefixtures("json_events")
def test_recall_that_fell_is_cause_to_train_anew(engine, tmp_path, capsys):
    first, second = nights(engine, tmp_path, 1e9, 3)
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    [dropped] = [event for event in told if event["event"] == "recall_dropped"]
    assert dropped["recall"] < RECALL
    assert second.manifest.quantiser != first.manifest.quantiser
    alone = nights(engine, tmp_path / "alone", 1e9, 3, whole=True)[0]
    assert alone.manifest == second.manifest  # as if it were the first night


def test_cells_that_are_named_are_searched_from_then_on(engine, tmp_path):
    workspace = workspace_at(tmp_path, INDEX, workers=1)
    vectors = corpus(workspace, tmp_path, 0)
    first = build_faiss(workspace, engine, vectors, model_of(D), None)
    live = published(first)
    for nprobe in (3, 4):
        named = workspace_at(tmp_path, INDEX | {"nprobe": nprobe}, workers=1)
        second = build_faiss(named, engine, vectors, model_of(D), live)
        assert second.manifest.search["all"]["nprobe"] == nprobe
        assert second.manifest.shards == first.manifest.shards


def test_truth_that_is_damaged_is_found_again(engine, tmp_path):
    workspace = workspace_at(tmp_path, INDEX, workers=1)
    vectors = corpus(workspace, tmp_path, 0)
    first = build_faiss(workspace, engine, vectors, model_of(D), None)
    [kept] = (tmp_path / "_truth").iterdir()
    data = bytearray(kept.read_bytes())
    for place in range(4, len(data), 97):
        data[place] ^= 1
    kept.write_bytes(data)
    assert build_faiss(workspace, engine, vectors, model_of(D), None).manifest == first.manifest


def test_a_sample_is_taken_from_few_shards_of_every_source():
    def ref(name: str, rows: int) -> ShardRef:
        return ShardRef(address=name, table="vectors", path=name, rows=rows, bytes=0, sha256="")

    small = {f"small/{n}": ref(f"small/{n}", 10) for n in range(4)}
    large = {f"large/{n:03d}": ref(f"large/{n:03d}", 1_000) for n in range(500)}
    found = spread(small | large, 20_000)
    assert {name.partition("/")[0] for name in found} == {"small", "large"}
    assert 20_000 <= sum(found.values()) < 22_000
    assert spread(small | large, 10**9) == {name: each.rows for name, each in (small | large).items()}

    grown = spread(small | large | {"large/new": ref("large/new", 1_000)}, 20_000)
    assert len(found.keys() ^ grown.keys()) <= 2  # a night's news do not choose other shards


def test_an_index_of_exact_recall_is_not_what_tuning_looks_for(engine, tmp_path):
    wanted = {"kind": "pq_fast", "parts": 16, "refine": "flat", "recall": 0.99}
    workspace = workspace_at(tmp_path, wanted, workers=1)
    built = build_faiss(workspace, engine, corpus(workspace, tmp_path, 0), model_of(D), None)
    found = built.manifest.search["all"]["depth"]
    assert 1 < found < 128


TIGHT = {"flat_max_rows": 1, "memory_bytes": 700_000}


def crowded(workspace: Workspace, folder: Path) -> dict[str, ShardRef]:
    """6,000 vectors, of which 19 of 20 lie so close together that codes made for all cannot tell them apart."""
    random = np.random.default_rng(5)
    rows = random.standard_normal((6, 1_000, D))
    crowd = np.arange(1_000) % 20 > 0
    rows[:, crowd] = rows[0, 0] + 1e-2 * rows[:, crowd]
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    made = rows.astype(np.float32)
    return {f"source{n}": write_vectors(workspace.storage, folder, n, part) for n, part in enumerate(made)}


@pytest.mark.usefixtures("json_events")
def test_an_index_that_misses_the_recall_gives_way_to_the_next_and_stays_away(engine, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(build, "measure_vectors", lambda *_: None)  # constants mislead
    workspace = workspace_at(tmp_path, {**TIGHT, "recall": 0.9}, workers=1)
    vectors = crowded(workspace, tmp_path)
    first = build_faiss(workspace, engine, vectors, model_of(D), None)
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    [missed] = [event for event in told if event["event"] == "recall_missed"]
    assert missed["recall"] < 0.9
    assert [(one["kind"], one["recall"]) for one in first.manifest.missed] == [(missed["kind"], missed["recall"])]
    assert missed["kind"].endswith("pq_fast")
    assert not first.manifest.kind.endswith("pq_fast")
    assert read_manifest(workspace.lake, first.manifest.path) == first.manifest

    second = build_faiss(workspace, engine, vectors, model_of(D), published(first))
    assert second.manifest == first.manifest
    assert not second.made
    assert "recall_missed" not in capsys.readouterr().err

    easier = workspace_at(tmp_path, {**TIGHT, "recall": 0.01}, workers=1)
    assert not build_faiss(easier, engine, vectors, model_of(D), published(first)).manifest.missed


@pytest.mark.usefixtures("json_events")
def test_a_sample_shows_what_would_miss_the_recall(engine, tmp_path, capsys):
    workspace = workspace_at(tmp_path, {**TIGHT, "recall": 0.9}, workers=1)
    built = build_faiss(workspace, engine, crowded(workspace, tmp_path), model_of(D), None)
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    planned = [event["kind"] for event in told if event["event"] == "index_planned"]
    assert [event["event"] for event in told].count("sample_measured") == 1
    assert all(kind.endswith("fp16") for kind in planned)  # no time is lost with codes that the sample shows to miss it
    assert built.manifest.measured is not None
    assert read_manifest(workspace.lake, built.manifest.path) == built.manifest


@pytest.mark.usefixtures("json_events")
def test_a_sample_is_taken_again_only_when_a_tenth_of_the_rows_changed(engine, tmp_path, capsys):
    workspace = workspace_at(tmp_path, {"flat_max_rows": 1, "recall": 0.9}, workers=1)
    refs = {f"source{n}": write_vectors(workspace.storage, tmp_path, n, vectors(n, 0, D)) for n in range(25)}
    built = build_faiss(workspace, engine, refs, model_of(D), None)
    capsys.readouterr()
    for night, (moved, again) in enumerate(((0, False), (1, False), (1, False), (1, True), (1, False))):
        for n in range(moved):
            refs[f"source{n}"] = write_vectors(workspace.storage, tmp_path, n, vectors(100 + night, 0, D), f"-{night}")
        before, built = built, build_faiss(workspace, engine, refs, model_of(D), published(built))
        assert ("sample_measured" in capsys.readouterr().err) == again, night
        assert (built.manifest.kind, built.manifest.params) == (before.manifest.kind, before.manifest.params)
    assert built.manifest.measured is not None
    assert built.manifest.measured.changed == ROWS


def test_codes_that_no_search_parameter_helps_give_way_as_well(engine, tmp_path):
    workspace = workspace_at(tmp_path, {"memory_bytes": 60 * 6_000, "recall": 0.8, "refine": "none"}, workers=1)
    vectors = crowded(workspace, tmp_path)
    first = build_faiss(workspace, engine, vectors, model_of(D), None)
    assert all(one["recall"] < 0.8 for one in first.manifest.missed)
    assert "pq_fast" in [one["kind"] for one in first.manifest.missed]
    assert first.manifest.kind in ("sq8", "rabitq")
    assert build_faiss(workspace, engine, vectors, model_of(D), published(first)).manifest == first.manifest


@pytest.mark.usefixtures("json_events")
def test_where_all_miss_the_recall_the_best_stands_and_is_found_again(engine, tmp_path, capsys):
    wanted = {"memory_bytes": 33 * 6_000, "recall": 0.79, "refine": "none"}  # of values of one byte at most
    workspace = workspace_at(tmp_path, wanted, workers=1)
    vectors = crowded(workspace, tmp_path)
    first = build_faiss(workspace, engine, vectors, model_of(D), None)
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    kinds = [event["kind"] for event in told if event["event"] == "index_planned"]
    assert first.manifest.kind == "rabitq" != kinds[-1]  # finds a fifth; all others a fortieth
    assert {one["kind"] for one in first.manifest.missed} == set(kinds) - {"rabitq"}
    assert all(one["recall"] < 0.1 for one in first.manifest.missed)
    assert build_faiss(workspace, engine, vectors, model_of(D), published(first)).manifest == first.manifest


def test_where_all_miss_the_recall_the_last_stands_for_the_gate_to_judge(engine, tmp_path):
    workspace = workspace_at(tmp_path, {"kind": "pq_fast", "parts": 32, "refine": "sq8", "recall": 0.9}, workers=1)
    built = build_faiss(workspace, engine, crowded(workspace, tmp_path), model_of(D), None)
    assert (built.manifest.kind, built.manifest.missed) == ("pq_fast", ())
