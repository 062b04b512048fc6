"""Writes the files of a target for a project.

A target is a folder beside this module. Its files that end `.j2` are templates with ERB's marks (`<%= name %>`), as the
braces of Jinja mean something to Prometheus, GitHub and Airflow; all others are copied. A file that begins with `_` is
part of others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import jinja2

from trichord.infra.deploy.place import Place
from trichord.infra.errors import ConfigError
from trichord.infra.redaction import redact

HERE = Path(__file__).parent
_TEMPLATE = ".j2"
_KEYS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bwhsec_[A-Za-z0-9+/=]{16,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}"
)
_LEAST_SECRET_CHARS = 6


def targets() -> tuple[str, ...]:
    """Return the names of all targets."""
    return tuple(sorted(folder.name for folder in HERE.iterdir() if folder.is_dir() and folder.name[0] not in "._"))


def files_of(target: str) -> dict[str, Path]:
    """Return the files that a target has: path as written -> template or file.

    Raises:
        ConfigError: there is no such target.
    """
    if target not in targets():
        raise ConfigError(f"unknown target: {target}. There are {', '.join(targets())}.")
    found = sorted(path for path in (HERE / target).rglob("*") if path.is_file() and path.name[0] not in "._")
    return {str(path.relative_to(HERE)).removesuffix(_TEMPLATE): path for path in found}


def locked_version(package: str) -> str:
    """Return the version of a package in the images."""
    found = re.search(rf"^{package}==(\S+)", (HERE / "docker" / "requirements.lock").read_text(encoding="utf-8"), re.M)
    if found is None:
        raise ValueError(f"the lock of the images has no {package}")
    return found[1]


def render(target: str, place: Place, project_files: Mapping[str, str]) -> dict[str, str]:
    """Return the files of a target for a project: path below the folder to write to -> content.

    Args:
        target: its name.
        place: what the files need to know.
        project_files: name -> text of the project file and of what it extends; Kustomize brings them to the cluster.

    Raises:
        ConfigError: there is no such target, or a file would hold a secret.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # no HTML; `Place` checks every value
        variable_start_string="<%=",
        variable_end_string="%>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<%#",
        comment_end_string="%>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    content = {"place": place, "project_files": sorted(project_files)}
    copied, made = {}, {}
    for path, source in files_of(target).items():
        if source.suffix == _TEMPLATE:
            made[path] = environment.get_template(str(source.relative_to(HERE))).render(content)
        else:
            copied[path] = source.read_text(encoding="utf-8")
    if target == "kubernetes":
        made |= {f"kubernetes/base/{name}": text for name, text in project_files.items()}
    made = {path: text for path, text in made.items() if text.strip()}  # a blank one is not needed for this project
    for path, text in made.items():
        _refuse_secrets(path, text, place.secrets)
    return copied | made


def _refuse_secrets(path: str, text: str, names: tuple[str, ...]) -> None:
    """Raise ConfigError if a file holds a credential, or the content of a variable that is named as one."""
    values = [value for name in names if len(value := os.environ.get(name, "").strip()) >= _LEAST_SECRET_CHARS]
    found = [text.count("\n", 0, text.index(value)) + 1 for value in values if value in text]
    lines = enumerate(text.splitlines(), 1)
    found += [number for number, line in lines if redact(line) != line or _KEYS.search(line)]
    if found:
        raise ConfigError(
            f"{path}, line {min(found)}, would hold a secret; nothing was written.\n"
            "Next: put it into an environment variable, write ${NAME} in the project file, and add --secret NAME."
        )
