"""Light changes of a record, as they happen to copies on their way: each gives what a near duplicate looks like."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace

import cv2
import numpy as np
import soundfile

from trichord.infra.digest import generator
from trichord.pipelines.demo.records import Record
from trichord.transforms.batch import Batch, Row

Pixels = Callable[[np.ndarray], np.ndarray]
Sound = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def _crop(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    y, x = round(0.015 * height), round(0.015 * width)
    return rgb[y : height - y, x : width - x]


def _noisy(samples: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    level = float(np.sqrt(np.mean(np.square(samples)))) * 10 ** (-30 / 20)
    return samples + rng.standard_normal(len(samples)) * level


def _one_word(text: str) -> str:
    words = text.split(" ")
    place = max(range(len(words)), key=lambda i: len(words[i]))
    return " ".join([*words[:place], "item", *words[place + 1 :]])


IMAGES: Mapping[str, tuple[Pixels, int]] = {
    "jpeg_40": (lambda rgb: rgb, 40),
    "resize_0.7": (lambda rgb: cv2.resize(rgb, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA), 90),
    "brighter_10": (lambda rgb: cv2.convertScaleAbs(rgb, alpha=1.1), 90),
    "darker_10": (lambda rgb: cv2.convertScaleAbs(rgb, alpha=0.9), 90),
    "crop_3": (_crop, 90),
}
TEXTS: Mapping[str, Callable[[str], str]] = {
    "punctuation": lambda text: text.replace(",", " -").rstrip(".") + " !",
    "case": str.upper,
    "one_word": _one_word,
}
SOUNDS: Mapping[str, tuple[Sound, str]] = {
    "ogg": (lambda samples, rate_hz, rng: samples, "OGG"),
    "mp3": (lambda samples, rate_hz, rng: samples, "MP3"),
    "gain_-6": (lambda samples, rate_hz, rng: samples * 0.5, "WAV"),
    "noise_30": (_noisy, "WAV"),
    "shift_40ms": (lambda samples, rate_hz, rng: np.concatenate([np.zeros(rate_hz // 25), samples]), "FLAC"),
}
VARIANTS = tuple(
    [(name, "", "") for name in IMAGES]
    + [("", name, "") for name in TEXTS]
    + [("", "", name) for name in SOUNDS]
    + [("jpeg_40", "case", "ogg"), ("resize_0.7", "punctuation", "gain_-6"), ("crop_3", "one_word", "noise_30")]
)


def batch_of_record(record: Record, key: str) -> Batch:
    """A demo record as `read_partition` would give it."""
    return Batch(
        rows=(Row(key=key, source="demo", partition="demo/0", text=record.text),),
        raw_images=(record.picture.data,),
        raw_audios=(record.sound.data,),
    )


def changed(batch: Batch, variant: tuple[str, str, str], key: str) -> Batch:
    """The single row of a raw batch, its picture, text and sound changed as named; '' leaves one as it is."""
    of_image, of_text, of_sound = variant
    row, data, sound = batch.rows[0], batch.raw_images[0], batch.raw_audios[0]
    if of_image and data is not None:
        make, quality = IMAGES[of_image]
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        rgb = make(decoded)
        data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    if of_sound and sound is not None:
        play, kind = SOUNDS[of_sound]
        samples, rate_hz = soundfile.read(io.BytesIO(sound), dtype="float64", always_2d=True)
        buffer = io.BytesIO()
        changed_samples = play(samples.mean(axis=1), rate_hz, generator("variant", key))
        soundfile.write(buffer, changed_samples, rate_hz, format=kind)
        sound = buffer.getvalue()
    text = TEXTS[of_text](row.text) if of_text and row.text else row.text
    return replace(batch, rows=(replace(row, key=key, text=text),), raw_images=(data,), raw_audios=(sound,))
