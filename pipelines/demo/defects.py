"""The defects that are planted in the demo corpus, and what the pipeline must make of each.

| defect | what is done | must be, by default |
|---|---|---|
| typos | letters of a fifth of the text's words swapped, dropped or doubled (in Chinese, other characters) | kept |
| mojibake | curly quotes and an accent, stored in UTF-8 and read as Windows-1252 | kept, fixed |
| control_characters | C0 control characters strewn inside words | kept, the text as it was |
| empty_text | no text and no captions | kept, with two modalities |
| html_markup | tags, a link, entities, a comment, as in the source of a page | kept, the text as it was |
| bidi_controls | words in embeddings, overrides and isolates, marks of direction between | kept, the text as it was |
| pii | a sentence with a mail address, phone, IP or card number | kept, that masked |
| foreign_language | the scene in another of de, fr, es, pt, ru, zh and en (ISO 639) | kept |
| repeated_text | the text itself or boilerplate 14 to 20 times more | text_repetitive |
| symbol_noise | 6 to 12 symbols around every word | text_symbols |
| image_blur | Gaussian, sigma 2.2 % of the longer side | image_blurred |
| image_noise | Gaussian noise, sigma 45 of 255 | kept |
| image_truncated | 30 to 80 % of a JPEG or PNG file | image_truncated |
| image_too_small | 12 to 24 px on the shorter side | image_too_small |
| image_extreme_aspect | 9 to 12 times as wide as high, or the reverse | image_aspect |
| image_wrong_type | an HTML error page under the picture's name | image_format |
| image_blank | 0 to 1 % of the contrast | image_blank |
| image_dark | underexposed to a mean of 6 to 10 of 255, with sensor noise | kept |
| image_bright | overexposed: 2 to 3.5 % of the contrast, below white, with sensor noise | kept |
| image_partial_blur | a third to three fifths of it Gaussian, sigma 2.5 % of the longer side | kept |
| image_border | a plain frame or two bars, each an eighth to a fifth of the side wide | kept |
| audio_noise | white noise at -6 to 0 dB SNR | kept |
| audio_clipped | overdriven until two thirds of it are at full scale | audio_clipped |
| audio_truncated | 30 to 70 % of a WAV or FLAC file | audio_truncated |
| audio_too_short | 20 to 60 ms | audio_too_short |
| audio_wrong_type | an HTML error page under the sound's name | audio_format |
| audio_silent | nothing, or hiss at -84 dB | audio_silent |
| audio_dc | an offset of 0.08 to 0.25 of full scale | kept, the offset removed |
| audio_hum | 50 or 60 Hz and five harmonics, 0 to 6 dB louder than the sound | kept |
| audio_quiet | 26 to 32 dB quieter | kept |
| audio_padded | 1.2 to 2.5 s of silence before and after | kept |
| swapped_pair | two records exchange their pictures | kept |
| exact_duplicate | another record's content; WAV and FLAC may be exchanged for each other | a duplicate |
| near_duplicate | another record's content, lightly changed | a duplicate |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trichord.pipelines.demo.spoil_media import AUDIO_DEFECTS, IMAGE_DEFECTS
from trichord.pipelines.demo.spoil_text import TEXT_DEFECTS

TWIN_DEFECTS = ("swapped_pair", "exact_duplicate", "near_duplicate")
DEFECTS = (*TEXT_DEFECTS, *IMAGE_DEFECTS, *AUDIO_DEFECTS, *TWIN_DEFECTS)
DEFAULT_RATE = 0.009

# The reject reason of each defect that the pipeline refuses by default; one that is not here is kept.
REJECT_REASONS: Mapping[str, str] = {
    "repeated_text": "text_repetitive",
    "symbol_noise": "text_symbols",
    "image_blur": "image_blurred",
    "image_truncated": "image_truncated",
    "image_too_small": "image_too_small",
    "image_extreme_aspect": "image_aspect",
    "image_wrong_type": "image_format",
    "image_blank": "image_blank",
    "audio_clipped": "audio_clipped",
    "audio_truncated": "audio_truncated",
    "audio_too_short": "audio_too_short",
    "audio_wrong_type": "audio_format",
    "audio_silent": "audio_silent",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What `prepare` and `dedup` must make of a corpus, by key."""

    rejects: Mapping[str, str]  # key -> reason code
    duplicates: Mapping[str, str]  # key -> the twin of the same content or nearly; one of the two must survive
    two_modalities: frozenset[str]  # kept without a text
    kept: frozenset[str]  # every key that is neither in `rejects` nor in `duplicates`


def expected(labels: Iterable[Mapping[str, Any]], reasons: Mapping[str, str] = REJECT_REASONS) -> Expected:
    """Return what must become of each record, from the rows of `labels.jsonl`.

    `reasons` are the reject reasons of defects; by default, those under the default settings.
    """
    rejects: dict[str, str] = {}
    duplicates: dict[str, str] = {}
    textless: set[str] = set()
    kept: set[str] = set()
    for label in labels:
        key, kinds = label["key"], label["defects"]
        refused = [reasons[kind] for kind in kinds if kind in reasons]
        if refused:
            rejects[key] = refused[0]
        elif "exact_duplicate" in kinds or "near_duplicate" in kinds:
            duplicates[key] = label["twin"]
        else:
            kept.add(key)
            if "empty_text" in kinds:
                textless.add(key)
    return Expected(rejects=rejects, duplicates=duplicates, two_modalities=frozenset(textless), kept=frozenset(kept))


def rates_of(defects: float | Mapping[str, float]) -> dict[str, float]:
    """Return the rate of every defect: one rate for all, or by name with 0 for those not named.

    Raises:
        ValueError: an unknown name, a rate outside [0, 1], or rates that add up to more than 1.
    """
    if isinstance(defects, Mapping):
        unknown = sorted(set(defects) - set(DEFECTS))
        if unknown:
            raise ValueError(f"unknown defects {unknown}; known are {list(DEFECTS)}")
        rates = {kind: float(defects.get(kind, 0.0)) for kind in DEFECTS}
    else:
        rates = dict.fromkeys(DEFECTS, float(defects))
    if not all(0 <= rate <= 1 for rate in rates.values()) or sum(rates.values()) > 1 + 1e-9:
        raise ValueError(f"defect rates must lie in [0, 1] and add up to at most 1, got {rates}")
    return rates
