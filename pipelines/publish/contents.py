"""Contents: what the records of a candidate are, by source: how many, of which modalities and languages."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from trichord.encoders.views import MODALITIES
from trichord.infra.config import Project
from trichord.infra.engines.base import Engine
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.publication import SourceContents
from trichord.infra.lake.shard import ShardRef, iter_shard
from trichord.infra.lazy import arrow_compute as pc
from trichord.pipelines.core.exclusions import Excluded, Exclusions
from trichord.pipelines.core.workspace import Workspace, run_all
from trichord.pipelines.prepare.modalities import named_modalities
from trichord.transforms.clean.language import LABEL

COLUMNS = ("source", "row_digest", "text", "scores", "labels", "meta")  # no media: the scores show which there are
ROWS = 16_384  # read at a time
TASKS = 256
LANGUAGE_FIELDS = ("language", "lang")  # of a record's metadata, before what the detector found
MAX_LANGUAGES = 64  # of a source; others are not counted
_LANGUAGE = re.compile(r"[A-Za-z]{2,16}(?:[-_][A-Za-z0-9]{1,8}){0,3}")


@dataclass(slots=True)
class _Tally:
    records: int = 0
    modalities: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class CountContents:
    """Records shards with what is excluded from each → contents by source."""

    lake: Lake

    def __call__(self, part: Sequence[tuple[ShardRef, Excluded]]) -> dict[str, SourceContents]:
        found: dict[str, _Tally] = {}
        for ref, excluded in part:
            mask = excluded.mask(self.lake)
            for batch in iter_shard(self.lake, ref, COLUMNS, batch_rows=ROWS):
                rows = pa.Table.from_batches([batch])
                _count(rows.filter(pa.array(mask.keeps(rows))), found)
        return {
            source: SourceContents(
                records=one.records,
                modalities={name: one.modalities[name] for name in MODALITIES},
                languages=dict(one.languages.most_common(MAX_LANGUAGES)),
            )
            for source, one in found.items()
        }


def count_contents(
    workspace: Workspace, engine: Engine, records: Mapping[str, ShardRef], exclusions: Exclusions
) -> dict[str, SourceContents]:
    """Count the records that are not excluded, by source.

    Args:
        workspace: the project on its lake.
        engine: reads the shards.
        records: shard of each partition.
        exclusions: duplicates and other rows that are left out.

    Raises:
        PartialRun: a worker failed.
    """
    items = [(ref, exclusions.of(partition)) for partition, ref in sorted(records.items())]
    step = max(1, -(-len(items) // TASKS))
    parts = [items[first : first + step] for first in range(0, len(items), step)]
    found = run_all(engine, CountContents(workspace.lake), parts, "Records could not be counted")
    return add_up(found)


def add_up(parts: Iterable[Mapping[str, SourceContents]]) -> dict[str, SourceContents]:
    """Add contents by source, in the order of their names."""
    total: dict[str, SourceContents] = {}
    for part in parts:
        for source, one in part.items():
            total[source] = total[source] + one if source in total else one
    return dict(sorted(total.items()))


def languages_of(contents: Mapping[str, SourceContents]) -> Counter[str]:
    """Return the records of each language, over all sources."""
    total: Counter[str] = Counter()
    for one in contents.values():
        total.update(one.languages)
    return total


def expected_modalities(project: Project) -> dict[str, str]:
    """Return the modalities that the project file names, each with the setting that does: `model.audio`.

    Beside encoders and views (`named_modalities`) these are the fields that a source maps and what it requires.
    """
    named: dict[str, str] = {}
    for place, source in enumerate(project.sources):
        fields = getattr(source, "fields", None)
        for name in MODALITIES:
            mapped = fields is not None and name in fields.model_fields_set and getattr(fields, name)
            if mapped and name not in source.optional_fields:
                named.setdefault(name, f"sources.{place}.fields.{name} ({source.name})")
            if name in source.require:
                named.setdefault(name, f"sources.{place}.require ({source.name})")
    return named_modalities(project) | named


def _count(rows: pa.Table, found: dict[str, _Tally]) -> None:
    if not rows.num_rows:
        return
    present = {"text": np.asarray(pc.is_valid(rows["text"]))}
    names, _, owners = _entries(_column(rows, "scores"))
    for name in ("image", "audio"):
        has = np.zeros(rows.num_rows, dtype=bool)
        has[owners[np.asarray(pc.starts_with(names, f"{name}_"))]] = True
        present[name] = has
    languages = _languages(rows)
    sources = np.asarray(rows["source"].to_pylist(), dtype=object)
    for source in dict.fromkeys(sources.tolist()):
        of_source, tally = sources == source, found.setdefault(source, _Tally())
        tally.records += int(of_source.sum())
        tally.modalities.update({name: int((has & of_source).sum()) for name, has in present.items()})
        tally.languages.update(language for language in languages[of_source].tolist() if language)


def _column(rows: pa.Table, name: str) -> pa.MapArray:
    column = rows[name].combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


def _entries(maps: pa.MapArray) -> tuple[pa.Array, pa.Array, np.ndarray]:
    """Return the names and values of all entries of a column of maps, and the row of each."""
    offsets = np.asarray(maps.offsets)
    entries = slice(int(offsets[0]), int(offsets[-1]))
    return maps.keys[entries], maps.items[entries], np.repeat(np.arange(len(maps)), np.diff(offsets))


def _languages(rows: pa.Table) -> np.ndarray:
    """Return the language of each row: of its metadata, else as detected; None where neither says."""
    found = np.full(rows.num_rows, None, dtype=object)
    names, values, owners = _entries(_column(rows, "labels"))
    for place in np.flatnonzero(np.asarray(pc.equal(names, LABEL))):
        found[owners[place]] = values[int(place)].as_py()
    for row in np.flatnonzero(np.asarray(pc.match_substring(rows["meta"], '"lang'))):
        try:
            fields = json.loads(rows["meta"][int(row)].as_py())
        except ValueError:
            continue
        given = next((fields[name] for name in LANGUAGE_FIELDS if isinstance(fields, dict) and fields.get(name)), None)
        if isinstance(given, str) and _LANGUAGE.fullmatch(given):
            found[row] = given.lower()
    return found
