"""What a job is sent: the package's sources, the project file with those it extends, and files that arguments name.

Nothing else: no lake, no data, no environment. A file with credentials in it is refused.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from trichord.infra.engines import shipping
from trichord.infra.errors import ConfigError
from trichord.infra.layers import chain
from trichord.infra.redaction import redact
from trichord.infra.regular_file import read_regular

FILE_OPTIONS = ("--keys", "--model", "--recipe", "--plan")  # whose value is a file to read
MOST_BYTES = 16 << 20  # of a file that an argument names


def stage_job(folder: Path, project: Path, arguments: Sequence[str], modules: Sequence[str]) -> tuple[str, list[str]]:
    """Fill a folder with what a job needs; return the project file in it, and the arguments as they are there.

    Raises:
        ConfigError: a file cannot be read, is too large, holds credentials, or extends one by an absolute path.
    """
    shipping.stage(os.fspath(folder), [name for name in modules if not shipping.is_installed(name)])
    files = [Path(os.path.abspath(file)) for file in chain(os.fspath(project))]
    top = Path(os.path.commonpath([file.parent for file in files]))
    for file in files:
        place = folder / "project" / file.relative_to(top)
        place.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_bytes()
        _refuse_secrets(file, text)
        place.write_bytes(text)
    return (Path("project") / files[0].relative_to(top)).as_posix(), _staged_arguments(folder, arguments)


def _staged_arguments(folder: Path, arguments: Sequence[str]) -> list[str]:
    staged: list[str] = []
    previous = ""
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if previous in FILE_OPTIONS:
            argument = _send(folder, argument, len(staged))
        elif equals and option in FILE_OPTIONS:
            argument = f"{option}={_send(folder, value, len(staged))}"
        previous = argument
        staged.append(argument)
    return staged


def _send(folder: Path, name: str, position: int) -> str:
    try:
        content = read_regular(Path(name), MOST_BYTES)
    except OSError as error:
        raise ConfigError(f"{name} cannot be sent to the cluster: {error.strerror or error}") from error
    _refuse_secrets(Path(name), content)
    place = Path("files") / f"{position}-{Path(name).name}"
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).write_bytes(content)
    return place.as_posix()


def _refuse_secrets(file: Path, content: bytes) -> None:
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if redact(line) != line:
            raise ConfigError(
                f"{file}, line {number}, holds credentials, which are not sent to a cluster.\n"
                "Next: write ${NAME} there, and set the variable on the cluster."
            )
