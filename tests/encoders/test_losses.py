"""Losses equal plain loops, forward and backward, whatever is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from trichord.encoders.losses import contrastive, infonce, mixed_gallery_infonce, sigmoid, supcon, triplet

CASES = [(seed, records) for seed, records in enumerate((1, 2, 3, 5, 6, 8))]


def vectors(seed: int, *shape: int) -> Tensor:
    drawn = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(*shape, generator=drawn, dtype=torch.float64), dim=-1)


def sameness(seed: int, records: int) -> Tensor:
    """Some records are the same; the diagonal says nothing."""
    found = torch.rand(records, records, generator=torch.Generator().manual_seed(seed)) < 0.2
    return found | found.T


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def agree(fast: Callable[..., Tensor], slow: Callable[..., Tensor], leaves: Sequence[Tensor]) -> None:
    """Both give one value and one gradient by every leaf."""
    found = []
    for loss in (fast, slow):
        own = [leaf.clone().requires_grad_() for leaf in leaves]
        value = loss(*own)
        found.append((value, torch.autograd.grad(value, own, allow_unused=True)))
    exactly = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-12)
    exactly(found[0][0], found[1][0])
    for ours, theirs, leaf in zip(found[0][1], found[1][1], leaves, strict=True):
        zeros = torch.zeros_like(leaf)
        exactly(zeros if ours is None else ours, zeros if theirs is None else theirs)


def log_share(own: Tensor, all_: list[Tensor]) -> Tensor:
    return own - torch.logsumexp(torch.stack(all_), dim=0)


def plain_mixed(queries, asked, gallery, scale, same, margin, weight) -> Tensor:
    """The definition, one query at a time."""
    records, total, weights = range(gallery.shape[0]), gallery.sum() * 0, 0.0

    def logit(m: int, i: int, j: int) -> Tensor:
        ahead = margin[m][j] if i != j else 0.0
        return (scale[m][j] if scale.ndim else scale) * (queries[m][i] @ gallery[j] + ahead)

    for m in range(queries.shape[0]):
        for i in records:
            if not asked[m][i]:
                continue
            forth = [logit(m, i, j) for j in records if i == j or not same[i][j]]
            back = [logit(m, j, i) for j in records if asked[m][j] and (i == j or not same[j][i])]
            own = logit(m, i, i)
            total = total - weight[m][i] * (log_share(own, forth) + log_share(own, back)) / 2
            weights += float(weight[m][i])
    return total / weights if weights else total


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6), sources=st.integers(1, 4), records=st.integers(1, 7), by_pair=st.booleans(),
    weighted=st.booleans(),
)  # fmt: skip
def test_mixed_gallery_infonce_equals_the_plain_loop(seed, sources, records, by_pair, weighted):
    drawn = torch.Generator().manual_seed(seed)
    asked = torch.rand(sources, records, generator=drawn) < 0.7
    margin = torch.rand(sources, records, generator=drawn, dtype=torch.float64) * 0.5
    scale = torch.rand(sources, records, generator=drawn, dtype=torch.float64) * 4 + 1 if by_pair else number(3.0)
    weight = torch.rand(sources, records, generator=drawn, dtype=torch.float64).round(decimals=1) if weighted else None
    same = sameness(seed, records)
    agree(
        lambda queries, gallery, scale: mixed_gallery_infonce(queries, asked, gallery, scale, same, margin, weight),
        lambda queries, gallery, scale: plain_mixed(
            queries, asked, gallery, scale, same, margin, torch.ones_like(margin) if weight is None else weight
        ),
        [vectors(seed, sources, records, 5), vectors(seed + 1, records, 5), scale],
    )


@pytest.mark.parametrize(("seed", "records"), CASES)
def test_infonce_equals_the_plain_loop(seed, records):
    same, everyone, ones = sameness(seed, records), torch.ones(1, records, dtype=torch.bool), torch.ones(1, records)
    agree(
        lambda left, right, scale: infonce(left, right, scale, same),
        lambda left, right, scale: plain_mixed(left[None], everyone, right, scale, same, ones * 0, ones),
        [vectors(seed, records, 5), vectors(seed + 1, records, 5), number(5.0)],
    )


@pytest.mark.parametrize("margin", [0.2, 1.1])
@pytest.mark.parametrize(("seed", "records"), CASES)
def test_contrastive_equals_the_plain_loop(seed, records, margin):
    same = sameness(seed, records)

    def plain(left, right) -> Tensor:
        total = number(0.0)
        for i in range(records):
            for j in range(records):
                distance = 1 - left[i] @ right[j]
                if i == j:
                    total = total + distance**2 / 2
                elif not same[i][j] and distance < margin:
                    total = total + (margin - distance) ** 2 / 2
        return total / records

    near = vectors(seed, records, 5)  # near its partner and its neighbours, so that the margin bites
    leaves = [near, normalize(near + 0.4 * vectors(seed + 1, records, 5) + 0.5 * near.roll(1, 0), dim=1)]
    agree(lambda left, right: contrastive(left, right, margin, same), plain, leaves)


@pytest.mark.parametrize("mining", ["random", "semi_hard", "hard"])
@pytest.mark.parametrize(("seed", "records"), CASES)
def test_triplet_equals_the_plain_loop(seed, records, mining):
    same, margin = sameness(seed, records), 0.3
    draws = torch.rand(2, records, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def chosen(own: Tensor, cosines: list[Tensor], draw: Tensor) -> Tensor:
        if mining == "random":
            return cosines[int(draw * len(cosines))]
        further = [cosine for cosine in cosines if cosine < own]
        if mining == "semi_hard":
            return max(further) if further else min(cosines)
        return max(cosines)

    def plain(left, right) -> Tensor:
        losses = [(left.sum() + right.sum()) * 0]
        for way, (anchors, others) in enumerate(((left, right), (right, left))):
            for i in range(records):
                own = anchors[i] @ others[i]
                cosines = [anchors[i] @ others[j] for j in range(records) if j != i and not same[i][j]]
                if cosines:
                    losses.append(torch.relu(margin + chosen(own, cosines, draws[way][i]) - own))
        return torch.stack(losses).sum() / max(1, len(losses) - 1)

    agree(
        lambda left, right: triplet(left, right, margin, mining, same, draws),
        plain,
        [vectors(seed, records, 3), vectors(seed + 1, records, 3)],
    )


def test_random_triplets_need_draws_and_reach_every_negative():
    left, right = vectors(0, 4, 3), vectors(1, 4, 3)
    with pytest.raises(ValueError, match="draws"):
        triplet(left, right, 0.2, "random")
    spread = (torch.arange(4, dtype=torch.float64) / 4)[:, None, None].expand(4, 2, 4)
    values = {round(float(triplet(left, right, 2.0, "random", None, draws)), 9) for draws in spread}
    assert len(values) == 3  # three negatives: the quarters 0, 1/4 | 1/2 | 3/4 point to the first, second and third


@pytest.mark.parametrize(("seed", "records"), CASES)
def test_supcon_equals_the_plain_loop(seed, records):
    same = sameness(seed, records)

    def plain(left, right, scale) -> Tensor:
        both = [*left, *right]
        losses = []
        for a, anchor in enumerate(both):
            others = [b for b in range(2 * records) if b != a]
            logits = {b: scale * (anchor @ both[b]) for b in others}
            positives = [b for b in others if a % records == b % records or same[a % records][b % records]]
            shares = [log_share(logits[p], list(logits.values())) for p in positives]
            losses.append(-torch.stack(shares).mean())
        return torch.stack(losses).mean()

    leaves = [vectors(seed, records, 5), vectors(seed + 1, records, 5), number(4.0)]
    agree(lambda left, right, scale: supcon(left, right, scale, same), plain, leaves)


@pytest.mark.parametrize(("seed", "records"), CASES)
def test_sigmoid_equals_the_plain_loop(seed, records):
    same = sameness(seed, records)

    def plain(left, right, scale, bias) -> Tensor:
        total = number(0.0)
        for i in range(records):
            for j in range(records):
                if i == j or not same[i][j]:
                    sign = 1 if i == j else -1
                    total = total - torch.log(torch.sigmoid(sign * (scale * (left[i] @ right[j]) + bias)))
        return total / records

    leaves = [vectors(seed, records, 5), vectors(seed + 1, records, 5), number(7.0), number(-3.0)]
    agree(lambda left, right, scale, bias: sigmoid(left, right, scale, bias, same), plain, leaves)


@pytest.mark.parametrize("loss", ["contrastive", "triplet", "supcon", "sigmoid", "infonce"])
def test_without_sameness_every_other_record_is_a_negative(loss):
    left, right, nobody = vectors(3, 5, 4), vectors(4, 5, 4), torch.zeros(5, 5, dtype=torch.bool)

    def of(same: Tensor | None) -> Tensor:
        calls: dict[str, Callable[[], Tensor]] = {
            "contrastive": lambda: contrastive(left, right, 1.0, same),
            "triplet": lambda: triplet(left, right, 0.2, "hard", same),
            "supcon": lambda: supcon(left, right, number(3.0), same),
            "sigmoid": lambda: sigmoid(left, right, number(3.0), number(-1.0), same),
            "infonce": lambda: infonce(left, right, number(3.0), same),
        }
        return calls[loss]()

    assert torch.equal(of(None), of(nobody))
    assert torch.equal(of(None), of(torch.eye(5, dtype=torch.bool)))  # the diagonal says nothing


def test_what_is_not_asked_reaches_neither_the_loss_nor_a_gradient():
    queries = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    asked = torch.tensor([[True, True, False, True], [False, False, False, False]])
    clean, dirty = queries.clone(), queries.clone()
    dirty[~asked] = math.nan
    gallery = queries[0].flip(0).contiguous()
    dirty.requires_grad_()
    loss = mixed_gallery_infonce(dirty, asked, gallery, torch.tensor(2.0))
    assert torch.equal(loss, mixed_gallery_infonce(clean, asked, gallery, torch.tensor(2.0)))
    loss.backward()
    assert torch.isfinite(loss)
    assert dirty.grad is not None
    assert not dirty.grad[~asked].any()


def test_nothing_asked_is_no_loss_and_contradicting_shapes_are_refused():
    ones, nobody = torch.ones(3, 2), torch.zeros(1, 3, dtype=torch.bool)
    assert mixed_gallery_infonce(ones[None], nobody, ones, torch.tensor(1.0)) == 0
    with pytest.raises(ValueError, match="contradict"):
        mixed_gallery_infonce(ones[None], nobody[:, :2], ones, torch.tensor(1.0))
    with pytest.raises(ValueError, match="differ"):
        infonce(ones, ones[:2], torch.tensor(1.0))
