"""From source rows to records."""

from __future__ import annotations

from pydantic import Field

from trichord.infra.config.align import AlignConfig
from trichord.infra.config.audio import AudioConfig
from trichord.infra.config.base import Strict
from trichord.infra.config.dedup import DedupConfig
from trichord.infra.config.image import ImageConfig
from trichord.infra.config.text import TextConfig


class PrepareConfig(Strict):
    """From source rows to records."""

    rows_per_partition: int = Field(
        256, ge=1, description="A partition of loose files never holds more rows than this."
    )
    text: TextConfig = TextConfig()
    image: ImageConfig = ImageConfig()
    audio: AudioConfig = AudioConfig()
    align: AlignConfig = AlignConfig()
    dedup: DedupConfig = DedupConfig()
