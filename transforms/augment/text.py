"""Changes of texts by nlpaug's augmenters and by models that the caller passes.

nlpaug draws from Python's and numpy's global generators; both are seeded from the variant's own generator and restored
afterwards. Words for sides, negations and numbers stay (`words.is_protected`); labels in `meta` are never touched.
Changes that need a dictionary or a keyboard are of English (`STEP_LANGUAGES`); words are removed, exchanged and filled
in by a model in every language whose turning words are known.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import numpy as np

from trichord.infra.config.augment import TextAugment
from trichord.transforms.augment.variants import Draft, Step
from trichord.transforms.augment.wordnet import WordNetSynonyms, open_wordnet
from trichord.transforms.augment.words import (
    KNOWN_LANGUAGES,
    PROTECTED,
    TOKEN,
    count_words,
    is_protected,
    protected_words,
    tokens,
)
from trichord.transforms.batch import Row
from trichord.transforms.clean.language import LABEL as LANGUAGE_LABEL
from trichord.transforms.word_breaks import has_unspaced, is_unspaced, language_of_script

ENGLISH = frozenset({"en"})
# What each change knows; None: any language
STEP_LANGUAGES: Mapping[str, frozenset[str] | None] = {
    "rewrite": None,
    "contextual": KNOWN_LANGUAGES,
    "synonym": ENGLISH,
    "swap": KNOWN_LANGUAGES,
    "delete": KNOWN_LANGUAGES,
    "spelling": ENGLISH,
    "keyboard": ENGLISH,
    "ocr": ENGLISH,
}


class Filler(Protocol):
    """A masked language model: replaces the words at `spans` (start, end), drawn by `rng`."""

    @property
    def fingerprint(self) -> str:
        """Digest of all that shapes its answers: a part of every variant's address."""

    def __call__(self, text: str, spans: Sequence[tuple[int, int]], rng: np.random.Generator) -> str: ...


class Rewriter(Protocol):
    """A sequence-to-sequence model: another wording of the text, drawn by `rng`."""

    @property
    def fingerprint(self) -> str:
        """Digest of all that shapes its answers: a part of every variant's address."""

    def __call__(self, text: str, rng: np.random.Generator) -> str: ...


def text_steps(
    config: TextAugment, seed: int, fill: Filler | None = None, rewrite: Rewriter | None = None
) -> tuple[Step, ...]:
    """Return the changes of a text with a probability above 0, in order; those by a model need the model."""
    words, languages = config.min_words, config.languages
    steps: list[Step] = []
    if rewrite is not None:
        step_p = config.rewrite.p
        steps.append(Rewrite(seed=seed, p=step_p, min_words=words, languages=languages, model=rewrite))
    if fill is not None:
        step = config.contextual
        steps.append(
            Contextual(seed=seed, p=step.p, min_words=words, languages=languages, max_share=step.max_share, model=fill)
        )
    if config.synonym.wordnet is not None and config.synonym.p > 0:
        steps.append(
            Synonym(
                seed=seed,
                p=config.synonym.p,
                min_words=words,
                languages=languages,
                max_share=config.synonym.max_share,
                wordnet=open_wordnet(config.synonym.wordnet),
            )
        )
    for kind, how in (
        (Swap, config.swap),
        (Delete, config.delete),
        (Spelling, config.spelling),
        (Keyboard, config.keyboard),
        (Ocr, config.ocr),
    ):
        steps.append(kind(seed=seed, p=how.p, min_words=words, languages=languages, max_share=how.max_share))
    return tuple(step for step in steps if step.p > 0)


@contextmanager
def global_generators(seed: int) -> Iterator[None]:
    """Seed Python's and numpy's global generators, and restore them afterwards."""
    mine, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002 - nlpaug knows no other generator
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - as above
    try:
        yield
    finally:
        random.setstate(mine)
        np.random.set_state(numpys)  # noqa: NPY002 - as above


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStep(Step):
    """A change of the text and, separately, of each caption, in the languages that it knows."""

    version: ClassVar[int] = 2
    medium: ClassVar[str] = "text"
    packages: ClassVar[tuple[str, ...]] = ("nlpaug", "numpy")

    min_words: int
    languages: tuple[str, ...]  # empty: all that the change knows

    def fits(self, language: str) -> bool:
        """Return whether the change is made in a language."""
        known = STEP_LANGUAGES[self.kind]
        return (known is None or language in known) and (not self.languages or language in self.languages)

    def reword(self, text: str, language: str, rng: np.random.Generator) -> str | None:
        """Return the changed text; None if nothing fits."""
        raise NotImplementedError

    def apply(self, draft: Draft, rng: np.random.Generator) -> Draft | None:
        """Return the variant with text and captions changed; `changed` counts them."""
        row = draft.row
        if row.text is None or not self.fits(language := language_of_row(row)):
            return None
        old = (row.text, *row.captions)
        new = tuple(self._change(text, language, rng) for text in old)
        count = sum(a != b for a, b in zip(old, new, strict=True))
        if count == 0:
            return None
        return replace(draft, row=replace(row, text=new[0], captions=new[1:]), drawn={"changed": count})

    def _change(self, text: str, language: str, rng: np.random.Generator) -> str:
        if count_words(text) < self.min_words:
            return text
        found = self.reword(text, language, rng)
        return found if found is not None and found.strip() else text


@dataclass(frozen=True, slots=True, kw_only=True)
class WordStep(TextStep):
    """A change of single words by an nlpaug augmenter."""

    max_share: float

    def reword(self, text: str, language: str, rng: np.random.Generator) -> str | None:
        """Change up to `max_share` of the text's words."""
        words = sum(token[0].isalnum() for token in tokens(text))
        count = 1 + int(rng.integers(max(1, int(words * self.max_share))))
        if language not in ENGLISH:
            return self.reword_foreign(text, language, count, rng)
        augmenter = self.augmenter()
        for name in ("aug_min", "aug_max", "aug_word_min", "aug_word_max"):
            if hasattr(augmenter, name):
                setattr(augmenter, name, count)
        with global_generators(int(rng.integers(2**32))):
            made: list[str] = augmenter.augment(text)
        return made[0] if made else None

    def reword_foreign(self, text: str, language: str, count: int, rng: np.random.Generator) -> str | None:
        """Change `count` words of a text that is not English; None if the change cannot."""
        del text, language, count, rng
        return None

    def augmenter(self) -> Any:
        """Return the nlpaug augmenter; its counts are set for each text."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Synonym(WordStep):
    """Synonyms of a word's most frequent sense in WordNet."""

    kind: ClassVar[str] = "synonym"
    wordnet: WordNetSynonyms

    def augmenter(self) -> Any:
        """Return nlpaug's SynonymAug on our dictionary."""
        return _synonyms(self.wordnet)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap(WordStep):
    """Exchanges neighbouring words."""

    kind: ClassVar[str] = "swap"

    def augmenter(self) -> Any:
        """Return nlpaug's RandomWordAug."""
        return _augmenter("swap")

    def reword_foreign(self, text: str, language: str, count: int, rng: np.random.Generator) -> str | None:
        """Exchange words, or characters of scripts without blanks, that stand beside each other."""
        parts = tokens(text)
        free = _free(parts, language)
        step = {i: i + 1 if is_unspaced(parts[i][0]) else i + 2 for i in free}  # a blank is a token
        pairs = [(i, j) for i, j in step.items() if j in step and (j == i + 1 or parts[i + 1].isspace())]
        for at in rng.permutation(len(pairs))[:count].tolist():
            i, j = pairs[at]
            parts[i], parts[j] = parts[j], parts[i]
        return "".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete(WordStep):
    """Removes words, never one that reverses the meaning."""

    kind: ClassVar[str] = "delete"

    def augmenter(self) -> Any:
        """Return nlpaug's RandomWordAug."""
        return _augmenter("delete")

    def reword_foreign(self, text: str, language: str, count: int, rng: np.random.Generator) -> str | None:
        """Remove words, or characters of scripts without blanks, and a blank beside each."""
        parts = tokens(text)
        free = _free(parts, language)
        for i in sorted((free[at] for at in rng.permutation(len(free))[:count].tolist()), reverse=True):
            beside = [at for at in (i + 1, i - 1) if 0 <= at < len(parts) and parts[at].isspace()]
            for at in sorted({i, *beside[:1]}, reverse=True):
                del parts[at]
        return "".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling(WordStep):
    """Misspells words as people do."""

    kind: ClassVar[str] = "spelling"

    def augmenter(self) -> Any:
        """Return nlpaug's SpellingAug."""
        return _augmenter("spelling")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyboard(WordStep):
    """Hits a neighbouring key."""

    kind: ClassVar[str] = "keyboard"

    def augmenter(self) -> Any:
        """Return nlpaug's KeyboardAug."""
        return _augmenter("keyboard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ocr(WordStep):
    """Replaces a letter as character recognition would."""

    kind: ClassVar[str] = "ocr"

    def augmenter(self) -> Any:
        """Return nlpaug's OcrAug."""
        return _augmenter("ocr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contextual(TextStep):
    """Replaces words by those that a masked language model finds likely."""

    kind: ClassVar[str] = "contextual"
    packages: ClassVar[tuple[str, ...]] = ("transformers", "torch", "numpy")
    max_share: float
    model: Filler

    def reword(self, text: str, language: str, rng: np.random.Generator) -> str | None:
        """Return the text with the model's words at drawn places."""
        spans = [match.span() for match in TOKEN.finditer(text) if not is_protected(match[0], language)]
        count = 1 + int(rng.integers(max(1, int(len(spans) * self.max_share))))
        if not spans:
            return None
        chosen = sorted(int(i) for i in rng.choice(len(spans), size=min(count, len(spans)), replace=False))
        return self.model(text, [spans[i] for i in chosen], rng)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite(TextStep):
    """Rewrites by a sequence-to-sequence model; a wording that loses a side, a negation or a number is discarded."""

    kind: ClassVar[str] = "rewrite"
    packages: ClassVar[tuple[str, ...]] = ("transformers", "torch", "numpy")
    model: Rewriter

    def reword(self, text: str, language: str, rng: np.random.Generator) -> str | None:
        """Return the model's wording."""
        made = self.model(text, rng)
        return made if protected_words(made, language) == protected_words(text, language) else None


def language_of_row(row: Row) -> str:
    """Return a row's language: its label, or what its script tells more surely; English if neither does."""
    script = language_of_script((row.text or "", *row.captions))
    if script == "ko" or (script and has_unspaced(row.text or "")):
        return script
    return dict(row.labels).get(LANGUAGE_LABEL) or script or "en"


def _free(parts: Sequence[str], language: str) -> list[int]:
    """Return the places of the words that may change."""
    return [i for i, part in enumerate(parts) if part[0].isalnum() and not is_protected(part, language)]


def _joined(parts: list[str]) -> str:
    return "".join(parts)


def _by_space(text: str) -> list[str]:
    return text.split(" ")


@lru_cache(maxsize=8)
def _augmenter(kind: str) -> Any:
    """Return nlpaug's augmenter of a kind, made once per process. Its tokens join to the original text."""
    import nlpaug.augmenter.char as char
    import nlpaug.augmenter.word as word

    common = {"stopwords_regex": PROTECTED}
    within = common | {"tokenizer": tokens, "reverse_tokenizer": _joined}
    letters = within | {"aug_word_p": 1.0, "aug_char_min": 1, "aug_char_max": 1}
    if kind in ("swap", "delete"):
        return word.RandomWordAug(action=kind, aug_p=1.0, tokenizer=_by_space, reverse_tokenizer=" ".join, **common)
    if kind == "keyboard":
        return char.KeyboardAug(include_special_char=False, include_numeric=False, include_upper_case=False, **letters)
    if kind == "ocr":
        return char.OcrAug(min_char=3, **letters)
    made = word.SpellingAug(aug_p=1.0, include_reverse=False, **within)
    known = made.model.dict
    # nlpaug keeps a set's order, which differs between processes; another correct word would change the meaning
    made.model.dict = {right: sorted(other for other in wrong if other not in known) for right, wrong in known.items()}
    return made


@lru_cache(maxsize=2)
def _synonyms(wordnet: WordNetSynonyms) -> Any:
    import nlpaug.augmenter.word as word

    class OnWordNet(word.SynonymAug):  # type: ignore[misc]  # nlpaug has no types
        @classmethod
        def get_model(cls, aug_src: str, lang: str, dict_path: str | None, force_reload: bool) -> WordNetSynonyms:
            return wordnet

        def skip_aug(self, token_idxes: list[int], tagged: list[tuple[str, str]]) -> list[int]:
            return [i for i in token_idxes if tagged[i][1] != "DT"]

    return OnWordNet(aug_p=1.0, stopwords_regex=PROTECTED, tokenizer=tokens, reverse_tokenizer=_joined)
