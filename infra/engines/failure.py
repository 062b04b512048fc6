"""Why an item did not return, as a value that crosses processes: an error of ours keeps its class on the way.

An exception itself does not travel well. One whose constructor takes other arguments than its message cannot be
unpickled, and one of a library may not be importable where it arrives. So the worker takes it apart here: the class,
if it is one of ours, the text, and the traceback for debugging.
"""

from __future__ import annotations

import os
import pickle
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trichord.infra.errors import PartialRun, TrichordError
from trichord.infra.redaction import redact
from trichord.infra.system_errors import as_storage_error

FailureKind = Literal["error", "died", "timeout"]


class WorkerTraceback(Exception):
    """The `__cause__` of an error that a worker met: its text is the traceback there. The command line hides it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an item, or the set-up of a worker, did not return.

    Attributes:
        kind: it raised, its worker died, or time ran out.
        message: the text of the exception, or how the worker ended.
        error_type: name of the exception's class, with its module unless it is built in; "" unless `kind` is "error".
        ours: the class to raise again in the driver, where the exception is one of ours.
        exit_code: of that error.
        where: file and line that raised an exception of others.
        trace: the traceback in the worker.
    """

    kind: FailureKind
    message: str
    error_type: str = ""
    ours: type[TrichordError] | None = None
    exit_code: int = PartialRun.exit_code
    where: str = ""
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Take apart an exception that a task raised."""
        known = as_storage_error(error, f"in a worker, whose temporary files are in {tempfile.gettempdir()}")
        if known is not None:  # what fills a worker's disk would fill it for every item
            return cls(
                kind="error",
                message=str(known),
                error_type=type(known).__qualname__,
                ours=type(known),
                exit_code=known.exit_code,
                trace=_trace(error),
            )
        message, raised = _text(error), type(error)
        if not isinstance(error, TrichordError):
            module = "" if raised.__module__ == "builtins" else f"{raised.__module__}."
            return cls(
                kind="error",
                message=message,
                error_type=module + raised.__qualname__,
                where=_where(error),
                trace=_trace(error),
            )
        return cls(
            kind="error",
            message=message,
            error_type=raised.__qualname__,
            ours=next(known for known in raised.__mro__ if _can_be_raised_again(known, message)),
            exit_code=error.exit_code,
            trace=_trace(error),
        )

    def error(self, otherwise: str) -> TrichordError:
        """Return the error to raise: the worker's own, if it is one of ours, else a PartialRun that says `otherwise`.

        Its `__cause__` is a `WorkerTraceback`.
        """
        raised: TrichordError
        if self.ours is None:
            raised = PartialRun(otherwise)
        else:
            raised = _made(self.ours, self.message)
            raised.exit_code = self.exit_code
        if self.trace:
            raised.__cause__ = WorkerTraceback(self.trace)
        return raised

    def __str__(self) -> str:
        """Return what happened, without a traceback."""
        if not self.error_type:
            return self.message
        said = f"{self.error_type}: {self.message}" if self.message else self.error_type
        return f"{said} ({self.where})" if self.where else said


def partly_failed(failures: Sequence[tuple[str, Failure]], asked: int, tried: int, done_to: str) -> TrichordError:
    """Return the error of a run of which some items failed: (name, failure) of each, or of each part of one.

    Where all failed, it is the first one's own error, if that is one of ours. `done_to` says what was not done, for
    example "partitions could not be prepared".
    """
    partial = (
        f"{len({name for name, _ in failures})} of {asked} {done_to}; the others are kept.\n"
        + "\n".join(f"{name}: {failure}" for name, failure in failures[:3])
        + "\nFix the cause and run the command again; it resumes."
    )
    return failures[0][1].error(partial) if len(failures) == tried else PartialRun(partial)


def _made(kind: type[TrichordError], message: str) -> TrichordError:
    """Return an error of a class without calling its constructor, which may take anything."""
    return kind.__new__(kind, message)


def _can_be_raised_again(kind: type, message: str) -> bool:
    """Return whether a class is one of ours, is found by its name in another process, and shows its message."""
    if not issubclass(kind, TrichordError) or kind.__module__ == "__main__":
        return False
    try:
        return pickle.loads(pickle.dumps(kind)) is kind and str(_made(kind, message)) == message
    except Exception:  # noqa: BLE001 - defined in a function, or its text needs what its constructor sets: a base will do
        return False


def _text(error: BaseException) -> str:
    """Return the text of an exception without credentials, whatever its `__str__` does."""
    try:
        return redact(str(error))
    except Exception:  # noqa: BLE001 - a broken __str__ must not hide which item failed
        return "its text cannot be shown"


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}" if frames else ""


def _trace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - as in `_text`
        return "".join(traceback.format_tb(error.__traceback__))
