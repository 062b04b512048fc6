"""Encoding: the same bytes however a shard is cut, decoding ahead in bounded memory, and where the time went."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest

from tests import built_models
from tests.pipelines.lakes import workspace_of
from tests.pipelines.model.planted_shard import fusion_model, records_shard
from trichord.encoders.frozen import load_encoders
from trichord.encoders.views import MODALITIES, Features
from trichord.index_builders.exact import exact_hits
from trichord.index_builders.vectors import find_unsound, vector_matrix
from trichord.infra.config import EncoderConfig, ModelConfig
from trichord.infra.errors import StorageError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardWriter, iter_shard, read_shard
from trichord.pipelines.core.exclusions import NOTHING, Exclusions
from trichord.pipelines.core.timings import Spent, Stopwatch, Timed, Timings
from trichord.pipelines.model import encode, prefetch
from trichord.pipelines.model.encode import FeatureActor, VectorActor
from trichord.pipelines.model.encode_items import EncodeItem
from trichord.pipelines.model.feature_cache import featurised
from trichord.pipelines.model.prefetch import BLOCKS, Blocks
from trichord.pipelines.reindex import reindex
from trichord.pipelines.search.search import search

ROWS = 100
SMALL = ModelConfig(dimension=32, hidden=32)
CUTS = [
    Blocks(rows=1_000, first_rows=1_000, part_rows=1_000, threads=1),
    Blocks(rows=32, first_rows=5, part_rows=3, threads=3),
    Blocks(rows=1_000, first_rows=1_000, bytes=100_000, part_rows=7),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> ModelConfig:
    """A project's encoders: a BERT, a ViT and a wav2vec 2.0 in strict numerics, each of two layers."""
    folder = tmp_path_factory.mktemp("models")
    return ModelConfig(
        text=EncoderConfig(kind="huggingface", path=str(built_models.bert(folder / "bert"))),
        image=EncoderConfig(kind="huggingface", path=str(built_models.vit(folder / "vit"))),
        audio=EncoderConfig(kind="huggingface", path=str(built_models.wav2vec2(folder / "wav2vec2"))),
        dimension=32,
        hidden=32,
    )


@pytest.fixture
def lake(tmp_path) -> str:
    return str(tmp_path / "lake")


def address(number: int) -> str:
    return f"{number:032x}"


def test_features_have_the_same_bits_however_a_shard_is_cut_into_blocks(storage, lake, built):
    records = records_shard(Lake(storage, lake), 45)
    encoders = load_encoders(built)

    def features(blocks: Blocks) -> tuple[list[str], Features]:
        found = list(featurised(Lake(storage, lake), records, encoders.featurise, blocks=blocks))
        return [key for rows, _ in found for key in rows["key"].to_pylist()], Features.concat([f for _, f in found])

    keys, whole = features(BLOCKS)
    assert keys == [f"row-{i:04d}" for i in range(45)]
    for cut in CUTS:
        again, other = features(cut)
        assert again == keys
        assert np.array_equal(other.present, whole.present)
        assert np.array_equal(other.offsets, whole.offsets)
        assert np.array_equal(other.captions, whole.captions)
        for m, name in enumerate(MODALITIES):
            assert whole.present[:, m].any()
            assert not whole.present[:, m].all()
            assert np.array_equal(other.values[name][other.present[:, m]], whole.values[name][whole.present[:, m]])


def test_shards_have_the_same_bytes_however_they_are_cut_and_with_or_without_the_cache(storage, lake):
    records = records_shard(Lake(storage, lake), 45)
    model = fusion_model(SMALL)
    vectors = VectorActor(Lake(storage, lake), model, ("fused", "image", "text"), "float16")
    item = EncodeItem(address=address(1), partition="planted/0", records=records)
    features = FeatureActor(Lake(storage, lake), model.encoders)(replace(item, address=address(2))).ref
    first = vectors(item).ref
    assert first.rows > 2 * 45
    assert vectors(replace(item, features=features)).ref.sha256 == first.sha256
    for cut in CUTS:
        assert replace(vectors, blocks=cut)(item).ref.sha256 == first.sha256
        again = FeatureActor(Lake(storage, lake), model.encoders, blocks=cut)
        assert again(replace(item, address=address(2))).ref == features


def test_of_a_record_every_view_it_has_stands_there_once_and_dropped_ones_not_at_all(storage, lake):
    records = records_shard(Lake(storage, lake), 40)
    digests = read_shard(Lake(storage, lake), records, ["row_digest"])["row_digest"].to_pylist()
    model = fusion_model(SMALL)
    dropped = [("planted/0", digests[3]), ("planted/0", digests[8])]
    excluded = Exclusions.gather(Lake(storage, lake), [], dropped).of("planted/0")
    item = EncodeItem(address=address(1), partition="planted/0", records=records, excluded=excluded)
    ref = VectorActor(Lake(storage, lake), model, ("image", "audio"))(item).ref
    table = read_shard(Lake(storage, lake), ref)
    wanted = [
        (f"row-{i:04d}", view)
        for i in range(40)
        for view, absent in (("image", i % 5 == 4), ("audio", i % 4 == 3))
        if not absent and i not in (3, 8)
    ]
    assert list(zip(table["key"].to_pylist(), table["view"].to_pylist(), strict=True)) == wanted
    expected = {"rows_in": 40, "rows_kept": 36, "rows_rejected": 4, "dropped": 2, "without_view": 2}
    assert ref.counts == expected  # rows 19 and 39 have neither picture nor sound


@pytest.mark.parametrize("make", [FeatureActor, VectorActor])
def test_a_row_that_vanishes_on_the_way_is_noticed_when_the_shard_is_written(storage, lake, monkeypatch, make):
    def losing(*given, **settings):
        for rows, features in featurised(*given, **settings):
            yield rows.slice(1), features.take(np.arange(1, rows.num_rows))

    monkeypatch.setattr(encode, "featurised", losing)
    model = fusion_model(SMALL)
    actor = make(Lake(storage, lake), *((model.encoders,) if make is FeatureActor else (model, ("image",))))
    with pytest.raises(ValueError, match="rows"):
        actor(EncodeItem(address=address(1), partition="planted/0", records=records_shard(Lake(storage, lake), 12)))


def test_half_precision_takes_half_the_space_and_finds_the_same(storage, lake):
    records = records_shard(Lake(storage, lake), ROWS)
    model = fusion_model(ModelConfig(dimension=256, hidden=32))
    item = EncodeItem(address=address(1), partition="planted/0", records=records)
    dtypes: tuple[Literal["float32", "float16"], ...] = ("float32", "float16")
    refs = {
        dtype: VectorActor(Lake(storage, lake), model, ("fused",), dtype)(replace(item, address=address(number))).ref
        for number, dtype in enumerate(dtypes)
    }
    tables = {dtype: read_shard(Lake(storage, lake), ref) for dtype, ref in refs.items()}
    assert tables["float16"].schema.field("vector").type.value_type == pa.float16()
    assert refs["float16"].bytes < 0.55 * refs["float32"].bytes
    matrix = {
        dtype: vector_matrix(table, dimension=256, fingerprint=model.fingerprint) for dtype, table in tables.items()
    }
    assert matrix["float16"].dtype == np.float32
    assert np.abs(matrix["float16"] - matrix["float32"]).max() < 2**-11
    assert not find_unsound(matrix["float16"]).any()
    found = [
        exact_hits(matrix["float32"], [table], 10, dimension=256, fingerprint=model.fingerprint)
        for table in tables.values()
    ]
    same = [len(set(a) & set(b)) for a, b in zip(found[0].keys, found[1].keys, strict=True)]
    assert np.mean(same) > 9.9
    for bad in (np.nan, 0.0, np.inf):
        spoilt = matrix["float16"].astype(np.float16)
        spoilt[7] = bad
        assert np.flatnonzero(find_unsound(spoilt)).tolist() == [7]


def test_decoding_runs_ahead_by_a_block_and_a_few_parts_at_most(storage, lake):
    records = records_shard(Lake(storage, lake), 120, side=8, seconds=0.05)
    cut = Blocks(rows=20, first_rows=10, part_rows=5, threads=2)
    seen = 0

    def keep(rows: pa.Table) -> np.ndarray:
        nonlocal seen
        seen += rows.num_rows
        return np.ones(rows.num_rows, dtype=bool)

    taken = 0
    for rows, _ in featurised(Lake(storage, lake), records, load_encoders(SMALL).featurise, keep=keep, blocks=cut):
        taken += rows.num_rows
        in_parts = (2 * cut.threads + 1) * cut.part_rows
        assert seen <= taken + cut.rows + in_parts
    assert taken == seen == 120


def test_a_block_is_no_larger_than_its_bytes_allow(storage, lake):
    records = records_shard(Lake(storage, lake), 40, side=100)
    cut = Blocks(rows=1_000, first_rows=1_000, bytes=200_000, part_rows=1)
    blocks = list(
        prefetch.decode_blocks(
            Lake(storage, lake), [(records, prefetch.keep_all)], ["key"], watch=Stopwatch(), blocks=cut
        )
    )
    assert sum(rows.num_rows for rows, _ in blocks) == 40
    one = max(
        (image.nbytes if image is not None else 0) + (wave.samples.nbytes if wave is not None else 0)
        for _, batch in blocks
        for image, wave in zip(batch.images, batch.waves, strict=True)
    )
    for _, batch in blocks:
        assert sum(image.nbytes for image in batch.images if image is not None) < cut.bytes + one


def test_only_the_columns_that_encoders_need_are_read(storage, lake, monkeypatch):
    records = records_shard(Lake(storage, lake), 10)
    asked: list[set[str]] = []

    def noting(*arguments, **options):
        asked.append(set(arguments[2]))
        return iter_shard(*arguments, **options)

    monkeypatch.setattr(prefetch, "iter_shard", noting)
    list(featurised(Lake(storage, lake), records, load_encoders(SMALL).featurise))
    assert len(asked) == 1
    assert asked[0].isdisjoint({"scores", "labels", "changes", "segments", "content_digest"})


def test_a_medium_that_cannot_be_decoded_is_named(storage, lake):
    good = read_shard(Lake(storage, lake), records_shard(Lake(storage, lake), 30))
    images = good["image"].to_pylist()
    images[11] = b"no picture"
    at = good.schema.get_field_index("image")
    spoilt = good.set_column(at, good.schema.field(at), pa.array(images, pa.binary()))
    with ShardWriter(Lake(storage, lake), "records", address(5), spoilt.schema) as writer:
        writer.write(spoilt)
        ref = writer.finish({"rows": 30})
    with pytest.raises(StorageError, match="row-0011"):
        list(featurised(Lake(storage, lake), ref, load_encoders(SMALL).featurise))


def test_a_consumer_that_stops_early_leaves_no_thread_waiting(storage, lake):
    records = records_shard(Lake(storage, lake), 60, side=8, seconds=0.05)
    found = featurised(
        Lake(storage, lake), records, load_encoders(SMALL).featurise, blocks=Blocks(rows=8, first_rows=8, part_rows=2)
    )
    next(found)
    assert isinstance(found, Generator)
    with ThreadPoolExecutor(1) as closer:
        closer.submit(found.close).result(timeout=60)


def test_the_seconds_of_every_step_are_told_beside_the_shard(storage, lake):
    records = records_shard(Lake(storage, lake), 40)
    model = fusion_model(SMALL)
    item = EncodeItem(address=address(1), partition="planted/0", records=records)
    timings = Timings()
    for actor, table in ((FeatureActor(Lake(storage, lake), model.encoders), "_features"),
                         (VectorActor(Lake(storage, lake), model, ("fused",)), "vectors")):  # fmt: skip
        made = actor(item)
        assert min(made.spent.read_s, made.spent.decode_s, made.spent.forward_s, made.spent.write_s) > 0
        assert made.spent.forward_s + made.spent.write_s + made.spent.waited_s <= made.spent.wall_s
        timings.add(table, made)
    summary = timings.summary()
    assert set(summary) == {"_features", "vectors"}
    assert summary["vectors"]["shards"] == 1
    assert summary["vectors"]["rows"] == 40


def test_timings_add_up_over_shards(storage, lake):
    ref = records_shard(Lake(storage, lake), 4)
    timings = Timings()
    for seconds in (1.0, 2.5):
        timings.add("vectors", Timed(ref, Spent(decode_s=seconds, wall_s=2 * seconds)))
    assert timings.summary()["vectors"] == {
        "shards": 2, "rows": 8, "copied": 0, "read_s": 0.0, "decode_s": 3.5, "forward_s": 0.0, "write_s": 0.0,
        "waited_s": 0.0, "wall_s": 7.0,
    }  # fmt: skip


def test_precision_of_stored_vectors_is_part_of_their_address():
    assert encode.vectors_address("r", NOTHING, "space", ("fused",), "float32") != encode.vectors_address(
        "r", NOTHING, "space", ("fused",), "float16"
    )


def test_a_change_of_precision_makes_the_vectors_anew_under_the_same_model(lake_copy, indexed):
    workspace = workspace_of(lake_copy, "index.vector_dtype=float16")
    before = workspace.table("vectors").shards()
    summary = reindex(workspace)
    after = workspace.table("vectors").shards()
    assert after.keys().isdisjoint(before)
    assert sum(ref.rows for ref in after.values()) == sum(ref.rows for ref in before.values())
    assert summary.fingerprint == indexed[1]["fingerprint"]
    assert {item.table: len(item.made) for item in summary.touched}["records"] == 0
    assert summary.timings["vectors"]["shards"] == len(after)
    assert indexed[1]["timings"]["_features"]["rows"] == indexed[1]["rows_kept"] + indexed[1]["rows_duplicate"]
    hits = search(workspace, text="a red circle", image=None, audio=None, k=5)["hits"]
    assert len(hits) == 5
