"""An index that lies in several actors answers as one that lies in one process."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import ray

from tests.pipelines.lakes import SETTINGS, result_of, trichord, workspace_of, write_project
from trichord.index_builders.manifest import read_manifests
from trichord.infra.errors import ConfigError, FingerprintMismatch, StorageError
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.index.open import open_backend
from trichord.pipelines.search.fanout import FanOutSearcher, divide_shards
from trichord.pipelines.search.search import open_live

pytestmark = pytest.mark.xdist_group("ray")
INDEX = {"views": ["fused", "text", "image"], "rows_per_shard": 40}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = write_project(tmp_path_factory.mktemp("fanout"), settings=SETTINGS | {"index": INDEX}, defects=0.0)
    result_of(trichord("reindex", "--project", str(made), "--json"))
    return made


def manifest_of(workspace: Workspace):
    live = workspace.publications.live()
    assert live is not None
    return read_manifests(workspace.lake, live.manifest, live.manifest_digest)[0]


def kill_actors() -> int:
    """SIGKILL every process whose title is that of an actor that holds a part."""
    killed = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                with open(f"/proc/{entry.name}/cmdline", "rb") as file:
                    title = file.read()
                if title.startswith(b"ray::_Standing"):
                    os.kill(int(entry.name), signal.SIGKILL)
                    killed += 1
            except (FileNotFoundError, ProcessLookupError):
                continue
    return killed


def test_actors_answer_as_one_process_and_those_that_die_come_back(project, ray_cluster):
    workspace = workspace_of(project, "engine.kind=ray", "query.fan_out=2")
    manifest = manifest_of(workspace)
    assert len(manifest.shards) > 3
    alone = open_backend(workspace.lake, None, manifest, manifest.fingerprint)
    searcher = open_live(workspace).searcher
    assert isinstance(searcher, FanOutSearcher)
    queries = np.random.default_rng(0).standard_normal((5, manifest.dimension)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    for given in ({}, {"view": "text"}, {"collapse": False}, {"settings": {"nprobe": 1}}):
        one, other = alone.search(queries, 12, **given), searcher.search(queries, 12, **given)
        assert [one.rows(n) for n in range(5)] == [other.rows(n) for n in range(5)]
    keys = [key for key in one.keys[0] if key]
    assert searcher.partitions_of(keys) == alone.partitions_of(keys)
    assert searcher.exact_scores == alone.exact_scores

    assert kill_actors() >= 2
    assert searcher.search(queries, 12).rows(0) == alone.search(queries, 12).rows(0)
    for wrong in ({"view": "audio"}, {"where": {"page": 1}}, {"settings": {"nprobe": 0}}):
        with pytest.raises(ValueError, match=r"index|settings"):
            searcher.search(queries, 12, **wrong)
    second = open_live(workspace).searcher
    searcher.close()
    assert ray.is_initialized()  # the cluster stays for others
    assert second.search(queries, 12).rows(0) == alone.search(queries, 12).rows(0)


def test_what_cannot_be_vouched_for_is_not_opened(project, ray_cluster):
    workspace = workspace_of(project, "engine.kind=ray")
    manifest = manifest_of(workspace)
    with pytest.raises(FingerprintMismatch):
        FanOutSearcher(workspace, manifest, "another space", 2)
    shard = manifest.shards[-1]
    lost = replace(shard.index, sha256="0" * 64, path=shard.index.path.replace(shard.index.sha256, "0" * 64))
    wrong = replace(shard, index=lost)
    with pytest.raises(StorageError):
        FanOutSearcher(workspace, replace(manifest, shards=(*manifest.shards[:-1], wrong)), manifest.fingerprint, 2)
    with pytest.raises(ConfigError, match=r"engine\.kind"):
        FanOutSearcher(workspace_of(project), manifest, manifest.fingerprint, 2)


@pytest.mark.parametrize("parts", [1, 2, 3, 100])
def test_an_index_is_divided_in_order_and_evenly(project, parts):
    manifest = manifest_of(workspace_of(project))
    found = divide_shards(manifest, parts)
    assert tuple(shard for part in found for shard in part.shards) == manifest.shards
    most = max(shard.rows for shard in manifest.shards)
    assert len(found) <= parts
    assert max(part.rows for part in found) <= manifest.rows / min(parts, len(manifest.shards)) + most
    empty = replace(manifest, shards=())
    assert divide_shards(empty, parts) == [empty]
