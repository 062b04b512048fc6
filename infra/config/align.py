"""How modalities are brought together, and how it is checked that they belong together."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from trichord.infra.config.base import Strict


class AlignConfig(Strict):
    """How speech is aligned with its transcript, and what is refused."""

    speech: Literal["off", "pocketsphinx", "ctc"] = Field(
        "off",
        description="What aligns speech with its transcript: pocketsphinx (English, needs no weights), a Hugging Face "
        "CTC model, or nothing.",
    )
    ctc_model: str | None = Field(None, description="Folder or Hub name of the CTC model; safetensors only.")
    min_speech_s: float = Field(0.4, ge=0, description="Sounds with less speech (seconds) are not taken for speech.")
    min_speech_share: float = Field(
        0.2, ge=0, le=1, description="Sounds with a smaller share of speech are not taken for speech."
    )
    min_words: int = Field(1, ge=1, description="Shorter transcripts are not aligned.")
    max_words: int = Field(1_000, ge=1, description="Longer transcripts are not aligned; a label says so.")
    max_s: float = Field(180.0, gt=0, le=3_600, description="Longer sounds are not aligned; a label says so.")
    min_speech_score: float | None = Field(
        0.4,
        ge=0,
        le=1,
        description="Agreement of transcript and sound below which a row is rejected as speech_mismatch; null: never.",
    )
    min_speech_coverage: float | None = Field(
        0.6,
        ge=0,
        le=1,
        description="Share of the speech that the transcript's words account for, below which a row is rejected.",
    )
    min_speech_rate_wps: float | None = Field(0.2, ge=0, description="Fewer words in a second of speech are rejected.")
    max_speech_rate_wps: float | None = Field(8.0, gt=0, description="More words in a second of speech are rejected.")
    max_shift_s: float = Field(
        30.0, ge=0, description="Times of a transcript that are off by a constant up to this are shifted back."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.speech == "ctc" and not self.ctc_model:
            raise ValueError("align.speech: ctc needs align.ctc_model, the folder or Hub name of a CTC model")
        least, most = self.min_speech_rate_wps, self.max_speech_rate_wps
        if least is not None and most is not None and least > most:
            raise ValueError(f"align.min_speech_rate_wps {least} is above align.max_speech_rate_wps {most}")
        return self
