"""The commands of Trichord in deployment files, and what the command line says of them."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import yaml

from trichord.pipelines.cli.app import app

Words = list[str]


def commands_in(path: Path) -> list[Words]:
    """Return the commands in a file, each as words without the program."""
    text = path.read_text(encoding="utf-8")
    match path.suffix:
        case ".yaml" | ".yml":
            found = [words for one in yaml.safe_load_all(text) for words in _in_yaml(one)]
        case ".py":
            found = [_words(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.List)]
        case ".service":
            found = [shlex.split(line) for line in re.findall(r"^Exec\w+=(.*)$", text, re.M)]
            found = [["trichord", *words[1:]] for words in found]
        case ".Dockerfile":
            found = [json.loads(line) for line in re.findall(r"^CMD (.*)$", text, re.M)]
        case _:
            found = []
    return [words[words.index("trichord") + 1 :] for words in found if "trichord" in words[:-1]]


def _in_yaml(node: Any) -> Iterator[Words]:
    if isinstance(node, dict):
        for one in node.values():
            yield from _in_yaml(one)
    elif isinstance(node, str):
        for line in node.replace("\\\n", " ").splitlines():
            if re.search(r"(^|\s)trichord [a-z]", line):
                words = shlex.split(line, comments=True)
                yield words[: words.index("|")] if "|" in words else words
    elif isinstance(node, list):
        if "trichord" in node[:-1]:
            yield [str(word) for word in node]
        else:
            for one in node:
                yield from _in_yaml(one)


def _words(node: ast.List) -> Words:
    words = [str(one.value) for one in node.elts if isinstance(one, ast.Constant)]
    return ["trichord", *words[1:]] if words and words[0].startswith("/") else words


def refused(words: Words) -> str | None:
    """Return what the command line has against a command: None if verb, options and their values are known."""
    command: Any = typer.main.get_command(app)
    if words == ["--help"]:
        return None
    inner = next((at for at, word in enumerate(words) if at and word in command.commands), len(words))
    if words[0] == "submit" and (why := refused(words[inner:])):
        return why
    context, rest = command.context_class(command, info_name="trichord"), words
    try:
        while hasattr(command, "commands"):
            name, command, rest = command.resolve_command(context, rest)
            context = command.context_class(command, info_name=name, parent=context)
        command.make_context(command.name, list(rest), parent=context.parent)
    except Exception as error:  # noqa: BLE001 - of click, or of the copy of it that typer has
        return f"trichord {shlex.join(words)}: {getattr(error, 'message', None) or error}"
    return None
