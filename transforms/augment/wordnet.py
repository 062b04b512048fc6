"""Synonyms from WordNet's own dictionary files, in the form that nlpaug's synonym augmenter needs.

nlpaug itself uses nltk's corpus reader and perceptron tagger, whose data no package contains. The
dictionaries come as Debian's `wordnet-base` or from wordnet.princeton.edu; the format is that of wndb(5WN).
"""

from __future__ import annotations

import re
from functools import cache, cached_property, lru_cache
from pathlib import Path

from trichord.infra import digest
from trichord.infra.errors import ConfigError
from trichord.transforms.augment.words import is_protected, names_colour

_FILES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
_TAGS = {"n": "NN", "v": "VB", "a": "JJ", "r": "RB"}  # Penn tags that nlpaug maps to these letters
_SKIP = "DT"  # the one tag that nlpaug skips
_MARKER = re.compile(r"\([a-z]+\)$")  # an adjective's position: `galore(ip)`

# Function words that WordNet has as nouns or adjectives (`a` is a vitamin, `in` a metal).
_FUNCTION_WORDS = """
a about above across after against all am an and any are around as at be because been before behind being below
between both but by can could did do does doing down each every few for from had has have having he her here hers
him his how i if in inside into is it its just like many may me might mine more most much must my near next of
off on only or other our out outside over own same several shall she should so some such than that the their them
then there these they this those through to together too under until up us very was we were what when where
which while who whom whose why will with would yet you your
"""


class WordNetSynonyms:
    """What nlpaug's synonym augmenter needs of a dictionary: `pos_tag` and `predict`.

    Synonyms are those of a word's most frequent sense, in the part of speech in which it is counted most often.

    Args:
        folder: has index.* and data.* for noun, verb, adj and adv.

    Raises:
        ConfigError: a dictionary file is missing or cannot be read.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        missing = [name for name in self._names() if not (self._folder / name).is_file()]
        if missing:
            raise ConfigError(
                f"augment.text.synonym.wordnet: {folder} has no {missing[0]}.\n"
                "Name the folder of WordNet's dictionaries (Debian: `apt-get install wordnet-base`, then "
                "/usr/share/wordnet; elsewhere the `dict` folder of WordNet 3.0 or 3.1), or leave the setting out."
            )

    def __getstate__(self) -> dict[str, object]:
        return {"_folder": self._folder}

    @staticmethod
    def _names() -> list[str]:
        return [f"{kind}.{name}" for kind in ("data", "index") for name in _FILES.values()]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the dictionaries' bytes; the folder's place does not count."""
        return digest.address(
            "wordnet", {name: digest.sha256_hex((self._folder / name).read_bytes()) for name in self._names()}
        )

    def pos_tag(self, tokens: list[str]) -> list[tuple[str, str]]:
        """Return tokens with the Penn tag of their most frequent part of speech, or `DT` if they have no synonym."""
        return [(token, self._tag(token, first=i == 0)) for i, token in enumerate(tokens)]

    def predict(self, word: str, pos: str | None = None) -> list[str]:
        """Return other words of the word's most frequent sense, in WordNet's order."""
        lemma = word.lower()
        best = self._best(lemma)
        if best is None or pos != best[0]:
            return []
        return [other for other in self._words(*best) if other.lower() != lemma]

    def _tag(self, token: str, *, first: bool) -> str:
        name = token[:1].isupper() and not first  # a name is not a common noun
        if name or is_protected(token) or names_colour(token) or token.lower() in _function_words():
            return _SKIP
        best = self._best(token.lower())
        return _TAGS[best[0]] if best is not None and self.predict(token, best[0]) else _SKIP

    def _best(self, lemma: str) -> tuple[str, int] | None:
        """Return part of speech and synset offset of a word's most frequent sense."""
        senses = self._senses.get(lemma)
        return None if senses is None else (senses[0], senses[1])

    def _words(self, pos: str, offset: int) -> list[str]:
        data = self._data[pos]
        fields = data[offset : data.index(b"\n", offset)].decode("utf-8").split()
        return [_MARKER.sub("", word) for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]

    @cached_property
    def _data(self) -> dict[str, bytes]:
        return {pos: (self._folder / f"data.{name}").read_bytes() for pos, name in _FILES.items()}

    @cached_property
    def _senses(self) -> dict[str, tuple[str, int, int]]:
        """For each single word: its most frequent part of speech, the offset of its first sense, and the count."""
        found: dict[str, tuple[str, int, int]] = {}
        for pos, name in _FILES.items():
            for line in (self._folder / f"index.{name}").read_text(encoding="utf-8").splitlines():
                if line.startswith(" "):  # the licence
                    continue
                fields = line.split()
                at = 4 + int(fields[3])  # after lemma, part of speech, counts and the kinds of pointers
                tagged, offset = int(fields[at + 1]), int(fields[at + 2])
                if "_" not in fields[0] and tagged > found.get(fields[0], ("", 0, -1))[2]:
                    found[fields[0]] = (pos, offset, tagged)
        return found


@cache
def _function_words() -> frozenset[str]:
    return frozenset(_FUNCTION_WORDS.split())


@lru_cache(maxsize=2)
def open_wordnet(folder: str) -> WordNetSynonyms:
    """Open the dictionaries of a folder, once per process."""
    return WordNetSynonyms(folder)
