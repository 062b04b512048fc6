"""Cards: what a page shows of a record, within a budget of bytes."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from trichord.pipelines.report import plots
from trichord.transforms.batch import Waveform
from trichord.transforms.media import MediaError, decode_audio, decode_image, encode_audio, encode_image, shrink_image

THUMBNAIL_SIDE, THUMBNAIL_QUALITY, CLIP_S, CLIPS = 96, 80, 4.0, 8
MAX_FILE_BYTES, MAX_PIXELS, MAX_S = 50_000_000, 50_000_000, 600.0
MEDIA_BYTES = 3_500_000  # of all data URIs together; the page's own text needs far less than the rest of 6 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is shown of a record.

    Attributes:
        key: of the record.
        tags: (colour, words), `''` for no colour.
        lines: short facts about it.
        text: its text.
        thumbnail: a data URI.
        tiles: the thumbnail with its blurred tiles, shown in its place.
        wave: the waveform.
        words: the words below a wide waveform.
        duration_s: of the sound.
        clip: the start of the sound, a data URI.
        notes: what could not be shown, and why.
    """

    key: str
    tags: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()
    text: str | None = None
    thumbnail: str | None = None
    tiles: Markup | None = None
    wave: Markup | None = None
    words: Markup | None = None
    duration_s: float | None = None
    clip: str | None = None
    notes: tuple[str, ...] = ()


class Printer:
    """Makes cards until the page's bytes for media are used up. `left_out` counts the media that did not fit."""

    def __init__(self, media_bytes: int = MEDIA_BYTES, clips: int = CLIPS) -> None:
        self._left, self._clips = media_bytes, clips
        self.left_out = 0

    def card(
        self,
        key: str,
        text: str | None,
        image: bytes | None,
        audio: bytes | None,
        *,
        clip: bool = False,
        blur_map: str | None = None,
        segments: Sequence[Mapping[str, Any]] = (),
    ) -> Card:
        """Return a card; a medium that cannot be decoded leaves a note.

        Args:
            key: of the record.
            text: of the record.
            image: encoded picture.
            audio: encoded sound.
            clip: add a player with the start of the sound.
            blur_map: the record's label `image_blur_map`, drawn over the picture.
            segments: words of the record with their times, drawn below the waveform.
        """
        card = Card(key=key, text=text)
        if image is not None:
            try:
                rgb = decode_image(image, max_pixels=MAX_PIXELS, max_bytes=MAX_FILE_BYTES)
                small = shrink_image(rgb, THUMBNAIL_SIDE)
                uri = self._uri("image/jpeg", encode_image(small, THUMBNAIL_QUALITY))
                card = replace(card, thumbnail=uri)
                if uri is not None and blur_map is not None:
                    card = replace(card, tiles=plots.tiles(uri, (small.shape[1], small.shape[0]), blur_map))
            except MediaError as error:
                card = replace(card, notes=(error.reason,))
        if audio is not None:
            try:
                wave = decode_audio(audio, max_bytes=MAX_FILE_BYTES, max_duration_s=MAX_S)
                size = plots.WIDE_WAVE_SIZE if segments else plots.WAVE_SIZE
                card = replace(card, wave=plots.waveform(wave, size), duration_s=wave.duration_s)
                if segments:
                    said = [
                        (one["start_s"], one["end_s"], one["text"], one["score"]) for one in segments[: plots.WORDS]
                    ]
                    card = replace(card, words=plots.words(said, wave.duration_s))
                if clip and self._clips:
                    self._clips -= 1
                    start = Waveform(samples=wave.samples[: int(CLIP_S * wave.rate_hz)], rate_hz=wave.rate_hz)
                    card = replace(card, clip=self._uri("audio/flac", encode_audio(start)))
            except MediaError as error:
                card = replace(card, notes=(*card.notes, error.reason))
        return card

    def _uri(self, kind: str, data: bytes) -> str | None:
        uri = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        if len(uri) > self._left:
            self.left_out += 1
            return None
        self._left -= len(uri)
        return uri
