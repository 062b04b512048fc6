"""`deploy`: the files that run a project somewhere."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from trichord.infra import strict_yaml
from trichord.infra.config import Project
from trichord.infra.deploy import render as files
from trichord.infra.deploy.place import Place
from trichord.infra.errors import ConfigError, StorageError
from trichord.infra.lake.storage import is_remote
from trichord.infra.packages import version
from trichord.infra.project import load_project
from trichord.infra.regular_file import read_regular
from trichord.pipelines.core.result import Result

_HTTPS, _MILVUS = 443, 19530
_IN_CONTAINERS = ("compose", "github", "kubernetes", "ray")
_MAX_PROJECT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a user says of a deployment; None and empty: what the project or the machine suggests."""

    name: str = "trichord"
    image: str | None = None
    gpu_image: str | None = None
    lake: str | None = None
    schedule: str = "0 2 * * *"
    timezone: str = "Etc/UTC"
    secrets: Sequence[str] = ()
    program: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered(Result):
    """Files that were written, relative to `folder`, and what to do about them."""

    folder: str
    files: tuple[str, ...]
    notes: tuple[str, ...]


def render_deployment(
    targets: Sequence[str], project_file: Path, out: Path, wishes: Wishes, *, force: bool = False
) -> Rendered:
    """Write the files of some targets for a project into a folder, all or none.

    Raises:
        ConfigError: an unknown target, a value that cannot be written, a secret in a file, or a file that exists.
        StorageError: a file cannot be written.
    """
    path = Path(os.path.abspath(project_file))
    overrides = [f"lake={wishes.lake}"] if wishes.lake else []
    project = load_project(path, overrides)
    texts = _project_texts(path)
    place = _place(project, path, wishes)
    written: dict[str, str] = {}
    for target in dict.fromkeys(targets):
        written |= files.render(target, place, texts)
    existing = [name for name in written if os.path.lexists(out / name)]
    if existing and not force:
        more = f" and {len(existing) - 3} more" if len(existing) > 3 else ""
        raise ConfigError(
            f"{', '.join(str(out / name) for name in existing[:3])}{more} would be overwritten; nothing was written.\n"
            "Next: name another folder by --out, or add --force."
        )
    for name, text in written.items():
        _write(out / name, text)
    return Rendered(folder=str(out), files=tuple(sorted(written)), notes=tuple(_notes(project, place, targets)))


def _place(project: Project, path: Path, wishes: Wishes) -> Place:
    made = version("trichord")
    image = wishes.image or f"trichord:{made}"
    ports = {_HTTPS}
    if project.storage.endpoint and (port := urlsplit(project.storage.endpoint).port):
        ports.add(port)
    milvus = "milvus" in project.index.backends
    if milvus:
        ports.add(urlsplit(project.milvus.uri).port or _MILVUS if "://" in project.milvus.uri else _MILVUS)
    return Place(
        name=wishes.name,
        project=str(path),
        lake=wishes.lake,
        lake_path=project.lake,
        local=any(not is_remote(one) for one in (project.lake, *(source.path for source in project.sources))),
        image=image,
        gpu_image=wishes.gpu_image or (f"{image}-gpu" if "@" not in image else image),
        schedule=wishes.schedule,
        timezone=wishes.timezone,
        secrets=tuple(dict.fromkeys(wishes.secrets)),
        program=wishes.program or _program(),
        ports=tuple(sorted(ports)),
        milvus=milvus,
        version=made,
        ray_version=files.locked_version("ray"),
    )


def _program() -> str:
    """Return where the command of this installation is."""
    beside = Path(sys.executable).with_name("trichord")
    return str(beside) if beside.exists() else os.path.abspath(shutil.which("trichord") or "/usr/local/bin/trichord")


def _project_texts(path: Path) -> dict[str, str]:
    """Return the project file and those that it extends: name -> text."""
    texts: dict[str, str] = {}
    current: Path | None = path
    while current is not None:
        if current.parent != path.parent:
            raise ConfigError(f"{path.name} extends {current}: the files of a deployment are in one folder.")
        data = read_regular(current, _MAX_PROJECT_BYTES)
        texts[current.name] = data.decode("utf-8-sig")
        base = strict_yaml.parse(data, os.environ).value.get("extends")
        current = Path(os.path.abspath(current.parent / base)) if base else None
    return texts


def _notes(project: Project, place: Place, targets: Sequence[str]) -> list[str]:
    notes = []
    if any(target in _IN_CONTAINERS for target in targets):
        home = f"{place.home}/"
        away = [place.lake_path] + [source.path for source in project.sources]
        for one in (one for one in away if not is_remote(one) and not one.startswith(home)):
            notes.append(f"{one} is outside {place.home}: containers see only that folder, as {place.folder}.")
    if "kubernetes" in targets and place.local:
        notes.append(f"kubernetes: copy what is in {place.home} to the volume `data`, or name s3:// URIs.")
    if "github" in targets and place.lake_is_local:
        notes.append("github: a runner keeps no files: name a lake in an object store by --lake s3://BUCKET/PREFIX.")
    if "docker" in targets:
        notes.append(
            "docker: in a checkout, pip wheel --no-deps --wheel-dir FOLDER_OF_THE_DOCKERFILE . before the build."
        )
    return notes


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error.strerror}.") from error
