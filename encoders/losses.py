"""Contrastive losses. Tensors in, a scalar out; each is held to a plain loop in the tests, forward and backward.

Shape letters: B records, M sources of queries, D values. Vectors are L2-normalised; `scale` is 1 / temperature.
`same_BB[i, j]` is true where record j is as good an answer as i (equal text, for example): that pair is not a negative.
Its diagonal is ignored. Losses of pairs take two views of each record, `left_BD` and `right_BD`, and look both ways.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def contrastive(left_BD: Tensor, right_BD: Tensor, margin: float, same_BB: Tensor | None = None) -> Tensor:
    """Sum over all pairs of d² / 2 where they belong together, max(0, margin - d)² / 2 where not; a record's share.

    Hadsell, Chopra, LeCun: Dimensionality Reduction by Learning an Invariant Mapping (2006), eq. 4, with the cosine
    distance d = 1 - cosine.
    """
    distances_BB = 1 - left_BD @ right_BD.T
    apart = torch.relu(margin - distances_BB).square().masked_fill(~_negatives(distances_BB, same_BB), 0).sum()
    return (distances_BB.diagonal().square().sum() + apart) / (2 * len(left_BD))


def triplet(
    left_BD: Tensor,
    right_BD: Tensor,
    margin: float,
    mining: Literal["random", "semi_hard", "hard"],
    same_BB: Tensor | None = None,
    draws_2B: Tensor | None = None,
) -> Tensor:
    """Return the mean over anchors, both ways, of max(0, margin + cosine to a negative - cosine to the own record).

    Schroff et al., FaceNet, arXiv 1503.03832. The negative is: `hard`, the nearest; `semi_hard`, the nearest of those
    further than the own record, or the furthest where all are nearer; `random`, the one that `draws_2B` (uniform in
    [0, 1): left anchors, right anchors) points to. An anchor without a negative counts for nothing.

    Raises:
        ValueError: random mining without draws.
    """
    if mining == "random" and draws_2B is None:
        raise ValueError("random triplets need draws")
    cosines_BB = left_BD @ right_BD.T
    negatives_BB = _negatives(cosines_BB, same_BB)
    total, anchors = cosines_BB.new_zeros(()), 0
    for way, (found_BB, allowed_BB) in enumerate(((cosines_BB, negatives_BB), (cosines_BB.T, negatives_BB.T))):
        own_B, some_B = found_BB.diagonal(), allowed_BB.any(dim=1)
        if mining == "random":
            assert draws_2B is not None
            ranks_BB = allowed_BB.cumsum(dim=1)
            wanted_B = (draws_2B[way] * ranks_BB[:, -1]).floor().long() + 1
            chosen_B = (ranks_BB >= wanted_B[:, None]).int().argmax(dim=1)
        else:
            chosen_B = found_BB.detach().masked_fill(~allowed_BB, -torch.inf).argmax(dim=1)
        if mining == "semi_hard":
            further_BB = allowed_BB & (found_BB < own_B[:, None])
            nearest_B = found_BB.detach().masked_fill(~further_BB, -torch.inf).argmax(dim=1)
            furthest_B = found_BB.detach().masked_fill(~allowed_BB, torch.inf).argmin(dim=1)
            chosen_B = torch.where(further_BB.any(dim=1), nearest_B, furthest_B)
        behind_B = torch.relu(margin + found_BB.gather(1, chosen_B[:, None])[:, 0] - own_B)
        total = total + behind_B.masked_fill(~some_B, 0).sum()
        anchors += int(some_B.sum())
    return total / max(anchors, 1)


def infonce(left_BD: Tensor, right_BD: Tensor, scale: Tensor, same_BB: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE: each query finds its record among all and back (van den Oord, arXiv 1807.03748; CLIP).

    Raises:
        ValueError: the shapes differ.
    """
    if left_BD.shape != right_BD.shape:
        raise ValueError(f"queries {tuple(left_BD.shape)} and gallery {tuple(right_BD.shape)} differ")
    asked_1B = torch.ones(1, len(left_BD), dtype=torch.bool, device=left_BD.device)
    return mixed_gallery_infonce(left_BD[None], asked_1B, right_BD, scale, same_BB)


def supcon(left_BD: Tensor, right_BD: Tensor, scale: Tensor, same_BB: Tensor | None = None) -> Tensor:
    """Supervised contrastive loss (Khosla et al., arXiv 2004.11362, eq. 2: the mean outside the logarithm).

    All 2B vectors are anchors; positives are the record's other view and both views of the records that are the same,
    all others, of the anchor's own kind too, are negatives.
    """
    vectors_ND = torch.cat([left_BD, right_BD])
    records = len(left_BD)
    alike_BB = torch.eye(records, dtype=torch.bool, device=left_BD.device)
    if same_BB is not None:
        alike_BB = alike_BB | same_BB
    itself_NN = torch.eye(2 * records, dtype=torch.bool, device=left_BD.device)
    positive_NN = alike_BB.repeat(2, 2) & ~itself_NN
    logits_NN = (scale * (vectors_ND @ vectors_ND.T)).masked_fill(itself_NN, -torch.inf)
    behind_NN = torch.logsumexp(logits_NN, dim=1, keepdim=True) - logits_NN
    return (behind_NN.masked_fill(~positive_NN, 0).sum(dim=1) / positive_NN.sum(dim=1)).mean()


def sigmoid(left_BD: Tensor, right_BD: Tensor, scale: Tensor, bias: Tensor, same_BB: Tensor | None = None) -> Tensor:
    """Judge every pair by itself: -log σ(±(scale · cosine + bias)), a record's share (SigLIP, arXiv 2303.15343)."""
    logits_BB = scale * (left_BD @ right_BD.T) + bias
    negatives_BB = _negatives(logits_BB, same_BB)
    apart = functional.softplus(logits_BB).masked_fill(~negatives_BB, 0).sum()
    return (functional.softplus(-logits_BB.diagonal()).sum() + apart) / len(left_BD)


def mixed_gallery_infonce(
    queries_MBD: Tensor,
    asked_MB: Tensor,
    gallery_BD: Tensor,
    scale: Tensor,
    same_BB: Tensor | None = None,
    margin_MB: Tensor | None = None,
    weight_MB: Tensor | None = None,
) -> Tensor:
    """InfoNCE against one gallery in which every record appears once, in the view that was drawn for it.

    The mean over all queries asked of (query finds its gallery item among all B + item finds its query among the
    queries of the same source) / 2. No modality sees only its own kind, so none can win by being nearer as such.

    Args:
        queries_MBD: queries by source and record.
        asked_MB: bool, which of them are asked; the others' values are ignored, even NaN.
        gallery_BD: one item a record.
        scale: 1 / temperature: a scalar, or (M, B), by source and item.
        same_BB: bool, pairs that are not negatives; its diagonal is ignored.
        margin_MB: cosine by which item j must stay behind when it is a negative of a query of source m (additive
            margin: CosFace, arXiv 1801.09414). Given to items of the query's own kind it offsets that likeness of
            kind carries over to unseen records better than agreement between kinds does.
        weight_MB: weight of each query in the mean; 1 if not given.

    Returns:
        Scalar; 0 where nothing is asked.

    Raises:
        ValueError: the shapes contradict each other.
    """
    sources, records, dimension = queries_MBD.shape
    if asked_MB.shape != (sources, records) or gallery_BD.shape != (records, dimension):
        shapes = [tuple(tensor.shape) for tensor in (asked_MB, gallery_BD, queries_MBD)]
        raise ValueError("asked {}, gallery {} and queries {} contradict each other".format(*shapes))
    queries = queries_MBD.unbind()
    total, weights = gallery_BD.sum() * 0, gallery_BD.new_zeros(())
    for m in range(sources):
        asked_Q = asked_MB[m].nonzero()[:, 0]  # a query that is not asked is nobody's wrong answer
        if not len(asked_Q):
            continue
        own_Q = torch.arange(len(asked_Q), device=asked_Q.device)
        # scaled before the product: vectors are smaller than the matrix of all pairs
        scale_B = (scale[m] if scale.ndim else scale).expand(records)
        queries_QD, scaled_BD = queries[m].index_select(0, asked_Q), gallery_BD * scale_B[:, None]
        logits_QB = queries_QD @ scaled_BD.T
        if margin_MB is not None:
            logits_QB = logits_QB + margin_MB[m] * scale_B
            logits_QB[own_Q, asked_Q] = (queries_QD * scaled_BD[asked_Q]).sum(dim=1)
        if same_BB is not None:
            no_negative_QB = same_BB[asked_Q]
            no_negative_QB[own_Q, asked_Q] = False
            if no_negative_QB.any():
                logits_QB = logits_QB.masked_fill(no_negative_QB, -torch.inf)
        forth_Q = functional.cross_entropy(logits_QB, asked_Q, reduction="none")
        back_Q = -torch.log_softmax(logits_QB.index_select(1, asked_Q), dim=0).diagonal()
        weight_Q = torch.ones_like(forth_Q) if weight_MB is None else weight_MB[m, asked_Q]
        total = total + (weight_Q * (forth_Q + back_Q)).sum() / 2
        weights = weights + weight_Q.sum()
    return total / torch.where(weights > 0, weights, torch.ones_like(weights))


def _negatives(pairs_BB: Tensor, same_BB: Tensor | None) -> Tensor:
    others_BB = ~torch.eye(len(pairs_BB), dtype=torch.bool, device=pairs_BB.device)
    return others_BB if same_BB is None else others_BB & ~same_BB
