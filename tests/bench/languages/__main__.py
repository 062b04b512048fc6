"""`python -m tests.bench.languages`: measures of answers, near duplicates and personal data, as Markdown."""

from __future__ import annotations

from tests.bench.languages.answers import measure_answers


def main() -> None:
    """Print the tables."""
    print("| language | BLEU near, wrong | ROUGE-L | METEOR | tokenizer | detected of 20 |\n|---|---|---|---|---|---|")
    for one in measure_answers():
        pairs = [f"{one.bleu[0]:.1f}, {one.bleu[1]:.1f}"]
        pairs += [f"{near:.2f}, {wrong:.2f}" for near, wrong in (one.rouge_l, one.meteor)]
        tokenizer = next(part for part in one.signature.split("|") if part.startswith("tok:"))
        print(f"| {one.language} | {' | '.join(pairs)} | {tokenizer[4:]} | {one.detected} |")


if __name__ == "__main__":
    main()
