"""Which modalities a record must have once its parts are joined by key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from trichord.infra.config import SourceBase
from trichord.transforms.batch import Batch
from trichord.transforms.op import Op


@dataclass(frozen=True, slots=True, kw_only=True)
class Modalities(Op):
    """Rejects rows that lack a required modality or have too few."""

    version: ClassVar[int] = 1

    require: tuple[str, ...]
    require_any: int

    @property
    def name(self) -> str:
        """The op's name."""
        return "modalities"

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        columns = zip(batch.rows, batch.raw_images, batch.images, batch.raw_audios, batch.waves, strict=True)
        refused = {}
        for i, (row, raw_image, image, raw_audio, wave) in enumerate(columns):
            present = {
                "text": row.text is not None,
                "image": raw_image is not None or image is not None,
                "audio": raw_audio is not None or wave is not None,
            }
            missing = [name for name in self.require if not present[name]]
            if missing:
                refused[i] = ("modality_missing", f"no {', no '.join(missing)}")
            elif sum(present.values()) < self.require_any:
                found = ", ".join(name for name, there in present.items() if there) or "nothing"
                refused[i] = ("modality_missing", f"only {found}; {self.require_any} modalities are required")
        return batch.reject(refused, self.name)


def modality_ops(source: SourceBase) -> tuple[Op, ...]:
    """Return the policy op of a source; nothing if any one modality is enough."""
    if not source.require and source.require_any == 1:
        return ()
    return (Modalities(require=tuple(sorted(source.require)), require_any=source.require_any),)
