"""CPU seconds that crafted input costs, by size.

`python -m tests.faults.crafted [--json] [--only NAME] [--kib 1024,4096]` prints them.

Work is linear where four times the input costs at most about four times the CPU time. Exits with 1 where it is not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from tests.faults import crafted_files, crafted_text

FLOOR_S = 0.05  # less CPU time than this says nothing
SLACK = 2.0  # of the ratio of CPU times over the ratio of sizes: caches, garbage collection, a busy machine
TRIES = 3  # where a figure is beyond the slack, the best of these counts
KIB = (1_024, 2_048, 4_096)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Crafted input of any size, and what reads it."""

    reader: str
    input: str
    make: Callable[[int], Any]
    read: Callable[[Any], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a case cost: CPU seconds by size in KiB, and the largest size's CPU seconds a MiB."""

    reader: str
    input: str
    cpu_s: dict[int, float]
    cpu_s_per_mib: float
    growth: float  # ratio of CPU times over ratio of sizes, largest to smallest; 1 is linear

    @property
    def linear(self) -> bool:
        """Whether the CPU time grows no faster than the size."""
        return self.growth <= SLACK


def cases(only: str = "", inputs: tuple[str, ...] | None = None) -> Iterator[Case]:
    """Every text by every reader of texts, then every file by its reader.

    Args:
        only: part of a reader's name.
        inputs: names of texts; all if None.
    """
    for reader, read in crafted_text.readers().items():
        for unit in crafted_text.UNITS if only in reader else ():
            if inputs is None or unit in inputs:
                yield Case(reader=reader, input=unit, make=partial(crafted_text.text_of, unit), read=read)
    for files in crafted_files.readers():
        for name, make in files.files.items() if only in files.name else ():
            yield Case(reader=files.name, input=name, make=make, read=files.read)


def cost_of(case: Case, kib: tuple[int, ...]) -> Cost:
    """Measure a case; a figure that looks worse than linear is measured again."""
    found = _measure(case, kib)
    for _ in range(TRIES - 1):
        if found.linear:
            break
        again = _measure(case, kib)
        found = min(found, again, key=lambda cost: cost.growth)
    return found


def _measure(case: Case, kib: tuple[int, ...]) -> Cost:
    spent = {size: _cpu_s(case, size << 10) for size in kib}
    first, last = kib[0], kib[-1]
    growth = max(spent[last], FLOOR_S) / max(spent[first], FLOOR_S) / (last / first)
    return Cost(
        reader=case.reader,
        input=case.input,
        cpu_s={size: round(seconds, 3) for size, seconds in spent.items()},
        cpu_s_per_mib=round(spent[last] / last * 1_024, 3),
        growth=round(growth, 2),
    )


def _cpu_s(case: Case, size: int) -> float:
    made = case.make(size)
    before = time.process_time()
    case.read(made)
    return time.process_time() - before


def _line(cost: Cost) -> str:
    mark = "" if cost.linear else "  WORSE THAN LINEAR"
    return f"{cost.reader:32} {cost.input:36} {cost.cpu_s_per_mib:8.3f} s/MiB x{cost.growth:.2f}{mark}"


def main() -> int:
    """Print the costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--only", default="", help="part of a reader's name")
    parser.add_argument("--kib", default=",".join(map(str, KIB)), help="sizes, smallest first")
    asked = parser.parse_args()
    kib, beyond = tuple(int(size) for size in asked.kib.split(",")), 0
    for case in cases(asked.only):
        cost = cost_of(case, kib)
        beyond += not cost.linear
        shown = json.dumps(asdict(cost) | {"linear": cost.linear}) if asked.json else _line(cost)
        sys.stdout.write(f"{shown}\n")
        sys.stdout.flush()
    return min(beyond, 1)


if __name__ == "__main__":
    sys.exit(main())
