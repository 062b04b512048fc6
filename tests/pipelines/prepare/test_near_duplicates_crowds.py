"""A crowd of near rows: split over tasks, joined by a pivot, compared once a row."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from trichord.infra import digest
from trichord.infra.config import DedupConfig, StorageConfig
from trichord.infra.digest import generator
from trichord.infra.engines.grouping import merge
from trichord.infra.lake import schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, ShardWriter
from trichord.infra.lake.storage import Storage
from trichord.pipelines.prepare.near_duplicates import _decide
from trichord.pipelines.prepare.near_duplicates_buckets import CountCrowds, EmitNear, ReduceNear, batched
from trichord.pipelines.prepare.near_duplicates_compare import Compared
from trichord.transforms.dedup.candidates import Candidates, Members, find_candidates
from trichord.transforms.dedup.clusters import settle
from trichord.transforms.dedup.near import Ints
from trichord.transforms.dedup.same_text import form_digest
from trichord.transforms.dedup.shingles import bands_of, text_sketches

CONFIG = DedupConfig()
ROWS, MOST = 3_000, 600


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, ShardRef]:
    """One template of a text, numbered, and one picture with noise."""
    lake = Lake(Storage(StorageConfig()), str(tmp_path_factory.mktemp("crowd")))
    texts = [f"Order {i} of craft beer from the mountains, in bottles of half a litre, to be paid" for i in range(ROWS)]
    sketches = text_sketches(texts)
    rng = generator("test-crowd")
    one = np.frombuffer(rng.bytes(40), np.uint8)
    rows = []
    for i, (text, sketch, bands) in enumerate(zip(texts, sketches, bands_of(sketches), strict=True)):
        picture = one.copy()
        for place in rng.integers(0, 320, 4).tolist():
            picture[place // 8] ^= 1 << (place % 8)
        of_row = {"key": f"k{i}", "source": "s", "partition": "p", "row_digest": digest.address(i),
                  "content_digest": digest.address(i), "input_digest": ""}  # fmt: skip
        said = {"modalities": "text", "text_sketch": sketch, "text_bands": bands, "text_form": form_digest(text)}
        rows.append(of_row | (said if i % 2 else {"modalities": "image", "image_hash": picture.tobytes() + bytes(32)}))
    with ShardWriter(lake, "signatures", digest.address("crowd"), schema.SIGNATURES) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=schema.SIGNATURES))
        return lake, writer.finish({"rows": ROWS})


def test_a_crowded_key_is_split_and_its_rows_are_still_joined(numbered: tuple[Lake, ShardRef]) -> None:
    lake, ref = numbered
    whole = EmitNear(lake, CONFIG, (), 0)([(0, ref)])
    largest = Counter(whole["group_key"].to_pylist()).most_common(1)[0][1]
    assert largest > 2 * MOST
    sampled = EmitNear(lake, CONFIG, (), 0, sample=True)([(0, ref)])
    assert len(sampled) < len(whole) / 8
    split = CountCrowds(MOST)(merge([sampled]))
    assert split
    divided = EmitNear(lake, CONFIG, (), 0, split)([(0, ref)])
    sizes = Counter(divided["group_key"].to_pylist())
    assert sizes.total() == len(whole)
    assert max(sizes.values()) < 2 * MOST < largest
    for table in (whole, divided):
        found = ReduceNear(CONFIG, 0)(merge([table]))
        for name in ("text", "image"):
            assert len(np.unique(found.edges[name])) > 0.45 * ROWS


def test_small_shards_are_emitted_together_and_give_the_same(numbered: tuple[Lake, ShardRef]) -> None:
    lake, ref = numbered
    sizes = [0, 100, 8_000, 92, 1, 9_000, 8_192, 5]
    batches = batched([replace(ref, rows=rows) for rows in sizes])
    assert [[number for number, _ in batch] for batch in batches] == [[0, 1, 2, 3], [4], [5], [6], [7]]
    emit = EmitNear(lake, CONFIG, (), 0)
    apart = merge([emit([(0, ref)]), emit([(1, ref)])])
    assert merge([emit([(0, ref), (1, ref)])]).equals(apart)


def test_the_order_of_rows_does_not_change_what_is_near(numbered: tuple[Lake, ShardRef]) -> None:
    lake, ref = numbered
    table = EmitNear(lake, CONFIG, (), 0)([(0, ref)])
    turned = table.set_column(1, "row", pa.array(ROWS - 1 - table["row"].to_numpy()))
    one, other = ReduceNear(CONFIG, 0)(merge([table])), ReduceNear(CONFIG, 0)(merge([turned]))
    assert one.nearest.keys() == other.nearest.keys() == {"image"}
    back = np.unique(np.sort(ROWS - 1 - other.nearest["image"], axis=1), axis=0)
    assert back.tolist() == np.unique(np.sort(one.nearest["image"], axis=1), axis=0).tolist()


class Counting:
    """Compares rows by a number of their own, and counts."""

    def __init__(self, items: Ints) -> None:
        self.items, self.pairs = items, 0

    def compare(self, pairs: Ints) -> list[Compared]:
        """As `Comparer.compare`."""
        self.pairs += len(pairs)
        same = self.items[pairs[:, 0]] == self.items[pairs[:, 1]]
        return [Compared(same=bool(one), distances={}, modality="image", why="", uncertain=True) for one in same]


def test_rows_of_a_crowd_are_compared_with_their_pivot_and_no_more() -> None:
    size = 400
    rng = generator("test-crowd", "pivot")
    one = np.frombuffer(rng.bytes(40), np.uint8)
    pictures = []
    for _ in range(size):
        picture = one.copy()
        for place in rng.integers(64, 320, 3).tolist():
            picture[place // 8] ^= 1 << (place % 8)
        pictures.append(picture.tobytes() + bytes(32))
    members = Members(modalities=["image"] * size,
                      signatures={"image": pictures, "audio": [None] * size, "text": [None] * size},
                      forms=[None] * size, inner=[None] * size)  # fmt: skip
    star = np.stack([np.zeros(size - 1, np.int64), np.arange(1, size)], axis=1)
    ring = np.stack([np.arange(size - 1), np.arange(1, size)], axis=1)
    found = find_candidates(members, {"image": star}, {"image": ring}, CONFIG)
    comparer = Counting(np.zeros(size, np.int64))
    decided = _decide(comparer.compare, size, found, found.nearest)
    assert comparer.pairs == size - 1
    assert {(one.dropped, one.survivor) for one in decided.same} == {(row, 0) for row in range(1, size)}


def test_what_is_dropped_is_what_comparing_all_candidates_drops() -> None:
    rng = generator("test-crowd", "decide")
    for _ in range(40):
        size = 30
        items = rng.integers(0, 8, size)
        nearest = np.unique(np.sort(rng.integers(0, size, (120, 2)), axis=1), axis=0)
        nearest = nearest[nearest[:, 0] < nearest[:, 1]]
        none = np.zeros((0, 2), np.int64)
        found = Candidates(equal=none, pivots=nearest[::5], nearest=nearest)
        comparer = Counting(items)
        decided = _decide(comparer.compare, size, found, nearest)
        dropped = {one.dropped: one.survivor for one in decided.same}
        assert all(items[row] == items[survivor] for row, survivor in dropped.items())
        every = settle(size, nearest[items[nearest[:, 0]] == items[nearest[:, 1]]])
        assert set(np.flatnonzero(every != np.arange(size)).tolist()) <= dropped.keys()
        assert comparer.pairs <= 2 * len(nearest)
