"""What a text must be."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trichord.infra.config.base import Strict

Region = Annotated[str, Field(pattern="^[A-Z]{2}$")]
Language = Annotated[str, Field(pattern="^[a-z]{2,3}$")]


class TextConfig(Strict):
    """What a text must be. A threshold of null is not applied; the score is kept."""

    repair_encoding: bool = Field(True, description="Whether mojibake is decoded again (ftfy), where that is sure.")
    strip_markup: bool = Field(True, description="Whether HTML tags are removed and entities decoded.")
    min_chars: int = Field(1, ge=0, description="Shorter texts (after normalising) are rejected.")
    max_chars: int = Field(20_000, ge=1, description="Longer texts are rejected.")
    max_symbol_ratio: float | None = Field(
        0.4, ge=0, le=1, description="Share of symbols among the characters that are not blanks, at most."
    )
    max_repetition: float | None = Field(
        0.6, ge=0, le=1, description="Share of the text that repeats what it has said before, at most."
    )
    pii: Literal["keep", "mask", "reject"] = Field(
        "mask",
        description="What becomes of mail addresses, phone, IP, card and identity numbers: kept, masked, or the row "
        "rejected.",
    )
    pii_regions: tuple[Region, ...] = Field(
        (),
        max_length=64,
        description="Countries (ISO 3166, for example CN, IN, BR, DE) whose identity and mobile numbers are found by "
        "their form and check digits; others only beside their names, or where little else can have the form.",
    )
    phone_region: str | None = Field(
        None,
        pattern="^[A-Z]{2}$",
        description="Country (ISO 3166) whose numbers are found without +; null: only numbers with + are.",
    )
    languages: tuple[Language, ...] = Field((), description="Allowed languages (ISO 639); empty allows all.")
    min_language_score: float = Field(
        0.8, ge=0, le=1, description="A text is rejected for its language only if that is at least so certain."
    )
    spelling: bool = Field(False, description="Whether sure misspellings of English texts are corrected (symspellpy).")
