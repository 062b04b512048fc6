"""The last plan of a source, kept in the lake: its parts that still hold are not planned again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pyarrow as pa

from trichord.infra import digest
from trichord.infra.config import PrepareConfig, Source
from trichord.infra.endings import sort_endings
from trichord.infra.json_values import parse_json, parse_object
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.sealed_tables import read_sealed, write_sealed
from trichord.infra.plain_arrow import numbers, strings
from trichord.transforms.collect.drafts import media_limits
from trichord.transforms.collect.parquet import READER_FORMAT
from trichord.transforms.collect.partitions import PLAN_FORMAT, Part, Partition, RowsPerPartition
from trichord.transforms.collect.plan_parts import PARTS_FORMAT
from trichord.transforms.collect.tally import FieldCount
from trichord.transforms.collect.tar_index import INDEX_FORMAT

LAST_FORMAT = 4  # raised when planning an unchanged source would give another plan
_REST = b"trichord.plan"
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("version", pa.string()),
        ("rows", pa.int64()),
        ("locator", pa.string()),
        ("row_group", pa.int64()),
        ("part", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The present partitions of a source."""

    partitions: tuple[Partition, ...]
    rows: int
    endings: Mapping[str, int]  # files of a folder and members of a tar that are not read, by their ending
    fields: tuple[FieldCount, ...] = ()  # of a source with `fields`, those that the data have
    lacks: frozenset[str] = frozenset()  # modalities that no row has, as far as planning can know
    marks: Mapping[str, int] = field(default_factory=dict)  # rows by train/test mark, where planning reads the rows
    usable: int = 0  # rows that planning does not reject; all where it does not read them
    unmarked: int = 0  # usable rows without a mark, or of which that is not known
    modalities: Mapping[str, int] = field(default_factory=dict)  # usable rows by modality, where planning reads them
    listed_s: float | None = None  # Unix time of the inventory that was read instead of the bucket; not kept

    @property
    def ignored(self) -> int:
        """Files and members that are not read."""
        return sum(self.endings.values())


def settings_of(source: Source, rows_per_partition: RowsPerPartition, config: PrepareConfig) -> str:
    """Return the digest of all that a plan follows from besides the source's data."""
    formats = [LAST_FORMAT, PLAN_FORMAT, PARTS_FORMAT, READER_FORMAT, INDEX_FORMAT]
    return digest.address(
        "last plan", formats, source.model_dump(mode="json"), rows_per_partition, media_limits(config)
    )


def keep_plan(lake: Lake, source: Source, settings: str, plan: Plan) -> None:
    """Keep a plan as the source's last one; an equal one is not written again."""
    rows = [(p.id, p.version, p.rows, p.locator, p.row_group, _encode(p.part)) for p in plan.partitions]
    columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
    rest = {
        "settings": settings,
        "endings": dict(plan.endings),
        "fields": [[f.field, f.column, f.filled, f.rows, f.exact] for f in plan.fields],
        "lacks": sorted(plan.lacks),
        "usable": [plan.usable, plan.unmarked],
        "marks": dict(plan.marks),
        "modalities": dict(plan.modalities),
    }
    schema = _SCHEMA.with_metadata({_REST: digest.canonical_json(rest)})
    arrays = [
        numbers(np.array(column, np.int64)) if one.type == pa.int64() else strings(column)
        for column, one in zip(columns, _SCHEMA, strict=True)
    ]
    write_sealed(lake, layout.last_plan_path(source.name), pa.table(arrays, schema=schema))


def last_endings(lake: Lake, source: Source) -> Mapping[str, int]:
    """Return the files of a source that its last plan did not read, by their ending; none without a plan."""
    table = read_sealed(lake, layout.last_plan_path(source.name))
    if table is None:
        return {}
    try:
        rest: dict[str, Any] = parse_object((table.schema.metadata or {}).get(_REST, b"{}"))
    except ValueError:
        return {}
    found: Mapping[str, int] = rest.get("endings", {})
    return found


def last_plan(lake: Lake, source: Source, settings: str) -> Plan | None:
    """Return the last plan of a source; None if there is none, it was made by other settings, or a part is missing."""
    table = read_sealed(lake, layout.last_plan_path(source.name))
    if table is None:
        return None
    try:
        rest: dict[str, Any] = parse_object((table.schema.metadata or {}).get(_REST, b"{}"))
    except ValueError:
        return None
    if rest.get("settings") != settings or table.schema.names != _SCHEMA.names:
        return None
    partitions = tuple(Partition(source=source.name, part=_decode(row.pop("part")), **row) for row in table.to_pylist())
    there = {lake.relative(stat.uri) for stat in lake.list(layout.PLANS)}
    if not {one.locator for one in partitions if one.locator} <= there:
        return None
    return Plan(
        partitions=partitions,
        rows=sum(one.rows for one in partitions),
        endings=sort_endings(rest["endings"]),
        fields=tuple(
            FieldCount(field=name, column=column, filled=filled, rows=rows, exact=exact)
            for name, column, filled, rows, exact in rest["fields"]
        ),
        lacks=frozenset(rest["lacks"]),
        usable=rest["usable"][0],
        unmarked=rest["usable"][1],
        marks=rest["marks"],
        modalities=rest["modalities"],
    )


def kept_parts(lake: Lake, sources: list[str]) -> set[str]:
    """Return the lake-relative paths of the sources' last plans and of their parts: `gc` keeps them."""
    kept = set[str]()
    for name in sources:
        path = layout.last_plan_path(name)
        table = read_sealed(lake, path, ["locator"])
        if table is not None:
            kept |= {path, *filter(None, table["locator"].to_pylist())}
        elif lake.exists(path):  # damaged
            kept.add(path)
    return kept


def _encode(part: Part | None) -> str:
    if part is None:
        return ""
    values = [part.path, part.size, part.version, list(part.groups), [list(one) for one in part.constants]]
    return digest.canonical_json(values).decode()


def _decode(value: str) -> Part | None:
    if not value:
        return None
    path, size, version, groups, constants = cast("list[Any]", parse_json(value))
    return Part(
        path=path,
        size=size,
        version=version,
        groups=(groups[0], groups[1]),
        constants=tuple((name, constant) for name, constant in constants),
    )
