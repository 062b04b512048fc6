"""How each record of the demo corpus is made, by its index alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np

from trichord.infra.digest import generator
from trichord.pipelines.demo.captions import write_captions
from trichord.pipelines.demo.defects import DEFECTS
from trichord.pipelines.demo.languages import ENGLISH, Language
from trichord.pipelines.demo.render import PictureFormat, encode_picture, render
from trichord.pipelines.demo.scenes import Scene, draw_scene
from trichord.pipelines.demo.sonify import AudioFormat, encode_sound, sonify
from trichord.pipelines.demo.spoil_media import AUDIO_DEFECTS, IMAGE_DEFECTS, spoil_file, spoil_picture, spoil_sound
from trichord.pipelines.demo.spoil_text import TEXT_DEFECTS, spoil_text

K = TypeVar("K")

_REACH = 1_000  # a duplicate's twin is at most this many records earlier
_TRIES = 32
_PICTURE_SHARES: Mapping[PictureFormat, float] = {"jpg": 0.94, "png": 0.03, "webp": 0.03}
_SOUND_SHARES: Mapping[AudioFormat, float] = {"wav": 0.60, "flac": 0.37, "ogg": 0.03}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture file, and the size in pixels of what was drawn."""

    data: bytes
    kind: PictureFormat
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A sound file, and the length of what was played."""

    data: bytes
    kind: AudioFormat
    rate_hz: int
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record as it is written; `scene` is what its text is about."""

    index: int
    defect: str | None
    twin: int | None
    group: int  # the index whose key names the group: the twin's where content is shared
    scene: Scene
    clean_text: str  # before any defect
    text: str
    captions: tuple[str, ...]
    picture: Picture
    sound: Sound


class Recipe:
    """Makes record i from (seed, i, difficulty, rates, language): every draw has a generator of its own.

    Two rules keep a record independent of the corpus's size: only neighbours (2k, 2k + 1) exchange pictures, and only
    earlier records are duplicated. So only the last of an odd number may differ from its namesake in a longer corpus.
    """

    def __init__(
        self,
        *,
        seed: int,
        records: int,
        difficulty: float,
        rates: Mapping[str, float],
        language: Language = ENGLISH,
    ) -> None:
        self._seed = seed
        self._records = records
        self._difficulty = difficulty
        self._language = language
        self._swap_rate = rates["swapped_pair"]
        self._kinds = tuple(kind for kind in DEFECTS if kind != "swapped_pair")
        # A record that exchanged its picture has no other defect, so the others are likelier among the rest.
        self._bounds = np.cumsum([rates[kind] for kind in self._kinds]) / max(1e-9, 1 - self._swap_rate)
        self._scene = lru_cache(maxsize=16)(self._draw_scene)

    def make(self, index: int) -> Record:
        """The record of this index."""
        defect, twin = self._defect(index)
        match defect, twin:
            case "swapped_pair", int():
                return replace(self._plain(index, None), defect=defect, twin=twin, picture=self._picture(twin, None))
            case "exact_duplicate", int():
                return self._exact_duplicate(index, twin)
            case "near_duplicate", int():
                return self._near_duplicate(index, twin)
            case _:
                return self._plain(index, defect)

    def _rng(self, index: int, purpose: str) -> np.random.Generator:
        return generator(self._seed, index, purpose)

    def _draw_scene(self, index: int) -> Scene:
        return draw_scene(self._rng(index, "scene"), self._difficulty)

    def _swaps(self, index: int) -> bool:
        """Return True where a record exchanges pictures with its neighbour; main colour and main shape must differ."""
        pair = index // 2
        if self._rng(pair, "swap").random() >= self._swap_rate:
            return False
        main, other = (self._scene(i).groups[0] for i in (2 * pair, 2 * pair + 1))
        return main.colour != other.colour and main.shape != other.shape

    def _drawn(self, index: int) -> str | None:
        """The defect drawn for a record, whether or not there is a twin for it: independent of the corpus's size."""
        if self._swaps(index):
            return "swapped_pair"
        place = int(np.searchsorted(self._bounds, self._rng(index, "defect").random(), side="right"))
        return self._kinds[place] if place < len(self._kinds) else None

    def _defect(self, index: int) -> tuple[str | None, int | None]:
        """The defect to plant and the twin's index. Only records without a defect are duplicated."""
        drawn = self._drawn(index)
        if drawn == "swapped_pair":
            return (drawn, index ^ 1) if index ^ 1 < self._records else (None, None)
        if drawn not in ("exact_duplicate", "near_duplicate"):
            return drawn, None
        if index:
            candidates = self._rng(index, "twin").integers(max(0, index - _REACH), index, size=_TRIES).tolist()
            for candidate in candidates:
                if self._drawn(candidate) is None:
                    return drawn, candidate
        return None, None

    def _plain(self, index: int, defect: str | None) -> Record:
        scene = self._scene(index)
        language = self._language
        text, *captions = write_captions(scene, self._rng(index, "captions"), self._difficulty, language)
        spoilt = text
        if defect in TEXT_DEFECTS:
            spoilt = spoil_text(text, defect, self._rng(index, "spoil"), scene, language)
        return Record(
            index=index,
            defect=defect,
            twin=None,
            group=index,
            scene=scene,
            clean_text=text,
            text=spoilt,
            captions=() if defect in ("empty_text", "foreign_language") else tuple(captions),
            picture=self._picture(index, defect),
            sound=self._sound(index, defect),
        )

    def _drawn_picture(self, index: int) -> tuple[np.ndarray, PictureFormat, int]:
        rgb = render(self._scene(index), self._rng(index, "picture"), self._difficulty)
        rng = self._rng(index, "picture file")
        return rgb, _pick(_PICTURE_SHARES, rng), int(rng.integers(82, 94))

    def _picture(self, index: int, defect: str | None) -> Picture:
        rgb, kind, quality = self._drawn_picture(index)
        if defect not in IMAGE_DEFECTS:
            return _picture_of(rgb, encode_picture(rgb, kind, quality), kind)
        # Decoders do not agree on what a truncated WebP is.
        kind = "jpg" if kind == "webp" else kind
        rng = self._rng(index, "spoil")
        rgb = spoil_picture(rgb, defect, rng)
        return _picture_of(rgb, spoil_file(encode_picture(rgb, kind, quality), defect, rng), kind)

    def _played_sound(self, index: int) -> tuple[np.ndarray, int, AudioFormat]:
        samples, rate_hz = sonify(self._scene(index), self._rng(index, "sound"), self._difficulty)
        return samples, rate_hz, _pick(_SOUND_SHARES, self._rng(index, "sound file"))

    def _sound(self, index: int, defect: str | None) -> Sound:
        samples, rate_hz, kind = self._played_sound(index)
        if defect not in AUDIO_DEFECTS:
            return _sound_of(samples, rate_hz, encode_sound(samples, rate_hz, kind), kind)
        # Vorbis smooths clipping away, and may end anywhere.
        kind = "wav" if kind == "ogg" else kind
        rng = self._rng(index, "spoil")
        samples = spoil_sound(samples, rate_hz, defect, rng)
        return _sound_of(samples, rate_hz, spoil_file(encode_sound(samples, rate_hz, kind), defect, rng), kind)

    def _exact_duplicate(self, index: int, twin: int) -> Record:
        record = replace(self._plain(twin, None), index=index, defect="exact_duplicate", twin=twin, group=twin)
        samples, rate_hz, kind = self._played_sound(twin)
        if kind == "ogg" or self._rng(index, "twin sound").random() < 0.5:
            return record
        other: AudioFormat = "flac" if kind == "wav" else "wav"
        return replace(record, sound=_sound_of(samples, rate_hz, encode_sound(samples, rate_hz, other), other))

    def _near_duplicate(self, index: int, twin: int) -> Record:
        record = self._plain(twin, None)
        rng = self._rng(index, "near")
        text = (
            record.text.rstrip(self._language.full_stop) + self._language.exclamation
        )  # another word would be another record
        rgb, _, _ = self._drawn_picture(twin)
        scale = rng.uniform(0.9, 1.1)
        scaled = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        # never lighter: a white ground would burn out, and pass for a frame
        changed = cv2.convertScaleAbs(scaled, alpha=rng.uniform(0.9, 0.98), beta=rng.uniform(0, 2))
        samples, rate_hz, _ = self._played_sound(twin)
        quieter = samples * np.float32(rng.uniform(0.6, 0.9))
        return replace(
            record,
            index=index,
            defect="near_duplicate",
            twin=twin,
            group=twin,
            clean_text=text,
            text=text,
            picture=_picture_of(changed, encode_picture(changed, "jpg", 84), "jpg"),
            sound=_sound_of(quieter, rate_hz, encode_sound(quieter, rate_hz, "wav"), "wav"),
        )


def _pick(shares: Mapping[K, float], rng: np.random.Generator) -> K:
    return tuple(shares)[int(rng.choice(len(shares), p=tuple(shares.values())))]


def _picture_of(rgb: np.ndarray, data: bytes, kind: PictureFormat) -> Picture:
    return Picture(data=data, kind=kind, width=rgb.shape[1], height=rgb.shape[0])


def _sound_of(samples: np.ndarray, rate_hz: int, data: bytes, kind: AudioFormat) -> Sound:
    return Sound(data=data, kind=kind, rate_hz=rate_hz, duration_s=len(samples) / rate_hz)
