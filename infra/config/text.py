"""Limits and repairs of texts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trichord.infra.config.base import Strict

Region = Annotated[str, Field(pattern="^[A-Z]{2}$")]
Language = Annotated[str, Field(pattern="^[a-z]{2,3}$")]


class TextConfig(Strict):
    """Limits and repairs of texts. A threshold of null is not applied; the score is kept."""

    repair_encoding: bool = Field(True, description="Repair mojibake (ftfy) where the repair is certain.")
    strip_markup: bool = Field(True, description="Remove HTML tags and decode entities.")
    min_chars: int = Field(1, ge=0, description="Shorter texts (after normalising) are rejected.")
    max_chars: int = Field(20_000, ge=1, description="Longer texts are rejected.")
    max_symbol_ratio: float | None = Field(
        0.4, ge=0, le=1, description="Largest share of symbols among the characters that are not blanks."
    )
    max_repetition: float | None = Field(
        0.6, ge=0, le=1, description="Largest share of the text that may repeat earlier text."
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
        0.8,
        ge=0,
        le=1,
        description="A text is rejected for its language only if the detection is at least this certain.",
    )
    spelling: bool = Field(False, description="Correct clear misspellings of English texts (symspellpy).")
