"""Answers against references: BLEU by sacrebleu, ROUGE by rouge-score, METEOR by nltk.

ROUGE and METEOR count the same words, lower-cased: runs of letters and digits (for ASCII, those of ROUGE-1.5.5), and
single characters of scripts without blanks. Porter's stemmer and synonyms are of English alone. BLEU tokenizes by
sacrebleu's rule for the language, which its signature names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from trichord.infra.errors import ConfigError
from trichord.pipelines.core.result import Result
from trichord.transforms.augment.wordnet import WordNetSynonyms, open_wordnet
from trichord.transforms.bounded_text import normal_form
from trichord.transforms.clean.language import language_of
from trichord.transforms.word_breaks import has_unspaced, language_of_script
from trichord.transforms.word_breaks import words as find_words

ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
_PARTS_OF_SPEECH = ("n", "v", "a", "r")
ENGLISH = "en"
_SURE = 0.8  # probability from which letters are of another language than is usual for their script
_SHARED_SCRIPTS = {"": ENGLISH, "ru": "ru", "ar": "ar", "hi": "hi"}  # by `language_of_script`
# sacrebleu's tokenizers; those for Japanese and Korean need MeCab's dictionaries, so characters stand for their words
_CHARACTERS = ("ja", "ko", "th", "lo", "km", "my")
_CHINESE = ("zh", "yue", "wuu")
_UNICODE = (
    "ar",
    "fa",
    "ur",
    "ps",
    "he",
    "hi",
    "bn",
    "ta",
    "te",
    "mr",
    "ne",
    "ka",
    "hy",
    "gu",
    "pa",
    "kn",
    "ml",
    "si",
    "am",
)
_TOKENIZERS = {
    "13a": ("tokenizer_13a", "Tokenizer13a"),
    "intl": ("tokenizer_intl", "TokenizerV14International"),
    "zh": ("tokenizer_zh", "TokenizerZh"),
    "char": ("tokenizer_char", "TokenizerChar"),
}


def words(text: str) -> list[str]:
    """Return the words that ROUGE and METEOR count."""
    return find_words(text.lower())


def tokenizer_of(language: str) -> str:
    """Return sacrebleu's tokenizer for a language: 13a, intl (punctuation of Unicode), zh or char."""
    for name, languages in (("char", _CHARACTERS), ("zh", _CHINESE), ("intl", _UNICODE)):
        if language in languages:
            return name
    return "13a"


def find_languages(references: Sequence[Sequence[str]], known: Sequence[str | None]) -> list[str]:
    """Return the language (ISO 639) of each answer: the known one, else by the script of its references.

    Scripts of many languages are of the one that py3langid surely finds in all such references together, else of the
    most frequent: Latin letters of English.
    """
    scripts = list(map(_script_of, references))
    by_script: dict[str, str] = {}
    for script, usual in _SHARED_SCRIPTS.items():
        pairs = zip(scripts, known, references, strict=True)
        texts = " ".join(text for name, said, several in pairs if name == script and said is None for text in several)
        likely, score = language_of(texts) if texts.strip() else (usual, 1.0)
        by_script[script] = likely if score >= _SURE else usual
    return [said or by_script.get(script, script) for script, said in zip(scripts, known, strict=True)]


def _script_of(texts: Sequence[str]) -> str:
    """Return `language_of_script`, by words where Latin ones stand among others: 猫在桌子上 the cat is Chinese."""
    script = language_of_script(texts)
    if script:
        return script
    found = [word for text in texts for word in find_words(text)]
    unspaced = list(filter(has_unspaced, found))
    return language_of_script(unspaced) if 2 * len(unspaced) > len(found) else script


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationFigures(Result):
    """How close answers come to their references.

    Attributes:
        answers: number of answers.
        bleu: 0 to 100, over the corpus (Papineni et al. 2002).
        bleu_signature: sacrebleu's settings.
        rouge_1: 0 to 1, mean F of single words (Lin 2004).
        rouge_2: of pairs of words.
        rouge_l: of the longest common subsequence.
        meteor: 0 to 1, mean (Lavie and Agarwal 2007).
        meteor_synonyms: which synonyms and stems it knew, and in which languages it knew none.
        languages: answers by language.
    """

    answers: int
    bleu: float
    bleu_signature: str
    rouge_1: float
    rouge_2: float
    rouge_l: float
    meteor: float
    meteor_synonyms: str
    languages: Mapping[str, int]


def generation_figures(
    answers: Sequence[str],
    references: Sequence[Sequence[str]],
    wordnet: str | None = None,
    languages: Sequence[str | None] | None = None,
) -> GenerationFigures:
    """Compare answers with their references; of several references the closest counts (BLEU uses all).

    Args:
        answers: N texts.
        references: at least one reference for each of them.
        wordnet: folder of WordNet's dictionaries; without it METEOR knows no synonyms.
        languages: of each answer (ISO 639); None where the script decides (`find_languages`).

    Raises:
        ConfigError: a library is not installed, or the folder does not hold WordNet.
        ValueError: there is no answer, or one has no reference.
    """
    if not answers or len(answers) != len(references) or not all(references):
        raise ValueError(f"{len(answers)} answers with {[len(several) for several in references]} references")
    if missing := [name for name in ("nltk", "rouge_score", "sacrebleu") if find_spec(name) is None]:
        raise ConfigError(f"BLEU, ROUGE and METEOR need {', '.join(missing)}.\nRun `pip install 'trichord[rag]'`.")
    answers = [normal_form("NFC", answer) for answer in answers]  # one letter may be written in several ways
    references = [[normal_form("NFC", text) for text in several] for several in references]
    spoken = find_languages(references, languages or [None] * len(answers))
    bleu, signature = _measure_bleu(answers, references, spoken)
    rouge = _measure_rouge(answers, references, spoken)
    meteor, synonyms = _measure_meteor(answers, references, spoken, wordnet)
    return GenerationFigures(
        answers=len(answers),
        bleu=bleu,
        bleu_signature=signature,
        rouge_1=rouge["rouge_1"],
        rouge_2=rouge["rouge_2"],
        rouge_l=rouge["rouge_l"],
        meteor=meteor,
        meteor_synonyms=synonyms,
        languages=dict(sorted(Counter(spoken).items())),
    )


def _measure_bleu(
    answers: Sequence[str], references: Sequence[Sequence[str]], languages: Sequence[str]
) -> tuple[float, str]:
    """Return corpus BLEU and its signature; each answer is tokenized as its language is."""
    from sacrebleu.metrics.bleu import BLEU

    names = [tokenizer_of(language) for language in languages]
    cut = {name: _open_tokenizer(name) for name in set(names)}
    most = max(map(len, references))
    # None: this answer has fewer references than another
    streams: Any = [
        [cut[name](several[i]) if i < len(several) else None for name, several in zip(names, references, strict=True)]
        for i in range(most)
    ]
    metric = BLEU(tokenize="none", force=True)
    found = metric.corpus_score([cut[name](answer) for name, answer in zip(names, answers, strict=True)], streams)
    return found.score, str(metric.get_signature()).replace("tok:none", f"tok:{'+'.join(sorted(cut))}")


def _open_tokenizer(name: str) -> Callable[[str], str]:
    module, kind = _TOKENIZERS[name]
    tokenizer = getattr(import_module(f"sacrebleu.tokenizers.{module}"), kind)()
    return lambda text: str(tokenizer(text.rstrip()))


class _Stemmer:
    """Porter's stems of English words; words of other languages as they are."""

    def __init__(self, language: str) -> None:
        from nltk.stem.porter import PorterStemmer

        self._porter = PorterStemmer() if language == ENGLISH else None

    def stem(self, word: str) -> str:
        """Return the stem."""
        return word if self._porter is None else str(self._porter.stem(word))

    def tokenize(self, text: str) -> list[str]:
        """Return stemmed words; words of up to three letters are not stemmed, as in ROUGE-1.5.5."""
        return [self.stem(word) if len(word) > 3 else word for word in words(text)]


def _measure_rouge(
    answers: Sequence[str], references: Sequence[Sequence[str]], languages: Sequence[str]
) -> dict[str, float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorers = {name: RougeScorer(list(ROUGE.values()), tokenizer=_Stemmer(name)) for name in set(languages)}
    scores = [
        scorers[language].score_multi(several, answer)
        for answer, several, language in zip(answers, references, languages, strict=True)
    ]
    return {name: sum(score[kind].fmeasure for score in scores) / len(scores) for name, kind in ROUGE.items()}


@dataclass(frozen=True, slots=True)
class _Lemma:
    text: str

    def name(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class _Synset:
    words: tuple[str, ...]

    def lemmas(self) -> list[_Lemma]:
        return [_Lemma(word) for word in self.words]


@dataclass(frozen=True, slots=True)
class _Synonyms:
    """nltk's view of WordNet, read from its dictionary files; nltk's own reader needs files that no package has."""

    dictionary: WordNetSynonyms | None

    def synsets(self, word: str) -> list[_Synset]:
        """Return the word's most frequent sense; nothing without dictionaries."""
        if self.dictionary is None:
            return []
        found = [other.lower() for pos in _PARTS_OF_SPEECH for other in self.dictionary.predict(word, pos)]
        return [_Synset(tuple(found))] if found else []


def _measure_meteor(
    answers: Sequence[str], references: Sequence[Sequence[str]], languages: Sequence[str], wordnet: str | None
) -> tuple[float, str]:
    from nltk.translate.meteor_score import meteor_score

    dictionary = None
    if wordnet is not None:
        try:
            dictionary = open_wordnet(wordnet)
        except ConfigError as error:  # it names the setting of augmentation
            raise ConfigError(f"rag.wordnet: {str(error).partition(': ')[2]}") from error
    stemmers = {name: _Stemmer(name) for name in set(languages)}
    scores = []
    for answer, several, language in zip(answers, references, languages, strict=True):
        synonyms: Any = _Synonyms(dictionary if language == ENGLISH else None)
        stemmer: Any = stemmers[language]
        cut = [words(text) for text in several]
        scores.append(float(meteor_score(cut, words(answer), stemmer=stemmer, wordnet=synonyms)))
    return sum(scores) / len(scores), _describe_synonyms(dictionary, set(languages))


def _describe_synonyms(dictionary: WordNetSynonyms | None, languages: set[str]) -> str:
    """Say which synonyms and stems METEOR knew."""
    known = []
    if ENGLISH in languages:
        known.append(
            "none: words and stems alone"
            if dictionary is None
            else f"the most frequent sense in WordNet {dictionary.fingerprint[:12]}"
        )
    if others := sorted(languages - {ENGLISH}):
        known.append(f"{', '.join(others)}: words alone (stems and synonyms are of English)")
    return "; ".join(known)
