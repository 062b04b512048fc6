"""The process around a verb: its streams, and how each way to end becomes a message and an exit code.

No traceback reaches a user. An error that nobody foresaw is written to a file, which the message names.
"""

from __future__ import annotations

import atexit
import gc
import os
import select
import sys
import tempfile
import traceback
from contextlib import suppress

import typer

from trichord.infra import log, stderr
from trichord.infra.errors import ConfigError, StorageError, TrichordError
from trichord.infra.printable import printable
from trichord.infra.redaction import redact
from trichord.infra.secret_files import export_secrets
from trichord.infra.system_errors import as_storage_error
from trichord.pipelines.cli.arguments import accept_text_only

UNEXPECTED, INTERRUPTED, STDOUT_CLOSED = 1, 130, 141  # the last two as a shell reports SIGINT and SIGPIPE
_OBJECTS = 10_000


class UnexpectedError(TrichordError):
    """An error that nobody foresaw: a bug, or a machine that misbehaves."""

    exit_code = UNEXPECTED


def run(app: typer.Typer) -> int:
    """Run the command line of this process, report an error if there is one, and return the exit code."""
    _look_less_for_cycles()
    log.configure(as_json="--json" in sys.argv[1:])
    _open_streams()
    with stderr.own():
        try:
            return _finished(_run(app))
        except TrichordError as error:
            return _report(error)


def _run(app: typer.Typer) -> int:
    """Run a verb and return its exit code, 0 unless it chose another.

    Raises:
        TrichordError: anything went wrong.
    """
    try:
        export_secrets()
        command = typer.main.get_command(app)
        accept_text_only(command)
        ended = command.main(prog_name="trichord", standalone_mode=False)
        return ended if isinstance(ended, int) else 0
    except TrichordError:
        raise
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # so rich, which prints the help, ends
            return STDOUT_CLOSED
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BrokenPipeError as error:
        if _is_stdout_closed():
            return STDOUT_CLOSED
        raise _unexpected(error) from error
    except OSError as error:
        raise _system_error(error) from error
    except MemoryError as error:
        raise UnexpectedError(
            "This machine ran out of memory.\nNext: lower engine.workers, or free memory, and run the command again."
        ) from error
    except Exception as error:  # what is foreseen is a TrichordError
        if isinstance(error, typer.BadParameter.__mro__[2]):
            return _report_usage(error)
        raise as_storage_error(error) or _unexpected(error) from error


def _report(error: TrichordError) -> int:
    with suppress(OSError):  # nobody can read it: the exit code says it
        log.error(error, error.exit_code)
    return error.exit_code


def _report_usage(error: Exception) -> int:
    """Report what is wrong with the command line itself."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "trichord"
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stdout.write(f"{context.get_help()}\n" if context is not None else "")
        return ConfigError.exit_code
    return _report(ConfigError(f"{error.format_message()}\nNext: {path} --help"))  # type: ignore[attr-defined]


def _system_error(error: OSError) -> TrichordError:
    try:
        os.getcwd()
    except OSError:
        return ConfigError("The current folder does not exist any more.\nNext: cd to another one.")
    known = as_storage_error(error)
    return known or StorageError(
        f"{error}\nRun `trichord doctor`, or `trichord recover` if a file of the lake is missing."
    )


def _unexpected(error: Exception) -> UnexpectedError:
    """Return the message of an unforeseen error, and write what a report of it needs to a file."""
    what = redact(f"{type(error).__name__}: {error}".splitlines()[0][:300])
    details = "".join(traceback.format_exception(error)) + "\nWhat libraries wrote to stderr:\n" + stderr.held()
    try:
        descriptor, path = tempfile.mkstemp(prefix="trichord-error-", suffix=".txt")
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(printable(redact(details), keep="\n"))
    except OSError:
        return UnexpectedError(f"{what}\nThis is a bug in trichord. Its details could not be written to a file.")
    return UnexpectedError(f"{what}\nThis is a bug in trichord. Please report it with {path}.")


def _finished(code: int) -> int:
    """Flush stdout, so that a full disk or a closed pipe shows now, and return the exit code.

    Raises:
        StorageError: what was printed could not be written.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        closed = _is_stdout_closed()
        _drop_stdout()
        if not closed:
            raise refuse_output(error) from error
        return code or STDOUT_CLOSED
    if code == STDOUT_CLOSED:
        _drop_stdout()
    return code


def refuse_output(error: OSError) -> StorageError:
    """Return the error of a result that could not be printed."""
    return StorageError(
        f"The result could not be written to stdout: {error.strerror}.\n"
        "The command itself is done. Send its output to a place with room, and run it again."
    )


def _is_stdout_closed() -> bool:
    """Return True if stdout is a pipe whose reader has gone."""
    try:
        poller = select.poll()
        poller.register(sys.stdout.fileno(), 0)
        return any(events & select.POLLERR for _, events in poller.poll(0))
    except (OSError, ValueError):
        return False


def _drop_stdout() -> None:
    """Let what is still buffered go nowhere, or Python would complain at the end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _look_less_for_cycles() -> None:
    """Let Python look for cycles after more objects: imports make many and hardly a cycle. And not at the end."""
    gc.set_threshold(_OBJECTS)
    atexit.register(gc.freeze)


def _open_streams() -> None:
    """Give a process that was started without stdout or stderr empty ones; let no locale refuse a character."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open as long as the process
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
