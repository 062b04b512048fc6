"""Answers against references: BLEU by sacrebleu, ROUGE by rouge-score, METEOR by nltk.

ROUGE and METEOR count the same words: runs of letters and digits of any script, lower-cased (for ASCII, those of
ROUGE-1.5.5), with Porter's stemmer. BLEU tokenizes by its own rule, which its signature names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from trichord.infra.errors import ConfigError
from trichord.pipelines.core.result import Result
from trichord.transforms.augment.wordnet import WordNetSynonyms, open_wordnet

ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
_WORD = re.compile(r"[^\W_]+")
_PARTS_OF_SPEECH = ("n", "v", "a", "r")


def words(text: str) -> list[str]:
    """Return the words that ROUGE and METEOR count."""
    return _WORD.findall(text.lower())


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
        meteor_synonyms: which synonyms it knew.
    """

    answers: int
    bleu: float
    bleu_signature: str
    rouge_1: float
    rouge_2: float
    rouge_l: float
    meteor: float
    meteor_synonyms: str


def generation_figures(
    answers: Sequence[str], references: Sequence[Sequence[str]], wordnet: str | None = None
) -> GenerationFigures:
    """Compare answers with their references; of several references the closest counts (BLEU uses all).

    Args:
        answers: N texts.
        references: at least one reference for each of them.
        wordnet: folder of WordNet's dictionaries; without it METEOR knows no synonyms.

    Raises:
        ConfigError: a library is not installed, or the folder does not hold WordNet.
        ValueError: there is no answer, or one has no reference.
    """
    if not answers or len(answers) != len(references) or not all(references):
        raise ValueError(f"{len(answers)} answers with {[len(several) for several in references]} references")
    if missing := [name for name in ("nltk", "rouge_score", "sacrebleu") if find_spec(name) is None]:
        raise ConfigError(f"BLEU, ROUGE and METEOR need {', '.join(missing)}.\nRun `pip install 'trichord[rag]'`.")
    bleu, signature = _measure_bleu(answers, references)
    rouge = _measure_rouge(answers, references)
    meteor, synonyms = _measure_meteor(answers, references, wordnet)
    return GenerationFigures(
        answers=len(answers),
        bleu=bleu,
        bleu_signature=signature,
        rouge_1=rouge["rouge_1"],
        rouge_2=rouge["rouge_2"],
        rouge_l=rouge["rouge_l"],
        meteor=meteor,
        meteor_synonyms=synonyms,
    )


def _measure_bleu(answers: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, str]:
    from sacrebleu.metrics.bleu import BLEU

    most = max(map(len, references))
    # None: this answer has fewer references than another
    streams: Any = [[several[i] if i < len(several) else None for several in references] for i in range(most)]
    metric = BLEU()
    return metric.corpus_score(list(answers), streams).score, str(metric.get_signature())


class _Tokenizer:
    """Keeps letters of every script; rouge-score's own tokenizer keeps only a to z."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self._stemmer = PorterStemmer()

    def tokenize(self, text: str) -> list[str]:
        """Return stemmed words; words of up to three letters are not stemmed, as in ROUGE-1.5.5."""
        return [self._stemmer.stem(word) if len(word) > 3 else word for word in words(text)]


def _measure_rouge(answers: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE.values()), tokenizer=_Tokenizer())
    scores = [scorer.score_multi(several, answer) for answer, several in zip(answers, references, strict=True)]
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
    answers: Sequence[str], references: Sequence[Sequence[str]], wordnet: str | None
) -> tuple[float, str]:
    from nltk.translate.meteor_score import meteor_score

    dictionary = None
    if wordnet is not None:
        try:
            dictionary = open_wordnet(wordnet)
        except ConfigError as error:  # it names the setting of augmentation
            raise ConfigError(f"rag.wordnet: {str(error).partition(': ')[2]}") from error
    synonyms: Any = _Synonyms(dictionary)
    scores = [
        meteor_score([words(text) for text in several], words(answer), wordnet=synonyms)
        for answer, several in zip(answers, references, strict=True)
    ]
    ran = "none: words and stems alone"
    if dictionary is not None:
        ran = f"the most frequent sense in WordNet {dictionary.fingerprint[:12]}"
    return sum(scores) / len(scores), ran
