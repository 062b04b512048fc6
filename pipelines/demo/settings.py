"""The demo's project: every detector turned on, and what becomes of each planted defect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trichord.pipelines.demo.defects import REJECT_REASONS
from trichord.pipelines.demo.languages import ENGLISH, Language

_MEDIA: Mapping[str, Any] = {
    "image": {
        "max_noise": 18.0,
        "max_dark": 0.35,
        "max_bright": 0.97,
        "borders": "crop",
        "partial_blur": "crop",
        "max_blurred_share": 0.08,
    },
    "audio": {
        "vad": False,  # nobody speaks
        "trim": True,
        "remove_hum_above_db": 40.0,
        "max_flatness": 0.15,
    },
}

# The reject reason of each defect under these settings.
DEMO_REASONS: Mapping[str, str] = {
    **REJECT_REASONS,
    "foreign_language": "text_language",
    "image_noise": "image_noisy",
    "image_dark": "image_dark",
    "image_bright": "image_bright",
    "audio_noise": "audio_noise",
}
_FIXED_BY: Mapping[str, str] = {
    "typos": "text_spelling",
    "mojibake": "text_encoding",
    "control_characters": "text_normalize",
    "html_markup": "text_markup",
    "bidi_controls": "text_normalize",
    "pii": "text_pii",
    "image_border": "image_measure",
    "audio_dc": "audio_dc_removal",
    "audio_hum": "audio_hum_removal",
    "audio_padded": "audio_trim",
}


def prepare_settings(language: Language = ENGLISH) -> dict[str, Any]:
    """Return the project's `prepare` for a corpus in a language."""
    return {"text": {**language.prepare, "pii": "mask"}, **_MEDIA}


def fixed_by(language: Language = ENGLISH) -> dict[str, str]:
    """Return the op that must have fixed a record with a defect, which is then kept, by defect.

    Typos are fixed where the language's table turns spelling on; elsewhere they are kept.
    """
    spelling = language.prepare.get("spelling", False)
    return {defect: op for defect, op in _FIXED_BY.items() if op != "text_spelling" or spelling}
