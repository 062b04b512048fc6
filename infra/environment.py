"""`${NAME}` and `${NAME:-default}` in the project file: values from the environment, which no message repeats."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]

PATTERN = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"  # one reference, for the JSON Schema too
_FOUND = re.compile(r"\$\$\{|\$\{(?P<inside>[^}]*)(?P<end>\}?)")
_INSIDE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)
_WORD_CHARS = 6  # a shorter value is hidden as a word of its own only: `2` is not hidden in `256`


class ReferenceProblem(Exception):
    """A reference that is malformed, or names a variable that cannot be used; the message names it."""


class UnsetVariable(ReferenceProblem):
    """A reference without a default to a variable that is not set."""


def substituted(text: str, environment: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Return the text with every reference replaced, and the names of the variables whose content is in it.

    `$${` is a literal `${`. A default is taken where the variable is unset or empty, as a shell does.

    Raises:
        UnsetVariable: a variable is not set and has no default.
        ReferenceProblem: a `${` is not a reference, or a variable is not UTF-8.
    """
    names: dict[str, None] = {}

    def value_of(found: re.Match[str]) -> str:
        if found["inside"] is None:
            return "${"
        inside = _INSIDE.fullmatch(found["inside"]) if found["end"] else None
        if inside is None or "${" in (inside["default"] or ""):
            raise ReferenceProblem(
                f"{found[0][:40]} is not ${{NAME}} or ${{NAME:-default}}; write $${{ for a literal ${{"
            )
        name, default = inside["name"], inside["default"]
        value = environment.get(name)
        if value is None and default is None:
            raise UnsetVariable(f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
        if default is not None and not value:
            return str(default)
        assert value is not None
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise ReferenceProblem(f"the environment variable {name} is not UTF-8")
        names[name] = None
        return value

    return _FOUND.sub(value_of, text), tuple(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Borrowed:
    """The values that came from the environment: the variables by the value's path. Messages name only those."""

    names: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def described(self, path: Path, value: Any) -> str:
        """Return a value in words: `text from ${NAME}`."""
        kinds = ((bool, "true or false"), (int | float, "a number"), (str, "text"))
        kind = next((word for kind, word in kinds if isinstance(value, kind)), "null")
        return f"{kind} from {self._named(path)}"

    def masked(self, value: Any, path: Path) -> Any:
        """Return a value of the tree with the variables' names in place of their content."""
        if path in self.names:
            return self._named(path)
        if isinstance(value, Mapping):
            return {key: self.masked(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.masked(item, (*path, position)) for position, item in enumerate(value)]
        return value

    def hidden(self, text: str) -> str:
        """Return a message with the variables' names in place of their content, however it was quoted."""
        secrets = {form: f"${{{name}}}" for name in self._used() for form in _forms(self.environment[name])}
        if not secrets:
            return text
        longest_first = sorted(secrets, key=len, reverse=True)
        pattern = "|".join(
            re.escape(form) if len(form) >= _WORD_CHARS else rf"(?<!\w){re.escape(form)}(?!\w)"
            for form in longest_first
        )
        return re.sub(pattern, lambda found: secrets[found[0]], text)

    def replaced(self, place: Path, names: Mapping[Path, tuple[str, ...]]) -> Borrowed:
        """Return what comes from the environment once the value at a place is one with `names` by path below it."""
        kept = {path: found for path, found in self.names.items() if path[: len(place)] != place}
        added = {(*place, *path): found for path, found in names.items()}
        return Borrowed(names=kept | added, environment=self.environment)

    def _named(self, path: Path) -> str:
        return " and ".join(f"${{{name}}}" for name in self.names[path])

    def _used(self) -> set[str]:
        return {name for names in self.names.values() for name in names}


def _forms(value: str) -> Iterator[str]:
    """Yield a value as messages may show it: plain, by repr, by JSON, and without the slash at its end."""
    for form in (value, value.strip(), value.rstrip("/")):
        if len(form) > 1:
            both_quotes = repr(form + "\"'")[1:-4]  # as repr escapes it where the rest of the value has the other quote
            yield from (form, repr(form)[1:-1], both_quotes, json.dumps(form)[1:-1])
