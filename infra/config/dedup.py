"""What counts as the same record."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trichord.infra.config.base import Strict


class DedupConfig(Strict):
    """What counts as the same record: exact copies always, near copies by these limits.

    Near copies have the same modalities, and each of these matches. Of the modalities the first of image, audio, text
    leads: it must match within its limit, the others within a wider one. Then the words, pictures and sounds themselves
    are compared (`verify`): another word, number, colour, detail or note is another record.
    """

    near: bool = Field(True, description="Find near duplicates; exact ones are always found.")
    verify: bool = Field(
        True,
        description="Compare words, pictures and sounds themselves before a record is dropped; what is only alike is "
        "listed in `matches`. False: the limits below decide alone.",
    )
    ignore: tuple[Literal["text", "image", "audio"], ...] = Field(
        (),
        max_length=2,
        description="Modalities that need not match; with text, another caption is not another record.",
    )
    image_coarse: int = Field(
        10, ge=0, le=20, description="Bits of 64 (8 x 8 low frequencies) in which two pictures may differ."
    )
    image_bits: int = Field(48, ge=0, le=100, description="The same of 256 (16 x 16 low frequencies).")
    audio_coarse: int = Field(8, ge=0, le=20, description="Bits of 64 in which two sounds may differ.")
    audio_bits: int = Field(56, ge=0, le=100, description="The same of 256, where the sound leads.")
    text_jaccard: float = Field(
        0.9, ge=0.5, le=1, description="Least Jaccard similarity of character shingles, for records with only a text."
    )
    min_text_chars: int = Field(0, ge=0, description="Records with only a text are not compared if it is shorter.")
