"""Limits and cleaning of sounds."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from trichord.infra.config.base import Strict


class AudioConfig(Strict):
    """Limits, repairs and canonical form of sounds. An empty limit is not applied."""

    max_bytes: int = Field(200_000_000, ge=1, description="Larger files are rejected unread.")
    min_duration_s: float = Field(0.1, ge=0, description="Shorter clips are rejected.")
    max_duration_s: float = Field(600.0, gt=0, description="Longer clips are rejected before decoding.")
    max_parent_s: float = Field(
        3_600.0, gt=0, description="Longer files are rejected before decoding where rows are cut out of them."
    )
    max_clipping: float = Field(
        0.02, ge=0, le=1, description="Share of samples at full scale above which a clip is rejected."
    )
    rate_hz: int = Field(16_000, ge=8_000, description="Canonical sample rate; sound is stored mono at this rate.")
    silence_db: float = Field(
        -60.0, ge=-120, lt=0, description="Level against full scale below which a frame of 20 ms is silence."
    )
    max_silence: float | None = Field(
        0.999, ge=0, le=1, description="Share of silent frames above which a clip is rejected."
    )
    max_dc: float | None = Field(None, ge=0, le=1, description="Offset above which a clip is rejected.")
    remove_dc_above: float | None = Field(
        0.005, ge=0, le=1, description="Offset (mean of the samples, of full scale) above which it is subtracted."
    )
    max_hum_db: float | None = Field(
        None, description="Mains hum above its neighbours in dB from which it is rejected."
    )
    remove_hum_above_db: float | None = Field(
        None, ge=0, description="Mains hum above its neighbours in dB from which 50 or 60 Hz are notched out."
    )
    max_flatness: float | None = Field(
        None, ge=0, le=1, description="Flatness of the lasting spectrum (1: white noise) above which it is rejected."
    )
    vad: bool = Field(True, description="Detect speech (Silero's model) and measure its SNR.")
    min_speech_share: float | None = Field(
        None, ge=0, le=1, description="Share of the time with speech below which a clip is rejected."
    )
    min_snr_db: float | None = Field(
        None, ge=-20, le=40, description="SNR of the speech in dB (WADA) below which a clip is rejected."
    )
    trim: bool = Field(False, description="Cut off silence at the start and the end, but for 0.1 s.")
    noise_reduction_db: float | None = Field(
        None, gt=0, le=60, description="Largest reduction of steady noise by spectral gating."
    )
    min_loudness_lufs: float | None = Field(
        None, ge=-70, le=0, description="Original loudness (ITU-R BS.1770) below which a clip is rejected."
    )
    target_lufs: float | None = Field(
        None, ge=-70, le=0, description="Loudness (ITU-R BS.1770) that every clip is brought to."
    )
    max_peak_db: float = Field(
        -1.0, ge=-60, le=0, description="Highest peak, against full scale, that bringing to a loudness may reach."
    )

    @model_validator(mode="after")
    def _limits_have_a_measure(self) -> Self:
        given = [name for name in ("min_speech_share", "min_snr_db") if getattr(self, name) is not None]
        if given and not self.vad:
            raise ValueError(f"{' and '.join(given)} can only be judged with `vad: true`")
        return self
