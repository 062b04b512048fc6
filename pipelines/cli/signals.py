"""Signals that end a command end it as an error would: blocks are left in order, and nothing temporary stays."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from trichord.infra import ending, log

# Python's own handler of SIGINT raises KeyboardInterrupt, which ends a process by the signal where nobody catches it,
# as between a command's end and the exit: the code would be another one.
_REPLACED = {signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Let SIGTERM, SIGHUP and SIGINT raise SystemExit in the block, with a shell's code: 128 and the number.

    Where tasks are running, they may finish first (`ending`). A signal that is ignored (`nohup`) stays ignored. Does
    nothing outside the main thread, which no signal reaches.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.getsignal(one) for one in _REPLACED}
    ending.reset()
    try:
        for one, handler in before.items():
            if handler == _REPLACED[one]:
                signal.signal(one, ending.receive)
        yield
    except (SystemExit, KeyboardInterrupt) as ended:
        _report(130 if isinstance(ended, KeyboardInterrupt) else ended.code)
        raise
    finally:
        ending.reset()
        for one, handler in before.items():
            if handler is not None:  # one that was not installed from Python cannot be put back
                signal.signal(one, handler)


def _report(code: object) -> None:
    if isinstance(code, int) and code - 128 in _REPLACED:
        log.event(
            "interrupted",
            signal=signal.Signals(code - 128).name,
            **ending.outcome(),
            **_advice(ending.begun()),
        )


def _advice(job: str | None) -> dict[str, str]:
    """Return what an ended job left, and what to do next; nothing for a verb that only reads, serves or asks."""
    if job is None:
        return {}
    if job in ("publish", "rollback"):  # a second rollback would go one further back
        return {"kept": "what was live, or what went live", "next": "see which: `trichord status`"}
    return {"kept": "all that is finished", "next": "run the command again: it resumes"}
