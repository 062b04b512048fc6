"""explain: a record's journey from its source to the index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trichord.infra.errors import ConfigError
from trichord.infra.lake.publication import JsonDict, Publication
from trichord.infra.lake.shard import ShardRef, read_shard
from trichord.infra.printable import typed_keys
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(Result):
    """What happened to a record.

    Attributes:
        key: the record's key.
        outcome: indexed, duplicate, disagrees, encoded, prepared or rejected.
        publication: id of the live publication; None if nothing is published.
        journey: one mapping per step, from the source to the index; `step` names the step.
    """

    key: str
    outcome: str
    publication: str | None
    journey: tuple[JsonDict, ...]


def explain(workspace: Workspace, key: str) -> Explanation:
    """Return what happened to a record: rejected by an op, dropped for a survivor, left out because its
    modalities disagree, or indexed.

    A key may be given as `source/key`, as `plan` prints it; then only that source is searched. Characters that
    cannot be seen may be given as the escapes that a terminal shows, such as `\\u200d`.
    Reads the tables that the live publication pins, or their newest versions if nothing is published.

    Raises:
        ConfigError: no row of the last run had this key.
    """
    if not isinstance(key, str):
        raise ConfigError(f"A key is a string, not {key!r:.200}.")
    live = workspace.publications.live()
    journey: list[JsonDict] = []
    for source, form in typed_keys(key, (source.name for source in workspace.project.sources)):
        journey = journey or _journey(workspace, live, form, source)
    if not journey:
        raise ConfigError(
            f"There is no record with key {key!r}.\nList rejects with `trichord rejects ls`. "
            "If the source changed since the last run, run `trichord prepare` or `trichord reindex` first."
        )
    steps = [step["step"] for step in journey]
    outcome = next(
        name for name in ("indexed", "duplicate", "encoded", "prepared", "rejected", *steps) if name in steps
    )
    if outcome == "prepared" and "agreement" in steps and workspace.project.agreement.check == "drop":
        outcome = "disagrees"
    return Explanation(key=key, outcome=outcome, publication=live.id if live else None, journey=tuple(journey))


def _journey(workspace: Workspace, live: Publication | None, key: str, source: str | None = None) -> list[JsonDict]:
    """Return the steps of the records of a key; of one source, or of all if None."""
    journey: list[JsonDict] = []
    for row, ref in _find(workspace, "rejects", live, key, source):
        journey.append({"step": "rejected", **row, "payload": json.loads(row["payload"]), "shard": ref.path})
    for row, ref in _find(workspace, "records", live, key, source):
        media = {name: len(row.pop(name) or b"") for name in ("image", "audio")}
        row |= {"scores": dict(row["scores"]), "labels": dict(row["labels"])}
        row["meta"] = json.loads(row["meta"])
        journey.append(
            {"step": "prepared", **row, "stored_bytes": media, "shard": ref.path, "shard_sha256": ref.sha256}
        )
    for row, ref in _find(workspace, "duplicates", live, key, source):
        journey.append({"step": "duplicate", **row, "shard": ref.path})
    for row, ref in _find(workspace, "matches", live, key, source):
        journey.append({"step": "shares", **row, "shard": ref.path})
    for row, ref in _find(workspace, "agreement", live, key, source):
        journey.append({"step": "agreement", **row, "cosines": dict(row["cosines"]), "shard": ref.path})
    for row, ref in _find(workspace, "vectors", live, key, source):
        row.pop("vector")
        journey.append({"step": "encoded", **row, "shard": ref.path})
    if live:
        journey += _index_rows(workspace, live, key, source)
    return journey


def _index_rows(workspace: Workspace, live: Publication, key: str, source: str | None) -> Iterator[JsonDict]:
    from trichord.index_builders.manifest import read_manifest
    from trichord.index_builders.row_labels import read_keys

    manifest = read_manifest(workspace.lake, live.manifest, live.manifest_digest)
    for shard in manifest.shards:
        keys = read_keys(workspace.lake, shard)
        rows = _matching(keys, key, source).to_pylist()
        for row in rows:
            yield {
                "step": "indexed",
                "view": keys["view"][row].as_py(),
                "index_row": row,
                "index_shard": shard.index.path,
                "fingerprint": manifest.fingerprint,
                "publication": live.id,
            }


def _find(
    workspace: Workspace, name: str, live: Publication | None, key: str, source: str | None
) -> Iterator[tuple[JsonDict, ShardRef]]:
    for ref in workspace.pinned_shards(name, live).values():
        hits = _matching(read_shard(workspace.lake, ref, ["key", "source"]), key, source)
        if len(hits):
            rows = read_shard(workspace.lake, ref).take(hits)
            yield from ((row, ref) for row in rows.to_pylist())


def _matching(rows: pa.Table, key: str, source: str | None) -> pa.Array:
    """Return the places of the rows of a key; of one source, or of all if None."""
    same = pc.equal(rows["key"], key)
    same = same if source is None else pc.and_(same, pc.equal(rows["source"], source))
    return pa.array(np.flatnonzero(same.to_numpy()))  # indices_nonzero ends the process where there is no chunk
