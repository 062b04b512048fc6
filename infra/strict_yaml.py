"""YAML without surprises: YAML 1.2 scalars, no aliases, no repeated keys, bounded, and every value knows its line.

The types of a plain scalar are those of YAML 1.2's core schema (section 10.3), as JSON Schema and editors see them:
`no` is text, `1e-3` is a number, `12:30` is text. NaN and infinity are refused.

References to environment variables are replaced after parsing, inside one scalar: what a variable holds can be a text,
a number, true, false or null, but never a key, a list or a section.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yaml import YAMLError
from yaml.composer import Composer
from yaml.error import Mark, MarkedYAMLError
from yaml.events import AliasEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from trichord.infra.environment import Path, ReferenceProblem, UnsetVariable, substituted

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Document", "Path", "Problem", "parse"]

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
_MAX_DIGITS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with one value; `line` counts from 1 and is None where no line is to blame."""

    path: Path
    line: int | None
    text: str
    file: str | None = None  # that the line is in; None where there is only one
    unset: bool = False  # a variable is not set: no problem where another value replaces this one


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed text: JSON values, the line of every key and list item by path, and what is wrong with it."""

    value: Any
    lines: dict[Path, int]
    problems: tuple[Problem, ...]
    variables: dict[Path, tuple[str, ...]] = field(default_factory=dict)  # whose content a value holds, by its path


def parse(data: bytes, environment: Mapping[str, str] | None = None) -> Document:
    """Parse one YAML document of at most 256 KiB.

    With an `environment`, `${NAME}` and `${NAME:-default}` in values are replaced. A plain scalar gets the type of the
    text that results; a quoted one stays text.

    Repeated keys, keys that are not text and unknown tags are collected as problems; a text that is not YAML at all,
    too long, too deep or with anchors or aliases has that one problem and the value None.
    """
    if len(data) > MAX_BYTES:
        return _refused(None, f"longer than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _refused(line, f"not UTF-8: byte {data[error.start : error.start + 1].hex()} ({error.reason})")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except ReaderError as error:
        return _refused(text.count("\n", 0, error.position) + 1, f"character U+{error.character:04X} is not allowed")
    except _Refusal as error:
        return _refused(error.line, str(error.problem))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        if mark is None:
            return _refused(None, f"not YAML: {what}")
        if environment is not None and "${" in "".join(text.split("\n")[mark.line : mark.line + 1]):
            what += "; quote a ${NAME} inside [ ] or { }, or with a colon and a blank in its default"
        return _refused(mark.line + 1, f"not YAML: {what}")
    except YAMLError as error:
        return _refused(None, f"not YAML: {error}")
    builder = _Builder(loader, environment)
    value = None if node is None else builder.build(node, ())
    return Document(value=value, lines=builder.lines, problems=tuple(builder.problems), variables=builder.variables)


def _refused(line: int | None, text: str) -> Document:
    return Document(value=None, lines={}, problems=(Problem(path=(), line=line, text=text),))


class _Refusal(MarkedYAMLError):
    """YAML that is well formed and not wanted here."""

    def __init__(self, what: str, mark: Mark) -> None:
        super().__init__(problem=what, problem_mark=mark)
        self.line = mark.line + 1


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML's pure parser up to the node graph, with our own scalar types and without aliases."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self.depth = 0
        self.tagged: set[int] = set()  # start of every scalar with a tag of its own

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's stub says nothing
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _Refusal("anchors and aliases are not supported: write the value out", event.start_mark)
        if self.depth >= MAX_DEPTH:
            raise _Refusal(f"nested deeper than {MAX_DEPTH} levels", event.start_mark)
        if getattr(event, "tag", None) is not None:
            self.tagged.add(event.start_mark.index)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def type_of(self, node: ScalarNode, text: str) -> str:
        """The tag of a scalar whose text was replaced: a plain one without a tag gets the type of its text."""
        if node.style is not None or node.start_mark.index in self.tagged:
            return str(node.tag)
        return str(self.resolve(ScalarNode, text, (True, False)))  # type: ignore[no-untyped-call]


_NULL, _BOOL, _INT, _FLOAT, _STR = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str"))
_COLLECTIONS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_DIGITS = list("-+.0123456789")
_Loader.add_implicit_resolver(_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_INT, re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), _DIGITS)
_Loader.add_implicit_resolver(
    _FLOAT, re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"), _DIGITS
)


class _Builder:
    """Turns the node graph into JSON values and remembers lines, variables and problems."""

    def __init__(self, loader: _Loader, environment: Mapping[str, str] | None) -> None:
        self._loader, self._environment = loader, environment
        self.lines: dict[Path, int] = {}
        self.variables: dict[Path, tuple[str, ...]] = {}
        self.problems: list[Problem] = []

    def build(self, node: Node, path: Path) -> Any:
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if node.tag not in _COLLECTIONS:
            self._problem(path, node, f"the tag {node.tag} is not supported")
        if isinstance(node, SequenceNode):
            return [self._at(child, (*path, position)) for position, child in enumerate(node.value)]
        assert isinstance(node, MappingNode)
        return self._mapping(node, path)

    def _at(self, node: Node, path: Path, key: Node | None = None) -> Any:
        self.lines[path] = (key or node).start_mark.line + 1
        return self.build(node, path)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode) or key_node.tag != _STR:
                shown = key_node.value if isinstance(key_node, ScalarNode) else "a collection"
                self._problem(path, key_node, f"keys are text, found {shown}")
                continue
            key = self._text(key_node, path)
            if key in result:
                first = self.lines[(*path, key)]
                self._problem((*path, key), key_node, f"given twice, first on line {first}")
                continue
            result[key] = self._at(value_node, (*path, key), key_node)
        return result

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        text, tag = self._text(node, path), str(node.tag)
        if self._environment is not None and "${" in text:
            try:
                text, names = substituted(text, self._environment)
            except ReferenceProblem as error:
                self._problem(path, node, str(error), unset=isinstance(error, UnsetVariable))
                return None
            tag = self._loader.type_of(node, text)
            if names:
                self.variables[path] = names
        if tag == _STR:
            return text
        if tag == _NULL:
            return None
        if tag == _BOOL and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if tag in (_INT, _FLOAT):
            return self._number(node, tag, text, path)
        self._problem(path, node, f"the tag {tag} is not supported")
        return None

    def _text(self, node: ScalarNode, path: Path) -> str:
        """The scalar's text; JSON writes a rare character as two escapes, which PyYAML leaves apart."""
        try:
            return str(node.value).encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            self._problem(path, node, "half of a surrogate pair is not a character")
            return ""

    def _number(self, node: ScalarNode, tag: str, text: str, path: Path) -> int | float | None:
        if len(text) <= _MAX_DIGITS:
            try:
                value = int(text, _base(text)) if tag == _INT else float(text)
            except ValueError:  # an explicit tag, for example `!!int many`
                value = math.nan
            if math.isfinite(value):
                return value
        shown = " and ".join(f"${{{name}}}" for name in self.variables.get(path, ())) or text[:_MAX_DIGITS]
        self._problem(path, node, f"{shown} is not a finite number of at most {_MAX_DIGITS} digits")
        return None

    def _problem(self, path: Path, node: Node, text: str, *, unset: bool = False) -> None:
        self.problems.append(Problem(path=path, line=node.start_mark.line + 1, text=text, unset=unset))


def _base(text: str) -> int:
    return {"0o": 8, "0x": 16}.get(text[:2], 10)
