"""What the demo must know of a language: a table of words, frames and spoilt sentences. It holds no code.

A new language is one such table, listed in `pipelines/demo/languages/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Words = tuple[str, ...]  # the plain word first; the others stand in for it as the difficulty rises


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun:
    """A shape's name, for one and for many, and the measure word that counts it, where the language has these."""

    one: str
    many: str
    measure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A sentence around the groups of a scene.

    Attributes:
        text: holds `{parts}` and may hold `{background}`.
        background: what stands at `{background}`; itself holds `{colour}`.
        unnamed: what stands there if the background goes unmentioned.
        joint: between two groups.
        last: before the last group.
        second: before the second group; None: as elsewhere.
        capital: whether the sentence's first letter is made a capital.
    """

    text: str
    background: str
    unnamed: str = ""
    joint: str = ", "
    last: str
    second: str | None = None
    capital: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """The words of one language for everything that the demo says.

    Attributes:
        code: ISO 639, as `prepare.text.languages` names it.
        name: in English, for help and results.
        blank: between words.
        unit: characters that count as a word where no blank parts words; 0: blanks do.
        shapes, colours, backgrounds, sizes: words for the names of `scenes`.
        counts: words for 1 to 4, holding `{measure}` where the measure word goes.
        several: words for an inexact count.
        positions: words for the places 0 to 8.
        orders: ways to say one group: patterns, each with one of `{count} {size} {colour} {noun} {place}`. A pattern
            whose word goes unsaid is left out whole.
        frames: of captions; at least five.
        elisions: (regular expression, replacement) for the whole caption, such as `a` before a vowel.
        full_stop, exclamation: marks at a sentence's end.
        mojibake: the text whose bytes are decoded wrongly, holding `{head}` (all words but the last) and `{last}`; it
            must have letters beyond ASCII.
        slips: characters that writers take for each other; empty: letters of words are swapped, dropped or doubled.
        boilerplate: sentences of web pages.
        mail, phone, address, card: sentences that hold `{found}`, the personal data.
        phones: numbers that no one answers; they may hold `{area}`, `{last}`, `{london}`, `{berlin}`, random digits.
        prepare: settings of `prepare.text` for the demo's project in this language.
        example: a query.
    """

    code: str
    name: str
    blank: str
    unit: int = 0
    shapes: Mapping[str, tuple[Noun, ...]]
    colours: Mapping[str, Words]
    backgrounds: Mapping[str, Words]
    sizes: Mapping[str, Words]
    counts: Mapping[int, Words]
    several: Words
    positions: tuple[Words, ...]
    orders: tuple[Words, ...]
    frames: tuple[Frame, ...]
    elisions: tuple[tuple[str, str], ...] = ()
    full_stop: str
    exclamation: str
    mojibake: str
    slips: Mapping[str, str] = field(default_factory=dict)
    boilerplate: Words
    mail: str
    phone: str
    address: str
    card: str
    phones: Words
    prepare: Mapping[str, Any]
    example: str

    def split(self, text: str) -> list[str]:
        """Cut a text into words, such that `blank` joins them to the text again."""
        if not self.unit:
            return text.split(self.blank)
        return [text[i : i + self.unit] for i in range(0, len(text), self.unit)]
