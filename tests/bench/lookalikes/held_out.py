"""Families and changes that no limit was chosen by: what they show is reported, never tuned to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageEnhance, ImageFilter

from tests.bench.lookalikes.copies import Changed, Played
from tests.bench.lookalikes.pictures import COLOURS, NAMES, WORDS, Choices, Draw, Rng, pick, write
from tests.bench.lookalikes.sounds import RATE_HZ, Play
from trichord.transforms.batch import Waveform
from trichord.transforms.media import resample


def receipt(rng: Rng) -> Choices:
    """Draw a shop's receipt."""
    return {"lines": [(pick(rng, WORDS), int(rng.integers(100, 9_999))) for _ in range(10)],
            "number": int(rng.integers(10_000, 99_999)), "clerk": pick(rng, NAMES)}  # fmt: skip


def draw_receipt(c: Choices) -> Pillow.Image:
    """Draw it on slightly grey paper."""
    picture = Pillow.new("RGB", (560, 860), (236, 234, 228))
    draw = ImageDraw.Draw(picture)
    write(draw, (280, 30), "CORNER SHOP", 34, (40, 40, 40), "ma")
    write(draw, (40, 90), f"Receipt {c['number']}   {c['clerk']}", 20, (50, 50, 50))
    for i, (name, cents) in enumerate(c["lines"]):
        write(draw, (40, 150 + 52 * i), name, 22, (40, 40, 40))
        write(draw, (520, 150 + 52 * i), f"{cents / 100:.2f}", 22, (40, 40, 40), "ra")
    write(draw, (520, 720), f"{sum(cents for _, cents in c['lines']) / 100:.2f}", 30, (20, 20, 20), "ra")
    return picture


def vary_receipt(c: Choices, rng: Rng) -> Choices:
    """Change a line, the number, or the clerk."""
    match pick(rng, ("lines", "number", "clerk")):
        case "lines":
            at = int(rng.integers(10))
            fresh = (pick(rng, WORDS, c["lines"][at][0]), int(rng.integers(100, 9_999)))
            return {**c, "lines": [fresh if i == at else line for i, line in enumerate(c["lines"])]}
        case "number":
            return {**c, "number": pick(rng, range(10_000, 10_200), c["number"])}
        case _:
            return {**c, "clerk": pick(rng, NAMES, c["clerk"])}


def plan(rng: Rng) -> Choices:
    """Draw a street map with a marked place."""
    return {"streets": int(rng.integers(1 << 20)), "pin": [int(v) for v in rng.integers(10, 90, 2)],
            "colour": pick(rng, ("red", "navy", "green", "purple"))}  # fmt: skip


def draw_plan(c: Choices) -> Pillow.Image:
    """Draw it."""
    rng = np.random.default_rng(c["streets"])
    picture = Pillow.new("RGB", (700, 700), (232, 228, 218))
    draw = ImageDraw.Draw(picture)
    for _ in range(14):
        x, y, dx, dy = rng.uniform(0, 700, 4)
        draw.line((x - dx, y - dy, x + dx, y + dy), fill=(255, 255, 255), width=int(rng.integers(6, 20)))
    for _ in range(8):
        x, y = rng.uniform(0, 640, 2)
        draw.rectangle((x, y, x + rng.uniform(30, 110), y + rng.uniform(30, 110)), fill=(196, 214, 180))
    x, y = (7 * v for v in c["pin"])
    draw.ellipse((x - 16, y - 16, x + 16, y + 16), fill=COLOURS[c["colour"]])
    return picture


def vary_plan(c: Choices, rng: Rng) -> Choices:
    """Move the pin, or colour it differently."""
    if rng.integers(2):
        return {**c, "pin": [(v + int(rng.integers(8, 30))) % 80 + 10 for v in c["pin"]]}
    return {**c, "colour": pick(rng, ("red", "navy", "green", "purple"), c["colour"])}


def photo(rng: Rng) -> Choices:
    """Draw a textured scene with some fruit."""
    fruit = [(pick(rng, COLOURS, "grey"), *map(int, rng.integers(12, 88, 2))) for _ in range(6)]
    return {"ground": int(rng.integers(1 << 20)), "fruit": fruit}


def draw_photo(c: Choices) -> Pillow.Image:
    """Draw it: grain, shade and soft edges."""
    rng = np.random.default_rng(c["ground"])
    coarse = Pillow.fromarray(rng.integers(60, 200, (9, 12, 3)).astype(np.uint8)).resize(
        (800, 600), Pillow.Resampling.BICUBIC
    )
    draw = ImageDraw.Draw(coarse)
    for name, x, y in c["fruit"]:
        draw.ellipse((8 * x - 50, 6 * y - 50, 8 * x + 50, 6 * y + 50), fill=COLOURS[name])
    soft = np.asarray(coarse.filter(ImageFilter.GaussianBlur(2)), np.float64)
    return Pillow.fromarray(np.clip(soft + rng.normal(0, 7, soft.shape), 0, 255).astype(np.uint8))


def vary_photo(c: Choices, rng: Rng) -> Choices:
    """Exchange a fruit, or move it."""
    at = int(rng.integers(6))
    name, x, y = c["fruit"][at]
    fresh = (pick(rng, COLOURS, name), x, y) if rng.integers(2) else (name, (x + 20) % 76 + 12, y)
    return {**c, "fruit": [fresh if i == at else one for i, one in enumerate(c["fruit"])]}


PICTURES: Mapping[str, Draw] = {
    "receipt": (receipt, draw_receipt, vary_receipt),
    "plan": (plan, draw_plan, vary_plan),
    "photo": (photo, draw_photo, vary_photo),
}


def drums(rng: Rng) -> Choices:
    """Draw a loop of beats: kick, snare or hat on sixteen places."""
    return {"hits": [pick(rng, ("kick", "snare", "hat", "")) for _ in range(16)], "kit": int(rng.integers(1 << 20))}


def play_drums(c: Choices) -> np.ndarray:
    """Play it twice."""
    rng = np.random.default_rng(c["kit"])
    t = np.arange(round(0.12 * RATE_HZ)) / RATE_HZ
    noise = rng.standard_normal(len(t))
    kick = np.sin(2 * np.pi * 60 * t * (1 + np.exp(-40 * t))) * np.exp(-18 * t)
    kit = {"kick": kick, "snare": noise * np.exp(-30 * t),
           "hat": 0.5 * np.diff(noise, prepend=0) * np.exp(-80 * t), "": np.zeros(len(t))}  # fmt: skip
    loop = np.concatenate([kit[name] for name in c["hits"]])
    return 0.5 * np.tile(loop, 2) / max(1e-9, np.abs(loop).max())


def vary_drums(c: Choices, rng: Rng) -> Choices:
    """Change one beat."""
    at = int(rng.integers(16))
    return {
        **c,
        "hits": [pick(rng, ("kick", "snare", "hat", ""), hit) if i == at else hit for i, hit in enumerate(c["hits"])],
    }


def bird(rng: Rng) -> Choices:
    """Draw a call of a few sweeps."""
    return {"sweeps": [tuple(int(v) for v in rng.integers(1_500, 4_500, 2)) for _ in range(5)]}


def play_bird(c: Choices) -> np.ndarray:
    """Play it."""
    parts = []
    for low, high in c["sweeps"]:
        t = np.linspace(0, 1, round(0.22 * RATE_HZ))
        phase = 2 * np.pi * np.cumsum(low + (high - low) * t) / RATE_HZ
        parts += [np.sin(phase) * np.hanning(len(t)), np.zeros(round(0.06 * RATE_HZ))]
    return 0.5 * np.concatenate(parts)


def vary_bird(c: Choices, rng: Rng) -> Choices:
    """Change one sweep."""
    at = int(rng.integers(5))
    fresh = tuple(int(v) for v in rng.integers(1_500, 4_500, 2))
    return {**c, "sweeps": [fresh if i == at else one for i, one in enumerate(c["sweeps"])]}


SOUNDS: Mapping[str, Play] = {"drums": (drums, play_drums, vary_drums), "bird": (bird, play_bird, vary_bird)}


def _enlarged(picture: Pillow.Image, rng: Rng) -> tuple[Pillow.Image, str, int]:
    share = float(rng.uniform(1.15, 1.6))
    return (
        picture.resize((round(picture.width * share), round(picture.height * share)), Pillow.Resampling.BICUBIC),
        "JPEG",
        85,
    )


def _one_side(picture: Pillow.Image, rng: Rng) -> tuple[Pillow.Image, str, int]:
    return picture.crop((0, 0, picture.width, round(picture.height * float(rng.uniform(0.96, 0.99))))), "JPEG", 90


def _signed(picture: Pillow.Image, rng: Rng) -> tuple[Pillow.Image, str, int]:
    layer = Pillow.new("RGBA", picture.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    shade = 255 if float(np.asarray(picture.convert("L")).mean()) < 128 else 0
    for y in range(0, picture.height, max(1, picture.height // 3)):
        write(
            draw,
            (picture.width * 0.1, y),
            "shop.example",
            round(picture.width / 9),
            (shade, shade, shade, int(rng.integers(30, 60))),
        )
    return Pillow.alpha_composite(picture.convert("RGBA"), layer).convert("RGB"), "JPEG", 90


PICTURE_WAYS: Mapping[str, Changed] = {
    "png": lambda picture, rng: (picture, "PNG", 0),
    "jpeg_40": lambda picture, rng: (picture, "JPEG", 40),
    "gif": lambda picture, rng: (picture.convert("P", palette=Pillow.Palette.ADAPTIVE, colors=128), "GIF", 0),
    "enlarged": _enlarged,
    "one_side": _one_side,
    "contrast": lambda picture, rng: (ImageEnhance.Contrast(picture).enhance(float(rng.uniform(0.9, 1.1))), "JPEG", 90),
    "softened": lambda picture, rng: (picture.filter(ImageFilter.GaussianBlur(0.7)), "JPEG", 90),
    "signed": _signed,
}


def _both_ends(samples: np.ndarray, rate_hz: int, rng: Rng) -> tuple[np.ndarray, int, str]:
    cut = round(0.03 * len(samples))
    return samples[cut : len(samples) - cut] * 0.6, rate_hz, "MP3"


def _hiss(samples: np.ndarray, rate_hz: int, rng: Rng) -> tuple[np.ndarray, int, str]:
    noise = np.cumsum(rng.standard_normal(len(samples)))
    noise -= np.convolve(noise, np.ones(400) / 400, "same")
    return samples + noise / noise.std() * samples.std() * 10 ** (-24 / 20), rate_hz, "OGG"


SOUND_WAYS: Mapping[str, Played] = {
    "48k": lambda samples, rate_hz, rng: (
        resample(Waveform(samples.astype(np.float32), rate_hz), 48_000).samples,
        48_000,
        "FLAC",
    ),
    "quiet_mp3": lambda samples, rate_hz, rng: (samples * 0.2, rate_hz, "MP3"),
    "both_ends": _both_ends,
    "hiss": _hiss,
    "inverted": lambda samples, rate_hz, rng: (-samples, rate_hz, "WAV"),
    "stereo": lambda samples, rate_hz, rng: (np.stack([samples, 0.8 * samples], axis=1), rate_hz, "OGG"),
}
