"""The real data: every one of the 327 rows is accounted for, and all three kinds of query are answered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.pipelines.lakes import result_of, trichord

pytestmark = [pytest.mark.sample, pytest.mark.xdist_group("sample")]  # one worker trains for all
PROJECT = Path(__file__).parents[2] / "examples" / "sample.yaml"


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    sample = Path(os.environ["TRICHORD_SAMPLE"])
    lake = tmp_path_factory.mktemp("sample-lake")
    return ["--project", str(PROJECT), "--set", f"lake={lake}", "--set", f"sources.0.path={sample / 'manifest.jsonl'}",
            "--json"]  # fmt: skip


@pytest.fixture(scope="module")
def summary(flags):
    return result_of(trichord("reindex", *flags))


def test_all_327_rows_are_accounted_for(summary, flags):
    assert summary["rows_in"] == 327
    assert summary["rows_kept"] + summary["rows_rejected"] + summary["rows_duplicate"] == 327
    rejects = result_of(trichord("rejects", "ls", *flags))
    assert rejects["total"] == summary["rows_rejected"]
    assert all(row["reason"] and row["detail"] for row in rejects["rows"])


def test_the_matrix_is_measured_on_the_held_out_stories_and_folds(summary):
    assert summary["evaluation"]["records"] > 50
    cells = summary["evaluation"]["recall_at_10"]
    assert all(cells[q][g] is not None for q, g in (("text", "image"), ("image", "text"), ("text", "audio")))


def test_mixed_figures_say_how_far_the_draw_of_forms_moves_them(summary):
    mixed = summary["evaluation"]["mixed"]
    assert mixed["draws"] == 8
    assert 0 < mixed["spread"]["ndcg_at_10"] < 0.05
    assert 0 < mixed["spread"]["retention_overall"] < 0.2
    assert set(mixed["spread"]["retention"]) == set(mixed["retention"])


def test_text_picture_and_sound_find_something(summary, flags):
    sample = Path(os.environ["TRICHORD_SAMPLE"])
    picture = next((sample / "coco_ccby" / "images").glob("*.jpg"))
    sound = next((sample / "esc10" / "audio").glob("*.ogg"))
    for query in (["--text", "a dog barking"], ["--image", str(picture)], ["--audio", str(sound)]):
        hits = result_of(trichord("search", *query, "-k", "5", *flags))["hits"]
        assert len(hits) == 5
