"""The outcomes of a publication's held-out records in the lake: a cache, under the digest of its bytes."""

from __future__ import annotations

import pyarrow as pa

from trichord.infra import log
from trichord.infra.digest import sha256_hex
from trichord.infra.errors import StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.publication import Publication
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.outcomes import Outcomes

MAX_BYTES = 256 * 2**20


def write_outcomes(workspace: Workspace, outcomes: Outcomes) -> str:
    """Write outcomes; return their lake-relative path."""
    data = outcomes.to_bytes()
    path = layout.outcomes_path(sha256_hex(data))
    if not workspace.lake.exists(path):
        workspace.lake.write(path, data)
    return path


def read_outcomes(workspace: Workspace, live: Publication | None) -> Outcomes | None:
    """Read the outcomes of the live publication; None where it has none, or they are lost or damaged.

    Without them, its figures are compared by their confidence intervals, which allow more.
    """
    path = live.verdict.outcomes if live is not None else None
    if path is None:
        return None
    try:
        data = workspace.lake.read(path, max_bytes=MAX_BYTES)
        if layout.outcomes_path(sha256_hex(data)) == path:
            return Outcomes.from_bytes(data)
        why = "its bytes changed"
    except (OSError, StorageError, pa.ArrowInvalid, KeyError, ValueError) as error:
        why = str(error)
    log.event("outcomes_unreadable", path=path, why=why)
    return None
