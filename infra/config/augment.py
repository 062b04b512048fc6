"""Training variants of records: which changes are drawn, how often and how strong."""

from __future__ import annotations

from typing import Literal, Self, TypeVar

from pydantic import Field, model_validator

from trichord.infra.config.base import Strict

S = TypeVar("S", bound=Strict)

_P = "Share of the variants that take this change; 0 leaves it out."
_WORDS = "Largest share of words to change (at least one word)."


def _in_order(step: S, quantity: str) -> S:
    least, most = getattr(step, f"min_{quantity}"), getattr(step, f"max_{quantity}")
    if least > most:
        raise ValueError(f"min_{quantity} {least} is above max_{quantity} {most}")
    return step


class RotateStep(Strict):
    """Turns the picture about its middle; the corners are filled by reflection."""

    p: float = Field(0.3, ge=0, le=1, description=_P)
    max_degrees: float = Field(10.0, gt=0, le=45, description="Largest angle, either way.")


class ScaleStep(Strict):
    """Zooms in or out on a canvas of the same size; what lies outside is filled by reflection."""

    p: float = Field(0.2, ge=0, le=1, description=_P)
    min_factor: float = Field(0.9, gt=0.1, le=10, description="Smallest zoom.")
    max_factor: float = Field(1.1, gt=0.1, le=10, description="Largest zoom; above 1 the margins are lost.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _in_order(self, "factor")


class CropStep(Strict):
    """Cuts out a part of the same shape and brings it back to the picture's size."""

    p: float = Field(0.5, ge=0, le=1, description=_P)
    min_keep: float = Field(0.7, gt=0.01, le=1, description="Smallest share of the area to keep.")


class FlipStep(Strict):
    """Mirrors the picture, left for right."""

    p: float = Field(0.5, ge=0, le=1, description=_P)


class ColourStep(Strict):
    """Changes brightness, contrast and saturation; the hue only where no caption names a colour."""

    p: float = Field(0.5, ge=0, le=1, description=_P)
    brightness: float = Field(0.2, ge=0, lt=1, description="Largest change of the factor 1.")
    contrast: float = Field(0.2, ge=0, lt=1, description="Largest change of the factor 1.")
    saturation: float = Field(0.2, ge=0, lt=1, description="Largest change of the factor 1.")
    hue: float = Field(0.02, ge=0, le=0.5, description="Largest turn of the hue, as a share of the full circle.")


class BlurStep(Strict):
    """Blurs the picture by a Gaussian."""

    p: float = Field(0.1, ge=0, le=1, description=_P)
    max_sigma: float = Field(1.0, gt=0, le=20, description="Largest standard deviation, in pixels.")


class CompressionStep(Strict):
    """Sends the picture through a JPEG of lower quality."""

    p: float = Field(0.3, ge=0, le=1, description=_P)
    min_quality: int = Field(40, ge=1, le=100, description="Lowest JPEG quality.")
    max_quality: int = Field(90, ge=1, le=100, description="Highest JPEG quality.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _in_order(self, "quality")


class ImageAugment(Strict):
    """Changes of a picture (albumentations), in the order they are made."""

    rotate: RotateStep = RotateStep()
    scale: ScaleStep = ScaleStep()
    crop: CropStep = CropStep()
    flip: FlipStep = FlipStep()
    colour: ColourStep = ColourStep()
    blur: BlurStep = BlurStep()
    compression: CompressionStep = CompressionStep()
    min_box_keep: float = Field(
        0.9, gt=0, le=1, description="A picture that is the box of a region keeps this share of its area at least."
    )
    mirror_text: Literal["skip", "swap"] = Field(
        "skip",
        description="A picture whose words say left or right: skip does not mirror it, swap exchanges the words "
        "(English words only, and never where there is sound).",
    )


class WordsStep(Strict):
    """Changes some words."""

    p: float = Field(0.1, ge=0, le=1, description=_P)
    max_share: float = Field(0.15, gt=0, le=1, description=_WORDS)


class SynonymStep(Strict):
    """Replaces words by synonyms of their most frequent sense in WordNet."""

    p: float = Field(0.3, ge=0, le=1, description=_P)
    max_share: float = Field(0.2, gt=0, le=1, description=_WORDS)
    wordnet: str | None = Field(
        None,
        description="Folder of WordNet's dictionaries (index.noun, data.noun ...); left out if unset.",
    )


class ContextualStep(Strict):
    """Replaces words by what a masked language model would say in their place."""

    p: float = Field(0.3, ge=0, le=1, description=_P)
    max_share: float = Field(0.15, gt=0, le=1, description=_WORDS)
    path: str | None = Field(
        None, description="Folder of a masked language model (safetensors only); the change is left out if unset."
    )
    top: int = Field(5, ge=1, le=100, description="One of this many most likely words is drawn.")


class RewriteStep(Strict):
    """Rewrites the text by a sequence-to-sequence model."""

    p: float = Field(0.3, ge=0, le=1, description=_P)
    path: str | None = Field(
        None, description="Folder of a sequence-to-sequence model (safetensors only); left out if unset."
    )
    prefix: str = Field("", description="What the model wants before the text, for example 'paraphrase: '.")
    beams: int = Field(4, ge=1, le=32, description="Beams of the search; one of their endings is drawn.")
    max_tokens: int = Field(128, ge=1, le=4_096, description="Longest text that is read and written.")


class TextAugment(Strict):
    """Changes of a text and of each other caption (nlpaug; models by path), in the order they are made.

    Words that turn a meaning (not, left, right, numbers) are never changed.
    """

    rewrite: RewriteStep = RewriteStep()
    contextual: ContextualStep = ContextualStep()
    synonym: SynonymStep = SynonymStep()
    swap: WordsStep = WordsStep()
    delete: WordsStep = WordsStep()
    spelling: WordsStep = WordsStep()
    keyboard: WordsStep = WordsStep()
    ocr: WordsStep = WordsStep()
    min_words: int = Field(3, ge=1, description="Shorter texts are left as they are.")
    languages: tuple[str, ...] = Field(
        (),
        description="Only texts in these languages are changed; empty: in all that a change knows. Synonyms, spelling, "
        "keyboard and ocr know English; docs/languages.md lists the rest.",
    )


class SpeedStep(Strict):
    """Plays the sound faster or slower, the pitch with it; segment times follow."""

    p: float = Field(0.3, ge=0, le=1, description=_P)
    min_factor: float = Field(0.9, ge=0.25, le=4, description="Slowest; drawn in steps of 0.01.")
    max_factor: float = Field(1.1, ge=0.25, le=4, description="Fastest.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _in_order(self, "factor")


class PitchStep(Strict):
    """Moves the pitch and keeps the duration."""

    p: float = Field(0.2, ge=0, le=1, description=_P)
    max_semitones: float = Field(2.0, gt=0, le=12, description="Largest move, either way.")


class ReverberationStep(Strict):
    """Sounds as in a room: convolution with a synthetic impulse response (decaying noise)."""

    p: float = Field(0.2, ge=0, le=1, description=_P)
    min_decay_s: float = Field(0.2, gt=0, le=10, description="Shortest time in which the sound decays by 60 dB.")
    max_decay_s: float = Field(0.8, gt=0, le=10, description="Longest time.")
    min_direct_db: float = Field(0.0, ge=-20, le=40, description="Least level of the direct sound over the room's.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _in_order(self, "decay_s")


class NoiseStep(Strict):
    """Adds noise at a given signal-to-noise ratio."""

    p: float = Field(0.3, ge=0, le=1, description=_P)
    min_snr_db: float = Field(10.0, ge=-20, le=80, description="Most noise.")
    max_snr_db: float = Field(30.0, ge=-20, le=80, description="Least noise.")
    colour: Literal["white", "pink"] = Field("pink", description="Pink noise falls by 3 dB an octave.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _in_order(self, "snr_db")


class TimeMaskStep(Strict):
    """Silences a stretch of the sound."""

    p: float = Field(0.2, ge=0, le=1, description=_P)
    max_share: float = Field(0.1, gt=0, lt=1, description="Longest stretch, as a share of the sound.")
    max_s: float = Field(1.0, gt=0, description="Longest stretch, in seconds.")


class FrequencyMaskStep(Strict):
    """Takes a band of frequencies out of the sound."""

    p: float = Field(0.2, ge=0, le=1, description=_P)
    max_share: float = Field(0.15, gt=0, lt=1, description="Widest band, as a share of all frequencies.")


class GainStep(Strict):
    """Makes the sound louder or softer; never so loud that it is clipped."""

    p: float = Field(0.5, ge=0, le=1, description=_P)
    min_db: float = Field(-6.0, ge=-60, le=60, description="Softest.")
    max_db: float = Field(6.0, ge=-60, le=60, description="Loudest.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _in_order(self, "db")


class AudioAugment(Strict):
    """Changes of a sound (torchaudio), in the order they are made."""

    speed: SpeedStep = SpeedStep()
    pitch: PitchStep = PitchStep()
    reverberation: ReverberationStep = ReverberationStep()
    noise: NoiseStep = NoiseStep()
    time_mask: TimeMaskStep = TimeMaskStep()
    frequency_mask: FrequencyMaskStep = FrequencyMaskStep()
    gain: GainStep = GainStep()


class AugmentConfig(Strict):
    """Training variants of records; they go to `augmented`, never to an index."""

    copies: int = Field(0, ge=0, le=100, description="Variants made of every record; 0 makes none.")
    seed: int = Field(0, description="Seed of everything drawn.")
    image: ImageAugment = ImageAugment()
    text: TextAugment = TextAugment()
    audio: AudioAugment = AudioAugment()
