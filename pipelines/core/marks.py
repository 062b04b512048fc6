"""The marks of a source's records: counted where records are written, and refused where they mean no part."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from trichord.infra.config import FolderSource, InventorySource, MediaFolderSource, Source, TrainConfig
from trichord.infra.errors import ConfigError
from trichord.infra.lake.shard import ShardRef
from trichord.infra.marks import Part, find_part, suggest_part

MARKS = 100  # different ones that a shard's footer counts; the others together under `OTHERS`
OTHERS = "…"
LISTED = 10  # in a message
SHOWN_CHARS = 60

Marks = Mapping[str, Mapping[str, int]]  # source -> mark -> records


def count_marks(records: pa.Table) -> Counter[tuple[str, str]]:
    """Count the marked rows of a records table by source and mark."""
    marks = zip(records["source"].to_pylist(), records["subset"].to_pylist(), strict=True)
    return Counter((source, mark) for source, mark in marks if mark.strip())


def footer_counts(marks: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Return what a shard's footer says of its marks; `marks_of` reads it."""
    counts = Counter[str]()
    for place, ((source, mark), rows) in enumerate(sorted(marks.items())):
        counts[f"mark/{source}/{mark if place < MARKS else OTHERS}"] += rows
    return dict(counts)


def marks_of(shards: Iterable[ShardRef]) -> dict[str, Counter[str]]:
    """Sum the marks in the footers of records shards: source -> mark -> records."""
    found: dict[str, Counter[str]] = {}
    for ref in shards:
        for name, rows in ref.counts.items():
            if name.startswith("mark/"):
                _, source, mark = name.split("/", 2)
                found.setdefault(source, Counter())[mark] += rows
    return found


def require_known(config: TrainConfig, sources: Sequence[Source], marks: Marks) -> None:
    """Refuse marks that mean no part: their records would be trained on in silence.

    Raises:
        ConfigError: there are such marks; it names the source, its marks with their records, and what to write.
    """
    lines, meanings, columns = [], dict[str, Part](), []
    for source in sources:
        counts = marks.get(source.name, {})
        unknown = {mark: rows for mark, rows in counts.items() if find_part(mark, config.marks) is None}
        if not unknown:
            continue
        known = {mark: rows for mark, rows in counts.items() if mark not in unknown}
        beside = f", beside {_listed(known)}" if known else ""
        lines.append(f"  source {source.name!r}: {_listed(unknown)}{beside}")
        meanings |= {mark: suggest_part(mark) or "train" for mark in _by_rows(unknown)[:LISTED]}
        column = getattr(getattr(source, "fields", None), "subset", None)
        key = f"key: {_yaml(source.fields.key)}, " if isinstance(source, MediaFolderSource) else ""  # not the default's
        columns += [f"`fields: {{{key}subset: null}}` in source {source.name!r}"] if column is not None else []
        columns += (
            [f"`subset: null` in source {source.name!r}"] if isinstance(source, FolderSource | InventorySource) else []
        )
    if not lines:
        return
    written = ", ".join(f"{_yaml(mark)}: {part}" for mark, part in meanings.items())
    other = f"\nIf the column or folder says something else, set {' and '.join(columns)}." if columns else ""
    raise ConfigError(
        "A source marks records by words that mean neither train, validation nor test; nothing was trained:\n"
        + "\n".join(lines)
        + f"\nSay what each means in the project file, for example\n  train: {{marks: {{{written}}}}}{other}"
    )


def is_held_out(config: TrainConfig, marks: Marks) -> bool:
    """Return True if there are marks, and all of them hold records out of training."""
    parts = {find_part(mark, config.marks) for counts in marks.values() for mark in counts}
    return bool(parts) and parts <= {"validation", "test"}


def require_training(marks: Marks) -> None:
    """Refuse to train on nothing. `marks` are those of all rows, which are all held out.

    Raises:
        ConfigError: always; it names the sources, their marks, and what to write.
    """
    lines = [f"  source {name!r}: {_listed(counts)}" for name, counts in marks.items() if counts]
    example = next(mark for counts in marks.values() for mark in _by_rows(counts))
    raise ConfigError(
        "No record is left to train on: the marks of the sources hold all of them out. Nothing was made:\n"
        + "\n".join(lines)
        + "\nAdd the source's training records, or say in the project file what a mark means, for example\n"
        f"  train: {{marks: {{{_yaml(example)}: train}}}}\n"
        "or ignore the marks: `subset: null` in the source (`fields: {subset: null}` where it has `fields`)."
    )


def _by_rows(marks: Mapping[str, int]) -> list[str]:
    return sorted(marks, key=lambda mark: (-marks[mark], mark))


def _listed(marks: Mapping[str, int]) -> str:
    ordered = _by_rows(marks)
    shown = [f"{_yaml(mark)} ({marks[mark]:,} {'record' if marks[mark] == 1 else 'records'})" for mark in ordered]
    return ", ".join(shown[:LISTED] + ([f"and {len(ordered) - LISTED} more"] if len(ordered) > LISTED else []))


def _yaml(mark: str) -> str:
    """Return a mark as YAML reads it: a plain word, or quoted without control characters."""
    if mark.isascii() and mark.isidentifier() and mark.casefold() not in _NOT_TEXT:
        return mark[:SHOWN_CHARS]
    printable = mark[:SHOWN_CHARS].isprintable()
    return json.dumps(mark[:SHOWN_CHARS], ensure_ascii=not printable)


_NOT_TEXT = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
