"""diff on the real data: exactly the 5 changed, 3 deleted and 10 added records of an edit, without an alarm."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageOps

import trichord
from trichord.infra.lake.shard import read_shard

pytestmark = [pytest.mark.sample, pytest.mark.xdist_group("sample")]
PROJECT = Path(__file__).parents[3] / "examples" / "sample.yaml"


def _involved(workspace: trichord.Workspace) -> set[str]:
    """Keys that were left out, or that share a picture or a sound: what becomes of one decides about another."""
    found = set[str]()
    for table, other in (("rejects", "key"), ("duplicates", "survivor_key"), ("matches", "other_key")):
        for ref in workspace.pinned_shards(table, workspace.publications.live()).values():
            for row in read_shard(workspace.lake, ref).to_pylist():
                if row.get("modality") != "text":
                    found |= {row["key"], row[other]}
    return found


def test_a_diff_of_the_sample_counts_what_was_edited(tmp_path):
    data, source = tmp_path / "data", Path(os.environ["TRICHORD_SAMPLE"])
    shutil.copytree(source, data)
    every = [json.loads(line) for line in (source / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    added = [row["id"] for row in every if row["id"].startswith("coco")][::7][:10]
    workspace = trichord.open(PROJECT, f"lake={tmp_path / 'lake'}", f"sources.0.path={data / 'manifest.jsonl'}")

    def publish(rows: list[dict]) -> str:
        (data / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        found = workspace.reindex().publication
        assert found is not None
        return found

    first = publish([row for row in every if row["id"] not in added])
    involved = _involved(workspace) | set(added)
    photos = [row for row in every if row["id"].startswith("coco") and row["id"] not in involved]
    sounds = [row for row in every if row["id"].startswith("esc") and row["id"] not in involved]
    text, words, picture, meta, gone, lost = photos[:6]
    sound, silent = sounds[:2]
    with Image.open(data / picture["image"]) as image:
        ImageOps.invert(ImageOps.mirror(image.convert("RGB"))).save(data / "changed.png")
    wave, rate_hz = soundfile.read(data / sound["audio"])
    soundfile.write(data / "changed.wav", np.flip(wave, axis=0) * 0.8, rate_hz)
    edits = {
        text["id"]: text | {"text": "Seven grey geese wait on a frozen pond."},
        words["id"]: words | {"text": "Two climbers rest below a snowy ridge."},
        picture["id"]: picture | {"image": "changed.png"},
        sound["id"]: sound | {"audio": "changed.wav"},
        meta["id"]: meta | {"license": "CC BY 4.0 (checked)"},
    }
    removed = {gone["id"], lost["id"], silent["id"]}
    second = publish([edits.get(row["id"], row) for row in every if row["id"] not in removed])

    page = tmp_path / "diff.html"
    found = workspace.diff(report=page)
    assert (found.before, found.after) == (first, second)
    assert (found.added.count, set(found.added.first)) == (10, {f"sample/{key}" for key in added})
    assert (found.removed.count, set(found.removed.first)) == (3, {f"sample/{key}" for key in removed})
    assert (found.changed.count, set(found.changed.first)) == (5, {f"sample/{key}" for key in edits})
    assert found.moved == ()
    assert {name: found.fields.fields.get(name) for name in ("text", "image", "audio", "meta")} == {
        "text": 2, "image": 1, "audio": 1, "meta": 1,
    }  # fmt: skip
    assert not any(one.drifted for one in found.scores)
    assert not any(one.drifted for one in found.vectors.views)
    assert found.vectors.views[0].cosines is not None
    assert found.vectors.views[0].cosines.records == 5
    assert found.queries.asked > 150
    assert 0 < found.queries.changed < found.queries.asked / 2
    edited = {"added", "removed", "changed"}
    for one in found.queries.most_changed:
        was, now = ({hit.key: hit for hit in side} for side in (one.before, one.after))
        marks = {hit.change for hit in (*was.values(), *now.values()) if (hit.key in was) != (hit.key in now)}
        assert marks & edited, "a list changes only by what came, went or changed"
    assert page.stat().st_size < 2_000_000
    assert workspace.explain(gone["id"]).outcome == "deleted"
    assert workspace.explain(gone["id"]).history[0].last == first
