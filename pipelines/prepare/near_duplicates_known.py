"""Pairs of rows that the last run compared, so that the next one compares only those with a new or changed row.

They are a cache, one file in the lake. A pair is named by what its rows are, and the file by the ops that made them and
by what compares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from trichord.infra import digest
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.sealed_tables import read_sealed, sealed
from trichord.pipelines.core.recipes import current_recipe
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.aligner import open_aligner
from trichord.pipelines.prepare.near_duplicates_compare import Compared
from trichord.transforms.dedup import detail, same_picture, same_sound
from trichord.transforms.dedup.near import Modality

MOST = 1_000_000  # pairs that are kept
_FORMAT = 1
_MADE_BY = b"trichord.made_by"
_SCHEMA = pa.schema(
    [
        ("one", pa.string()),
        ("other", pa.string()),
        ("same", pa.bool_()),
        ("modalities", pa.list_(pa.string())),
        ("distances", pa.list_(pa.float64())),
        ("modality", pa.string()),
        ("why", pa.string()),
        ("uncertain", pa.bool_()),
    ]
)
Pair = tuple[str, str]


@dataclass(slots=True)
class KnownPairs:
    """What became of pairs before; `used` has those of this run."""

    lake: Lake
    made_by: str
    before: Mapping[Pair, Compared] = field(default_factory=dict)
    used: dict[Pair, Compared] = field(default_factory=dict)

    @classmethod
    def load(cls, workspace: Workspace, names: Sequence[Modality]) -> KnownPairs:
        """Return what the last run kept; nothing if its ops or what compares `names` were others, or it is damaged."""
        aligner = open_aligner(workspace.project.prepare.align)
        recipes = {current_recipe(workspace, source, aligner)[0] for source in workspace.project.sources}
        versions = [_FORMAT, detail.VERSION, same_picture.VERSION, same_sound.VERSION]
        made_by = digest.address("pairs", versions, list(names), sorted(recipes))
        return cls(workspace.lake, made_by, _read(workspace.lake, made_by))

    def find(self, one: str, other: str) -> Compared | None:
        """Return what became of a pair, and note that it is used."""
        found = self.before.get((one, other))
        if found is not None:
            self.used[one, other] = found
        return found

    def add(self, one: str, other: str, compared: Compared) -> None:
        """Add a pair that was compared now."""
        self.used[one, other] = compared

    def keep(self) -> None:
        """Keep the pairs of this run for the next one."""
        if self.used == self.before or len(self.used) > MOST:
            return
        rows = [
            (one, other, found.same, list(found.distances), list(found.distances.values()),
             found.modality, found.why, found.uncertain)
            for (one, other), found in sorted(self.used.items())
        ]  # fmt: skip
        columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
        arrays = [pa.array(list(column), one.type) for column, one in zip(columns, _SCHEMA, strict=True)]
        schema = _SCHEMA.with_metadata({_MADE_BY: self.made_by.encode()})
        self.lake.write(layout.PAIRS, sealed(pa.table(arrays, schema=schema)))


def _read(lake: Lake, made_by: str) -> dict[Pair, Compared]:
    found = read_sealed(lake, layout.PAIRS)
    if found is None or (found.schema.metadata or {}).get(_MADE_BY) != made_by.encode():
        return {}
    return {
        (row["one"], row["other"]): Compared(
            same=row["same"],
            distances=dict(zip(row["modalities"], row["distances"], strict=True)),
            modality=row["modality"],
            why=row["why"],
            uncertain=row["uncertain"],
        )
        for row in found.to_pylist()
    }
