"""Losses equal plain loops, forward and backward, whatever is missing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from encoders.losses import infonce, mixed_gallery_infonce


def log_share(own: Tensor, all_: list[Tensor]) -> Tensor:
    return own - torch.logsumexp(torch.stack(all_), dim=0)


def plain(queries, asked, gallery, scale, same, margin) -> Tensor:
    """The definition, one query at a time."""
    records, losses = range(gallery.shape[0]), []

    def logit(m: int, i: int, j: int) -> Tensor:
        ahead = margin[m][j] if i != j else 0.0
        return scale * (queries[m][i] @ gallery[j] + ahead)

    for m in range(queries.shape[0]):
        for i in records:
            if not asked[m][i]:
                continue
            forth = [logit(m, i, j) for j in records if i == j or not same[i][j]]
            back = [logit(m, j, i) for j in records if asked[m][j] and (i == j or not same[j][i])]
            own = logit(m, i, i)
            losses.append(-(log_share(own, forth) + log_share(own, back)) / 2)
    return torch.stack(losses).mean() if losses else gallery.sum() * 0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), sources=st.integers(1, 4), records=st.integers(1, 7))
def test_mixed_gallery_infonce_equals_the_plain_loop_forward_and_backward(seed, sources, records):
    drawn = torch.Generator().manual_seed(seed)
    queries = torch.randn(sources, records, 5, generator=drawn, dtype=torch.float64)
    gallery = torch.randn(records, 5, generator=drawn, dtype=torch.float64)
    asked = torch.rand(sources, records, generator=drawn) < 0.7
    same = torch.rand(records, records, generator=drawn) < 0.2
    same = same | same.T
    margin = torch.rand(sources, records, generator=drawn, dtype=torch.float64) * 0.5
    scale = torch.tensor(3.0, dtype=torch.float64)
    grads = []
    for loss in (mixed_gallery_infonce, plain):
        leaves = [leaf.clone().requires_grad_() for leaf in (queries, gallery, scale)]
        value = loss(leaves[0], asked, leaves[1], leaves[2], same, margin)
        grads.append((value, torch.autograd.grad(value, leaves, allow_unused=True)))
    torch.testing.assert_close(grads[0][0], grads[1][0])
    for fast, slow, leaf in zip(grads[0][1], grads[1][1], (queries, gallery, scale), strict=True):
        torch.testing.assert_close(fast, torch.zeros_like(leaf) if slow is None else slow)


@pytest.mark.parametrize("records", [1, 6])
def test_infonce_equals_the_plain_loop_forward_and_backward(records):
    drawn = torch.Generator().manual_seed(records)
    left, right = torch.randn(2, records, 5, generator=drawn, dtype=torch.float64)
    same = torch.zeros(records, records, dtype=torch.bool)
    same[0, -1] = same[-1, 0] = True
    scale, everyone = torch.tensor(5.0, dtype=torch.float64), torch.ones(1, records, dtype=torch.bool)
    grads = []
    for fast in (True, False):
        leaves = [leaf.clone().requires_grad_() for leaf in (left, right)]
        if fast:
            value = infonce(leaves[0], leaves[1], scale, same)
        else:
            value = plain(leaves[0][None], everyone, leaves[1], scale, same, torch.zeros(1, records))
        grads.append((value, *torch.autograd.grad(value, leaves)))
    for fast_part, slow_part in zip(*grads, strict=True):
        torch.testing.assert_close(fast_part, slow_part)


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
    vectors, nobody = torch.ones(3, 2), torch.zeros(1, 3, dtype=torch.bool)
    assert mixed_gallery_infonce(vectors[None], nobody, vectors, torch.tensor(1.0)) == 0
    with pytest.raises(ValueError, match="contradict"):
        mixed_gallery_infonce(vectors[None], nobody[:, :2], vectors, torch.tensor(1.0))
    with pytest.raises(ValueError, match="differ"):
        infonce(vectors, vectors[:2], torch.tensor(1.0))
