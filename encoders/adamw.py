"""AdamW by torch's fused kernel, without `torch.optim`'s classes: these import torch's compiler, a second of CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

BETAS, EPSILON = (0.9, 0.999), 1e-8  # torch's


class AdamW:
    """Steps of AdamW (Loshchilov & Hutter, arXiv 1711.05101), bit for bit those of `torch.optim.AdamW(fused=True)`.

    Args:
        groups: parameters, and the weight decay of each group.
    """

    def __init__(self, groups: Sequence[tuple[Sequence[nn.Parameter], float]]) -> None:
        self.groups = groups
        self.moments: dict[int, dict[str, Tensor]] = {}  # by a parameter's number, once it has had a gradient

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every parameter that has a gradient, and forget the gradients."""
        number = 0
        for parameters, decay in self.groups:
            moved, moments = [], []
            for parameter in parameters:
                if parameter.grad is not None:
                    moved.append(parameter)
                    moments.append(self._moments(number, parameter))
                number += 1
            adamw(
                list[Tensor](moved),
                [parameter.grad for parameter in moved if parameter.grad is not None],
                [found["exp_avg"] for found in moments],
                [found["exp_avg_sq"] for found in moments],
                [],
                [found["step"] for found in moments],
                fused=True,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=rate,
                weight_decay=decay,
                eps=EPSILON,
                maximize=False,
            )
            for parameter in moved:
                parameter.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """Return the state by name, for `restore`."""
        return {f"{number}.{name}": value for number, found in self.moments.items() for name, value in found.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a state that `tensors` returned."""
        self.moments = {}
        for name, tensor in tensors.items():
            number, kind = name.split(".")
            self.moments.setdefault(int(number), {})[kind] = tensor

    def _moments(self, number: int, parameter: Tensor) -> dict[str, Tensor]:
        if number not in self.moments:
            self.moments[number] = {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return self.moments[number]
