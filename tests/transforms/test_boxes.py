"""One bad box refuses that box: its row and the row's other boxes stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.transforms.samples import picture, saved
from trichord.infra.config import FieldMap, ManifestSource, StorageConfig
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.align.regions import CutRegions
from trichord.transforms.align.time import CutTime
from trichord.transforms.batch import Batch, Row, join
from trichord.transforms.clean.image import ImageDecode
from trichord.transforms.collect import plan_source, read_partition
from trichord.transforms.op import run_chain


def _manifest(folder: Path, boxes: list[Any]) -> Batch:
    """Two rows, of which the first has a picture of 160 × 120 pixels and these boxes."""
    (folder / "p.png").write_bytes(saved(picture(160, 120), "PNG"))
    rows = [{"id": "k0", "text": "t", "image": "p.png", "boxes": boxes}, {"id": "k1", "text": "t"}]
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = FieldMap(image="image", regions="boxes")
    source = ManifestSource(kind="manifest", name="m", path=str(folder / "m.jsonl"), fields=fields)
    lake = Lake(Storage(StorageConfig()), str(folder / "lake"))
    partitions = plan_source(source, lake, rows_per_partition=8, cache=None).partitions
    return join(batch for partition in partitions for batch in read_partition(source, lake, partition))


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ({"box": [1, 2, 3], "text": "a"}, "must be [x, y, w, h]"),
        ({"box": [1, 2, 0, 3], "text": "a"}, "[1.0, 2.0, 0.0, 3.0] is not a box in a picture"),
        ({"box": [9, 9, -4, -4], "text": "a"}, "is not a box in a picture"),
        ({"box": [-1, 2, 3, 3], "text": "a"}, "is not a box in a picture"),
        ({"box": [1, 2, 3, None], "text": "a"}, "must be a number, not 'None'"),
        ({"box": [1, 2, 3, "NaN"], "text": "a"}, "must be a number, not 'NaN'"),
        ({"box": [1, 2, 3, 10**400], "text": "a"}, "must be a number"),
        ({"box": [1, 2, 3, True], "text": "a"}, "must be a number, not 'True'"),
        ({"box": [1, 2, 3, 4]}, "text must be a string"),
        ({"text": "a"}, "must be [x, y, w, h]"),
        (7, "must be an object, not int"),
    ],
)
def test_a_bad_box_is_refused_and_the_row_and_its_other_boxes_stay(region: Any, said: str, tmp_path: Path) -> None:
    good = {"box": [0, 0, 5, 6], "text": "cat"}
    batch = _manifest(tmp_path, [good, region, good])
    assert not batch.rejects
    after = CutRegions(parents="keep")(batch)
    assert [row.key for row in after.rows] == ["k0", "k0#r0000", "k0#r0002", "k1"]
    (reject,) = after.rejects
    assert (reject.key, reject.reason) == ("k0#r0001", "regions_invalid")
    assert reject.detail.startswith("regions[1]")
    assert said in reject.detail


def test_a_box_outside_its_picture_is_refused_and_the_others_stay(tmp_path: Path) -> None:
    boxes = [{"box": box, "text": "x"} for box in ([0, 0, 40, 30], [500, 0, 9, 9], [150, 110, 99, 99])]
    batch = _manifest(tmp_path, boxes)
    cut = CutRegions(parents="keep")(batch)
    after = ImageDecode(max_bytes=1 << 20, max_pixels=1 << 20, side=256)(cut)
    shapes = {
        row.key: None if rgb is None else rgb.shape[:2] for row, rgb in zip(after.rows, after.images, strict=True)
    }
    assert shapes == {"k0": (120, 160), "k0#r0000": (30, 40), "k0#r0002": (10, 10), "k1": None}
    assert [(reject.key, reject.reason) for reject in after.rejects] == [("k0#r0001", "region_outside")]


def test_boxes_and_segments_of_a_row_without_its_medium_are_told_of() -> None:
    told = {"regions": [{"box": [0, 0, 5, 6], "text": "cat"}], "segments": [{"start_s": 0, "end_s": 1, "text": "meow"}]}
    rows = tuple(Row(key=key, text="t", alignment=json.dumps(told if key == "a" else {})) for key in "ab")
    after, _ = run_chain(Batch(rows=rows), (CutTime(parents="keep"), CutRegions(parents="keep")))
    assert not after.rejects
    assert [(row.key, row.labels) for row in after.rows] == [
        ("a", (("regions_skipped", "no picture"), ("segments_skipped", "no sound"))),
        ("b", ()),
    ]
