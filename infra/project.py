"""Load the project file strictly: report all problems at once, and make all paths absolute."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trichord.infra import digest
from trichord.infra.bucket_uri import ROOT_PATTERN
from trichord.infra.config import AudioConfig, EndpointConfig, Project, TextConfig
from trichord.infra.errors import ConfigError
from trichord.infra.layers import Origin, read_tree
from trichord.infra.overrides import apply_overrides
from trichord.infra.redaction import redact
from trichord.infra.reference import commented_example, json_schema, reference_markdown
from trichord.infra.strict_yaml import Path, Problem
from trichord.infra.validation import validate

__all__ = [
    "absolute_places",
    "commented_example",
    "json_schema",
    "load_project",
    "project_digest",
    "recipe",
    "reference_markdown",
]

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_BUCKET = re.compile(ROOT_PATTERN + r"(/|$)")
_EXPECTED = "expected a local path, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
_MOST_TOLD = 20  # problems
_FOLDERS = ("folder", "imagefolder", "audiofolder", "parquet", "webdataset", "inventory")  # would read a lake in them
_SHAPING = {"sources", "prepare", "augment", "agreement", "model", "train", "index", "gate", "evaluate"}


def load_project(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Project:
    """Read a project file, put `key.sub=value` overrides into it and validate the result.

    A file may extend another, and values may name environment variables.

    Relative places (`lake`, `sources[].path`, `media_root`, a model path that begins with a dot) become absolute:
    they start at the folder of the file that gives them, or at the current folder where an override does.

    Raises:
        ConfigError: the file cannot be read, or anything in it or in an override is wrong; all problems are listed.
    """
    path = os.fspath(path)
    tree = read_tree(path, os.environ)
    values = {} if tree.value is None else tree.value
    problems, borrowed, given = list(tree.problems), tree.borrowed, dict[Path, str]()
    project = None
    if isinstance(values, dict):
        applied = apply_overrides(values, overrides, borrowed)
        given, borrowed = applied.given, applied.borrowed
        problems = [problem for problem in problems if not (problem.unset and _nearest(problem.path, given))]
        problems += applied.problems
    if tree.value is not None or not problems:
        project, found = validate(values, borrowed)
        blamed = {problem.path for problem in problems}
        problems += [problem for problem in found if problem.path not in blamed]
    if project is not None and not problems:
        folders = {(): os.path.dirname(os.path.abspath(path))} | dict.fromkeys(given, os.getcwd())
        for place, origin in tree.origins.items():
            if not _nearest(place, given):
                folders[place] = os.path.dirname(os.path.abspath(origin.file))
        project, problems = _placed(project, folders)
        problems += _contradictions(project)
        problems = [replace(problem, text=borrowed.hidden(problem.text)) for problem in problems]
    if project is None or problems:
        raise ConfigError(redact(_message(path, problems, tree.origins, given)))
    return project


def absolute_places(path: str | os.PathLike[str], project: Project) -> list[str]:
    """Return overrides that name the project's local places absolutely, as it must where its file is elsewhere.

    Left out are places that the file names absolutely, and those that come from the environment.

    Args:
        path: the project file.
        project: what `load_project` made of it.
    """
    tree = read_tree(os.fspath(path), os.environ)
    found = []
    for place, value in _places(project):
        written: Any = tree.value
        for part in place:
            is_there = isinstance(written, dict) and part in written
            written = written[part] if is_there or isinstance(written, list) else None
        if place in tree.borrowed.names or _SCHEME.match(value) or not os.path.isabs(value) or written == value:
            continue
        found.append(f"{'.'.join(map(str, place))}={json.dumps(value)}")
    return found


def recipe(project: Project) -> dict[str, Any]:
    """The settings that shape a result, JSON-ready and equal wherever the files lie.

    Left out: lake, storage, engine, housekeeping, and the places of sources and of model folders (their content counts
    by its own digests; of a folder only the last name stays).
    """
    settings = project.model_dump(mode="json", include=_SHAPING)
    if "milvus" in project.index.backends:  # what shapes a collection; where it is does not
        shaping = {"prefix", "index_type", "index_params", "partitions"}
        settings["milvus"] = project.milvus.model_dump(mode="json", include=shaping)
    for source in settings["sources"]:
        del source["path"]
        source.pop("media_root", None)
        source.pop("warn_after_days", None)
        del source["optional_fields"]  # says what is an error, and shapes nothing
        source.pop("splits", None)
    for name in ("text", "image", "audio"):
        del settings["model"][name]["adapt"]  # shapes a model that the file then names, by a verb of its own
        path = settings["model"][name]["path"]
        if path is not None and os.path.isabs(path):
            settings["model"][name]["path"] = os.path.basename(path)
    return settings


def project_digest(project: Project) -> str:
    """Address of the settings that shape a result: see `recipe`."""
    return digest.address("project", recipe(project))


def _placed(project: Project, folders: Mapping[Path, str]) -> tuple[Project, list[Problem]]:
    """The project with absolute places, and what is wrong with the places; a relative one starts at its `folders`."""
    problems = []
    settings = project.model_dump(exclude_unset=True)  # what the file sets stays known: a field that it maps must exist
    for path, value in _places(project):
        base = folders[_nearest(path, folders)]
        parent: Any = settings
        for part in path[:-1]:
            parent = parent[part]  # exists: a place other than a default is set
        if not value or "\0" in value:
            problems.append(Problem(path=path, line=None, text=f"expected a path or a bucket's URI, given {value!r}"))
        elif not _SCHEME.match(value):
            parent[path[-1]] = os.path.normpath(os.path.join(base, os.path.expanduser(value)))
        elif not _BUCKET.match(value):
            problems.append(Problem(path=path, line=None, text=f"{_EXPECTED}, given {value!r}"))
    return Project.model_validate(settings), problems


def _places(project: Project) -> Iterator[tuple[Path, str]]:
    yield ("lake",), project.lake
    for position, source in enumerate(project.sources):
        yield ("sources", position, "path"), source.path
        media_root = getattr(source, "media_root", None)
        if media_root is not None:
            yield ("sources", position, "media_root"), media_root
        for mark, place in getattr(source, "splits", {}).items():
            yield ("sources", position, "splits", mark), place
    for name, encoder in (("text", project.model.text), ("image", project.model.image), ("audio", project.model.audio)):
        if encoder.path is not None and encoder.path.startswith((".", "/", "~")):
            yield ("model", name, "path"), encoder.path
    for name in ("token_file", "hook_keys", "dead_letters"):
        if (place := getattr(project.watch, name)) is not None and "://" not in place:
            yield ("watch", name), place
    for name in ("examples", "cross_encoder", "wordnet"):
        if (place := getattr(project.rag, name)) is not None:
            yield ("rag", name), place


def _contradictions(project: Project) -> list[Problem]:
    """Settings that are right each by itself and wrong together."""
    found: list[tuple[Path, str]] = []
    names = [source.name for source in project.sources]
    for position, name in enumerate(names):
        if name in names[:position]:
            found.append((("sources", position, "name"), f"{name!r} is taken by sources.{names.index(name)}"))
        source = project.sources[position]
        place = "media_root" if source.kind == "inventory" else "path"
        folder = getattr(source, place) if source.kind in _FOLDERS else None
        if folder is not None and os.path.join(project.lake, "").startswith(os.path.join(folder, "")):
            found.append((("sources", position, place), "the lake lies in this folder and would be read as a source"))
    found += _empty_range("prepare.text", "chars", project.prepare.text)
    found += _empty_range("prepare.audio", "duration_s", project.prepare.audio)
    for name, encoder in (("text", project.model.text), ("image", project.model.image), ("audio", project.model.audio)):
        if (encoder.kind == "huggingface") != (encoder.path is not None):
            found.append((("model", name, "path"), "is given if and only if kind is huggingface"))
        if (encoder.kind == "plugin") != (encoder.plugin is not None):
            found.append((("model", name, "plugin"), "is given (module:Class) if and only if kind is plugin"))
        if encoder.adapt.objective != "none" and encoder.kind != "huggingface":
            found.append((("model", name, "adapt"), "is for encoders of kind huggingface"))
        if encoder.adapt.objective == "masked_language" and name != "text":
            found.append((("model", name, "adapt", "objective"), "masked_language is for text"))
    if (size := project.train.workers) > 1 and project.engine.kind == "beam":
        found.append(
            (("train", "workers"), f"{size}, but Beam cannot run processes that talk to each other: set it to 1")
        )
    elif size > project.engine.workers:
        found.append((("train", "workers"), f"{size} is more than the {project.engine.workers} of engine.workers"))
    index = project.index
    if index.nlist is not None and index.nprobe is not None and index.nprobe > index.nlist:
        found.append((("index", "nprobe"), f"{index.nprobe} is more than the {index.nlist} cells of nlist"))
    if len(set(index.backends)) < len(index.backends):
        found.append((("index", "backends"), "a backend is named twice"))
    if (project.milvus.cert_file is None) != (project.milvus.key_file is None):
        found.append((("milvus", "cert_file"), "and key_file are given together"))
    if (project.alerts.url is None) != (project.alerts.key_file is None):
        found.append((("alerts", "key_file"), "and url are given together: every alert is signed"))
    if len(set(project.index.views)) < len(project.index.views):
        found.append((("index", "views"), "a view is named twice"))
    if unindexed := sorted(set(project.rag.views) - set(index.views)):
        found.append((("rag", "views"), f"{unindexed[0]} is none of index.views"))
    if project.rag.k > project.rag.candidates:
        found.append((("rag", "k"), f"{project.rag.k} is more than the {project.rag.candidates} of candidates"))
    if project.rag.rerank == "cross_encoder" and project.rag.cross_encoder is None:
        found.append((("rag", "cross_encoder"), "is needed where rerank is cross_encoder"))
    if project.rag.judge.url is None and project.rag.judge != EndpointConfig():
        found.append(
            (("rag", "judge", "url"), "is needed where rag.judge is set: without it the judge is rag.endpoint")
        )
    return [Problem(path=path, line=None, text=text) for path, text in found]


def _empty_range(section: str, quantity: str, settings: TextConfig | AudioConfig) -> Iterator[tuple[Path, str]]:
    least, most = getattr(settings, f"min_{quantity}"), getattr(settings, f"max_{quantity}")
    if least > most:
        yield (*section.split("."), f"min_{quantity}"), f"{least} is above max_{quantity} {most}: no row would be kept"


def _message(path: str, problems: Sequence[Problem], written: Mapping[Path, Origin], given: Mapping[Path, str]) -> str:
    origins = _origins(path, written, given)
    lines = [f"{path}: {'1 problem' if len(problems) == 1 else f'{len(problems)} problems'}, nothing was touched."]
    for problem in problems[:_MOST_TOLD]:
        key = ".".join(map(str, problem.path))
        if problem.line is not None:
            origin = f"{problem.file or path}:{problem.line}"
        else:
            origin = problem.file or origins[_nearest(problem.path, origins)]
        lines.append(f"  {origin}: {key}: {problem.text}" if key else f"  {origin}: {problem.text}")
    if len(problems) > _MOST_TOLD:
        lines.append(f"  {len(problems) - _MOST_TOLD:,} more are not listed.")
    lines.append(
        f"Next: correct this and look at `trichord plan --project {path}`; "
        "`trichord schema` and docs/configuration.md describe every key."
    )
    return "\n".join(lines)


def _origins(path: str, written: Mapping[Path, Origin], given: Mapping[Path, str]) -> dict[Path, str]:
    """Who is to blame for the value at a path: a line of a file or an override, else the file as a whole."""
    origins = {place: f"{origin.file}:{origin.line}" for place, origin in written.items()}
    for place, override in given.items():
        origins = {known: origin for known, origin in origins.items() if known[: len(place)] != place}
        for size in range(1, len(place) + 1):
            origins.setdefault(place[:size], override)
    return {(): path, **origins}


def _nearest(path: Path, places: Collection[Path]) -> Path:
    """The longest beginning of `path` that is known in `places`, else the empty path."""
    return next((path[:size] for size in range(len(path), 0, -1) if path[:size] in places), ())
