"""Rows that a sweep found changed and no event had named: how much of what happens the events tell."""

from __future__ import annotations

from collections.abc import Collection

from trichord.infra.lake.publication import Publication
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.publish.diff import changed_names
from trichord.pipelines.watch.places import Look


def count_missed(workspace: Workspace, before: Publication, looks: Collection[Look]) -> int:
    """Return how many rows changed between a publication and the live one without a look that holds them.

    A look at a data file holds all rows of its source, as its rows are known by other names.
    """
    live = workspace.publications.live()
    if live is None or live.id == before.id:
        return 0
    loose = {source.name for source in workspace.project.sources if source.kind == "folder"}
    whole = {look.source for look in looks if look.kind == "whole" or look.source not in loose}
    keys = {(look.source, look.place) for look in looks if look.kind == "key"}
    prefixes = [(look.source, look.place) for look in looks if look.kind == "prefix"]
    return sum(
        source not in whole
        and (source, key) not in keys
        and not any(source == other and key.startswith(prefix) for other, prefix in prefixes)
        for source, key in changed_names(workspace, before, live)
    )
