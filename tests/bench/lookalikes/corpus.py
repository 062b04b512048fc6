"""A labelled corpus of look-alikes: items, variants that are other items, and planted copies; a manifest and its media.

An item is named by what it shows and says. So a record may be dropped only for another of the same item.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.lookalikes import copies, held_out, pictures, sounds
from trichord.infra import digest
from trichord.infra.digest import generator

VARIANTS, COPIES = 5, 4
TITLE = "{brand} {label} {thing}, {colour}, No. {number}, {size} ml, free shipping within two working days"
BRANDS = ("Hilltop", "Seaside", "Northern", "Old Mill", "Green Valley")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A record: its row in the manifest, the item it is, and how it came about."""

    row: Mapping[str, str]
    family: str
    item: str
    role: str  # 'base', 'variant', or 'copy'
    way: str = ""  # of a copy


def families(*, held: bool) -> tuple[str, ...]:
    """Return the names of the families: those to tune by, or those that are held back."""
    if held:
        return (*held_out.PICTURES, *held_out.SOUNDS)
    return (*pictures.FAMILIES, "catalogue", "title", *sounds.FAMILIES)


def write_corpus(
    folder: Path, names: Sequence[str], bases: int, *, held: bool = False, seed: int = 0
) -> list[Labelled]:
    """Write `manifest.jsonl` and the media of `bases` items of each family, with their variants and copies."""
    (folder / "media").mkdir(parents=True)
    tasks = [(str(folder), name, i, seed, held) for name in names for i in range(bases)]
    with ProcessPoolExecutor(2) as pool:
        found = [one for part in pool.map(_write_base, tasks, chunksize=8) for one in part]
    with open(folder / "manifest.jsonl", "w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(one.row) + "\n" for one in found)
    return found


def _write_base(task: tuple[str, str, int, int, bool]) -> list[Labelled]:
    folder, name, i, seed, held = task
    rng = generator("lookalikes", seed, name, i)
    if name == "title":
        return list(_titles(name, i, rng))
    if name == "catalogue":
        return list(_catalogue(Path(folder), name, i, rng))
    drawing = (held_out.PICTURES if held else pictures.FAMILIES).get(name)
    playing = (held_out.SOUNDS if held else sounds.FAMILIES).get(name)
    picture_ways = held_out.PICTURE_WAYS if held else copies.PICTURES
    sound_ways = held_out.SOUND_WAYS if held else copies.SOUNDS
    found = []
    if drawing is not None:
        make, draw, vary = drawing
        choices = make(rng)
        shown = draw(choices)
        found.append(_record(Path(folder), name, i, "base", 0, choices, image=copies.encode(shown)))
        for n in range(VARIANTS):
            other = vary(choices, rng)
            data = copies.encode(draw(other), *(("PNG", 0) if n % 2 else ("JPEG", 88)))
            found.append(_record(Path(folder), name, i, "variant", n, other, image=data))
        for n in range(COPIES):
            way = list(picture_ways)[(i * COPIES + n) % len(picture_ways)]
            data = copies.encode(*picture_ways[way](shown, rng))
            found.append(_record(Path(folder), name, i, "copy", n, choices, way=way, image=data))
    elif playing is not None:
        compose, play, change = playing
        choices = compose(rng)
        heard = play(choices)
        found.append(
            _record(Path(folder), name, i, "base", 0, choices, audio=copies.encode_samples(heard, sounds.RATE_HZ))
        )
        for n in range(VARIANTS):
            other = change(choices, rng)
            data = copies.encode_samples(play(other), sounds.RATE_HZ, "FLAC" if n % 2 else "WAV")
            found.append(_record(Path(folder), name, i, "variant", n, other, audio=data))
        for n in range(COPIES):
            way = list(sound_ways)[(i * COPIES + n) % len(sound_ways)]
            data = copies.encode_samples(*sound_ways[way](heard, sounds.RATE_HZ, rng))
            found.append(_record(Path(folder), name, i, "copy", n, choices, way=way, audio=data))
    return found


def _record(
    folder: Path, family: str, i: int, role: str, n: int, choices: Any, *,
    way: str = "", text: str | None = None, image: bytes | None = None, audio: bytes | None = None,
) -> Labelled:  # fmt: skip
    key = f"{family}/{i:04d}/{role}/{n}"
    row = {"key": key} | ({} if text is None else {"text": text})
    for column, data in (("image", image), ("audio", audio)):
        if data is not None:
            path = Path("media") / key.replace("/", "-")
            (folder / path).write_bytes(data)
            row[column] = str(path)
    return Labelled(row=row, family=family, item=digest.address(family, choices), role=role, way=way)


def _title(choices: Mapping[str, Any], brand: str) -> str:
    return TITLE.format(brand=brand, **choices)


def _titles(name: str, i: int, rng: pictures.Rng) -> Iterator[Labelled]:
    choices, brand = pictures.product(rng), pictures.pick(rng, BRANDS)
    text = _title(choices, brand) if i % 2 else f"{choices['label']} {choices['colour']} {choices['number']}"

    def said(of: Mapping[str, Any]) -> str:
        return _title(of, brand) if i % 2 else f"{of['label']} {of['colour']} {of['number']}"

    yield _record(Path(), name, i, "base", 0, text, text=text)
    for n in range(VARIANTS):
        other = said(pictures.vary_product(dict(choices), rng))
        yield _record(Path(), name, i, "variant", n, other, text=other)
    for n in range(COPIES):
        way = list(copies.TEXTS)[(i * COPIES + n) % len(copies.TEXTS)]
        yield _record(Path(), name, i, "copy", n, text, way=way, text=copies.TEXTS[way](text))


def _catalogue(folder: Path, name: str, i: int, rng: pictures.Rng) -> Iterator[Labelled]:
    """Yield products with title and photo; variants differ in the title, in the photo, or in both."""
    choices, brand = pictures.product(rng), pictures.pick(rng, BRANDS)
    shown, text = pictures.draw_product(choices), _title(choices, brand)
    yield _record(folder, name, i, "base", 0, [text, choices], text=text, image=copies.encode(shown))
    for n in range(VARIANTS):
        other = pictures.vary_product(dict(choices), rng)
        said = text if n == 1 else _title(other, brand)  # the first: another title below the same photo
        seen = choices if n == 0 else other
        data = copies.encode(pictures.draw_product(seen), "JPEG", 88)
        yield _record(folder, name, i, "variant", n, [said, seen], text=said, image=data)
    for n in range(COPIES):
        way = list(copies.PICTURES)[(i * COPIES + n) % len(copies.PICTURES)]
        of_text = list(copies.TEXTS)[(i + n) % len(copies.TEXTS)]
        yield _record(folder, name, i, "copy", n, [text, choices], way=f"{way}+{of_text}",
                      text=copies.TEXTS[of_text](text), image=copies.copy_picture(shown, way, rng))  # fmt: skip
