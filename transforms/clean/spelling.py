"""Correct sure misspellings of English (symspellpy with its dictionary of 82,765 words and their frequencies)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import ClassVar

import numpy as np

from trichord.infra.packages import version
from trichord.transforms.batch import Batch, Change, Row
from trichord.transforms.clean import annotate
from trichord.transforms.clean.language import LABEL, language_of
from trichord.transforms.op import Op

_READ_CHARS = 20_000  # longer texts are unchanged
_MIN_WORD, _LONG_WORD = 4, 9  # letters; in long words two mistakes are corrected
_LONGEST = 64  # letters of a word of the dictionary, and more
_TOKEN = re.compile(r"\S+")
_WORD = re.compile(r"[a-zA-Z]+(?:['’][a-zA-Z]+)?")
_PLAIN = re.compile(r"[(\[\"'“‘¿¡]*([a-zA-Z]+(?:['’][a-zA-Z]+)?(?:-[a-zA-Z]+)*)[.,;:!?)\]\"'”’…]*")
_SENTENCE_END = re.compile(r"[.!?:;]['\"”’)\]]*$")
# How often each kind of mistake happens; multiplied by how often the word is written.
_WEIGHTS = {"doubled": 1.0, "swapped": 1.0, "dropped": 1.0, "added": 0.2, "other": 0.05}
_FAMILIAR = 1_000.0  # a word used elsewhere in the row is this much likelier
_SURE, _SURE_CAPITAL = 0.9, 0.97  # share of the best candidate; the second if it might be a name
_LEAST_COUNT = 200_000  # in the dictionary's corpus, for a word to be a correction
_MOST_UNKNOWN = 0.5  # from this share of unknown words a text is jargon or not English

# American spellings and what the dictionary has for them
_BRITISH = tuple(
    (re.compile(pattern), to)
    for pattern, to in (
        ("or", "our"), ("er(s?)$", r"re\1"), ("er(ed|ing)$", r"r\1"), ("l(ing|ed|er|ers|or|ors|ery)$", r"ll\1"),
        ("l(ment|ments|s?)$", r"ll\1"), ("z", "s"), ("og(s?)$", r"ogue\1"), ("ens(e|es)$", r"enc\1"), ("e", "ae"),
        ("gray", "grey"), ("judgment", "judgement"), ("ax(e?)$", "axe"), ("p(ing|ed)$", r"pp\1"),
    )
)  # fmt: skip


def _dictionary() -> Traversable:
    return resources.files("symspellpy") / "frequency_dictionary_en_82_765.txt"


@lru_cache(maxsize=1)
def _known_words() -> Mapping[str, int]:
    """Return the dictionary's words, and how often each is written."""
    lines = (line.split(" ", 1) for line in _dictionary().read_text("utf-8-sig").splitlines())
    return {word: int(count) for word, count in lines}


@dataclass(frozen=True, slots=True, eq=False)
class _Words:
    """Words of the dictionary in plain letters that begin alike: W of them, and their letters, int8 (W, 26)."""

    words: Sequence[str]
    letters: np.ndarray

    def near(self, word: str, farthest: int) -> list[tuple[str, int]]:
        """Return the words within this many mistakes (optimal string alignment), and how many each is away.

        A mistake changes at most two letters of the bag of letters, so few words are compared. SymSpell, which finds
        the same, takes seconds and 200 MB in each worker before it can look up the first word.
        """
        from symspellpy.editdistance import DistanceAlgorithm, EditDistance

        if len(word) > _LONGEST + farthest:
            return []
        apart = np.abs(self.letters - _letters(word)).sum(axis=1)
        compare = EditDistance(DistanceAlgorithm.DAMERAU_OSA).compare
        close = [self.words[at] for at in np.flatnonzero(apart <= 2 * farthest).tolist()]
        found = ((term, compare(word, term, farthest)) for term in close)
        return [(term, distance) for term, distance in found if distance >= 0]


@lru_cache(maxsize=26)
def _beginning_with(letter: str) -> _Words:
    words = [word for word in _known_words() if word[0] == letter and word.isalpha() and word.isascii()]
    return _Words(words, np.stack([_letters(word) for word in words]))


def _letters(word: str) -> np.ndarray:
    """Return how often a word of plain letters in lower case has each of them, int8 (26,)."""
    return np.bincount(np.frombuffer(word.encode("ascii"), np.uint8) - ord("a"), minlength=26).astype(np.int8)


def mistake(written: str, meant: str) -> str:
    """Return the kind of slip that made `written` of `meant`: doubled, swapped, dropped, added or other."""
    at = next(
        (i for i, (a, b) in enumerate(zip(written, meant, strict=False)) if a != b), min(len(written), len(meant))
    )
    if len(written) == len(meant) + 1 and written[at + 1 :] == meant[at:]:
        return "doubled" if at and written[at] == written[at - 1] else "added"
    if len(written) + 1 == len(meant) and written[at:] == meant[at + 1 :]:
        return "dropped"
    swapped = written[:at] + written[at + 1 : at + 2] + written[at : at + 1] + written[at + 2 :]
    return "swapped" if len(written) == len(meant) and swapped == meant else "other"


def _is_vowel_slip(written: str, meant: str) -> bool:
    return all(a == b or {a, b} <= set("aeiouy") for a, b in zip(written, meant, strict=False))


def correction(word: str, familiar: Collection[str], *, capital: bool) -> str | None:
    """Return the word meant by a lower-case word outside the dictionary; None if unsure."""
    farthest = 2 if len(word) >= _LONG_WORD else 1
    known = _known_words()
    near = _beginning_with(word[0]).near(word, farthest)  # first letters are rarely wrong
    found = [(term, float(known[term]), distance) for term, distance in near]
    if not found:
        return None
    nearest = min(distance for _, _, distance in found)
    weights = {
        term: count * _WEIGHTS[mistake(word, term)] * (_FAMILIAR if term in familiar else 1.0)
        for term, count, distance in found
        if distance == nearest
    }
    best = max(sorted(weights), key=lambda term: weights[term])
    count = next(count for term, count, _ in found if term == best)
    if best not in familiar and nearest == 1 and mistake(word, best) == "other" and not _is_vowel_slip(word, best):
        return None  # one consonant for another: as often it is a word that the dictionary lacks
    share = weights[best] / sum(weights.values())
    sure = share >= (_SURE_CAPITAL if capital else _SURE) and (count >= _LEAST_COUNT or best in familiar)
    return best if sure else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSpelling(Op):
    """Corrects sure misspellings in text and captions of rows labelled as English with enough certainty.

    Words of the dictionary, short ones, names (a capital inside a sentence), capitals, numbers, code, paths, addresses,
    hashtags, letters beyond ASCII, words that come twice in the row, and texts with half their words unknown are
    unchanged. Each correction is recorded; `text_spelling_changes` counts them.
    """

    version: ClassVar[int] = 1

    min_language_score: float

    @property
    def name(self) -> str:
        """The op's name."""
        return "text_spelling"

    def libraries(self) -> Mapping[str, str]:
        """Return the library, which carries its dictionary."""
        return {"symspellpy": version("symspellpy")}

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows, measured = list(batch.rows), [dict[str, float]() for _ in batch.rows]
        for i, (row, scores) in enumerate(zip(batch.rows, batch.scores, strict=True)):
            if row.text is None:
                continue
            made = 0
            if self._is_english(row, scores.get("text_language_score", 0.0)):
                rows[i], made = self._correct(row)
            measured[i] = {"text_spelling_changes": float(made)}
        return replace(batch, rows=tuple(rows)).with_scores(measured)

    def _is_english(self, row: Row, score: float) -> bool:
        """Decide by the label or, if that is uncertain (short texts), by text and captions together."""
        language = dict(row.labels).get(LABEL)
        if score < self.min_language_score and row.captions:
            language, score = language_of(" ".join((row.text or "", *row.captions)))
        return language == "en" and score >= self.min_language_score

    def _correct(self, row: Row) -> tuple[Row, int]:
        wordings = [row.text or "", *row.captions]
        words = _count_words(*wordings)
        corrected, changes = [], list[Change]()
        for i, text in enumerate(wordings):
            field = "text" if i == 0 else f"captions[{i - 1}]"
            made = list(corrections(text, words)) if len(text) <= _READ_CHARS else []
            changes += [annotate.change(self.name, field, text[a:b], word) for a, b, word in made]
            for start, stop, word in reversed(made):
                text = text[:start] + word + text[stop:]
            corrected.append(text)
        if not changes:
            return row, 0
        row = replace(row, text=corrected[0], captions=tuple(corrected[1:]))
        return annotate.with_changes(row, changes), len(changes)


def has_doubtful_words(text: str) -> bool:
    """Return whether a word of a text would be corrected if it were surely a misspelling."""
    return len(text) <= _READ_CHARS and bool(_unknown_words(text, _count_words(text)))


def corrections(text: str, words: Counter[str]) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and correction of each misspelt word; `words` counts the row's words in lower case."""
    unknown = _unknown_words(text, words)
    familiar = {word for word in words if word in _known_words()} if unknown else set[str]()
    for start, written, capital in unknown:
        meant = correction(written.lower(), familiar, capital=capital)
        if meant is not None:
            yield start, start + len(written), meant.capitalize() if capital else meant


def _count_words(*texts: str) -> Counter[str]:
    return Counter(word.lower() for text in texts for word in _WORD.findall(text[:_READ_CHARS]))


def _unknown_words(text: str, words: Counter[str]) -> list[tuple[int, str, bool]]:
    """Return start, word and whether it might be a name, of each word that may be misspelt; none if they are many."""
    unknown: list[tuple[int, str, bool]] = []
    total = 0
    opening = True  # the next word begins a sentence
    for token in _TOKEN.finditer(text):
        plain = _PLAIN.fullmatch(token[0])
        if plain is not None:
            for word in _WORD.finditer(plain[1]):
                total += 1
                first = opening and word.start() == 0
                if _is_open(word[0], first, words):
                    unknown.append((token.start() + plain.start(1) + word.start(), word[0], word[0][0].isupper()))
        opening = _SENTENCE_END.search(token[0]) is not None
    return unknown if len(unknown) <= max(1, math.floor(_MOST_UNKNOWN * total)) else []


def _is_open(word: str, first: bool, words: Counter[str]) -> bool:
    """Return whether a word might be misspelt."""
    lower = word.lower()
    return (
        len(word) >= _MIN_WORD
        and (word == lower or (first and word[1:] == lower[1:]))
        and lower.isalpha()
        and words[lower] < 2
        and not _is_known(lower)
    )


def _is_known(word: str) -> bool:
    """Return whether the dictionary, whose spelling is British, has the word or its British spelling."""
    words = _known_words()
    return word in words or any(pattern.sub(to, word) in words for pattern, to in _BRITISH if pattern.search(word))
