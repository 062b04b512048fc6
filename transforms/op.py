"""Ops and the chain that runs them: no row vanishes, no row stops the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import ClassVar, Protocol, TypeAlias, TypedDict, runtime_checkable

from trichord.infra.errors import TrichordError
from trichord.transforms.batch import Batch, Row, join

Settings: TypeAlias = dict[str, object]  # JSON values by name


class OpRecipe(TypedDict):
    """What an op does, as JSON: a part of the address of whatever its chain makes."""

    op: str
    version: int
    settings: Settings


@runtime_checkable
class Fingerprinted(Protocol):
    """A setting that is a model or dictionary: its content counts, not its place."""

    @property
    def fingerprint(self) -> str:
        """Digest of all that shapes its answers."""


@runtime_checkable
class Configured(Protocol):
    """A setting that has settings of its own, such as an aligner."""

    def settings(self) -> Settings:
        """Return what shapes the result, as JSON."""


class ConservationError(TrichordError):
    """An op lost, repeated or invented a row: the op is at fault, never the data."""


class Op(Protocol):
    """A frozen dataclass that maps a batch to a batch; its fields are its settings.

    Every row that comes in must come out, as a row or as a new reject. Only a `fan_out` op may add
    rows, under new keys.
    Raise `version` whenever the same input would give other output.
    """

    version: ClassVar[int]
    fan_out: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Unique within a chain; rejects carry it."""

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""

    def libraries(self) -> Mapping[str, str]:
        """Return the versions of the libraries whose next version may give another result."""
        return {}

    def settings(self) -> Settings:
        """Return what shapes the result besides the version: the op's fields and its libraries."""
        found = {field.name: _setting(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]  # every op is a dataclass
        return found | ({"libraries": dict(libraries)} if (libraries := self.libraries()) else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold(Op):
    """Rejects rows whose score is outside [least, most] or NaN; rows without the score pass.

    It is apart from the measuring op, so that another threshold needs no media.
    """

    version: ClassVar[int] = 1

    score: str
    reason: str
    least: float | None = None
    most: float | None = None

    @property
    def name(self) -> str:
        """For example `threshold:image_blurred`."""
        return f"threshold:{self.reason}"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the threshold."""
        refused = {}
        for i, scores in enumerate(batch.scores):
            value = scores.get(self.score)
            if value is None:
                continue
            if self.least is not None and not value >= self.least:
                refused[i] = (self.reason, f"{self.score} {value:.6g} is below {self.least:g}")
            elif self.most is not None and not value <= self.most:
                refused[i] = (self.reason, f"{self.score} {value:.6g} is above {self.most:g}")
        return batch.reject(refused, self.name)


@dataclass(frozen=True, slots=True)
class OpCounts:
    """rows_in + fan_out = rows_kept + rows_rejected."""

    rows_in: int
    fan_out: int
    rows_kept: int
    rows_rejected: int


def _setting(value: object) -> object:
    if isinstance(value, Fingerprinted):
        return value.fingerprint
    if isinstance(value, Configured):
        return value.settings()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def recipe_of(ops: Sequence[Op]) -> list[OpRecipe]:
    """Return what each op of a chain does."""
    return [{"op": op.name, "version": op.version, "settings": op.settings()} for op in ops]


def run_chain(batch: Batch, ops: Sequence[Op]) -> tuple[Batch, dict[str, OpCounts]]:
    """Run the ops in turn and account for every row of each: rows in + fan-out = rows kept + rows rejected.

    A row that makes an op raise becomes a reject with reason `op_error`; the rows beside it go on.

    Raises:
        ConservationError: an op did not account for its rows.
        ValueError: two ops have one name.
        MemoryError, OSError, ImportError, TrichordError: raised by an op; no row is to blame.
    """
    counts: dict[str, OpCounts] = {}
    for op in ops:
        if op.name in counts:
            raise ValueError(f"two ops are named {op.name!r}")
        after = _run(op, batch)
        counts[op.name] = _account(op, batch, after)
        batch = after
    return batch, counts


def _run(op: Op, batch: Batch) -> Batch:
    """Apply one op; if it raises, halve the batch until the rows at fault are alone."""
    try:
        return op(batch)
    except (MemoryError, OSError, ImportError, TrichordError):
        raise  # the machine's or program's fault: a reject would make the shard depend on it
    except Exception as error:  # anything else an op raises becomes a reject that says so
        if len(batch) == 0:
            raise
        if len(batch) == 1:
            return batch.reject({0: ("op_error", f"{type(error).__name__}: {error}")}, op.name)
    middle = len(batch) // 2
    halves = join(_run(op, part) for part in (batch.slice(0, middle), batch.slice(middle, len(batch))))
    return join((Batch(rejects=batch.rejects), halves))


def _same_rows(before: Sequence[Row], after: Sequence[Row]) -> bool:
    return before is after or (
        len(before) == len(after)
        and all(one.key == two.key and one.source == two.source for one, two in zip(before, after, strict=True))
    )


def _account(op: Op, before: Batch, after: Batch) -> OpCounts:
    if after.rejects[: len(before.rejects)] != before.rejects:
        raise ConservationError(f"{op.name} changed the rejects of earlier ops")
    new = after.rejects[len(before.rejects) :]
    if not new and _same_rows(before.rows, after.rows):
        return OpCounts(len(before), 0, len(after), 0)  # nearly always
    came = Counter((row.source, row.key) for row in before.rows)
    kept = Counter((row.source, row.key) for row in after.rows)
    refused = Counter((reject.source, reject.key) for reject in new)
    lost, added = came - kept - refused, (kept + refused) - came
    made = Counter({row: n for row, n in added.items() if op.fan_out and row not in came})
    if lost or added != made:
        raise ConservationError(
            f"{op.name} got {len(before)} rows and returned {len(after)} and {len(new)} rejects: "
            f"lost {sorted(lost)[:3]}, repeated or invented {sorted(added - made)[:3]}. "
            "Fix the op; the data is not at fault"
        )
    return OpCounts(len(before), made.total(), len(after), len(new))
