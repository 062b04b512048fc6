"""explain: a record's journey from its source to the index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from trichord.infra.errors import ConfigError
from trichord.infra.lake.publication import JsonDict, Publication
from trichord.infra.printable import typed_keys
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.publish.record_history import Event, KeyRows, find_history, find_places


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(Result):
    """What happened to a record.

    Attributes:
        key: the record's key.
        outcome: indexed, duplicate, disagrees, encoded, prepared, rejected, or deleted: the live publication lacks it,
            and an earlier one has it.
        publication: id of the live publication; None if nothing is published.
        journey: one mapping per step, from the source to the index; `step` names the step. Of a deleted record, in the
            last publication that has it.
        history: when it came, changed, moved to another fate or went, newest first, as far as publications are kept.
    """

    key: str
    outcome: str
    publication: str | None
    journey: tuple[JsonDict, ...]
    history: tuple[Event, ...] = ()


def explain(workspace: Workspace, key: str) -> Explanation:
    """Return what happened to a record: rejected by an op, dropped for a survivor, left out because its
    modalities disagree, indexed, or deleted from its source.

    A key may be given as `source/key`, as `plan` prints it; then only that source is searched. Characters that
    cannot be seen may be given as the escapes that a terminal shows, such as `\\u200d`.
    Reads the tables that the live publication pins, or their newest versions if nothing is published; then those of the
    earlier publications that are kept, newest first.

    Raises:
        ConfigError: no row of the last run, or of a kept publication, had this key.
    """
    if not isinstance(key, str):
        raise ConfigError(f"A key is a string, not {key!r:.200}.")
    live = workspace.publications.live()
    forms = [KeyRows(workspace, form, source) for source, form in typed_keys(key, _sources(workspace, live))]
    for rows in forms:
        if journey := _journey(workspace, live, rows):
            events, _ = find_history(workspace, rows) if live else ((), None)
            return _explanation(workspace, key, live, journey, events)
    for rows in forms if live else ():
        events, last = find_history(workspace, rows)
        if last is not None:
            found = _explanation(workspace, key, last, _journey(workspace, last, rows), events)
            return replace(found, outcome="deleted", publication=live.id if live else None)
    raise ConfigError(
        f"There is no record with key {key!r}"
        + (", in the live publication or an earlier one that is kept" if live else "")
        + ".\nList rejects with `trichord rejects ls`. "
        "If the source changed since the last run, run `trichord prepare` or `trichord reindex` first."
    )


def _sources(workspace: Workspace, live: Publication | None) -> list[str]:
    """Return the sources that a key may name: the project's, and those that were published."""
    return [*(source.name for source in workspace.project.sources), *(live.verdict.contents if live else ())]


def _explanation(
    workspace: Workspace, key: str, of: Publication | None, journey: list[JsonDict], events: tuple[Event, ...]
) -> Explanation:
    steps = [step["step"] for step in journey]
    outcome = next(
        name for name in ("indexed", "duplicate", "encoded", "prepared", "rejected", *steps) if name in steps
    )
    if outcome == "prepared" and "agreement" in steps and workspace.project.agreement.check == "drop":
        outcome = "disagrees"
    return Explanation(
        key=key, outcome=outcome, publication=of.id if of else None, journey=tuple(journey), history=events
    )


def _journey(workspace: Workspace, live: Publication | None, found: KeyRows) -> list[JsonDict]:
    """Return the steps of the records of a key."""
    journey: list[JsonDict] = []
    for row, ref in found.of("rejects", live):
        journey.append({"step": "rejected", **row, "payload": json.loads(row["payload"]), "shard": ref.path})
    for row, ref in found.of("records", live):
        media = {name: len(row.pop(name) or b"") for name in ("image", "audio")}
        row |= {"scores": dict(row["scores"]), "labels": dict(row["labels"])}
        row["meta"] = json.loads(row["meta"])
        journey.append(
            {"step": "prepared", **row, "stored_bytes": media, "shard": ref.path, "shard_sha256": ref.sha256}
        )
    for row, ref in found.of("duplicates", live):
        journey.append({"step": "duplicate", **row, "shard": ref.path})
    for row, ref in found.of("matches", live):
        journey.append({"step": "shares", **row, "shard": ref.path})
    for row, ref in found.of("agreement", live):
        journey.append({"step": "agreement", **row, "cosines": dict(row["cosines"]), "shard": ref.path})
    for row, ref in found.of("vectors", live):
        row.pop("vector")
        journey.append({"step": "encoded", **row, "shard": ref.path})
    if live:
        journey += _index_rows(workspace, live, found)
    return journey


def _index_rows(workspace: Workspace, live: Publication, found: KeyRows) -> Iterator[JsonDict]:
    from trichord.index_builders.manifest import read_manifest
    from trichord.index_builders.row_labels import read_keys

    manifest = read_manifest(workspace.lake, live.manifest, live.manifest_digest)
    for shard in manifest.shards:
        keys = read_keys(workspace.lake, shard)
        for row in find_places(keys, found.key, found.source).to_pylist():
            yield {
                "step": "indexed",
                "view": keys["view"][row].as_py(),
                "index_row": row,
                "index_shard": shard.index.path,
                "fingerprint": manifest.fingerprint,
                "publication": live.id,
            }
