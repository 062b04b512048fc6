"""Errors named by what follows from them, each with its process exit code.

Every message says what happened, the evidence, and the next command to type.
"""

from __future__ import annotations

from collections.abc import Mapping

from trichord.infra.redaction import redact


class TrichordError(Exception):
    """Base of every error that the command line answers with a message instead of a traceback.

    `about` are the fields of the JSON line that reports it, such as the run and its stage.
    """

    exit_code = 1

    def __init__(self, message: str = "", *others: object) -> None:
        super().__init__(redact(message) if isinstance(message, str) else message, *others)
        self.about: Mapping[str, object] = {}


class ConfigError(TrichordError):
    """The project file or a flag is wrong; nothing was touched."""

    exit_code = 2


class GateFailed(TrichordError):
    """The candidate index was measured and refused; the old index stays live."""

    exit_code = 3


class CommitConflict(TrichordError):
    """Another writer committed first; re-read and reconcile again."""

    exit_code = 4


class LeaseTaken(CommitConflict):
    """Another run is at work on this lake; nothing was touched."""


class PartialRun(TrichordError):
    """Some work failed; what was finished is kept and a rerun resumes."""

    exit_code = 5


class StorageError(TrichordError):
    """The lake or an object store could not be read or written, or holds damaged bytes."""

    exit_code = 6


class SourceError(TrichordError):
    """A source as a whole could not be read (a bad row is a reject instead)."""

    exit_code = 7


class ServiceError(TrichordError):
    """A service that was asked, such as a model's endpoint, does not answer, or not as it should."""

    exit_code = 8


class FingerprintMismatch(TrichordError):
    """Vectors, an index or a client of another space were offered."""

    exit_code = 6
