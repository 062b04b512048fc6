"""Which part of the lake a record belongs to: it trains, validates or tests.

By the marks of its source where these name the part, else by the digest of its group, which later records do not
change. A part that a source's marks do not name is drawn from the records that its marks leave to train. No two parts
share a group or, of records that are not duplicates, a picture or a sound: where marks would have it so, records of the
earlier part are left out of training, and those of the later part are left out where they would judge what was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from trichord.infra import digest
from trichord.infra.config import Source, TrainConfig
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, iter_shard
from trichord.infra.marks import PARTS, Part, find_part
from trichord.pipelines.core.marks import Marks, marks_of, require_known
from trichord.pipelines.core.workspace import Workspace
from trichord.transforms.dedup.clusters import NOT_COMPARED

TRAIN, VALIDATION, TEST = range(len(PARTS))  # places in `PARTS`
LEFT_OUT = -1
LABELS = ("key", "source", "group", "subset")
ROWS = 16_384  # labels read at a time

Name = tuple[str, str]  # source, key


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The rule that puts records into parts; equal rules have an equal `digest`.

    Attributes:
        config: shares, and the project's own marks.
        named: the parts that the marks of a source name, by source; a source without marks is absent.
        matches: shards that say which records show or play the same.
    """

    config: TrainConfig
    named: Mapping[str, frozenset[Part]] = field(default_factory=dict)
    matches: tuple[ShardRef, ...] = ()

    @classmethod
    def of_marks(
        cls, config: TrainConfig, sources: Sequence[Source], marks: Marks, matches: Iterable[ShardRef] = ()
    ) -> Parts:
        """Return the rule for sources with these marks.

        Raises:
            ConfigError: a mark means no part.
        """
        require_known(config, sources, marks)
        found = {
            source: frozenset(part for mark in counts if (part := find_part(mark, config.marks)) is not None)
            for source, counts in sorted(marks.items())
        }
        named = {source: some for source, some in found.items() if some}
        return cls(config=config, named=named, matches=tuple(matches))

    @property
    def digest(self) -> str:
        """Digest of everything that decides the part of a record by itself."""
        named = {source: sorted(parts) for source, parts in self.named.items()}
        marks = {mark.strip().casefold(): part for mark, part in self.config.marks.items()}
        return digest.address("parts", self.config.validation, self.config.test, marks, named)

    def of(self, rows: pa.Table) -> np.ndarray:
        """Return the part of every row by its source, group and mark, int (N,): the place in `PARTS`.

        Raises:
            ValueError: a mark means no part; `of_marks` refuses such sources.
        """
        sources, groups, marks = (rows[name].to_pylist() for name in ("source", "group", "subset"))
        marked = {mark: self._marked(mark) for mark in set(marks)}
        labelled = zip(sources, groups, marks, strict=True)
        parts = [
            self._drawn(source, group) if marked[mark] == TRAIN else marked[mark] for source, group, mark in labelled
        ]
        return np.array(parts, dtype=np.int64)

    def _marked(self, mark: str) -> int:
        part = find_part(mark, self.config.marks) if mark.strip() else "train"
        if part is None:
            raise ValueError(f"the mark {mark!r} means no part")
        return PARTS.index(part)

    def _drawn(self, source: str, group: str) -> int:
        """Return the part of a record that no mark holds out, by its group: the same for every seed of training."""
        share = digest.hash64(f"held-out/{group}") / 2**64
        named, config = self.named.get(source, frozenset()), self.config
        if share < config.test:
            return TRAIN if "test" in named else TEST
        if share < config.test + config.validation:
            return TRAIN if "validation" in named else VALIDATION
        return TRAIN


def parts_of(workspace: Workspace, records: Iterable[ShardRef], matches: Iterable[ShardRef]) -> Parts:
    """Return the rule for records shards whose footers were read.

    Raises:
        ConfigError: a mark means no part.
    """
    project = workspace.project
    return Parts.of_marks(project.train, project.sources, marks_of(records), matches)


def group_ids(rows: pa.Table) -> np.ndarray:
    """Return numbers that are equal for rows of one group, uint64 (N,)."""
    return np.array([digest.hash64(f"group/{group}") for group in rows["group"].to_pylist()], dtype=np.uint64)


def read_labels(lake: Lake, shards: Iterable[ShardRef]) -> Iterator[pa.Table]:
    """Yield the labels of all rows of records or features shards, part by part."""
    for ref in shards:
        for part in iter_shard(lake, ref, LABELS, batch_rows=ROWS):
            yield pa.Table.from_batches([part])


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Records that are not duplicates but show the same picture or play the same sound: clusters by record.

    Texts do not count: labels and phrases are shared by records that have nothing else in common.
    """

    clusters: Mapping[Name, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, lake: Lake, matches: Iterable[ShardRef]) -> Links:
        """Read them from shards of `matches`; memory grows with the records that match."""
        found: dict[Name, list[int]] = {}
        numbers: dict[tuple[str, Name], int] = {}
        columns = ("modality", "why", "source", "key", "other_source", "other_key")
        for ref in matches:
            for part in iter_shard(lake, ref, columns, batch_rows=ROWS):
                values = zip(*(part[name].to_pylist() for name in columns), strict=True)
                for modality, why, source, key, *other in values:
                    if modality == "text" or why not in NOT_COMPARED:
                        continue
                    first = (other[0], other[1])
                    number = numbers.setdefault((modality, first), len(numbers))
                    if number not in found.setdefault(first, []):
                        found[first].append(number)
                    found.setdefault((source, key), []).append(number)
        return cls(clusters={name: tuple(some) for name, some in found.items()})

    def touching(self, labels: Iterable[pa.Table], chosen: Callable[[pa.Table], np.ndarray]) -> frozenset[Name]:
        """Return the records in a cluster with a chosen one. `chosen` marks rows of a table, bool (N,)."""
        touched = set[int]()
        for rows in labels if self.clusters else ():
            for name in _names(rows.filter(pa.array(chosen(rows)))):
                touched.update(self.clusters.get(name, ()))
        return frozenset(name for name, some in self.clusters.items() if not touched.isdisjoint(some))


def is_named(rows: pa.Table, names: frozenset[Name]) -> np.ndarray:
    """Return which rows are among these records, bool (N,)."""
    return np.array([bool(names) and name in names for name in _names(rows)], dtype=bool)


def _names(rows: pa.Table) -> Iterator[Name]:
    return zip(rows["source"].to_pylist(), rows["key"].to_pylist(), strict=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """The parts of all records of a lake, free of groups and content that parts share.

    Attributes:
        parts: the rule.
        test_groups, held_groups: sorted `group_ids` of test records, and of test and validation records.
        crossing: validation records that share a picture or a sound with a training record.
    """

    parts: Parts
    test_groups: np.ndarray
    held_groups: np.ndarray
    crossing: frozenset[Name]

    @classmethod
    def find(cls, lake: Lake, shards: Sequence[ShardRef], parts: Parts) -> Division:
        """Read the labels of all rows of records or features shards, unless group digests alone divide them."""
        tests, held = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
        for rows in read_labels(lake, shards) if parts.named else ():
            found, groups = parts.of(rows), group_ids(rows)
            tests.append(np.unique(groups[found == TEST]))
            held.append(np.unique(groups[found != TRAIN]))
        alone = cls(
            parts=parts,
            test_groups=np.unique(np.concatenate(tests)),
            held_groups=np.unique(np.concatenate(held)),
            crossing=frozenset(),
        )
        links = Links.read(lake, parts.matches)
        crossing = links.touching(read_labels(lake, shards), lambda rows: alone.of(rows) == TRAIN)
        return cls(parts=parts, test_groups=alone.test_groups, held_groups=alone.held_groups, crossing=crossing)

    def of(self, rows: pa.Table) -> np.ndarray:
        """Return the part of every row, int (N,); `LEFT_OUT` where it shares a group or content with a later part."""
        found, groups = self.parts.of(rows), group_ids(rows)
        shared = (found == TRAIN) & np.isin(groups, self.held_groups)
        shared |= (found == VALIDATION) & (np.isin(groups, self.test_groups) | is_named(rows, self.crossing))
        return np.where(shared, LEFT_OUT, found)
