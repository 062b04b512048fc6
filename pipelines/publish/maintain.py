"""maintain: keep the lake's logs short and its files few."""

from __future__ import annotations

from dataclasses import dataclass

from trichord.infra.lake.lease import leased
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.publish.gc import Collected, gc


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintained(Result):
    """What maintenance did.

    Attributes:
        collected: what `gc` removed.
    """

    collected: Collected


def maintain(workspace: Workspace, *, wait: bool = False) -> Maintained:
    """Remove what no kept publication needs.

    Raises:
        LeaseTaken: a run is at work on the lake, and `wait` is False.
        StorageError: the lake cannot be read or written, or a log is damaged.
    """
    with leased(workspace.lake, "maintain", wait=wait):
        pass
    return Maintained(collected=gc(workspace, delete=True))
