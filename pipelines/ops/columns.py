"""Which column of a table means what, guessed from the columns' names and from what is in them.

Contents decide what a column may be; a name only chooses between columns that may be the same thing.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trichord.infra.marks import find_part
from trichord.transforms.collect.arrow_rows import medium_of
from trichord.transforms.collect.folder import MODALITY_OF_ENDING
from trichord.transforms.word_breaks import has_unspaced, is_unspaced

MAX_COLUMNS = 200
_MOST = 0.8  # share of the values that must fit
_FILLED = 0.98  # share of the rows that a key must name
_MANY = 0.1  # distinct values of a group by row, at least: fewer are classes
_TESTED = 500  # values of a column whose content is looked at
_KEY_CHARS = 200


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_IDS = frozenset(_words("id key uid guid uuid sku kennung artikelnummer 编号 标识"))
# Words of a name, the most telling first; names in Chinese are searched for them, others are divided into words.
_HINTS = {
    "key": _words(
        "id key uid guid uuid sku code name number filename file index kennung nummer artikelnummer identifiant clave "
        "编号 标识 序号 文件名"
    ),
    "text": _words(
        "text caption captions transcript transcription sentence utterance description summary content body title "
        "headline label bildunterschrift beschreibung inhalt satz titel bezeichnung texte légende titre texto leyenda "
        "描述 说明 文本 标题 内容 字幕"
    ),
    "image": _words("image img photo picture pic bild foto imagen 图片 图像 照片"),
    "audio": _words("audio sound wav clip recording speech ton aufnahme klang son 音频 录音 声音"),
    "captions": _words("captions sentences descriptions texts transcripts bildunterschriften beschreibungen 描述 说明"),
    "group": _words(
        "group story session speaker album cluster scene series conversation gruppe serie sprecher 分组 组别 系列"
    ),
    "subset": _words("split subset partition fold set teilmenge 划分 子集"),
}
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
_WEB = re.compile(r"https?://", re.IGNORECASE)
_NO_PROSE = re.compile(
    r"(?:[a-z]+://\S+|[-+]?[\d.,]+|\d{4}-\d\d-\d\d\S*(?: \d\d:\d\d\S*)?|[0-9a-f-]{16,})", re.IGNORECASE
)
_MAGIC = {
    "image": re.compile(rb"\xff\xd8\xff|\x89PNG|GIF8|BM|II\*\x00|MM\x00\*|RIFF....WEBP", re.DOTALL),
    "audio": re.compile(
        rb"(?:RIF[FX]|RF64|BW64)....WAVE|riff\x2e\x91\xcf\x11|FORM....AIF[FC]|\.snd|caff|NIST_1A|fLaC|OggS|ID3"
        rb"|\xff[\xe2-\xfb]",
        re.DOTALL,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The field map that was guessed (None: no column), and what a user should know of it."""

    map: dict[str, str | None]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    name: str
    values: tuple[Any, ...]  # those that are not empty
    rows: int  # that were looked at
    words: tuple[str, ...] = field(default=())

    def mostly(self, test: Callable[[Any], bool]) -> bool:
        tested = self.values[:_TESTED]
        return bool(tested) and sum(map(test, tested)) >= _MOST * len(tested)

    def rank(self, meaning: str) -> int:
        """How well the name says a meaning: 0 not at all, else the more the earlier the word is among the hints."""
        hints = _HINTS[meaning]
        found = [
            position
            for position, hint in enumerate(hints)
            if hint in self.words or (has_unspaced(hint) and hint in self.name)
        ]
        return len(hints) - found[0] if found else 0

    @property
    def repeats(self) -> int:
        """Rows whose value another row before them had."""
        return len(self.values) - len(set(map(str, self.values)))


def guess_fields(
    rows: Sequence[Mapping[str, Any]],
    *,
    row_key: bool,
    own_key: str | None = None,
    files: Callable[[Sequence[str]], int] = lambda paths: 0,
) -> Fields:
    """What the columns of these rows mean.

    Args:
        rows: JSON values by name; media may be bytes.
        files: how many of these paths are files, to choose between columns of paths.
        row_key: whether the source can name a row by its position (`#row`).
        own_key: the column that names the row whatever else there is, as `file_name` in an imagefolder.

    Returns:
        A map without a `key` where no column names the rows and the source cannot.
    """
    columns = list(_columns(rows))
    found: dict[str, str | None] = {}
    notes: list[str] = []
    media = {modality: [c for c in columns if c.mostly(_media_test(modality, c))] for modality in ("image", "audio")}
    taken = {column.name for some in media.values() for column in some}
    for modality, some in media.items():
        if len(some) > 1:
            there = {column.name: files([v for v in column.values if isinstance(v, str)]) for column in some}
            some = sorted(some, key=lambda column: bool(_IDS & set(column.words)))
            some = [column for column in some if there[column.name] == max(there.values())]
        found[modality] = _best(some, modality)
        if len(some) > 1:
            others = ", ".join(sorted(c.name for c in some if c.name != found[modality])[:5])
            notes.append(
                f"{found[modality]} is taken as the {modality}; of a record's {modality}s one is used: {others}"
            )
    free = [column for column in columns if column.name not in taken]
    found["subset"] = _best([c for c in free if _is_subset(c)], "subset")
    found["captions"] = _best([c for c in free if _is_captions(c)], "captions")
    free = [column for column in free if column.name not in (found["subset"], found["captions"])]
    found["text"] = _text_column(free)
    free = [column for column in free if column.name != found["text"]]
    named = sorted((c for c in columns if _may_name(c) and c.name != found["text"]), key=_as_key, reverse=True)
    unique = [column for column in named if not column.repeats]
    if own_key is not None:
        found["key"] = own_key
    elif unique:
        found["key"] = unique[0].name
    elif row_key:
        found["key"] = "#row"
    repeated = next((column for column in named if column.repeats and column.rank("key")), None)
    if repeated is not None and own_key is None:
        told = f"{repeated.name} repeats ({repeated.repeats} of {repeated.rows} rows)"
        if "key" not in found:
            found["key"] = repeated.name
            notes.append(
                f"{told}: of rows with one key the first is kept. Add a column that differs in every row, and name it "
                "as fields.key"
            )
        elif not unique or named.index(repeated) < named.index(unique[0]):
            notes.append(f"{told}, so {found['key']} names the rows")
    found["group"] = _group_column(columns, found, repeated)
    return Fields(map=found, notes=tuple(notes))


def _columns(rows: Sequence[Mapping[str, Any]]) -> Iterator[_Column]:
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in _flat(row):
            if name in values or len(values) < MAX_COLUMNS:
                held = values.setdefault(name, [])
                if value not in (None, "", []):
                    held.append(value)
    for name, held in values.items():
        words = tuple(word.casefold() for word in _WORDS.findall(name))
        words += tuple(word[:-1] for word in words if word.endswith("s"))
        yield _Column(name=name, values=tuple(held), rows=len(rows), words=words)


def _flat(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Fields by name, and those of nested objects by their path (`meta.caption`)."""
    for name, value in row.items():
        yield name, value
        if isinstance(value, Mapping) and "bytes" not in value:
            yield from ((f"{name}.{inner}", item) for inner, item in value.items() if not isinstance(item, Mapping))


def _media_test(modality: str, column: _Column) -> Callable[[Any], bool]:
    by_name = column.rank(modality) > 0

    def test(value: Any) -> bool:
        if isinstance(value, bytes | Mapping):
            data, told = medium_of(value)
            return bool(_MAGIC[modality].match(data)) if data is not None else modality_of(told) == modality
        if not isinstance(value, str) or len(value) > 4_096 or "\n" in value:
            return False
        found = modality_of(value)
        return found == modality or (found is None and by_name and bool(_WEB.match(value)))

    return test


def modality_of(path: str) -> str | None:
    """The modality that the ending of a path or URI says, if any."""
    clean = path.split("?")[0].split("#")[0] if "://" in path else path
    found = MODALITY_OF_ENDING.get(posixpath.splitext(clean)[1].lower())
    return found if found != "text" else None


def _is_subset(column: _Column) -> bool:
    if column.name == "split":  # the default, whatever its values are called
        return column.mostly(lambda value: isinstance(value, str) and len(value) < 40)
    known = column.mostly(lambda value: isinstance(value, str) and find_part(value) is not None)
    return known and (column.rank("subset") > 0 or len(set(column.values)) > 1)


def _is_captions(column: _Column) -> bool:
    lists = [_list_of(value) for value in column.values[:_TESTED]]
    items = [item for found in lists for item in found or ()]
    if not items or sum(found is not None for found in lists) < _MOST * len(lists):
        return False
    return column.rank("captions") > 0 or sum(map(_is_prose, items)) >= _MOST * len(items)


def _list_of(value: Any) -> list[str] | None:
    """A list of strings, also as a cell of a CSV file holds it; None for anything else."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _is_prose(value: Any) -> bool:
    if not isinstance(value, str) or _NO_PROSE.fullmatch(value.strip()):
        return False
    return len(value.split()) > 1 or sum(map(is_unspaced, value)) >= 2


def _text_column(columns: Sequence[_Column]) -> str | None:
    """Prose, or short words under a name that says text."""

    def may_be(column: _Column) -> bool:
        if column.mostly(_is_prose):
            return True
        said = column.name == "text" or column.rank("text") > 0
        return said and column.mostly(lambda v: isinstance(v, str) and not _NO_PROSE.fullmatch(v.strip()))

    def order(column: _Column) -> tuple[int, int, float]:
        length = sum(len(str(value)) for value in column.values[:_TESTED]) / max(1, len(column.values[:_TESTED]))
        return column.name == "text", column.rank("text"), length

    return max((c for c in columns if may_be(c)), key=order).name if any(map(may_be, columns)) else None


def _may_name(column: _Column) -> bool:
    """Return True if the values can name rows: nearly each row has one, short, without line breaks."""
    return len(column.values) >= _FILLED * column.rows and all(
        (isinstance(value, str) and len(value) <= _KEY_CHARS and "\n" not in value)
        or (isinstance(value, int) and not isinstance(value, bool))
        for value in column.values
    )


def _as_key(column: _Column) -> tuple[bool, int, int, bool]:
    """Order of columns that may name rows: `id`, a telling name, a path, anything that is not prose."""
    prose = column.mostly(_is_prose)
    is_path = column.mostly(lambda value: isinstance(value, str) and modality_of(value) is not None)
    return column.name == "id", 0 if prose else column.rank("key"), int(is_path), not prose


def _group_column(columns: Iterable[_Column], found: Mapping[str, str | None], repeated: _Column | None) -> str | None:
    """What must be held out together: a column that says so, an id that repeats, a picture with several rows."""
    by_name = {column.name: column for column in columns}
    used = {name for meaning, name in found.items() if meaning != "image"}
    said = [
        column
        for column in by_name.values()
        if column.name not in used
        and (column.name == "group" or (column.rank("group") and column.repeats))
        and column.mostly(lambda value: isinstance(value, str | int) and not isinstance(value, bool))
    ]
    if said:
        return _best(said, "group")
    many = repeated is not None and repeated.rows - repeated.repeats >= _MANY * repeated.rows
    if repeated is not None and many and _IDS & set(repeated.words) and repeated.name not in used:
        return repeated.name
    image = by_name.get(found.get("image") or "")
    is_text = image is not None and all(isinstance(value, str) for value in image.values)
    return image.name if image is not None and is_text and image.repeats else None


def _best(columns: Sequence[_Column], meaning: str) -> str | None:
    """The column whose name says most; of equals the one that is filled most, then the first."""
    counts = Counter({column.name: len(column.values) for column in columns})
    ranked = [((c.name == meaning, c.rank(meaning), counts[c.name], -at), c.name) for at, c in enumerate(columns)]
    return max(ranked)[1] if ranked else None
