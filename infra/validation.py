"""A plain tree of values checked against the project's types, and every mistake said in the user's words."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from trichord.infra.codes import near_country, near_language
from trichord.infra.config import Project
from trichord.infra.environment import Borrowed
from trichord.infra.reference import Node, describe, is_section, model_schema, resolve, variants
from trichord.infra.strict_yaml import Path, Problem

_SHOWN_CHARS = 60


def validate(tree: Any, borrowed: Borrowed) -> tuple[Project | None, list[Problem]]:
    """Return the project of a parsed file, or what is wrong with it. Types are not converted: "2" is not an integer.

    A section that is null has its defaults. Of values from the environment only the variables' names are shown.
    """
    try:
        schema = model_schema() if _holds_null(tree) else {}  # it takes longer to make than all the rest
        return Project.model_validate(_completed(tree, schema), strict=True), []
    except ValidationError as error:
        found = [problem for details in error.errors() for problem in _explained(details, borrowed)]
        return None, list(dict.fromkeys(found))  # a value that may be of several types fails once for each


def _holds_null(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(_holds_null, inner))


def _completed(value: Any, node: Node) -> Any:
    """Return the tree with empty sections in place of null ones, and tuples for lists."""
    if value is None and is_section(node):
        return {}
    if isinstance(value, list):
        return tuple(_completed(item, node.get("items", {})) for item in value)
    if isinstance(value, dict):
        kind = value.get("kind")
        model = variants(node).get(kind, node) if isinstance(kind, str) else resolve(node)
        keys = resolve(model).get("properties", {})
        return {key: _completed(item, keys.get(key, {})) for key, item in value.items()}
    return value


def _explained(error: Mapping[str, Any], borrowed: Borrowed) -> Iterator[Problem]:
    kind, given = error["type"], error["input"]
    path, node, parent = _located(error["loc"])
    if kind == "too_short" and len(given) >= node.get("minItems", 0):
        return  # pydantic counts only the valid items; the invalid ones have problems of their own
    if kind == "extra_forbidden":
        text = f"unknown key{_meant_key(str(path[-1]), parent)}"
    elif kind == "missing":
        text = f"missing; expected {describe(node)}"
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        kinds = list(variants(node))
        path = (*path, "kind")
        text = f"expected {' or '.join(kinds)}, given {_given(given.get('kind'), kinds, path, borrowed)}"
    elif kind == "value_error":
        text = borrowed.hidden(str(error["ctx"]["error"]))  # what a validator of infra/config says in its own words
    else:
        text = f"expected {describe(node)}, given {_given(given, _choices(node), path, borrowed)}"
        if path not in borrowed.names:
            text += _meant_code(given, node)
    yield Problem(path=path, line=None, text=text)


def _located(loc: tuple[int | str, ...]) -> tuple[Path, Node, Node]:
    """Return path, schema node and parent's node of a pydantic location (which also names the branch of a union)."""
    path: Path = ()
    node: Node = model_schema()
    parent = node
    for part in loc:
        if isinstance(part, str) and part in variants(node):
            node = variants(node)[part]
            continue
        if "anyOf" in node and resolve(node) is node:
            continue  # the type that was tried
        path, parent = (*path, part), resolve(node)
        named = parent.get("properties", {}).get(part) or parent.get("additionalProperties") or {}
        node = parent.get("items", {}) if isinstance(part, int) else named
    return path, node, parent


def _choices(node: Node) -> list[str]:
    parts = [node, *node.get("anyOf", ())]
    return [str(choice) for part in parts for choice in part.get("enum", [part["const"]] if "const" in part else [])]


def _given(value: Any, choices: Iterable[str], path: Path, borrowed: Borrowed) -> str:
    """Return the given value, and what it may have meant; of one from the environment its type and the variable."""
    if path in borrowed.names:
        return borrowed.described(path, value)
    return f"{_shown(borrowed.masked(value, path))}{_meant(value, choices)}"


def _meant(given: Any, choices: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(given), list(choices), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _meant_code(given: Any, node: Node) -> str:
    """Return a hint for a code of a country or language: another word for it, or one alone in place of a list."""
    kinds = {near_country: "^[A-Z]{2}$", near_language: "^[a-z]{2,3}$"}
    for near, pattern in kinds.items():
        alone = any(part.get("pattern") == pattern for part in (node, *node.get("anyOf", ())))
        listed = resolve(node.get("items", {})).get("pattern") == pattern
        if isinstance(given, str) and (alone or listed):
            found = [near(word) for word in given.split(",")] if listed else [near(given)]
            codes = ", ".join(code for code in found if code)
            meant = f"[{codes}]" if listed else codes
            return f"; did you mean `{meant}`?" if codes else ""
        if given is None and listed:
            return "; leave it out, or give `[]`"
    return ""


def _meant_key(key: str, parent: Node) -> str:
    """Return a hint for an unknown key: the same key elsewhere, else a similar one here, else all known ones."""
    elsewhere = next((place for place in _all_keys() if place.rsplit(".", 1)[-1] == key), None)
    if elsewhere is not None:
        return f" here; did you mean `{elsewhere}`?"
    known = list(parent["properties"])
    return _meant(key, known) or f"; known here: {', '.join(known)}"


@cache
def _all_keys() -> tuple[str, ...]:
    """Yield every key of nested sections with its path, in the order of the file."""

    def below(model: Node, path: str) -> Iterator[str]:
        for name, node in model["properties"].items():
            yield f"{path}{name}"
            if is_section(node):
                yield from below(resolve(node), f"{path}{name}.")

    return tuple(below(model_schema(), ""))


def _shown(given: Any) -> str:
    text = json.dumps(given, ensure_ascii=True, default=str)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
