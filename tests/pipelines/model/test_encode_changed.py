"""Changed rows of many shards share passes, and every shard is that of a whole run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.pipelines.model.planted_shard import fusion_model, records_shard
from trichord.encoders.frozen import Encoders
from trichord.encoders.model import FusionModel
from trichord.infra.config import ModelConfig
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, ShardWriter, read_shard
from trichord.pipelines.core.exclusions import Exclusions
from trichord.pipelines.model.encode import FeatureActor, VectorActor
from trichord.pipelines.model.encode_changed import copy_features, copy_vectors, group_changed
from trichord.pipelines.model.encode_items import EncodeItem

SMALL = ModelConfig(dimension=32, hidden=32)


def address(number: int) -> str:
    return f"{number:032x}"


def cut(lake: Lake, rows: pa.Table, number: int, partition: str) -> ShardRef:
    """Some records as a shard of their own."""
    at = rows.schema.get_field_index("partition")
    rows = rows.set_column(at, rows.schema.field(at), pa.array([partition] * len(rows)))
    with ShardWriter(lake, "records", address(number), rows.schema) as writer:
        writer.write(rows)
        return writer.finish({"rows": len(rows)})


@pytest.fixture
def passes(monkeypatch) -> list[tuple[str, int]]:
    """What the encoders and the heads are given: rows of each pass."""
    seen: list[tuple[str, int]] = []
    for kind, owner, name in (("encoders", Encoders, "featurise"), ("heads", FusionModel, "embed")):
        plain = getattr(owner, name)

        def count(self, rows, *rest, kind=kind, plain=plain):
            seen.append((kind, len(rows)))
            return plain(self, rows, *rest)

        monkeypatch.setattr(owner, name, count)
    return seen


@pytest.mark.parametrize("cached", [True, False])
def test_rows_of_several_shards_share_passes_and_give_the_bytes_of_whole_shards(cached, storage, tmp_path, passes):
    lake = Lake(storage, str(tmp_path / "lake"))
    whole, model = read_shard(lake, records_shard(lake, 33)), fusion_model(SMALL)
    features, vectors = FeatureActor(lake, model.encoders), VectorActor(lake, model, ("fused", "text"))
    dropped = whole["row_digest"][13].as_py()
    items = []
    for number in range(3):
        rows = np.arange(number, 33, 3)
        before = rows[rows % 9 != number]  # all but the changed rows
        old = cut(lake, whole.take(pa.array(before)), 100 + number, f"planted/{number}")
        now = cut(lake, whole.take(pa.array(rows)), 200 + number, f"planted/{number}")
        excluded = Exclusions.gather(lake, [], [(f"planted/{number}", dropped)]).of(f"planted/{number}")
        items.append((old, EncodeItem(address=address(300 + number), partition=f"planted/{number}", records=now,
                                      excluded=excluded, changed=4)))  # fmt: skip
    made = [features(item) for _, item in items]
    based = [replace(item, address=address(400 + n), bases=(features(
        EncodeItem(address=address(500 + n), partition=item.partition, records=old)).ref,))
        for n, (old, item) in enumerate(items)]  # fmt: skip
    passes.clear()
    copied = copy_features(features, based)
    assert passes == [("encoders", 12)]  # 4 changed rows of each
    for one, other, item in zip(copied, made, based, strict=True):
        assert read_shard(lake, one.ref).equals(read_shard(lake, other.ref))
        assert one.copied == item.rows - 4

    wanted = [vectors(replace(item, address=address(600 + n))) for n, (_, item) in enumerate(items)]
    bases = [vectors(EncodeItem(address=address(700 + n), partition=item.partition, records=old)).ref
             for n, (old, item) in enumerate(items)]  # fmt: skip
    passes.clear()
    again = copy_vectors(vectors, [replace(item, address=address(800 + n), bases=(bases[n],),
                                           features=made[n].ref if cached else None)
                                   for n, (_, item) in enumerate(items)])  # fmt: skip
    heads = [rows for kind, rows in passes if kind == "heads"]
    assert heads == [heads[0]] * 2  # a pass for each view
    assert ("encoders" in dict(passes)) != cached
    for one, other in zip(again, wanted, strict=True):
        assert read_shard(lake, one.ref).equals(read_shard(lake, other.ref))
        assert one.ref.counts == other.ref.counts


def test_shards_are_put_together_until_their_changed_rows_fill_a_pass(storage, tmp_path):
    ref = records_shard(Lake(storage, str(tmp_path / "lake")), 10)
    one = EncodeItem(address=address(1), partition="p", records=ref)
    few, many = replace(one, bases=(ref,), changed=100), replace(one, bases=(ref,), changed=300)
    assert group_changed([one, few, one, few, few, many, few]) == [[one], [few, few], [one], [few], [many], [few]]
    long = replace(few, records=replace(ref, rows=2_000), changed=0)
    assert group_changed([long] * 3) == [[long, long], [long]]
