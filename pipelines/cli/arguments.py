"""Arguments as text: what is not UTF-8 may name a file, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import typer

_HALF = re.compile("[\ud800-\udfff]")  # how Python holds a byte of an argument that is not UTF-8


def accept_text_only(command: Any) -> None:
    """Let every option and argument of a command and its verbs refuse text that is not UTF-8; paths may be any."""
    for parameter in command.params:
        if parameter.callback is None:
            parameter.callback = _refuse_bytes
    for verb in getattr(command, "commands", {}).values():
        accept_text_only(verb)


def _refuse_bytes(context: Any, parameter: Any, value: Any) -> Any:
    for text in value if isinstance(value, list | tuple) else [value]:
        if isinstance(text, str) and _HALF.search(text):
            raise typer.BadParameter("it is not UTF-8 text.", ctx=context, param=parameter)
    return value
