"""`python -m tests.bench.languages`: answers, near duplicates and personal data in other languages, as Markdown."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from tests.bench.languages.answers import measure_answers
from tests.bench.languages.near import measure_near
from tests.bench.languages.personal import VALID, measure_precision


def main() -> None:
    """Print the tables."""
    _print(
        ("language", "BLEU near, wrong", "ROUGE-L", "METEOR", "tokenizer", "detected of 20"),
        (
            (
                one.language,
                f"{one.bleu[0]:.1f}, {one.bleu[1]:.1f}",
                *(f"{near:.2f}, {wrong:.2f}" for near, wrong in (one.rouge_l, one.meteor)),
                next(part[4:] for part in one.signature.split("|") if part.startswith("tok:")),
                str(one.detected),
            )
            for one in measure_answers()
        ),
    )
    _print(
        ("pieces", "copies", "lookalikes", "copies above 99 % of lookalikes", "caption nearest", "characters a second"),
        (
            (one.way, *(f"{value:.3f}" for value in (one.copies, one.lookalikes, one.apart, one.first)),
             f"{one.chars_a_second:,.0f}")
            for one in measure_near()
        ),
    )  # fmt: skip
    every = tuple(sorted({region for region, _, _ in VALID}))
    ways = {"each region alone": None, "none": (), "CN": ("CN",), f"all {len(every)}": every}
    _print(
        ("pii_regions", "numbers", "recall", "hard negatives", "masked", "precision"),
        (
            (
                name,
                str(one.positives),
                f"{one.recall:.3f}",
                str(one.negatives),
                str(len(one.wrong)),
                f"{one.precision:.3f}",
            )
            for name, one in ((name, measure_precision(regions)) for name, regions in ways.items())
        ),
    )


def _print(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    for row in (head, ["---"] * len(head), *rows):
        sys.stdout.write(f"| {' | '.join(row)} |\n")
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
