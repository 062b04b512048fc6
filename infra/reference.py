"""The project file described from its types: JSON Schema, a commented example and the reference page.

`python -m trichord.infra.reference` prints the reference page; `make docs` writes it to docs/configuration.md.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from trichord.infra.config import Project
from trichord.infra.config.first import FIRST
from trichord.infra.environment import PATTERN

Node = Mapping[str, Any]  # one node of a JSON Schema

# What the example says where a key has no default.
_EXAMPLE_VALUES = {
    "manifest": {"kind": "manifest", "name": "photos", "path": "data/manifest.jsonl"},
    "folder": {"kind": "folder", "name": "clips", "path": "data/clips"},
    "captions": {"kind": "captions", "name": "coco", "path": "data/annotations/captions_val2017.json"},
    "imagefolder": {"kind": "imagefolder", "name": "classes", "path": "data/classes"},
    "audiofolder": {"kind": "audiofolder", "name": "events", "path": "data/events"},
    "parquet": {"kind": "parquet", "name": "hub", "path": "data/parquet"},
    "webdataset": {"kind": "webdataset", "name": "tars", "path": "'data/train-{000..013}.tar'"},
    "delta": {"kind": "delta", "name": "table", "path": "s3://bucket/table"},
    "inventory": {
        "kind": "inventory",
        "name": "bucket",
        "path": "s3://inventories/photos/daily",
        "media_root": "s3://photos/train",
    },
}
_PLAIN_TEXT = re.compile(r"^[A-Za-z][A-Za-z0-9_./-]*$")
_NOT_TEXT = {"null", "true", "false", "Null", "True", "False", "NULL", "TRUE", "FALSE"}


_EXTENDS: Node = {
    "anyOf": [{"type": "string"}, {"type": "null"}],
    "default": None,
    "description": "Another project file, relative to this one. This file's values are laid over its values.",
}
_REFERENCE: Node = {"type": "string", "pattern": PATTERN}  # a value that the environment gives


@cache
def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the project file, for editors: any value may be a reference to the environment, and a
    file that extends another needs no sources. Do not change it.
    """
    schema = model_schema()
    definitions = {name: _with_references(model) for name, model in schema["$defs"].items()}
    needed = [{"required": [name]} for name in (*schema["required"], "extends")]
    whole = {name: value for name, value in _with_references(schema).items() if name not in ("required", "$defs")}
    return {**whole, "anyOf": needed, "$defs": definitions}


def _with_references(node: Node) -> dict[str, Any]:
    """A node of which every value that is not any text may be a reference instead."""
    if "properties" in node:
        return {**node, "properties": {name: _with_references(value) for name, value in node["properties"].items()}}
    if "$ref" in node or "oneOf" in node or "const" in node:
        return dict(node)
    if "anyOf" in node:
        options = [_with_references(part) for part in node["anyOf"]]
        found = [part for option in options for part in option.get("anyOf", [option])]
        return {**node, "anyOf": [part for position, part in enumerate(found) if part not in found[:position]]}
    if node.get("type") in ("array", "object"):
        inside = "items" if node["type"] == "array" else "additionalProperties"
        return {**node, inside: _with_references(node[inside])}
    plain = node.get("type") == "null" or (node.get("type") == "string" and not {"enum", "pattern"} & node.keys())
    if plain:
        return dict(node)
    about = {name: node[name] for name in ("default", "description") if name in node}
    return {"anyOf": [{name: value for name, value in node.items() if name not in about}, _REFERENCE], **about}


@cache
def model_schema() -> dict[str, Any]:
    """The schema of the types: what a file must be once it is whole. A section may be left empty (null)."""
    schema = Project.model_json_schema()
    schema["properties"] = {"extends": dict(_EXTENDS), **schema["properties"]}
    for model in [schema, *schema["$defs"].values()]:
        for name, node in model["properties"].items():
            node.pop("title", None)
            if is_section(node):
                rest = {key: value for key, value in node.items() if key != "$ref"}
                model["properties"][name] = {"anyOf": [{"$ref": node["$ref"]}, {"type": "null"}], **rest}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Trichord project file"}


def is_section(node: Node) -> bool:
    """Return True if a node is a nested section that may be left out or empty."""
    return "default" in node and ("$ref" in node or any("$ref" in part for part in node.get("anyOf", ())))


def resolve(node: Node) -> Node:
    """Return the node that a section's reference names; any other node as it is."""
    for part in (node, *node.get("anyOf", ())):
        if "$ref" in part:
            definition: Node = model_schema()["$defs"][part["$ref"].rsplit("/", 1)[-1]]
            return definition
    return node


def variants(node: Node) -> dict[str, Node]:
    """The sections that a list item may be, by the value of its `kind`; empty for any other node."""
    models = [resolve(part) for part in node.get("oneOf", ())]
    kinds = [(model["properties"]["kind"], model) for model in models]
    return {name: model for kind, model in kinds for name in kind.get("enum", [kind.get("const")])}


def describe(node: Node) -> str:
    """Return what a value must be, in words: "an integer of at least 1"."""
    options = [part for part in node.get("anyOf", ()) if part.get("type") != "null"]
    if is_section(node) or "properties" in node:
        return "a section of `key: value` lines"
    if options:
        may_be_null = len(options) < len(node["anyOf"])
        return " or ".join([*(describe(part) for part in options), *(["null"] if may_be_null else [])])
    if kinds := list(variants(node)):
        return f"a section with `kind` {_one_of(kinds)}"
    choices = [node["const"]] if "const" in node else node.get("enum")
    if choices:
        return _one_of(choices)
    kind = node.get("type")
    if kind == "array":
        least = node.get("minItems")
        return f"a list{f' (at least {least})' if least else ''} of: {describe(node['items'])}"
    if kind == "object":
        return f"`name: value` lines, each value {describe(node['additionalProperties'])}"
    words = {"integer": "an integer", "number": "a number", "boolean": "true or false", "string": "text"}
    return words[str(kind)] + _bounds(node)


def _one_of(choices: Sequence[str]) -> str:
    return str(choices[0]) if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"


def _bounds(node: Node) -> str:
    if "minimum" in node and "maximum" in node:
        return f" from {node['minimum']} to {node['maximum']}"
    words = {
        "minimum": "of at least",
        "exclusiveMinimum": "above",
        "maximum": "of at most",
        "exclusiveMaximum": "below",
        "pattern": "matching",
    }
    found = [
        f"{word} `{node[name]}`" if name == "pattern" else f"{word} {node[name]}"
        for name, word in words.items()
        if name in node
    ]
    return f" {' and '.join(found)}" if found else ""


def _about(node: Node) -> str:
    return " ".join(str(node.get("description") or resolve(node).get("description", "")).split())


def commented_example() -> str:
    """A project file for `trichord init --full`: required keys are given, every default is a comment."""
    lines = [
        "# Trichord project file with every key there is. A `#` without a space hides a default:",
        "# take the `#` away to change it. `trichord schema > FILE` writes a JSON Schema for your editor.",
    ]
    for name, node in model_schema()["properties"].items():
        lines += ["", *_example_key(name, node, {}, "")]
    return "\n".join(lines) + "\n"


def _example_key(name: str, node: Node, given: Mapping[str, str], indent: str) -> Iterator[str]:
    """The lines of one key: what it means, then its value (`given`, or its default as a comment)."""
    about = _about(node)
    section, choices = is_section(node), variants(node.get("items", {}))
    if about:
        yield f"{indent}# {about}" if section or choices else f"{indent}# {about} ({describe(node)})"
    if section:
        yield f"{indent}{name}:"
        yield from _example_section(resolve(node), {}, indent + "  ")
    elif choices:
        yield f"{indent}{name}:"
        for position, (kind, variant) in enumerate(choices.items()):
            yield from _example_item(variant, _EXAMPLE_VALUES[kind], indent + "  ", hidden=position > 0)
    elif name in given:
        yield f"{indent}{name}: {given[name]}"
    else:
        yield f"{indent}#{name}: {_yaml(node['default'])}"


def _example_section(model: Node, given: Mapping[str, str], indent: str) -> Iterator[str]:
    for name, node in model["properties"].items():
        yield from _example_key(name, node, given, indent)


def _example_item(model: Node, given: Mapping[str, str], indent: str, *, hidden: bool) -> Iterator[str]:
    """Yield the lines of one list item; a hidden item is one comment."""
    lines = [f"{indent}# {_about(model)}", f"{indent}- kind: {given['kind']}"]
    rest = {name: node for name, node in model["properties"].items() if name != "kind"}
    lines += _example_section({"properties": rest}, given, indent + "  ")
    for line in lines:
        text = line.lstrip()
        yield f"{line[: -len(text)]}#{text}" if hidden and not text.startswith("#") else line


def _yaml(value: Any) -> str:
    if isinstance(value, str) and _PLAIN_TEXT.match(value) and value not in _NOT_TEXT:
        return value
    if isinstance(value, list):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)


_PREFACE = """# The project file

<!-- Written by `make docs` from infra/config/. Do not edit. -->

`trichord.yaml` is strict: an unknown key, a repeated key or a value of the wrong type is an error that names the file,
the line and the key, and nothing is touched. All problems are listed at once (exit code 2).

- `trichord init DATA` writes the file for your data, `trichord init --full` one with every key. `trichord schema`
  prints its JSON Schema for your editor.
- `--set key.sub=value` replaces one value for one run; the value is YAML, a list item is named by its position
  (`--set sources.0.path=more.jsonl`, `--set 'index.views=[fused, text]'`).
- `${NAME}` in a value is the environment variable NAME, `${NAME:-default}` the default where NAME is unset or empty,
  `$${` a literal `${`. A value without quotes gets the type of the result (`workers: ${N:-2}` is a number), a quoted
  one is text. Inside `[ ]` and `{ }` YAML needs the quotes. A variable never adds keys or lists, an unset one without
  a default is an error, and no message about a wrong value shows a variable's content. `--set` takes variables too.
- `extends: other.yaml` lays this file over another one, relative to it: sections merge key by key, single values and
  lists are replaced, and an empty key resets a section to its defaults. The other file may extend a third (8 in all).
- Scalars are YAML 1.2: `no` is text, `1e-3` is a number. Anchors and aliases are refused. A file may have 256 KiB.
- A relative `lake`, `path` or `media_root` starts at the folder of the file that gives it, in a `--set` at the current
  folder. So does a model's `path` that begins with `./` or `../`. No digest depends on where the files lie.
- A section that is left out, or left empty, has its defaults.
"""


_FIRST = """## The settings to know first

These are what most projects set. All others have defaults that are measured or safe; they follow by section.
"""


def reference_markdown() -> str:
    """The page docs/configuration.md: the settings to know first, then every section with its keys and defaults."""
    parts = [_PREFACE, _first_settings()]
    for paths, model in _sections().items():
        title = ", ".join(f"`{path}`" for path in paths) if paths != ("",) else "Top level"
        rows = [_row(name, node) for name, node in model["properties"].items()]
        table = ["| key | must be | default | meaning |", "|---|---|---|---|", *rows]
        about = [_about(model), ""] if _about(model) else []
        parts.append("\n".join([f"## {title}", "", *about, *table, ""]))
    return "\n".join(parts)


def _first_settings() -> str:
    rows = [_row(path, setting(path)) for path in FIRST]
    return "\n".join([_FIRST, "| setting | must be | default | meaning |", "|---|---|---|---|", *rows, ""])


def setting(path: str) -> Node:
    """The node of a setting by its path; `sources[].path` is that of the first kind of source that has it.

    Raises:
        ValueError: there is no such setting.
    """
    models: list[Node] = [model_schema()]
    found: Node = {}
    for part in path.split("."):
        name = part.removesuffix("[]")
        owner = next((model for model in models if name in model.get("properties", {})), None)
        if owner is None:
            raise ValueError(f"there is no setting {path}")
        found = owner["properties"][name]
        models = list(variants(found["items"]).values()) if part != name else [resolve(found)]
    kinds = list(variants(model_schema()["properties"]["sources"]["items"]))
    return {"enum": kinds, "description": "What the source is; see below."} if path == "sources[].kind" else found


def _sections() -> dict[tuple[str, ...], Node]:
    """Return every section once, with all the places where it occurs, in the order of the file."""
    places: dict[str, list[str]] = {}
    models: dict[str, Node] = {}

    def visit(model: Node, path: str) -> None:
        name = str(model["title"])
        models[name] = model
        places.setdefault(name, []).append(path)
        for key, node in model["properties"].items():
            below = f"{path}.{key}" if path else key
            if is_section(node):
                visit(resolve(node), below)
            for kind, variant in variants(node.get("items", {})).items():
                visit(variant, f"{below}[kind={kind}]")

    visit(model_schema(), "")
    return {tuple(paths): models[name] for name, paths in places.items()}


def _row(name: str, node: Node) -> str:
    if is_section(node):
        cells = [f"`{name}`", "a section, see below", "", _about(node)]
    else:
        default = f"`{_yaml(node['default'])}`" if "default" in node else "required"
        cells = [f"`{name}`", describe(node), default, _about(node)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(reference_markdown())
