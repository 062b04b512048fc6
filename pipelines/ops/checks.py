"""Checks of `doctor`: each names what was found, what to do about it, and takes a few seconds at most."""

from __future__ import annotations

import importlib.metadata
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trichord.infra.errors import TrichordError
from trichord.infra.redaction import redact

LIMIT_S = 5.0  # of a check that asks another machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: what was found, and if it failed, what to do and the exit code that a run would end with."""

    name: str
    ok: bool
    found: str
    advice: str = ""
    exit_code: int = 0


Probe = Callable[[], str]


def check(name: str, probe: Probe) -> Check:
    """Run a probe, which returns what it found; an error that it raises is a failed check.

    The first line of the error is what was found, the others say what to do.
    """
    try:
        return Check(name=name, ok=True, found=redact(probe()))
    except importlib.metadata.PackageNotFoundError:
        return Check(name=name, ok=False, found="not installed", advice=f"pip install {name}", exit_code=1)
    except (TrichordError, ImportError, OSError, RuntimeError, ValueError) as error:
        first, *rest = redact(str(error)).splitlines() or [type(error).__name__]
        code = error.exit_code if isinstance(error, TrichordError) else 1
        return Check(name=name, ok=False, found=first, advice=" ".join(rest), exit_code=code)


def check_all(probes: Sequence[tuple[str, Probe]], late: str) -> list[Check]:
    """Run probes at the same time, and give up those that are not done in `LIMIT_S` seconds.

    Args:
        probes: names and probes. One that is given up goes on in a thread that does not keep the process alive.
        late: what to do where a probe was given up.
    """
    results: dict[str, Check] = {}

    def run(name: str, probe: Probe) -> None:
        results[name] = check(name, probe)

    threads = [threading.Thread(target=run, args=one, daemon=True) for one in probes]
    for thread in threads:
        thread.start()
    until = time.monotonic() + LIMIT_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    found = f"no answer within {LIMIT_S:.0f} s"
    return [
        results.get(name) or Check(name=name, ok=False, found=found, advice=late, exit_code=1) for name, _ in probes
    ]
