"""Variants of records as rows, and what all changes of variants share.

A variant has the key `<key of the record>#aug<copy>` and the record's key as its parent. What is drawn for it depends
on seed, key, change and copy alone, so it is the same in any batch, order and worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version as version_of
from typing import ClassVar, TypeAlias

import numpy as np

from trichord.infra import digest
from trichord.infra.json_values import JsonObject, parse_object
from trichord.transforms.batch import Batch, Change, Image, Row, Waveform, join
from trichord.transforms.op import Op
from trichord.transforms.part_keys import Mark, PartKey

PREFIX = "augment:"
Drawn: TypeAlias = Mapping[str, float | str | Sequence[int]]  # the numbers and choices a change drew, by name


def record_key(key: str) -> str:
    """Return the key of the record that a row is or varies; rows of one record are never each other's negatives."""
    part = PartKey.decode(key)
    return key if part is None or part.mark is not Mark.VARIANT else part.parent


def copy_of(row: Row) -> int | None:
    """Return which copy of its parent a row is; None if it is not a variant."""
    part = PartKey.decode(row.key)
    return part.number if part is not None and part.mark is Mark.VARIANT and part.parent == row.parent else None


def list_changes(row: Row) -> list[str]:
    """Return the changes a variant went through, in order, as JSON: the op's name and what was drawn."""
    return [digest.canonical_json({"op": op.removeprefix(PREFIX), **drawn}).decode() for op, drawn in _history(row)]


def _history(row: Row) -> list[tuple[str, JsonObject]]:
    """Return the op and the drawn values of each change a variant went through."""
    return [(change.op, parse_object(change.after)) for change in row.changes if change.op.startswith(PREFIX)]


def _variant(row: Row, copy: int) -> Row:
    """Return a record's variant, still equal to it; copies are counted from 1."""
    key = PartKey(parent=row.key, mark=Mark.VARIANT, number=copy).encode()
    return replace(row, key=key, parent=row.key, changes=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Variants(Op):
    """Adds the variants of every row, still equal to it; the rows themselves stay."""

    version: ClassVar[int] = 1
    fan_out: ClassVar[bool] = True

    copies: int

    @property
    def name(self) -> str:
        """The op's name."""
        return f"{PREFIX}variants"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        parts = [batch]
        alone = replace(batch, rejects=())
        for copy in range(1, self.copies + 1):
            rows = tuple(_variant(row, copy) for row in batch.rows)
            parts.append(replace(alone, rows=rows))
        return join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A variant in the making; `drawn` is what the last change drew."""

    row: Row
    image: Image | None
    wave: Waveform | None
    drawn: Drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Op):
    """One change, applied to each variant with probability `p`. Other rows are unchanged."""

    version: ClassVar[int] = 1
    medium: ClassVar[str]
    kind: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]  # whose versions shape the result

    seed: int
    p: float

    @property
    def name(self) -> str:
        """For example `augment:image_rotate`."""
        return f"{PREFIX}{self.medium}_{self.kind}"

    def libraries(self) -> Mapping[str, str]:
        """Return the versions of `packages`."""
        return {name: version_of(name) for name in self.packages}

    def apply(self, draft: Draft, rng: np.random.Generator) -> Draft | None:
        """Return the changed variant; None if the change does not fit it. Media are never written in place."""
        raise NotImplementedError

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows, images, waves = list(batch.rows), list(batch.images), list(batch.waves)
        for i, row in enumerate(batch.rows):
            copy = copy_of(row)
            if copy is None:
                continue
            rng = digest.generator(self.seed, row.parent, self.name, copy)
            if rng.random() >= self.p:
                continue
            after = self.apply(Draft(row=row, image=images[i], wave=waves[i], drawn={}), rng)
            if after is None:
                continue
            change = Change(
                op=self.name, field=self.medium, before="", after=digest.canonical_json(after.drawn).decode()
            )
            rows[i] = replace(after.row, changes=(*after.row.changes, change))
            images[i], waves[i] = after.image, after.wave
        return replace(batch, rows=tuple(rows), images=tuple(images), waves=tuple(waves))


def drawn_before(row: Row, name: str) -> Sequence[float]:
    """Return the values of one number that earlier changes of a variant drew."""
    values = [drawn[name] for _, drawn in _history(row) if name in drawn]
    return [float(value) for value in values if isinstance(value, int | float)]


def uniform(rng: np.random.Generator, low: float, high: float, digits: int = 4) -> float:
    """Draw a number from [low, high], rounded so that the record holds exactly what was used."""
    return min(high, max(low, round(float(rng.uniform(low, high)), digits)))
