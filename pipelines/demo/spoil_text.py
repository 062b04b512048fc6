"""Texts with a defect, as they are met in the wild."""

from __future__ import annotations

import numpy as np

from trichord.pipelines.demo.foreign import write_foreign
from trichord.pipelines.demo.scenes import Scene

TEXT_DEFECTS = (
    "typos",
    "mojibake",
    "control_characters",
    "empty_text",
    "html_markup",
    "bidi_controls",
    "pii",
    "foreign_language",
    "repeated_text",
    "symbol_noise",
)

_CONTROLS = "".join(map(chr, (*range(1, 9), *range(14, 27), 127)))
_MARKS = "\u200e\u200f"  # of direction: left to right, right to left
_EMBEDDINGS = tuple((opening, "\u202c") for opening in "\u202a\u202b\u202d\u202e")
_ISOLATES = tuple((opening, "\u2069") for opening in "\u2066\u2067\u2068")
_BOILERPLATE = (
    "Click here to see more pictures like this one.",
    "All rights reserved by the owner of this page.",
    "Sign up for our newsletter and save ten percent today.",
    "Please enable cookies in your browser to go on.",
)
_SYMBOLS = "#$%^*~|=+_\\/@§¤¦■□◆★►●☆▲†‡"
_MAIL_NAMES = ("press.office", "studio", "orders", "gallery-desk", "prints", "m.weaver", "anna_b", "front.desk")
_MAIL_HOSTS = ("example.org", "mail.example.com", "pictures.example.net", "example.co.uk")


def spoil_text(text: str, kind: str, rng: np.random.Generator, scene: Scene) -> str:
    """A text with one of `TEXT_DEFECTS`; `scene` is what it is about."""
    match kind:
        case "typos":
            return _typos(text, rng)
        case "mojibake":
            return _mojibake(text)
        case "control_characters":
            letters = list(text)
            for place in rng.choice(np.arange(1, len(letters)), size=min(6, len(letters) - 1), replace=False).tolist():
                letters[place] = _CONTROLS[int(rng.integers(len(_CONTROLS)))] + letters[place]
            return "".join(letters)
        case "empty_text":
            return ("", " ", "\n\t ")[int(rng.integers(3))]
        case "html_markup":
            return _html(text, rng)
        case "bidi_controls":
            return _bidi(text, rng)
        case "pii":
            return f"{text} {_PERSONAL[int(rng.integers(len(_PERSONAL)))](rng)}"
        case "foreign_language":
            return write_foreign(scene, rng)
        case "repeated_text":
            again = text if rng.random() < 0.5 else _BOILERPLATE[int(rng.integers(len(_BOILERPLATE)))]
            return " ".join([text, *[again] * int(rng.integers(14, 21))])
        case "symbol_noise":
            return " ".join(f"{_symbols(rng)} {word}{_symbols(rng)}" for word in text.split(" "))
        case _:
            raise ValueError(f"not a defect of text: {kind!r}")


def _typos(text: str, rng: np.random.Generator) -> str:
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) >= 4]
    for i in rng.choice(long, size=max(1, min(len(long), round(len(words) / 5))), replace=False).tolist():
        word = words[i]
        place = int(rng.integers(1, len(word) - 2))
        swapped = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        dropped = word[:place] + word[place + 1 :]
        doubled = word[:place] + word[place] + word[place:]
        others = [other for other in (swapped, dropped, doubled) if other != word]
        words[i] = others[int(rng.integers(len(others)))]
    return " ".join(words)


def _mojibake(text: str) -> str:
    words = text.split(" ")
    quoted = [*words[:-1], f"\u2018{words[-1]}\u2019"]
    return ("Caf\u00e9 sketch \u2013 " + " ".join(quoted)).encode("utf-8").decode("cp1252")


def _html(text: str, rng: np.random.Generator) -> str:
    """Return the text as the source of a web page has it; without its tags, entities and white space it is the text."""
    words = text.split(" ")
    bold = int(rng.integers(len(words)))
    words[bold] = f"<b>{words[bold]}</b>"
    number = int(rng.integers(1_000, 100_000))
    linked = int(rng.integers(len(words)))
    words[linked] = f'<a href="https://example.org/picture?id={number}&amp;size=large">{words[linked]}</a>'
    joints = [("&nbsp;" if draw < 0.15 else " ") for draw in rng.random(len(words) - 1).tolist()]
    body = "".join(word + joint for word, joint in zip(words, [*joints, ""], strict=True))
    if rng.random() < 0.5:
        return f'<div class="caption">\n  <p style="color: #333">{body}</p>\n</div>'
    return f"<!-- picture {number} --><p>{body}</p><br/>"


def _bidi(text: str, rng: np.random.Generator) -> str:
    """Two words wrapped in embeddings, overrides or isolates, and marks strewn between: invisible, and in the way."""
    words = text.split(" ")
    pairs = (*_EMBEDDINGS, *_ISOLATES)
    for i in rng.choice(len(words), size=min(2, len(words)), replace=False).tolist():
        opening, closing = pairs[int(rng.integers(len(pairs)))]
        words[i] = f"{opening}{words[i]}{closing}"
    for i in rng.integers(len(words), size=3).tolist():
        words[i] += _MARKS[int(rng.integers(2))]
    return " ".join(words)


def _symbols(rng: np.random.Generator) -> str:
    return "".join(_SYMBOLS[i] for i in rng.integers(len(_SYMBOLS), size=int(rng.integers(3, 7))).tolist())


def _mail(rng: np.random.Generator) -> str:
    name = f"{_MAIL_NAMES[int(rng.integers(len(_MAIL_NAMES)))]}{int(rng.integers(100))}"
    return f"Sent in by {name}@{_MAIL_HOSTS[int(rng.integers(len(_MAIL_HOSTS)))]}."


def _phone(rng: np.random.Generator) -> str:
    """Numbers that are set aside for use in fiction."""
    area = ("202", "212", "312", "415", "617")[int(rng.integers(5))]
    last = int(rng.integers(100, 200))
    number = (
        f"+1 {area}-555-0{last}",
        f"+1 ({area}) 555-0{last}",
        f"+44 20 7946 0{int(rng.integers(1_000)):03d}",
        f"+49 30 23125 {int(rng.integers(1_000)):03d}",
    )[int(rng.integers(4))]
    return f"For prints call {number}."


def _address(rng: np.random.Generator) -> str:
    block = ("203.0.113", "198.51.100", "192.0.2", "93.184.216", "151.101.65")[int(rng.integers(5))]
    return f"Uploaded from {block}.{int(rng.integers(1, 255))}."


def _card(rng: np.random.Generator) -> str:
    """A number with a right checksum (ISO/IEC 7812-1, annex B)."""
    digits = [(4, 5)[int(rng.integers(2))], *rng.integers(1, 6, size=1).tolist(), *rng.integers(10, size=13).tolist()]
    doubled = [digit if i % 2 else 2 * digit - 9 * (digit > 4) for i, digit in enumerate(digits)]
    text = "".join(map(str, [*digits, -sum(doubled) % 10]))
    joint = (" ", "-", "")[int(rng.integers(3))]
    return f"Paid with card {joint.join(text[i : i + 4] for i in range(0, 16, 4))}."


_PERSONAL = (_mail, _phone, _address, _card)
