"""What a source's rows turned out to hold, counted while the plan reads them: fields, files and modalities.

Nothing here grows with the rows. Where media are inside Parquet files, planning reads no rows: it then knows of a field
only whether some row fills it, and which files lack it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields

from trichord.infra.config import FieldMap, Source
from trichord.infra.web import is_web
from trichord.transforms.collect.drafts import Draft
from trichord.transforms.collect.field_map import get
from trichord.transforms.collect.partitions import PlannedRow

MODALITIES = ("text", "image", "audio")
CARRIERS = {  # the fields that give a row a modality
    "text": ("text", "captions", "segments", "regions"),
    "image": ("image", "pictures"),
    "audio": ("audio",),
}
MAX_COLUMNS = 256  # names that are remembered for messages
_NESTED_ROWS = 1_000  # rows whose nested names are remembered
_LOST = frozenset({"media_missing", "media_outside_root", "media_scheme"})  # a file that is named and not there
_SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldCount:
    """In how many rows a mapped field is filled; at most, unless `exact`."""

    field: str  # of FieldMap: image
    column: str  # what the project file maps it to: photo
    filled: int
    rows: int
    exact: bool = True


@dataclass(slots=True)
class FileCount:
    """How many files of one kind the rows name, and how many of these are not there; files on the web do not count."""

    named: int = 0
    lost: int = 0
    example: str = ""  # the first lost one

    def add(self, path: str, *, lost: bool) -> None:
        """Count a named file."""
        self.named += 1
        self.lost += lost
        if lost and not self.example:
            self.example = path[:_SHOWN_CHARS]


@dataclass(slots=True)
class Tally:
    """Counts what the rows of one source hold, row by row as they are read."""

    source: Source
    columns: dict[str, None] = field(default_factory=dict)  # names the data have, in their order
    complete: bool = False  # a header or a schema names every column, whether rows fill it or not
    present: set[str] = field(default_factory=set)  # fields of FieldMap whose column the data have
    filled: Counter[str] = field(default_factory=Counter)  # fields of FieldMap: rows
    found: set[str] = field(default_factory=set)  # fields that some row of a data file fills
    lacking: Counter[str] = field(default_factory=Counter)  # fields: rows of data files that lack them
    open: set[str] = field(default_factory=set)  # fields of which not all data files were looked at
    expected: int = 0  # rows that will be read, where data files say it
    inline: bool = False  # the rows are in data files that planning does not read
    records: int = 0  # rows that could be read as a record
    unread: int = 0  # rows that could not
    rows: int = 0  # planned rows, rejects included
    usable: int = 0  # planned rows without a reason for their rejection
    unmarked: int = 0  # usable rows without a mark
    passing: int = 0  # usable rows that have what `require` and `require_any` demand
    modalities: Counter[str] = field(default_factory=Counter)  # of usable rows
    files: dict[str, FileCount] = field(default_factory=dict)  # by image, audio, segments, pictures
    captioned: int = 0  # usable rows with a picture and a text
    described: int = 0  # rows of an imagefolder's metadata that name a file
    matched: int = 0  # of these, the file is there
    unmatched: str = ""  # the first file that is not
    marks: Counter[str] = field(default_factory=Counter)  # train/test marks: rows, as far as planning reads them
    marks_read: int = 0  # rows of data files that were read for their marks
    empty: int = 0  # rows that are rejected because they hold nothing
    example: str = ""  # why the first bad row is one
    example_at: int | None = None  # the byte where its line begins
    _seen: set[str] = field(default_factory=set)  # names of top-level columns
    _map: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        columns = getattr(self.source, "fields", None)
        if isinstance(columns, FieldMap):
            by_row = self.source.kind in ("parquet", "delta") and columns.key == "#row"
            self._map = tuple(
                (name, column)
                for name, column in columns.model_dump().items()
                if column is not None and not (by_row and name == "key")
            )

    @property
    def map(self) -> tuple[tuple[str, str], ...]:
        """The fields of the source's map with the columns they mean."""
        return self._map

    def see_columns(self, names: Iterable[str]) -> None:
        """Take note of all columns of a header or schema, nested ones by their path."""
        self.complete = True
        names = list(names)
        self._remember(names)
        known = set(names)
        self.present.update(name for name, column in self._map if column in known)

    def see_record(self, record: Mapping[str, object]) -> None:
        """Count a row that was read: values by column."""
        self.records += 1
        if not record.keys() <= self._seen:
            self._see_names(record)
        elif self.records <= _NESTED_ROWS:
            self._remember(_nested(record))
        for name, column in self._map:
            if column in record:
                value = record[column]
            elif "." in column and has_path(record, column):
                value = get(record, column)
            else:
                continue
            self.present.add(name)
            if is_filled(value):
                self.filled[name] += 1

    def see_unread(self, draft: Draft) -> None:
        """Count a row that is not a record."""
        self.unread += 1
        if not self.example:
            self.example, self.example_at = draft.detail[:_SHOWN_CHARS], draft.at

    def see_inline(self, rows: int) -> None:
        """Take note that the rows are in data files that planning does not read, and how many they are."""
        self.inline, self.rows = True, rows

    def see_described(self, path: str, *, there: bool) -> None:
        """Count a row of metadata that names a file."""
        self.described += 1
        self.matched += there
        if not there and not self.unmatched:
            self.unmatched = path[:_SHOWN_CHARS]

    def see_mark(self, value: object, rows: int) -> None:
        """Count rows with the same train/test mark; what cannot be one is left to be rejected."""
        if is_mark(value):
            self.marks[str(value)] += rows

    def watch(self, rows: Iterable[PlannedRow]) -> Iterator[PlannedRow]:
        """Yield the planned rows, and count each."""
        for row in rows:
            self.see_planned(row)
            yield row

    def usable_rows(self) -> tuple[int, int]:
        """Return the rows that planning does not reject, and how many of them have no mark, or may have none."""
        if self.inline:
            return self.rows, max(0, self.rows - self.marks.total())
        return self.usable, self.unmarked

    def add(self, later: Tally) -> None:
        """Count the rows that another tally of the same source has counted, behind those of this one."""
        self._remember(later.columns)
        for kind, count in later.files.items():
            mine = self.files.setdefault(kind, FileCount())
            mine.named, mine.lost, mine.example = (
                mine.named + count.named, mine.lost + count.lost, mine.example or count.example
            )  # fmt: skip
        self.example_at = self.example_at if self.example else later.example_at
        for one in fields(self):
            if one.name == "example_at":
                continue
            mine_of, theirs = getattr(self, one.name), getattr(later, one.name)
            if isinstance(mine_of, Counter | set):
                mine_of.update(theirs)
            elif isinstance(mine_of, bool | str):
                setattr(self, one.name, mine_of or theirs)
            elif isinstance(mine_of, int):
                setattr(self, one.name, mine_of + theirs)

    def field_counts(self) -> tuple[FieldCount, ...]:
        """Return the counts of all mapped fields that the data have."""
        if self.inline:
            return tuple(
                FieldCount(
                    field=name, column=column, filled=self.rows - self.lacking[name], rows=self.rows, exact=False
                )
                for name, column in self._map
                if name in self.present
            )
        return tuple(
            FieldCount(field=name, column=column, filled=self.filled[name], rows=self.records)
            for name, column in self._map
            if name in self.present
        )

    def is_empty(self, name: str) -> bool:
        """Return True if it is known that no row fills a field."""
        if self.inline:
            return name not in self.found and name not in self.open
        return not self.filled[name]

    def lacks(self, modality: str) -> bool:
        """Return True if it is known that no usable row has a modality."""
        if self.inline:
            return all(map(self.is_empty, CARRIERS[modality]))
        return not self.modalities[modality]

    def _see_names(self, record: Mapping[str, object]) -> None:
        if len(self._seen) < MAX_COLUMNS:
            self._seen.update(list(record)[:MAX_COLUMNS])
        self._remember([*record, *_nested(record)])

    def _remember(self, names: Iterable[str]) -> None:
        for name in names:
            if len(self.columns) >= MAX_COLUMNS:
                return
            self.columns.setdefault(name[:_SHOWN_CHARS])

    def see_planned(self, row: PlannedRow) -> None:
        """Count a planned row."""
        self.rows += 1
        for name, medium in row.media.items():
            if name != "text" and not is_web(medium.path):
                kind = "pictures" if name.startswith("image:") else name
                self.files.setdefault(kind, FileCount()).add(medium.path, lost=medium.version in _LOST)
        if row.reason is not None:
            self.empty += row.reason == "row_empty"
            self.example = self.example or row.detail[:_SHOWN_CHARS]
            return
        self.usable += 1
        self.unmarked += not is_mark(row.line.get("subset"))
        line, media = row.line, row.media
        aligned = line.get("alignment") or {}
        has = []
        if line.get("text") or line.get("captions") or "text" in media or aligned:
            has.append("text")
        if "image" in media or "pictures" in aligned:
            has.append("image")
        if "audio" in media:
            has.append("audio")
        for name in has:
            self.modalities[name] += 1
        self.captioned += has[:2] == ["text", "image"]
        self.passing += len(has) >= self.source.require_any and set(has).issuperset(self.source.require)


def is_mark(value: object) -> bool:
    """Return True if a value is a train/test mark, known or not."""
    return isinstance(value, str | int) and not isinstance(value, bool) and bool(str(value).strip())


def is_filled(value: object) -> bool:
    """Return True if a cell holds something: not null, not blank, not a list or an object of nothing else."""
    if isinstance(value, str):
        return value != "" and not value.isspace()
    if value is None or value != value:  # NaN
        return False
    if isinstance(value, bytes):
        return bool(value)
    if isinstance(value, Mapping):
        return any(map(is_filled, value.values()))
    if isinstance(value, list | tuple):
        return any(map(is_filled, value))
    return True


def has_path(record: Mapping[str, object], column: str) -> bool:
    """Return True if a record has a column or, through nested objects, a path; its value may be null."""
    if column in record:
        return True
    value: object = record
    for part in column.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


def _nested(record: Mapping[str, object]) -> list[str]:
    found = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            found += [f"{name}.{inner}" for inner in _paths(value, 4)]
            if len(found) > MAX_COLUMNS:
                break
    return found


def _paths(value: Mapping[str, object], depth: int) -> Iterator[str]:
    for name, inner in value.items():
        yield str(name)
        if depth and isinstance(inner, Mapping):
            yield from (f"{name}.{path}" for path in _paths(inner, depth - 1))
