"""From source rows to records."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trichord.infra.config.align import AlignConfig
from trichord.infra.config.audio import AudioConfig
from trichord.infra.config.base import Strict
from trichord.infra.config.dedup import DedupConfig
from trichord.infra.config.image import ImageConfig
from trichord.infra.config.text import TextConfig


class PrepareConfig(Strict):
    """From source rows to records."""

    rows_per_partition: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        256,
        description="A partition of loose files never holds more rows than this. auto: 256, doubled until a source has "
        "at most 20,000 partitions; where a source grows beyond such a limit, all its records are prepared again.",
    )
    text: TextConfig = TextConfig()
    image: ImageConfig = ImageConfig()
    audio: AudioConfig = AudioConfig()
    align: AlignConfig = AlignConfig()
    dedup: DedupConfig = DedupConfig()
