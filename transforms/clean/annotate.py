"""What an op records in a row: labels and changes."""

from __future__ import annotations

from dataclasses import replace

from trichord.transforms.batch import Change, Row

_KEPT_CHARS = 500  # of each value of a change


def set_label(row: Row, name: str, value: str | None) -> Row:
    """Return the row with a label set, or removed if the value is None; labels stay sorted by name."""
    labels = {**dict(row.labels), name: value}
    return replace(row, labels=tuple(sorted((key, text) for key, text in labels.items() if text is not None)))


def change(op: str, field: str, before: str, after: str) -> Change:
    """Return a change with values cut to 500 characters; long values begin shortly before they differ."""
    if max(len(before), len(after)) > _KEPT_CHARS:
        same = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
        start = max(0, same - 40)
        before, after = before[start:], after[start:]
    return Change(op=op, field=field, before=before[:_KEPT_CHARS], after=after[:_KEPT_CHARS])


def with_changes(row: Row, changes: list[Change]) -> Row:
    """Return the row with further changes."""
    return replace(row, changes=(*row.changes, *changes)) if changes else row
