"""`init`: the project file that data need, with a look at what would be read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trichord.infra.config import FieldMap, Source, StorageConfig
from trichord.infra.errors import ConfigError
from trichord.infra.project import load_project
from trichord.infra.reference import commented_example
from trichord.pipelines.ops.detect import detect
from trichord.pipelines.ops.glimpse import Glimpse, glimpse
from trichord.pipelines.ops.samples import BoundedStorage

_READ_AS_FOLDER = {"folder", "imagefolder", "audiofolder", "parquet", "webdataset"}
_PLAIN = re.compile(r"[A-Za-z./][A-Za-z0-9_./-]*")
_NOT_TEXT = {"null", "true", "false"}
_STARTER = """\
# Trichord project file. Name your data, then: trichord plan
# `trichord init FILE_OR_FOLDER` writes this for data that are there; `trichord init --full` writes every setting.
lake: lake # folder or s3:// URI that Trichord fills: records, vectors, index, publications
sources:
  - name: products
    kind: manifest # rows of CSV, TSV or JSONL; or folder, captions, imagefolder, parquet, webdataset, delta
    path: data/products.jsonl
    # media_root: data/photos # where image and audio paths start, if not at the file's folder
    fields: # which column means what; remove a line whose column your data do not have
      key: id
      text: text
      image: image
      audio: audio
# engine:
#   workers: 4 # processes; 2 if left out
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A project file that was written. `source` is None where no data were named."""

    path: str
    source: dict[str, Any] | None = None
    looked_at: str = ""
    records: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def start(data: str | None, out: Path, *, full: bool = False, force: bool = False) -> Started:
    """Write a project file: for `data` that are there, else one to fill in; `full` shows every setting.

    Raises:
        ConfigError: the file exists, or nothing can be guessed of the data. Nothing was written.
        SourceError: the data are damaged.
    """
    if out.exists() and not force:
        raise ConfigError(f"{out} exists already.\nNext: choose another name by --out FILE, or add --force.")
    if data is None:
        _write(out, commented_example() if full else _STARTER)
        return Started(path=str(out))
    if full:
        raise ConfigError(
            "--full writes a file with every setting, not one for the data named.\n"
            f"Next: trichord init {data}, or: trichord init --full"
        )
    if "://" in data:
        raise ConfigError(
            f"{data}: only files and folders of this machine are looked at.\n"
            "Next: `trichord init` writes a file to start from; name the s3:// URI in it as `path` of a source."
        )
    guess = detect(os.path.abspath(os.path.expanduser(data)), BoundedStorage(StorageConfig()))
    seen = glimpse(guess.source, BoundedStorage(StorageConfig()))
    if not seen.records:
        raise ConfigError(
            f"{data} looks like a source of kind {guess.source.kind}, but none of the {seen.rows} rows looked at can "
            f"be read ({_told(seen)}).\nNext: correct the data, or write `sources` by hand: `trichord init` writes a "
            "file to start from."
        )
    if seen.fault:
        raise ConfigError(
            f"{data} looks like a source of kind {guess.source.kind}, but `trichord plan` would refuse it: "
            f"{seen.fault}.\nNext: correct the data, or write `sources` by hand: `trichord init` writes a file to "
            "start from."
        )
    folder = str(out.absolute().parent)
    text = _project_text(guess.source, folder)
    _write(out, text)
    notes = list(guess.notes)
    if seen.rejects:
        notes.append(f"of {seen.rows} rows looked at {sum(seen.rejects.values())} would be rejected: {_told(seen)}")
    settings = dict(_settings(guess.source, folder))
    return Started(path=str(out), source=settings, looked_at=guess.looked_at, records=seen.records, notes=tuple(notes))


def _told(seen: Glimpse) -> str:
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(seen.rejects.items()))
    return f"{counts or 'there are none'}{f'; the first: {seen.example}' if seen.example else ''}"


def _write(out: Path, text: str) -> None:
    """Put the file in its place once it is known to load."""
    part = out.with_name(f".{out.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        load_project(part)
        os.replace(part, out)
    except UnicodeEncodeError as error:
        raise ConfigError(f"A name of the data is not UTF-8, so no project file can name it: {error}.") from error
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}.\nNext: choose another by --out FILE.") from error
    finally:
        with suppress(OSError):  # below something that is not a folder
            part.unlink()


def _project_text(source: Source, folder: str) -> str:
    """About ten lines: the lake, and the source with the settings that are not the defaults."""
    lines = [f"lake: {_yaml(_lake(source, folder))}", "sources:"]
    mark = "  - "
    for name, value in _settings(source, folder):
        if isinstance(value, dict):
            lines.append(f"    {name}:")
            lines += [f"      {inner}: {_yaml(item)}" for inner, item in value.items()]
        else:
            lines.append(f"{mark}{name}: {_yaml(value)}")
        mark = "    "
    return "# Written by `trichord init`. Every setting: docs/configuration.md, or `trichord init --full`.\n" + "".join(
        line + "\n" for line in lines
    )


def _settings(source: Source, folder: str) -> Iterator[tuple[str, Any]]:
    """The source's settings that must be written, with places relative to the project file's folder."""
    yield "name", source.name
    yield "kind", source.kind
    yield "path", _relative(source.path, folder)
    usual = type(source).model_fields
    if (form := getattr(source, "format", "auto")) != "auto":
        yield "format", form
    if (delimiter := getattr(source, "delimiter", None)) is not None:
        yield "delimiter", delimiter
    if (root := getattr(source, "media_root", None)) is not None:
        yield "media_root", _relative(root, folder)
    fields = getattr(source, "fields", None)
    if isinstance(fields, FieldMap):
        default = FieldMap().model_dump()  # of a map that is written: that of a source without one may have another key
        chosen = {name: value for name, value in fields.model_dump().items() if value != default[name]}
        if chosen and fields.model_dump() != usual["fields"].default.model_dump():
            yield "fields", chosen


def _lake(source: Source, folder: str) -> str:
    """A lake beside the project file; beside the data where the file lies in a folder that is read as a whole."""
    lake = os.path.join(folder, "lake")
    if source.kind in _READ_AS_FOLDER and (lake + "/").startswith(source.path.rstrip("/") + "/"):
        lake = f"{source.path.rstrip('/')}-lake"
    return _relative(lake, folder)


def _relative(path: str, folder: str) -> str:
    """The path from the project file, or the whole path where it would climb far."""
    relative = os.path.relpath(path, folder)
    return path if relative.startswith("../../../") else relative


def _yaml(value: Any) -> str:
    """A scalar that reads as this value: quoted where plain text might be read as anything else."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    shown = json.dumps(value, ensure_ascii=not str(value).isprintable())
    return shown.replace("${", "$${")
