"""Pictures through any Hugging Face image model: ResNet, EfficientNet, ViT, …"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from trichord.encoders.base import Modality
from trichord.encoders.huggingface import HuggingFaceEncoder, Window
from trichord.encoders.pooling import grid_weights
from trichord.encoders.pretrained import read_settings
from trichord.infra.errors import ConfigError

_MASKING = "vit_mae"  # masked autoencoders; a mask is for their pretraining alone


class HuggingFaceImage(HuggingFaceEncoder):
    """An image encoder. Pictures are resized, cropped and normalised by the model's own processor (its PIL backend).

    The mean is over the patches or the feature map, without class and register tokens.
    """

    modality: ClassVar[Modality] = "image"
    auto_processor: ClassVar[str] = "AutoImageProcessor"
    window_setting: ClassVar[str] = ""
    cells: ClassVar[int] = 4 * 3 * 224 * 224
    most_rows: ClassVar[int] = 16

    def windows(self, inputs: Sequence[np.ndarray]) -> list[Window]:
        """Return pixels as the processor makes them, float32 (3, H, W).

        Raises:
            ValueError: a picture is not uint8 (H, W, 3).
            ConfigError: the processor fills a picture up, and masks that.
        """
        found = []
        for owner, picture in enumerate(inputs):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
                raise ValueError(f"a picture must be uint8 (H, W, 3), not {picture.dtype} {picture.shape}")
            # as a PIL image: of a bare array the processor guesses which axis holds the channels
            made = self.processor(Image.fromarray(picture), return_tensors="np")
            if not np.all(made.get("pixel_mask", 1)):
                raise ConfigError(
                    f"{self.folder} ({self.setting}.path) has pictures filled up and the filling masked (pixel_mask), "
                    "which is not done here.\nSet do_pad to false in its preprocessor_config.json."
                )
            found.append(Window(owner=owner, values=np.asarray(made["pixel_values"][0], np.float32)))
        return found

    def _example(self) -> np.ndarray:
        return self.windows([np.zeros((64, 64, 3), np.uint8)])[0].values

    def _samples(self) -> list[np.ndarray]:
        shapes = ((64, 64, 3), (48, 96, 3), (96, 48, 3))
        pictures = [(np.arange(np.prod(shape)) % 251).astype(np.uint8).reshape(shape) for shape in shapes]
        of_shapes = {window.values.shape: window.values for window in self.windows(pictures)}
        return list(of_shapes.values())

    def _inputs(self, values: Sequence[np.ndarray], size: tuple[int, ...]) -> dict[str, torch.Tensor]:
        given = {"pixel_values": torch.from_numpy(np.stack(values))}
        if self.family == _MASKING:
            side = self._patch_size
            patches = (values[0].shape[1] // side[0]) * (values[0].shape[2] // side[1])
            given["noise"] = torch.linspace(0, 1, patches).repeat(len(values), 1)  # keeps patches in reading order
        return given

    def _prepared(self, model: Any) -> Any:
        if self.family == _MASKING:
            model.config.mask_ratio = 0.0  # it would drop patches at random
        return model

    @property
    def _changes(self) -> list[str]:
        return ["unmasked"] if self.family == _MASKING else []

    @property
    def _patch_size(self) -> tuple[int, int]:
        side: Any = read_settings(self.folder / "config.json").get("patch_size", 16)
        return (side, side) if isinstance(side, int) else (side[0], side[1])

    def _weights(self, windows: Sequence[Window], states: torch.Tensor, given: dict[str, torch.Tensor]) -> np.ndarray:
        if states.ndim == 4:
            before, rows, columns = 0, *states.shape[2:]
        else:
            before, rows, columns = self._grid(states.shape[1], given["pixel_values"].shape[2:])
        weights = np.pad(grid_weights(rows, columns, self.config.tokens), ((0, 0), (before, 0)))
        return np.repeat(weights[None], len(windows), axis=0)

    def _grid(self, count: int, pixels: Sequence[int]) -> tuple[int, int, int]:
        """Return states before the patches (class, registers), and rows and columns of the patches' grid."""
        side: Any = getattr(self.module.config, "patch_size", None)
        if side is None:
            return 0, 1, count
        high, wide = (side, side) if isinstance(side, int) else side
        rows, columns = pixels[0] // high, pixels[1] // wide
        while rows * columns > count and rows > 1:  # hierarchical models merge 2 × 2 patches, stage by stage
            rows, columns = -(-rows // 2), -(-columns // 2)
        return count - rows * columns, rows, columns
