"""Training curves for TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from trichord.infra.errors import ConfigError


@contextmanager
def tensorboard_log(folder: str, run: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Open a log for entries of a training history, in `<folder>/<run>`.

    Raises:
        ConfigError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "train.tensorboard names a folder, but tensorboard is not installed.\n"
            "Install it: pip install 'trichord[tensorboard]', or leave train.tensorboard out."
        ) from error
    with SummaryWriter(os.path.join(folder, run)) as writer:

        def write(entry: Mapping[str, Any]) -> None:
            for name, value in entry.items():
                if name != "epoch" and isinstance(value, int | float):
                    writer.add_scalar(name, value, entry["epoch"])

        yield write
