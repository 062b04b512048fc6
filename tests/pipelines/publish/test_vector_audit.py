"""What is indexed is what the model makes of the records: a tower or shard swapped behind its name is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.lakes import copy_of, result_of, trichord, workspace_of
from trichord.encoders.base import Encoder, Modality
from trichord.encoders.features import ImageStatistics, LogMelStatistics
from trichord.encoders.frozen import Encoders, load_encoders
from trichord.encoders.model import FusionModel
from trichord.infra.lake import schema
from trichord.infra.lake.shard import ShardRef, ShardWriter, read_shard
from trichord.pipelines.core.model_store import load_model
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.partition_map import read_partitions
from trichord.pipelines.model.encode import FeatureActor
from trichord.pipelines.model.encode_items import EncodeItem
from trichord.pipelines.model.feature_cache import features_address, lists_of
from trichord.pipelines.publish.vector_audit import ContentActor


class MirroredImages(ImageStatistics):
    """What the image encoder would be after a change of its code without a new version."""

    def encode(self, inputs):
        return super().encode([np.ascontiguousarray(picture[:, ::-1]) for picture in inputs])


class FasterSounds(LogMelStatistics):
    """The same of the audio encoder."""

    def encode(self, inputs):
        return super().encode([wave[::2] for wave in inputs])


def swapped(encoders: Encoders, modality: Modality) -> Encoders:
    changed: dict[str, Encoder] = {"image": MirroredImages(), "audio": FasterSounds()}
    other = Encoders({**encoders.by_modality, modality: changed[modality]})
    assert other.fingerprint == encoders.fingerprint
    return other


def actor(workspace: Workspace, model: FusionModel, rows: int = 4) -> ContentActor:
    live = workspace.publications.live()
    assert live is not None
    partitions = read_partitions(workspace, live.manifest)
    return ContentActor(lake=workspace.lake, model=model, partitions=partitions, rows=rows)


@pytest.fixture(scope="session")
def model(indexed) -> FusionModel:
    workspace = workspace_of(indexed[0])
    live = workspace.publications.live()
    assert live is not None
    return load_model(workspace.lake, live.model, live.fingerprint, workspace.project.model)


def vectors_of(workspace: Workspace) -> list[ShardRef]:
    return sorted(workspace.table("vectors").shards().values(), key=lambda ref: ref.address)


def replaced(workspace: Workspace, ref: ShardRef, change: Callable[[np.ndarray], np.ndarray]) -> ShardRef:
    """The shard written anew under its address by the lake's own writer, with other vectors."""
    table = read_shard(workspace.lake, ref)
    vectors = np.asarray(table["vector"].combine_chunks().flatten()).reshape(table.num_rows, -1)
    Path(workspace.lake.uri(ref.path)).unlink()
    table_schema = schema.vectors_schema(vectors.shape[1])
    with ShardWriter(workspace.lake, "vectors", ref.address, table_schema) as writer:
        column = lists_of(np.ascontiguousarray(change(vectors)))
        writer.write(table.set_column(table.schema.get_field_index("vector"), "vector", column))
        counts = {"rows_in": ref.rows, "rows_kept": ref.rows, "rows_rejected": 0}
        return writer.finish(counts | {"dropped": 0, "without_view": 0})


def test_a_publication_tells_that_its_vectors_are_the_models_to_the_last_bit(indexed):
    live = workspace_of(indexed[0]).publications.live()
    assert live is not None
    [check] = [c for c in live.verdict.checks if c.name == "content_matches"]
    shards = len(vectors_of(workspace_of(indexed[0])))
    assert check.passed
    assert (check.value, check.threshold) == (1.0, 0.99999)
    assert check.detail.startswith(f"{2 * shards} of {2 * shards} vectors of {2 * shards} records")


def test_the_rows_looked_at_follow_from_the_shards_address_alone(indexed, model):
    workspace = workspace_of(indexed[0])
    look = actor(workspace, model)
    seen = [[look._stored(ref)["row_digest"].to_pylist() for ref in vectors_of(workspace)] for _ in range(2)]
    assert seen[0] == seen[1]
    assert {len(rows) for rows in seen[0]} == {4}


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_an_encoder_changed_behind_its_name_is_found_and_named(indexed, model, modality: Modality):
    workspace = workspace_of(indexed[0])
    changed = FusionModel(model.config, swapped(model.encoders, modality), model.network, model.calibration)
    assert changed.fingerprint == model.fingerprint
    found = actor(workspace, model)(vectors_of(workspace)[:1]) + actor(workspace, changed)(vectors_of(workspace))
    assert 0 < len(found.misfits) <= found.vectors - 4
    named = [misfit for misfit in found.misfits if f"features in the cache: {modality} " in misfit]
    assert len(named) >= len(found.misfits) / 2  # a picture that is nearly its own mirror image has the same features
    for misfit in found.misfits:
        assert "view fused: cosine 0." in misfit
        assert misfit in named or misfit.endswith("(the cached features are right)")


@pytest.mark.parametrize(
    ("change", "cosine"),
    [
        (lambda vectors: np.roll(vectors, 1, axis=0), None),  # the right vectors at the wrong rows
        (lambda vectors: -vectors, "cosine -1.0000"),
        (lambda vectors: np.full_like(vectors, np.nan), "cosine nan"),
    ],
)
def test_a_shard_of_other_vectors_under_the_right_name_is_found(lake_copy, model, change, cosine):
    workspace = workspace_of(lake_copy)
    ref = vectors_of(workspace)[0]
    assert actor(workspace, model)([ref]).misfits == ()
    other = replaced(workspace, ref, change)
    assert (other.address, other.sha256 != ref.sha256) == (ref.address, True)
    found = actor(workspace, model)([other])
    assert len(found.misfits) >= 3
    for misfit in found.misfits:
        assert misfit.startswith(other.path)
        assert (cosine or "cosine") in misfit
        assert "the cached features are right" in misfit


def test_vectors_of_records_that_are_not_there_are_misfits(lake_copy, model):
    workspace = workspace_of(lake_copy)
    look, ref = actor(workspace, model), vectors_of(workspace)[0]
    partition = read_shard(workspace.lake, ref, ["partition"])["partition"][0].as_py()
    other = next(path for name, path in look.partitions.items() if name != partition)
    lost = ContentActor(lake=look.lake, model=model, partitions={partition: other}, rows=4)
    assert "4 of its records are missing from" in lost([ref]).misfits[0]


def refused_content(project: Path) -> dict:
    """The failed check of a reindex that the gate refuses; nothing is live afterwards."""
    refused = trichord("reindex", "--project", str(project), "--json", check=3)
    assert "content_matches" in refused.stderr
    status = result_of(trichord("status", "--project", str(project), "--json"))
    assert status["live"] is None
    [check] = [c for c in status["candidate"]["verdict"]["checks"] if not c["passed"]]
    assert check["name"] == "content_matches"
    return check


def test_a_planted_vectors_shard_is_refused_and_publishes_nothing(indexed, tmp_path):
    project = copy_of(indexed[0].parent, tmp_path / "copy")
    workspace = workspace_of(project)
    planted = replaced(workspace, vectors_of(workspace)[0], lambda vectors: np.roll(vectors, 1, axis=0))
    for name in ("vectors/_delta_log", "vectors/_commits", "index", "publications"):  # as after a death in encoding
        shutil.rmtree(project.parent / "lake" / name)
    check = refused_content(project)
    assert planted.path in check["detail"]
    assert "view fused: cosine" in check["detail"]


def test_a_features_cache_of_a_swapped_tower_is_refused_and_publishes_nothing(indexed, tmp_path):
    project = copy_of(indexed[0].parent, tmp_path / "copy")
    for name in ("vectors", "index", "models", "publications", "_features"):  # as after `prepare`
        shutil.rmtree(project.parent / "lake" / name)
    workspace = workspace_of(project)
    encoders = load_encoders(workspace.project.model)
    plant = FeatureActor(workspace.lake, swapped(encoders, "image"))
    for address, ref in workspace.table("records").shards().items():
        plant(EncodeItem(address=features_address(encoders.fingerprint, address), partition="", records=ref))
    check = refused_content(project)
    assert check["value"] < 0.99
    assert "view fused" in check["detail"]
    assert "features in the cache: image " in check["detail"]
