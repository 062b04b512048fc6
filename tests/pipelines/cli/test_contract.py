"""What scripts may rely on (docs/cli.md): verbs, keys of the JSON results, exit codes."""

from __future__ import annotations

import json

import pytest

from tests.pipelines.lakes import result_of, trichord

VERBS = {
    "init", "schema", "demo", "plan", "prepare", "reindex", "search", "evaluate", "publish", "rollback", "status",
    "diff", "explain", "rejects", "verify", "recover", "gc", "doctor", "ask", "feedback", "rag-eval", "adapt",
    "compare", "watch", "submit", "jobs", "backfill", "nightly", "maintain", "metrics", "runs", "duplicates",
}  # fmt: skip
REINDEX = {
    "manifest_digest", "publication", "fingerprint", "rows_in", "rows_added", "rows_kept", "rows_rejected",
    "rows_duplicate", "rows_disagreeing", "disagreements", "rows_without_view", "shards_made", "shards_reused",
    "touched", "unchanged", "evaluation", "timings", "stages", "seconds", "ignored_endings",
}  # fmt: skip
PLAN = {
    "unchanged", "live", "sources", "rows", "stages", "seconds", "cost", "basis", "ignored_files", "ignored_endings",
    "warnings",
}  # fmt: skip
STAGE = {"stage", "unit", "to_make", "kept", "removed", "rows", "why", "at_least", "about", "details", "seconds"}
VIEWS = {"text", "image", "audio", "fused"}


def test_help_names_every_verb():
    shown = trichord("--help").stdout
    assert all(verb in shown for verb in VERBS)


def test_reindex_prints_what_the_manual_says(indexed):
    assert set(indexed[1]) == REINDEX
    assert {item["table"] for item in indexed[1]["touched"]} == {
        "records", "rejects", "signatures", "duplicates", "matches", "vectors", "index",
    }  # fmt: skip
    assert indexed[1]["stages"]["records"]["made"] > 0
    assert all(set(stage) == {"made", "seconds", "cpu_s"} for stage in indexed[1]["stages"].values())


def test_plan_prints_every_stage_in_its_order(indexed):
    project, settings = str(indexed[0]), ("--set", "model.dimension=24")
    result = result_of(trichord("plan", "--project", project, *settings, "--json"))
    assert set(result) == PLAN
    assert [stage["stage"] for stage in result["stages"]] == [
        "records", "duplicates", "variants", "features", "agreement", "model", "vectors", "index", "gate", "publish",
    ]  # fmt: skip
    assert all(set(stage) == STAGE for stage in result["stages"])
    shown = trichord("plan", "--project", project, *settings).stdout
    assert "every record is encoded with it" in " ".join(shown.split())


def test_diff_of_a_first_publication_says_that_there_is_nothing_to_compare_with(indexed):
    assert "first publication" in trichord("diff", "--project", str(indexed[0]), check=2).stderr


def test_evaluate_prints_the_matrix_and_the_mixed_gallery(indexed):
    result = result_of(trichord("evaluate", "--project", str(indexed[0]), "--json"))
    assert set(result["recall_at_10"]) == {"text", "image", "audio"}
    assert all(set(cells) == VIEWS for cells in result["recall_at_10"].values())
    assert {"recall_at_10", "ndcg_at_10", "retention"} <= set(result["mixed"])
    assert result["mixed"]["draws"] == 8
    assert result["mixed"]["spread"]["ndcg_at_10"] > 0
    assert set(result["mixed"]["spread"]["retention"]) == set(result["mixed"]["retention"])
    assert {"text", "image", "audio"} <= set(result["mixed"]["retention"])
    assert result["records"] > 0


def test_search_prints_hits(indexed):
    result = result_of(trichord("search", "--text", "a red circle", "-k", "3", "--project", str(indexed[0]), "--json"))
    assert {"publication", "fingerprint", "hits"} <= set(result)
    assert all({"key", "score", "view", "source"} <= set(hit) for hit in result["hits"])
    assert len(result["hits"]) == 3


@pytest.mark.parametrize(
    "arguments",
    [("plan",), ("status",), ("verify",), ("gc",), ("rejects", "ls"), ("doctor",)],
    ids=lambda arguments: " ".join(arguments),
)
def test_every_verb_speaks_json_and_prose(indexed, arguments):
    assert isinstance(
        result_of(trichord(*arguments, "--project", str(indexed[0]), "--engine", "local", "--json")), dict
    )
    assert trichord(*arguments, "--project", str(indexed[0])).stdout.strip()


def test_a_wrong_setting_exits_2_and_names_it(indexed):
    done = trichord("plan", "--project", str(indexed[0]), "--set", "train.epoch=3", check=2)
    assert "train.epoch" in done.stderr
    assert "epochs" in done.stderr
    assert "Traceback" not in done.stderr
    trichord("plan", "--project", "no-such-file.yaml", check=2)


def test_a_source_that_is_not_there_exits_7(indexed, tmp_path):
    done = trichord(
        "reindex", "--project", str(indexed[0]), "--set", "sources.0.path=/no/such/manifest.jsonl", "--json",
        "--set", f"lake={tmp_path}", check=7,
    )  # fmt: skip
    event = json.loads(done.stderr.strip().splitlines()[-1])
    assert event["event"] == "error"
    assert event["exit_code"] == 7


def test_init_writes_a_file_that_loads(tmp_path):
    trichord("init", "--out", str(tmp_path / "trichord.yaml"))
    assert json.loads(trichord("schema").stdout)["properties"]["sources"]
    done = trichord("init", "--full", "--out", str(tmp_path / "trichord.yaml"), check=2)
    assert "--force" in done.stderr
    trichord("init", "--full", "--force", "--out", str(tmp_path / "trichord.yaml"))


def test_init_looks_at_data_and_prints_what_the_manual_says(indexed, tmp_path):
    manifest, out = str(indexed[0].parent / "corpus" / "manifest.jsonl"), str(tmp_path / "trichord.yaml")
    result = result_of(trichord("init", manifest, "--out", out, "--json"))
    assert set(result) == {"path", "source", "looked_at", "records", "notes"}
    assert result["source"]["kind"] == "manifest"
    assert len(result["records"]) == 3
    shown = trichord("init", manifest, "--out", out, "--force").stdout
    assert all(record["key"] in shown for record in result["records"])
