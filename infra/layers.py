"""A project file and the files it extends, as one tree in which every value knows the file and line it is from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trichord.infra import strict_yaml
from trichord.infra.environment import Borrowed
from trichord.infra.errors import ConfigError
from trichord.infra.regular_file import open_regular
from trichord.infra.strict_yaml import Path, Problem

MAX_FILES = 8  # of a chain of `extends`
_KEY = "extends"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value is written."""

    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Plain values, the place of every key and list item, what came from the environment, and what is wrong."""

    value: Any
    origins: dict[Path, Origin]
    borrowed: Borrowed
    problems: tuple[Problem, ...]


def read_tree(path: str, environment: Mapping[str, str]) -> Tree:
    """Return the project file laid over the file it extends, that over the next, and so on.

    Sections merge key by key; a list or a single value replaces what it covers, and so does an empty (null) key.

    Raises:
        ConfigError: the project file cannot be read.
    """
    return _read(path, environment, ())


def chain(path: str) -> list[str]:
    """Return the paths of a project file and of those it extends, which must be named relative to each other.

    Raises:
        ConfigError: one cannot be read, or is named by an absolute path.
    """
    files = [path]
    while True:
        value = strict_yaml.parse(_bytes(files[-1])).value
        named = value.get(_KEY) if isinstance(value, dict) else None
        if named is None:
            return files
        text, base = _base(named, tuple(files))
        if text is None and os.path.isabs(os.path.expanduser(named)):
            text = f"{named} is an absolute path, which another machine may not have: name it relative to this file"
        if text is not None:
            raise ConfigError(f"{files[-1]}: {_KEY}: {text}")
        files.append(base)


def _read(path: str, environment: Mapping[str, str], above: tuple[str, ...]) -> Tree:
    document = strict_yaml.parse(_bytes(path), environment)
    value = document.value
    tree = Tree(
        value=value,
        origins={place: Origin(file=path, line=line) for place, line in document.lines.items()},
        borrowed=Borrowed(names=document.variables, environment=environment),
        problems=tuple(replace(problem, file=path) for problem in document.problems),
    )
    if not isinstance(value, dict):
        if above and value is not None:
            problem = Problem(path=(), line=None, text="expected a section of `key: value` lines", file=path)
            return replace(tree, value=None, problems=(*tree.problems, problem))
        return tree
    named = value.pop(_KEY, None)
    if named is None:
        return tree
    chain = (*above, path)
    text, name = _base(named, chain)
    if text is None:
        try:
            base = _read(name, environment, chain)
        except ConfigError as error:
            text = str(error).splitlines()[0]
        else:
            unread = base.value is None and base.problems  # what it would have given is not missing
            return replace(merged(base, tree), value=None) if unread else merged(base, tree)
    problem = Problem(path=(_KEY,), line=tree.origins[(_KEY,)].line, text=text, file=path)
    return replace(tree, value=None, problems=(*tree.problems, problem))


def _base(named: Any, chain: tuple[str, ...]) -> tuple[str | None, str]:
    """Return what is wrong with the value of `extends`, if anything, and the file it names."""
    if not isinstance(named, str) or not named or "://" in named or "\0" in named:
        return "expected the path of another project file on this machine", ""
    base = os.path.normpath(os.path.join(os.path.dirname(chain[-1]), os.path.expanduser(named)))
    real = [os.path.realpath(file) for file in chain]
    if os.path.realpath(base) in real:
        return f"the files extend each other in a circle: {' → '.join((*chain, base))}", base
    if len(chain) >= MAX_FILES:
        return f"more than {MAX_FILES} files extend each other: {' → '.join((*chain, base))}", base
    return None, base


def _bytes(path: str) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(strict_yaml.MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no project file {path} (looked from {_here()}).\n"
            "Next: name yours by --project FILE, or write one with `trichord init`."
        ) from error
    except OSError as error:
        raise ConfigError(
            f"The project file {path} cannot be read: {error.strerror}.\nNext: name a readable file by --project FILE."
        ) from error


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "a folder that does not exist any more"


def merged(base: Tree, top: Tree) -> Tree:
    """Lay one tree over another."""
    covered: set[Path] = set()
    value = _merged(base.value, top.value, (), covered)

    def is_covered(path: Path) -> bool:
        return any(path[:size] in covered for size in range(1, len(path) + 1))

    kept = {path: names for path, names in base.borrowed.names.items() if not is_covered(path)}
    return Tree(
        value=value,
        origins={path: origin for path, origin in base.origins.items() if not is_covered(path)} | top.origins,
        borrowed=Borrowed(names=kept | top.borrowed.names, environment=top.borrowed.environment),
        problems=(
            *(problem for problem in base.problems if not (problem.unset and is_covered(problem.path))),
            *top.problems,
        ),
    )


def _merged(base: Any, top: Any, path: Path, covered: set[Path]) -> Any:
    if not isinstance(base, dict) or not isinstance(top, dict):
        covered.add(path)
        return top
    values = dict(base)
    for key, item in top.items():
        values[key] = _merged(base[key], item, (*path, key), covered) if key in base else item
    return values
