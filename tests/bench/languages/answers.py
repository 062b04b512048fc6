"""BLEU, ROUGE-L and METEOR of near-identical and of wrong answers by language, and the language that is detected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.languages.sentences import ANSWERS, near_and_wrong
from trichord.pipelines.evaluation.generation import generation_figures
from trichord.transforms.clean.language import language_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Measures of a language: (near, wrong) each; `detected` counts its 20 sentences that are found to be in it."""

    language: str
    bleu: tuple[float, float]
    rouge_l: tuple[float, float]
    meteor: tuple[float, float]
    signature: str
    detected: int


def measure_answers() -> Iterator[Answers]:
    """Yield the measures of each language; nobody says which it is."""
    for language in ANSWERS:
        references, near, wrong = near_and_wrong(language)
        one, other = (generation_figures(given, [[text] for text in references]) for given in (near, wrong))
        yield Answers(
            language=language,
            bleu=(one.bleu, other.bleu),
            rouge_l=(one.rouge_l, other.rouge_l),
            meteor=(one.meteor, other.meteor),
            signature=one.bleu_signature,
            detected=sum(language_of(text)[0] == language for text in (*references, *near)),
        )
