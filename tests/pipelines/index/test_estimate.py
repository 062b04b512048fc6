"""An index planned on paper: sizes follow the rows, and what the figures leave out is said."""

from __future__ import annotations

from tests.pipelines.lakes import result_of, trichord


def planned(project, rows, *settings):
    """What `trichord plan --rows` tells as JSON."""
    asked = ["plan", "--rows", rows, "--dimension", "768", "--cores", "64", "--project", str(project), "--json"]
    return result_of(trichord(*asked, *(word for setting in settings for word in ("--set", setting))))


def test_a_billion_rows_are_planned_without_a_row(tmp_path):
    project = tmp_path / "trichord.yaml"
    project.write_text("lake: lake\nsources: [{kind: manifest, name: none, path: none.jsonl}]\n")
    some, many = planned(project, "1e8"), planned(project, "1e9")
    assert (many["rows"], many["shards"], many["gpus"], many["advice"]) == (10**9, 10_000, 0, "")
    assert many["keys_bytes"] == 10 * some["keys_bytes"]
    assert many["scanned_bytes"] < many["index_bytes"]
    assert many["core_hours"] > some["core_hours"] > 0
    assert abs(many["core_hours"] - 64 * many["build_hours"]) < 0.1

    tiny = planned(project, "1e9", "index.rows_per_shard=1000")
    assert tiny["shards"] == 10**6
    assert "Set it to 50,000 or more." in tiny["advice"]
