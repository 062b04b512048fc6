"""Claims are judged by the figures of a comparison, and by nothing else."""

from __future__ import annotations

import pytest

from tests.bench.claims import Claim, check_claims


def _claim(better, worse):
    return Claim(text="A beats B.", better=better, worse=worse, better_is="A", worse_is="B").judged()


def _row(fusion, loss, share, values):
    return {"fusion": fusion, "loss": loss, "share": share, "view": "mixed", "ndcg_at_10": {"values": values}}


@pytest.mark.parametrize(
    ("better", "worse", "verdict"),
    [
        ((0.50, 0.51, 0.52), (0.40, 0.41, 0.42), "supported"),
        ((0.40, 0.41, 0.42), (0.50, 0.51, 0.52), "contradicted"),
        ((0.40, 0.50, 0.60), (0.41, 0.49, 0.58), "undecided"),
        ((0.5, 0.5), (0.4, 0.4), "supported"),
        ((0.5, 0.5), (0.5, 0.5), "undecided"),
        ((0.9,), (0.1,), "undecided"),
        ((0.9, 0.8), (), "not run"),
    ],
)
def test_a_claim_holds_only_as_far_as_the_spread_over_seeds_lets_it(better, worse, verdict):
    assert _claim(better, worse)["verdict"] == verdict


def test_the_p_value_is_that_of_welch_one_sided():
    # by hand: means 3 and 1, variances 1 and 1 of three values each: t = 2 / sqrt(2/3) = 2.449, 4 degrees of freedom
    found = _claim((2.0, 3.0, 4.0), (0.0, 1.0, 2.0))
    assert found["difference"] == 2.0
    assert found["p"] == pytest.approx(0.0352, abs=2e-4)


def test_fusions_are_averaged_over_losses_and_gains_taken_seed_by_seed():
    rows = [
        _row(fusion, loss, share, [value + 0.01 * seed for seed in range(3)])
        for fusion, loss, share, value in [
            ("transformer", "contrastive", 1.0, 0.80),
            ("transformer", "triplet", 1.0, 0.60),
            ("concatenation", "contrastive", 1.0, 0.50),
            ("concatenation", "triplet", 1.0, 0.30),
            ("transformer", "contrastive", 0.1, 0.10),
            ("transformer", "triplet", 0.1, 0.30),
            ("concatenation", "contrastive", 0.1, 0.10),
            ("concatenation", "triplet", 0.1, 0.30),
        ]
    ]
    runs = [
        {"fusion": fusion, "loss": loss, "share": share, "seed": seed, "seconds": share * (seconds + seed) * dearer}
        for fusion, seconds in (("transformer", 90), ("gated_attention", 30))
        for loss, dearer in (("contrastive", 1), ("triplet", 3))
        for share in (0.1, 1.0)
        for seed in range(3)
    ]
    runs += [{**runs[0], "share": 1.0, "seed": 3, "seconds": None}]  # it stood already: of this seed nothing is known
    found = {claim["claim"]: claim for claim in check_claims(rows, runs)}
    assert found["The cross-modal transformer fuses better than concatenation."]["means"] == [0.71, 0.41]
    assert found["Attention fuses better than concatenation."]["verdict"] == "not run"
    time = found["transformer costs more time than gated_attention."]
    assert (time["means"], time["verdict"]) == ([182.0, 62.0], "supported"), "a value a seed, of all data"
    assert time["p"] < 1e-4
    assert found["gated_attention costs more time than concatenation."]["verdict"] == "not run"
    gains = found["The transformer gains more from data than concatenation does."]
    assert (gains["means"], gains["verdict"]) == ([0.5, 0.2], "supported")
    assert found["The contrastive loss gains more from data than the triplet loss does."]["means"] == [0.55, 0.15]
    assert found["With little data the triplet loss beats the contrastive one."]["verdict"] == "supported"
