"""What ops changed in the records, with the words that differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trichord.pipelines.report.tally import Tally

AROUND = 30  # characters shown of what did not change


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A change, cut to where its values differ: head + gone + tail became head + come + tail."""

    head: str
    gone: str
    come: str
    tail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What an op did to a field, and in how many records."""

    op: str
    field: str
    rows: int
    samples: tuple[Difference, ...]


def changes(counted: Tally) -> list[Changed]:
    """Return what every op changed, how often, with some examples."""
    return [
        Changed(
            op=kind[0],
            field=kind[1],
            rows=rows,
            samples=tuple(
                difference(sample["before"] or "", sample["after"] or "")
                for sample in counted.change_samples.get(kind, ())
            ),
        )
        for kind, rows in sorted(counted.changes.items())
    ]


def difference(before: str, after: str) -> Difference:
    """Return the words in which two texts differ, and at most `AROUND` characters on each side."""
    head = before.rfind(" ", 0, _common(before, after)) + 1
    behind = before[head:][::-1]
    tail = behind.rfind(" ", 0, _common(behind, after[head:][::-1])) + 1
    first, last = before[:head], before[len(before) - tail :]
    return Difference(
        head=f"…{first[-AROUND:]}" if len(first) > AROUND else first,
        gone=before[head : len(before) - tail],
        come=after[head : len(after) - tail],
        tail=f"{last[:AROUND]}…" if len(last) > AROUND else last,
    )


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
