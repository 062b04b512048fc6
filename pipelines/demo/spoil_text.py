"""Texts with a defect, as they are met in the wild."""

from __future__ import annotations

import numpy as np

from trichord.pipelines.demo.foreign import write_foreign
from trichord.pipelines.demo.languages import ENGLISH, Language
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
_SYMBOLS = "#$%^*~|=+_\\/@§¤¦■□◆★►●☆▲†‡"
_MAIL_NAMES = ("press.office", "studio", "orders", "gallery-desk", "prints", "m.weaver", "anna_b", "front.desk")
_MAIL_HOSTS = ("example.org", "mail.example.com", "pictures.example.net", "example.co.uk")


def spoil_text(text: str, kind: str, rng: np.random.Generator, scene: Scene, language: Language = ENGLISH) -> str:
    """A text in a language with one of `TEXT_DEFECTS`; `scene` is what it is about."""
    match kind:
        case "typos":
            return _slips(text, rng, language) if language.slips else _typos(text, rng, language)
        case "mojibake":
            return _mojibake(text, language)
        case "control_characters":
            letters = list(text)
            for place in rng.choice(np.arange(1, len(letters)), size=min(6, len(letters) - 1), replace=False).tolist():
                letters[place] = _CONTROLS[int(rng.integers(len(_CONTROLS)))] + letters[place]
            return "".join(letters)
        case "empty_text":
            return ("", " ", "\n\t ")[int(rng.integers(3))]
        case "html_markup":
            return _html(text, rng, language)
        case "bidi_controls":
            return _bidi(text, rng, language)
        case "pii":
            return f"{text}{language.blank}{_PERSONAL[int(rng.integers(len(_PERSONAL)))](rng, language)}"
        case "foreign_language":
            return write_foreign(scene, rng, language.code)
        case "repeated_text":
            lines = language.boilerplate
            again = text if rng.random() < 0.5 else lines[int(rng.integers(len(lines)))]
            return language.blank.join([text, *[again] * int(rng.integers(14, 21))])
        case "symbol_noise":
            blank = language.blank
            return blank.join(f"{_symbols(rng)}{blank}{word}{_symbols(rng)}" for word in language.split(text))
        case _:
            raise ValueError(f"not a defect of text: {kind!r}")


def _typos(text: str, rng: np.random.Generator, language: Language) -> str:
    words = language.split(text)
    long = [i for i, word in enumerate(words) if len(word) >= 4]
    for i in rng.choice(long, size=max(1, min(len(long), round(len(words) / 5))), replace=False).tolist():
        word = words[i]
        place = int(rng.integers(1, len(word) - 2))
        swapped = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        dropped = word[:place] + word[place + 1 :]
        doubled = word[:place] + word[place] + word[place:]
        others = [other for other in (swapped, dropped, doubled) if other != word]
        words[i] = others[int(rng.integers(len(others)))]
    return language.blank.join(words)


def _slips(text: str, rng: np.random.Generator, language: Language) -> str:
    """A tenth of the characters written as others that sound or look alike."""
    letters = list(text)
    open_to = [i for i, letter in enumerate(letters) if letter in language.slips]
    for i in rng.choice(open_to, size=min(len(open_to), max(1, round(len(letters) / 10))), replace=False).tolist():
        letters[i] = language.slips[letters[i]]
    return "".join(letters)


def _mojibake(text: str, language: Language) -> str:
    words = language.split(text)
    noted = language.mojibake.format(head=language.blank.join([*words[:-1], ""]), last=words[-1])
    # as browsers do: a byte that Windows-1252 leaves open is the control character of that number
    return "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in noted.encode("utf-8"))


def _html(text: str, rng: np.random.Generator, language: Language) -> str:
    """Return the text as the source of a web page has it; without its tags, entities and white space it is the text."""
    words = language.split(text)
    bold = int(rng.integers(len(words)))
    words[bold] = f"<b>{words[bold]}</b>"
    number = int(rng.integers(1_000, 100_000))
    linked = int(rng.integers(len(words)))
    words[linked] = f'<a href="https://example.org/picture?id={number}&amp;size=large">{words[linked]}</a>'
    space = language.blank.replace(" ", "&nbsp;")
    joints = [(space if draw < 0.15 else language.blank) for draw in rng.random(len(words) - 1).tolist()]
    body = "".join(word + joint for word, joint in zip(words, [*joints, ""], strict=True))
    if rng.random() < 0.5:
        return f'<div class="caption">\n  <p style="color: #333">{body}</p>\n</div>'
    return f"<!-- picture {number} --><p>{body}</p><br/>"


def _bidi(text: str, rng: np.random.Generator, language: Language) -> str:
    """Two words wrapped in embeddings, overrides or isolates, and marks strewn between: invisible, and in the way."""
    words = language.split(text)
    pairs = (*_EMBEDDINGS, *_ISOLATES)
    for i in rng.choice(len(words), size=min(2, len(words)), replace=False).tolist():
        opening, closing = pairs[int(rng.integers(len(pairs)))]
        words[i] = f"{opening}{words[i]}{closing}"
    for i in rng.integers(len(words), size=3).tolist():
        words[i] += _MARKS[int(rng.integers(2))]
    return language.blank.join(words)


def _symbols(rng: np.random.Generator) -> str:
    return "".join(_SYMBOLS[i] for i in rng.integers(len(_SYMBOLS), size=int(rng.integers(3, 7))).tolist())


def _mail(rng: np.random.Generator, language: Language) -> str:
    name = f"{_MAIL_NAMES[int(rng.integers(len(_MAIL_NAMES)))]}{int(rng.integers(100))}"
    return language.mail.format(found=f"{name}@{_MAIL_HOSTS[int(rng.integers(len(_MAIL_HOSTS)))]}")


def _phone(rng: np.random.Generator, language: Language) -> str:
    """Numbers that are set aside for use in fiction, or that nobody has."""
    digits = {
        "area": ("202", "212", "312", "415", "617")[int(rng.integers(5))],
        "last": f"{int(rng.integers(100, 200))}",
        "london": f"{int(rng.integers(1_000)):03d}",
        "berlin": f"{int(rng.integers(1_000)):03d}",
    }
    return language.phone.format(found=language.phones[int(rng.integers(len(language.phones)))].format(**digits))


def _address(rng: np.random.Generator, language: Language) -> str:
    block = ("203.0.113", "198.51.100", "192.0.2", "93.184.216", "151.101.65")[int(rng.integers(5))]
    return language.address.format(found=f"{block}.{int(rng.integers(1, 255))}")


def _card(rng: np.random.Generator, language: Language) -> str:
    """A number with a right checksum (ISO/IEC 7812-1, annex B)."""
    digits = [(4, 5)[int(rng.integers(2))], *rng.integers(1, 6, size=1).tolist(), *rng.integers(10, size=13).tolist()]
    doubled = [digit if i % 2 else 2 * digit - 9 * (digit > 4) for i, digit in enumerate(digits)]
    text = "".join(map(str, [*digits, -sum(doubled) % 10]))
    joint = (" ", "-", "")[int(rng.integers(3))]
    return language.card.format(found=joint.join(text[i : i + 4] for i in range(0, 16, 4)))


_PERSONAL = (_mail, _phone, _address, _card)
