"""The recipes under examples/ run on data of the form they are written for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.pipelines.lakes import result_of, rows_of, trichord
from trichord.pipelines.demo.corpus import write_corpus

EXAMPLES = Path(__file__).parents[3] / "examples"
RECORDS = 24


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, records=RECORDS, seed=5, defects=0.0)
    return folder


def prepared(recipe: str, lake: Path, path: Path, *overrides: str) -> dict:
    flags = [f"--set={override}" for override in (f"lake={lake}", f"sources.0.path={path}", *overrides)]
    return result_of(trichord("prepare", "--project", str(EXAMPLES / recipe), *flags, "--json"))


def test_photos_with_captions_in_coco_form(corpus, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    content: dict[str, list[dict]] = {"images": [], "annotations": []}
    for number, row in enumerate(rows_of(corpus)):
        name = f"{number:012d}{Path(row['image']).suffix}"
        shutil.copy(corpus / row["image"], photos / name)
        content["images"].append({"id": number, "file_name": name})
        for caption in (row["text"], *row["captions"]):
            content["annotations"].append({"id": len(content["annotations"]), "image_id": number, "caption": caption})
    content["images"].append({"id": 999, "file_name": "gone.jpg"})
    captions = tmp_path / "captions_val2017.json"
    captions.write_text(json.dumps(content))
    summary = prepared("image_captions.yaml", tmp_path / "lake", captions, f"sources.0.media_root={photos}")
    assert summary["rows_in"] == RECORDS + 1
    assert summary["rows_kept"] + summary["rows_duplicate"] >= RECORDS - 2
    assert summary["rows_rejected"] >= 1


def test_sound_events_in_labelled_folders(corpus, tmp_path):
    for number, row in enumerate(rows_of(corpus)):
        folder = tmp_path / "events" / ("train" if number % 4 else "test") / ("bell" if number % 2 else "drone")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(corpus / row["audio"], folder)
    summary = prepared("sound_events.yaml", tmp_path / "lake", tmp_path / "events")
    assert summary["rows_in"] == RECORDS
    assert summary["rows_kept"] + summary["rows_duplicate"] == RECORDS


def test_read_speech_with_pictures(corpus, tmp_path):
    # the demo's sounds hold no voice: rows without a page being read are what the recipe must refuse
    rows = [{**row, "group": "book"} for row in rows_of(corpus)[:6]]
    rows.append({"id": "silent page", "text": "Nobody reads this.", "image": rows[0]["image"]})
    pages = corpus / "pages.jsonl"
    pages.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = [
        "--project",
        str(EXAMPLES / "read_speech.yaml"),
        f"--set=lake={tmp_path / 'lake'}",
        f"--set=sources.0.path={pages}",
    ]
    refused = trichord("prepare", *flags, check=3)
    assert "No row was kept: 7 of 7 were rejected (threshold:audio_no_speech 6, modalities 1)" in refused.stderr
    summary = result_of(trichord("prepare", *flags, "--set=prepare.audio.min_speech_share=null", "--json"))
    assert summary["rows_in"] == len(rows)
    rejected = {step["op"]: step["rows_rejected"] for step in summary["funnel"]}
    assert rejected["modalities"] == 1
    assert "speech_align" in rejected
