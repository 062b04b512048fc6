"""Secrets in files, read again when the file changes: a key is replaced without a restart."""

from __future__ import annotations

import os

from trichord.infra.errors import ConfigError
from trichord.infra.regular_file import read_regular

_MOST_BYTES = 16 << 10


class SecretFile:
    """The lines of a file; what is empty or begins with `#` is none.

    Args:
        path: of the file.
        setting: names it in the project file.
    """

    def __init__(self, path: str, setting: str) -> None:
        self._path, self._setting = path, setting
        self._mark: tuple[int, int, int] | None = None
        self._lines: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """Return the secrets of now.

        Raises:
            ConfigError: the file cannot be read, or holds none.
        """
        try:
            found = os.stat(self._path)
            mark = (found.st_ino, found.st_mtime_ns, found.st_size)
            if mark != self._mark:
                text = read_regular(self._path, _MOST_BYTES).decode("ascii")
                stripped = (line.strip() for line in text.splitlines())
                self._lines, self._mark = tuple(one for one in stripped if one and not one.startswith("#")), mark
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not ASCII"
            raise ConfigError(f"{self._setting}: {self._path} cannot be read: {why}.") from error
        if not self._lines:
            raise ConfigError(f"{self._setting}: {self._path} holds no secret.")
        return self._lines
