"""Secrets as files: each file of the folder that TRICHORD_SECRETS names becomes an environment variable of its name.

So Docker, Kubernetes and systemd hand them over, and libraries find them where they look. What is set already stays.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping

from trichord.infra.errors import ConfigError
from trichord.infra.regular_file import read_regular

FOLDER = "TRICHORD_SECRETS"
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")  # other files of the folder are not meant for the environment
_MAX_BYTES = 64 << 10


def export_secrets(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the variables; without TRICHORD_SECRETS do nothing. One line break at the end of a file does not count.

    Raises:
        ConfigError: the folder or a file cannot be read, is not UTF-8 text, or is larger than 64 KiB.
    """
    folder = environment.get(FOLDER)
    if not folder:
        return
    path = folder
    try:
        for name in sorted(os.listdir(folder)):
            if _NAME.fullmatch(name) and name not in environment:
                path = os.path.join(folder, name)
                environment[name] = read_regular(path, _MAX_BYTES).decode("utf-8").removesuffix("\n")
    except (OSError, ValueError) as error:  # not UTF-8, or a NUL in it
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(
            f"{FOLDER}: {path} cannot be read: {why}.\n"
            f"Next: give the user of this process the right to read it, or unset {FOLDER}."
        ) from error
