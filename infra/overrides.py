"""`--set key.sub=value`: one value of the project file replaced for one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from trichord.infra.environment import Borrowed
from trichord.infra.redaction import redact
from trichord.infra.strict_yaml import MAX_DEPTH, Path, Problem, parse

_MAX_POSITION_DIGITS = 6
_SHOWN_CHARS = 200  # of an override in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What overrides did to a tree: what was set, by path, as it was written; what is wrong with the rest."""

    given: dict[Path, str]
    problems: tuple[Problem, ...]
    borrowed: Borrowed


def apply_overrides(tree: dict[str, Any], overrides: Sequence[str], borrowed: Borrowed) -> Applied:
    """Put each override's value into the tree, in place and in order; a later one wins.

    Keys are joined by dots and a list item is named by its position; the value is YAML, and may name environment
    variables as the file may. Missing sections are made, so that an unknown key is found by the same validation as one
    in the file.

    Args:
        borrowed: what of the tree came from the environment.
    """
    given: dict[Path, str] = {}
    problems: list[Problem] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            problems.append(_problem((), f"--set {_shown(override)!r}: expected key=value or key.sub=value"))
            continue
        if len(parts) > MAX_DEPTH:
            problems.append(_problem((), f"--set {_shown(override)!r}: nested deeper than {MAX_DEPTH} levels"))
            continue
        if parts[0] == "extends":
            problems.append(_problem((), f"--set {_shown(override)!r}: extends is read from the project file alone"))
            continue
        document = parse(text.encode("utf-8", "surrogateescape"), borrowed.environment)
        try:
            path = _put(tree, parts, document.value)
        except LookupError as error:
            problems.append(_problem((), f"--set {_shown(override)!r}: {error.args[0]}"))
            continue
        given[path] = f"--set {_shown(override)}"
        problems = [problem for problem in problems if not (problem.unset and problem.path[: len(path)] == path)]
        problems += [replace(found, path=(*path, *found.path), line=None) for found in document.problems]
        borrowed = borrowed.replaced(path, document.variables)
    return Applied(given=given, problems=tuple(problems), borrowed=borrowed)


def _put(tree: Any, parts: Sequence[str], value: Any) -> Path:
    path: Path = ()
    for part in parts[:-1]:
        step = _step(tree, part, path)
        path = (*path, step)
        if isinstance(tree, dict) and tree.get(step) is None:
            tree[step] = {}
        tree = tree[step]
    step = _step(tree, parts[-1], path)
    tree[step] = value
    return (*path, step)


def _step(tree: Any, part: str, path: Path) -> str | int:
    """Return the key or position by which `part` is found in `tree`, which is at `path`."""
    if isinstance(tree, dict):
        return part
    here = ".".join(map(str, path))
    if not isinstance(tree, list):
        raise LookupError(f"{here} holds a value, not a section")
    if part.isdecimal() and len(part) <= _MAX_POSITION_DIGITS and int(part) < len(tree):
        return int(part)
    raise LookupError(f"{here} is a list of {len(tree)}: name an item by its position, counted from 0")


def _shown(override: str) -> str:
    """Return an override for a message, without the value of a key that names a secret."""
    shown = redact(f"?{override}")[1:]
    return shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}…"


def _problem(path: Path, text: str) -> Problem:
    return Problem(path=path, line=None, text=text)
