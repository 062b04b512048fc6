"""Names that may be chosen both in the project file and on the command line, whose help needs no types of the file."""

from __future__ import annotations

from typing import Literal, get_args

Loss = Literal["mixed_gallery_infonce", "infonce", "contrastive", "triplet", "supcon", "sigmoid"]
Fusion = Literal["gated_attention", "concatenation", "transformer"]
LOSSES: tuple[str, ...] = get_args(Loss)
FUSIONS: tuple[str, ...] = get_args(Fusion)
