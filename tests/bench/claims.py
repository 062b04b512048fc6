"""What is commonly claimed of fusions and losses, checked against the figures of `trichord compare`.

`python -m tests.bench.claims comparison.json` reads what `trichord compare --json` printed.

A claim is a difference of two means. With the runs' spread it is `supported`, `contradicted` or `undecided` (Welch's
t-test over seeds, p < 0.05 one-sided; `undecided` too where a side was not run or has one seed only).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import ttest_ind

SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`better` is said to exceed `worse`; both are samples, a value a seed."""

    text: str
    better: Sequence[float]
    worse: Sequence[float]
    better_is: str
    worse_is: str

    def judged(self) -> dict[str, Any]:
        """JSON-ready: the claim, its verdict, both means, the difference and the one-sided p-value of it."""
        told: dict[str, Any] = {"claim": self.text, "better": self.better_is, "worse": self.worse_is}
        if not self.better or not self.worse:
            return {**told, "verdict": "not run"}
        means = [round(statistics.fmean(values), 4) for values in (self.better, self.worse)]
        told |= {"means": means, "difference": round(means[0] - means[1], 4)}
        if min(len(self.better), len(self.worse)) < 2:
            return {**told, "verdict": "undecided", "p": None}
        spread = statistics.pstdev(self.better) + statistics.pstdev(self.worse)
        if spread < 1e-9:  # nothing varied: the test has no scale
            p = 0.5 if means[0] == means[1] else float(means[0] < means[1])
        else:
            p = float(ttest_ind(self.better, self.worse, equal_var=False, alternative="greater").pvalue)
        verdict = "supported" if p < SIGNIFICANT else "contradicted" if p > 1 - SIGNIFICANT else "undecided"
        return {**told, "verdict": verdict, "p": round(p, 4)}


def check_claims(rows: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Judge every claim by the rows and runs of `compare`.

    Quality is mixed-gallery NDCG@10, of fusions averaged over the losses that were run, and the other way round. Least
    and most data are the smallest and the largest share; time is that of the largest, averaged over the losses.
    """
    shares = sorted({row["share"] for row in rows})
    little, much = shares[0], shares[-1]
    fusion = {
        (name, share): _quality(rows, "fusion", name, share) for name in _names(rows, "fusion") for share in shares
    }
    loss = {(name, share): _quality(rows, "loss", name, share) for name in _names(rows, "loss") for share in shares}

    def seconds(name: str) -> Sequence[float]:
        return _seconds([run for run in runs if run["share"] == much], name)

    def fused(name: str, share: float = much) -> Sequence[float]:
        return fusion.get((name, share), ())

    def lost(name: str, share: float = much) -> Sequence[float]:
        return loss.get((name, share), ())

    claims = [
        Claim(text=f"The cross-modal transformer fuses better than {other}.", better=fused("transformer"),
              worse=fused(other), better_is="transformer", worse_is=other)
        for other in ("concatenation", "gated_attention")
    ]  # fmt: skip
    claims.append(
        Claim(text="Attention fuses better than concatenation.", better=fused("gated_attention"),
              worse=fused("concatenation"), better_is="gated_attention", worse_is="concatenation")
    )  # fmt: skip
    claims += [
        Claim(text=f"{costly} costs more time than {cheap}.", better=seconds(costly), worse=seconds(cheap),
              better_is=costly, worse_is=cheap)
        for costly, cheap in (("transformer", "gated_attention"), ("gated_attention", "concatenation"))
    ]  # fmt: skip
    claims += [
        Claim(text=f"Mixed-gallery InfoNCE beats {other}.", better=lost("mixed_gallery_infonce"), worse=lost(other),
              better_is="mixed_gallery_infonce", worse_is=other)
        for other in _names(rows, "loss") if other != "mixed_gallery_infonce"
    ]  # fmt: skip
    if little < much:
        claims += [
            Claim(text="The transformer gains more from data than concatenation does.",
                  better=_gains(fused("transformer"), fused("transformer", little)),
                  worse=_gains(fused("concatenation"), fused("concatenation", little)),
                  better_is="gain of transformer", worse_is="gain of concatenation"),
            Claim(text="The contrastive loss gains more from data than the triplet loss does.",
                  better=_gains(lost("contrastive"), lost("contrastive", little)),
                  worse=_gains(lost("triplet"), lost("triplet", little)),
                  better_is="gain of contrastive", worse_is="gain of triplet"),
            Claim(text="With little data the triplet loss beats the contrastive one.",
                  better=lost("triplet", little), worse=lost("contrastive", little),
                  better_is=f"triplet at {little:g}", worse_is=f"contrastive at {little:g}"),
        ]  # fmt: skip
    return [claim.judged() for claim in claims]


def _names(rows: Sequence[Mapping[str, Any]], axis: str) -> list[str]:
    return list(dict.fromkeys(row[axis] for row in rows))


def _quality(rows: Sequence[Mapping[str, Any]], axis: str, name: str, share: float) -> list[float]:
    """Mixed NDCG@10 by seed, averaged over the other axis."""
    chosen = [
        row["ndcg_at_10"] for row in rows if row[axis] == name and row["share"] == share and row["view"] == "mixed"
    ]
    samples = [found["values"] for found in chosen if found]
    return [statistics.fmean(values) for values in zip(*samples, strict=True)] if samples else []


def _seconds(runs: Sequence[Mapping[str, Any]], fusion: str) -> list[float]:
    """Training time by seed, averaged over the losses; of seeds of which every loss was trained now."""
    by_seed: dict[int, list[float | None]] = {}
    for run in runs:
        if run["fusion"] == fusion:
            by_seed.setdefault(run["seed"], []).append(run["seconds"])
    means = []
    for _, every in sorted(by_seed.items()):
        known = [value for value in every if value is not None]
        if len(known) == len(every):
            means.append(statistics.fmean(known))
    return means


def _gains(much: Sequence[float], little: Sequence[float]) -> list[float]:
    return [m - n for m, n in zip(much, little, strict=True)] if much and little else []


def main() -> None:
    """Print a verdict a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comparison", type=Path)
    result = json.loads(parser.parse_args().comparison.read_text(encoding="utf-8"))
    for claim in check_claims(result["rows"], result["runs"]):
        figures = [*claim.get("means", ()), claim.get("p")]
        sys.stdout.write("\t".join([claim["verdict"], claim["claim"], *map(str, figures)]) + "\n")


if __name__ == "__main__":
    main()
