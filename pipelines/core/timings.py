"""Where the time of encoding goes. Timings are never part of a shard, which must depend on its inputs alone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from threading import Lock
from typing import Any, Literal

from trichord.infra.lake.shard import ShardRef

Step = Literal["read", "decode", "forward", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Seconds of each step, and elapsed seconds: fewer than the sum of the steps, as reading and decoding run ahead.

    Attributes:
        read_s: reading rows from the lake, in a separate thread.
        decode_s: decoding media, summed over the decoding threads.
        forward_s: the encoders, with their preprocessing, and the fusion.
        write_s: building tables and writing the shard.
        waited_s: how long the forward pass waited for rows to be decoded.
        wall_s: from the first row to the finished shard.
    """

    read_s: float = 0.0
    decode_s: float = 0.0
    forward_s: float = 0.0
    write_s: float = 0.0
    waited_s: float = 0.0
    wall_s: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        names = (field.name for field in fields(self))
        return Spent(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def rounded(self) -> dict[str, float]:
        """Return the seconds by name, rounded to milliseconds."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


class Stopwatch:
    """Adds up the seconds of each step over all threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._spent = Spent()
        self._started_s = time.perf_counter()

    @contextmanager
    def __call__(self, step: Step | Literal["waited"]) -> Iterator[None]:
        started_s = time.perf_counter()
        try:
            yield
        finally:
            seconds = Spent(**{f"{step}_s": time.perf_counter() - started_s})
            with self._lock:
                self._spent += seconds

    def spent(self) -> Spent:
        """Return the sums so far."""
        with self._lock:
            return self._spent + Spent(wall_s=time.perf_counter() - self._started_s)


@dataclass(frozen=True, slots=True)
class Timed:
    """A finished shard, where the time of making it went, and how many of its records were copied.

    A shard may be a `part` of another one.
    """

    ref: ShardRef
    spent: Spent
    copied: int = 0
    part: bool = False


@dataclass(slots=True)
class Timings:
    """Sums over the shards that a run made, by table; `made` counts those of tables without times, too."""

    by_table: dict[str, tuple[int, int, int, Spent]] = field(default_factory=dict)  # shards, rows, copied, seconds
    made: Counter[str] = field(default_factory=Counter)

    def add(self, table: str, made: Timed) -> None:
        """Count one more shard; of a part, its seconds alone."""
        shards, rows, copied, spent = self.by_table.get(table, (0, 0, 0, Spent()))
        if not made.part:
            shards, rows, copied = shards + 1, rows + made.ref.rows, copied + made.copied
            self.made[table] += 1
        self.by_table[table] = (shards, rows, copied, spent + made.spent)

    def summary(self) -> Mapping[str, Mapping[str, Any]]:
        """Return, JSON-ready, counts and the fields of `Spent` for each table that received shards.

        The counts are `shards`, their `rows`, and of the records how many were `copied` from older shards.
        """
        return {
            table: {"shards": shards, "rows": rows, "copied": copied, **spent.rounded()}
            for table, (shards, rows, copied, spent) in sorted(self.by_table.items())
        }
