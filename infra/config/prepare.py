"""From source rows to records."""

from __future__ import annotations

from pydantic import Field

from infra.config.align import AlignConfig
from infra.config.audio import AudioConfig
from infra.config.base import Strict
from infra.config.dedup import DedupConfig
from infra.config.image import ImageConfig
from infra.config.text import TextConfig


class PrepareConfig(Strict):
    """From source rows to records."""

    rows_per_split: int = Field(256, ge=1, description="A split of loose files never holds more rows than this.")
    text: TextConfig = TextConfig()
    image: ImageConfig = ImageConfig()
    audio: AudioConfig = AudioConfig()
    align: AlignConfig = AlignConfig()
    dedup: DedupConfig = DedupConfig()
