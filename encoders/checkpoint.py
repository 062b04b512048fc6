"""A training run's state on disk: one safetensors file, replaced atomically after each epoch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from trichord.infra import digest
from trichord.infra.json_values import parse_object

NAME = "state.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """Tensors and JSON values after an epoch, of the run that `run` names by the digest of all that shapes it."""

    run: str
    tensors: Mapping[str, torch.Tensor]
    state: Mapping[str, Any]

    def write(self, folder: str) -> None:
        """Replace the folder's checkpoint; a crash leaves the old one or the new one."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().contiguous() for name, tensor in self.tensors.items()}
        header = {"run": self.run, "state": json.dumps(self.state), "sha256": _digest(tensors)}
        temporary = target / f".{NAME}.{os.getpid()}"
        with temporary.open("wb") as file:
            file.write(save(tensors, metadata=header))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target / NAME)

    @classmethod
    def parse(cls, data: bytes, run: str) -> Checkpoint | None:
        """Return a checkpoint from its bytes; None where it is of another run, or damaged."""
        try:
            tensors = load(data)
            size = int.from_bytes(data[:8], "little")
            header = cast(Mapping[str, str], parse_object(data[8 : 8 + size])["__metadata__"])
            state = parse_object(header["state"])
        except (SafetensorError, ValueError, KeyError):
            return None
        if header.get("run") != run or header.get("sha256") != _digest(tensors):
            return None
        return cls(run=run, tensors=tensors, state=state)


def stored(folder: str) -> bytes | None:
    """Return the bytes of the folder's checkpoint, if there is one."""
    try:
        return (Path(folder) / NAME).read_bytes()
    except FileNotFoundError:
        return None


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    parts = (part for name in sorted(tensors) for part in (name.encode(), tensors[name].numpy().tobytes()))
    return digest.sha256_hex(parts)
