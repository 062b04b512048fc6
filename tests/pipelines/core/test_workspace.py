"""A workspace reads a table at the version that a publication pins, or at its newest."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from trichord.infra.config import Project
from trichord.infra.config.sources import ManifestSource
from trichord.infra.digest import address
from trichord.infra.lake.publication import Candidate, RowCounts
from trichord.infra.lake.schema import SIGNATURES
from trichord.infra.lake.shard import ShardWriter
from trichord.pipelines.core.workspace import Workspace


def commit(workspace: Workspace, numbers: range) -> list[str]:
    """Make `signatures` consist of these shards; returns their addresses in order."""
    refs = []
    for number in numbers:
        with ShardWriter(workspace.lake, "signatures", address("shard", number), SIGNATURES) as writer:
            writer.write(pa.table({name: [f"{name}{number}"] for name in SIGNATURES.names}))
            refs.append(writer.finish({}))
    workspace.table("signatures").reconcile(refs, schema=SIGNATURES, run="", recipe="")
    return sorted(ref.address for ref in refs)


def pin(**versions: int) -> Candidate:
    return Candidate(
        manifest="", manifest_digest="", inputs_digest="", model="", fingerprint="", table_versions=versions,
        counts=RowCounts(), recipe={},
    )  # fmt: skip


def test_a_table_is_read_as_it_is_pinned_and_in_order_of_address(tmp_path: Path) -> None:
    source = ManifestSource(name="none", kind="manifest", path="none.jsonl")
    workspace = Workspace(Project(lake=str(tmp_path / "lake"), sources=(source,)))
    assert workspace.pinned_shards("signatures", None) == {}
    first, second = commit(workspace, range(6)), commit(workspace, range(3, 12))
    assert list(workspace.pinned_shards("signatures", None)) == second
    assert list(workspace.pinned_shards("signatures", pin(signatures=0))) == first
    assert list(workspace.pinned_shards("signatures", pin(signatures=1))) == second
    assert workspace.pinned_shards("signatures", pin(records=0)) == {}
