"""Forward passes whose matrix products are in bfloat16, with weights, states and all else in float32.

Twice to three times as fast as float32 on processors that multiply bfloat16 (`device.multiplies_bfloat16`).
Convolutions stay in float32: oneDNN 3.10.2 computes narrow ones wrongly in bfloat16 on processors with AMX, and in
convolutional models the errors of all layers add up (cosine 0.9998 to float32; transformers stay above 0.9999).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def keep_convolutions(network: nn.Module, precision: torch.dtype) -> None:
    """Make a network's convolutions compute in float32 on a CPU, under autocast and in a network of half precision."""
    on_cpu = next(network.parameters()).device.type == "cpu"
    half = precision if on_cpu and precision != torch.float32 else None
    for part in network.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            if half is not None:
                part.float()
            part.forward = _InFull(part.forward, half)  # type: ignore[assignment]  # of this instance alone


class _InFull:
    """Calls a module's `forward` in float32, for a network whose states are in half precision, if that is given."""

    def __init__(self, forward: Callable[[Tensor], Tensor], half: torch.dtype | None) -> None:
        self._forward, self._half = forward, half

    def __call__(self, inputs: Tensor) -> Tensor:
        if self._half is not None:
            return self._forward(inputs.float()).to(self._half)
        if not torch.is_autocast_enabled("cpu"):
            return self._forward(inputs)
        with torch.autocast("cpu", enabled=False):
            return self._forward(inputs.float())


def weights_once() -> Any:
    """Return a block in which the passes share the weights' bfloat16 copies; it changes no product by itself."""
    return torch.autocast("cpu", enabled=False)


def half_products(enabled: bool) -> Any:
    """Return a block whose matrix products are in bfloat16 if `enabled`."""
    return torch.autocast("cpu", torch.bfloat16, enabled=enabled)
