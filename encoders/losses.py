"""Contrastive losses. Tensors in, a scalar out; each is held to a plain loop in the tests, forward and backward.

Shape letters: B records, M sources of queries, D values. Vectors are L2-normalised; `scale` is 1 / temperature.
`same_BB[i, j]` is true where record j is as good an answer as i (equal text, for example): such a pair is no negative.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def infonce(queries_BD: Tensor, gallery_BD: Tensor, scale: Tensor, same_BB: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE: each query finds its record among all and back (van den Oord, arXiv 1807.03748; CLIP).

    Raises:
        ValueError: the shapes differ.
    """
    if queries_BD.shape != gallery_BD.shape:
        raise ValueError(f"queries {tuple(queries_BD.shape)} and gallery {tuple(gallery_BD.shape)} differ")
    asked_1B = torch.ones(1, len(queries_BD), dtype=torch.bool, device=queries_BD.device)
    return mixed_gallery_infonce(queries_BD[None], asked_1B, gallery_BD, scale, same_BB)


def mixed_gallery_infonce(
    queries_MBD: Tensor,
    asked_MB: Tensor,
    gallery_BD: Tensor,
    scale: Tensor,
    same_BB: Tensor | None = None,
    margin_MB: Tensor | None = None,
) -> Tensor:
    """InfoNCE against one gallery in which every record stands once, in whatever view was drawn for it (DESIGN 7).

    The mean over all queries asked of (query finds its gallery item among all B + item finds its query among the
    queries of the same source) / 2. No modality sees only its own kind, so none can win by being nearer as such.

    Args:
        queries_MBD: queries by source and record.
        asked_MB: bool, which of them are asked; the others' values are ignored, even NaN.
        gallery_BD: one item a record.
        scale: scalar, 1 / temperature.
        same_BB: bool, pairs that are no negatives; its diagonal is ignored.
        margin_MB: cosine by which item j must stay behind when it is a negative of a query of source m (additive
            margin: CosFace, arXiv 1801.09414). Given to items of the query's own kind it offsets that likeness of
            kind carries over to unseen records better than agreement between kinds does.

    Returns:
        Scalar; 0 where nothing is asked.

    Raises:
        ValueError: the shapes contradict each other.
    """
    sources, records, dimension = queries_MBD.shape
    if asked_MB.shape != (sources, records) or gallery_BD.shape != (records, dimension):
        shapes = [tuple(tensor.shape) for tensor in (asked_MB, gallery_BD, queries_MBD)]
        raise ValueError("asked {}, gallery {} and queries {} contradict each other".format(*shapes))
    targets = torch.arange(records, device=gallery_BD.device)
    queries_MBD = torch.where(asked_MB[..., None], queries_MBD, torch.zeros_like(queries_MBD))
    others_BB = ~torch.eye(records, dtype=torch.bool, device=gallery_BD.device)
    cosines_MBB = queries_MBD @ gallery_BD.T
    if margin_MB is not None:
        cosines_MBB = cosines_MBB + margin_MB[:, None, :] * others_BB
    logits_MBB = scale * cosines_MBB
    if same_BB is not None:
        logits_MBB = logits_MBB.masked_fill(same_BB & others_BB, -torch.inf)
    total = logits_MBB.new_zeros(())
    for logits_BB, asked_B in zip(logits_MBB, asked_MB, strict=True):
        own = targets[asked_B]
        # a query that is not asked is nobody's wrong answer
        back_BB = logits_BB.T[own].masked_fill(~asked_B, -torch.inf)
        forth = functional.cross_entropy(logits_BB[own], own, reduction="sum")
        total = total + (forth + functional.cross_entropy(back_BB, own, reduction="sum")) / 2
    return total / asked_MB.sum().clamp(min=1)
