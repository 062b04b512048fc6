"""reindex: every row accounted for, nothing made twice, and only what must be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.pipelines.lakes import addresses, result_of, rows_of, trichord, workspace_of, write_rows
from trichord.infra.lake.shard import read_shard
from trichord.pipelines.demo.corpus import read_labels
from trichord.pipelines.demo.defects import expected
from trichord.pipelines.prepare.plan import make_plan


def _reindex(project: Path, *more: str) -> dict:
    return result_of(trichord("reindex", "--project", str(project), "--json", *more))


def test_every_row_is_indexed_rejected_or_a_duplicate(indexed):
    project, summary = indexed
    rows = rows_of(project.parent / "corpus")
    assert summary["rows_in"] == len(rows)
    assert summary["rows_kept"] + summary["rows_rejected"] + summary["rows_duplicate"] == len(rows)
    workspace = workspace_of(project)
    named: list[str] = []
    for table in ("records", "rejects"):
        for ref in workspace.table(table).shards().values():
            named += read_shard(workspace.lake, ref, ["key"])["key"].to_pylist()
    assert sorted(named) == sorted(row["id"] for row in rows)


def test_planted_defects_meet_the_fate_that_was_foretold(indexed):
    project, _ = indexed
    truth = expected(read_labels(project.parent / "corpus"))
    workspace = workspace_of(project)
    rejected: dict[str, str] = {}
    dropped: set[frozenset[str]] = set()
    for ref in workspace.table("rejects").shards().values():
        rows = read_shard(workspace.lake, ref)
        rejected |= dict(zip(rows["key"].to_pylist(), rows["reason"].to_pylist(), strict=True))
    for ref in workspace.table("duplicates").shards().values():
        rows = read_shard(workspace.lake, ref)
        pairs = zip(rows["key"].to_pylist(), rows["survivor_key"].to_pylist(), strict=True)
        dropped |= {frozenset(pair) for pair in pairs}
    alike: set[frozenset[str]] = set()
    for ref in workspace.table("matches").shards().values():
        rows = read_shard(workspace.lake, ref)
        alike |= {frozenset(pair) for pair in zip(rows["key"].to_pylist(), rows["other_key"].to_pylist(), strict=True)}
    planted = {frozenset(pair) for pair in truth.duplicates.items()}
    assert rejected == dict(truth.rejects)
    assert dropped <= planted
    assert len(planted - dropped) <= 1, "at most one copy is not sure to be one"
    assert planted <= dropped | alike, "and it is kept and listed"


def test_an_unchanged_lake_starts_no_engine_and_no_model(lake_copy, indexed):
    script = (
        "import sys, json\n"
        "from pathlib import Path\n"
        "from tests.pipelines.lakes import workspace_of\n"
        "from trichord.pipelines.reindex import reindex\n"
        "summary = reindex(workspace_of(Path(sys.argv[1])))\n"
        "assert not {'torch', 'faiss', 'transformers', 'ray'} & set(sys.modules), 'heavy modules were imported'\n"
        "assert 'trichord.pipelines.stages.order' not in sys.modules, 'stages were imported'\n"
        "print(json.dumps(summary.to_dict()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(lake_copy)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["unchanged"]
    assert summary["shards_made"] == 0
    assert summary["manifest_digest"] == indexed[1]["manifest_digest"]


def test_a_change_touches_only_what_follows_from_it_and_a_deleted_record_is_gone(lake_copy):
    corpus = lake_copy.parent / "corpus"
    workspace = workspace_of(lake_copy)
    before, plan_before = addresses(workspace), {s.partition.id: s for s in make_plan(workspace).shards}
    rows = rows_of(corpus)
    clean = [label["key"] for label in read_labels(corpus) if not label["defects"]]
    twins = {label["twin"] for label in read_labels(corpus)}
    changed, deleted = [key for key in clean if key not in twins][:2]
    picture = next(corpus / row["image"] for row in rows if row["id"] == changed)
    Image.effect_mandelbrot((240, 200), (-2, -1.2, 1, 1.2), 60).convert("RGB").save(picture, "JPEG", quality=92)
    added = dict(next(row for row in rows if row["id"] == changed), id="an-added-row", image=None, text="an added row")
    write_rows(corpus, [row for row in rows if row["id"] != deleted] + [added])

    plan_after = {s.partition.id: s for s in make_plan(workspace).shards}
    expected_new = {s.address for s in plan_after.values()} - {s.address for s in plan_before.values()}
    summary = _reindex(lake_copy)
    after = addresses(workspace)

    touched = {item["table"]: item for item in summary["touched"]}
    assert set(touched["records"]["made"]) == expected_new == set(after["records"]) - set(before["records"])
    assert 1 <= len(expected_new) <= 4  # three rows, of which an added one may divide its partition
    assert len(touched["vectors"]["made"]) == len(expected_new)
    assert touched["records"]["reused"] == len(before["records"]) - len(touched["records"]["removed"])
    assert touched["index"]["reused"] > 0
    gone = result_of(trichord("explain", deleted, "--project", str(lake_copy), "--json"))
    assert (gone["outcome"], gone["history"][0]["event"]) == ("deleted", "went")
    hits = result_of(trichord("search", "--text", "an added row", "-k", "200", "--project", str(lake_copy), "--json"))[
        "hits"
    ]
    assert len(hits) == min(200, summary["rows_kept"])
    assert deleted not in {hit["key"] for hit in hits}
    assert "an-added-row" in {hit["key"] for hit in hits}

    # undoing the change gives the first addresses again: a shard is a pure function of its inputs
    write_rows(corpus, [row for row in rows if row["id"] != changed])
    _reindex(lake_copy)
    again = {s.address for s in make_plan(workspace).shards}
    assert again == set(addresses(workspace)["records"])
