"""Pictures that differ in one detail that matters: drawn from a few choices, of which a variant changes one.

A family draws from `Choices`: a mapping of what is to be seen. `vary` changes one of them, as named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

Choices = dict[str, Any]
Rng = np.random.Generator

COLOURS = {
    "black": (22, 22, 24), "white": (238, 238, 236), "pink": (232, 130, 170), "teal": (0, 128, 128),
    "red": (196, 30, 40), "navy": (20, 32, 90), "green": (30, 120, 60), "yellow": (238, 200, 40),
    "orange": (236, 120, 30), "purple": (110, 50, 140), "brown": (110, 70, 40), "grey": (128, 128, 130),
}  # fmt: skip
FLAVOURS = ("Lager", "Stout", "Porter", "Pils", "Cider", "Mead", "Ale", "Bock", "Vanilla", "Cherry", "Lemon", "Mint")
NAMES = ("Anna Keller", "Jonas Weber", "Mia Schulz", "Paul Hartmann", "Lena Vogt", "Tom Becker", "Ida Lorenz",
         "Emil Krause", "Nora Sommer", "Max Dietrich")  # fmt: skip
CITIES = ("Berlin", "Hamburg", "Leipzig", "Bremen", "Dresden", "Mainz", "Kassel", "Rostock", "Erfurt", "Ulm")
WORDS = ("Inbox", "Archive", "Invoices", "Travel", "Recipes", "Photos", "Budget", "Meeting", "Launch", "Support",
         "Reviews", "Backups", "Drafts", "Updates")  # fmt: skip


@lru_cache(maxsize=64)
def font(size: int) -> Any:
    """Return PIL's own font."""
    return ImageFont.load_default(size)


def write(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, fill: Any, anchor: str = "la"
) -> None:
    """Write a line of text."""
    draw.text(at, text, font=font(size), fill=fill, anchor=anchor)


def pick(rng: Rng, values: Any, but: Any = None) -> Any:
    """Draw one of `values` that is not `but`."""
    left = [value for value in values if value != but]
    return left[int(rng.integers(len(left)))]


# --- products: one object on a plain ground --------------------------------------------------------------------------


def product(rng: Rng) -> Choices:
    """Draw a product."""
    return {
        "thing": pick(rng, ("shirt", "bottle", "chair", "mug", "box")), "colour": pick(rng, COLOURS),
        "label": pick(rng, FLAVOURS), "number": int(rng.integers(10, 99)), "size": pick(rng, (400, 500, 640, 800)),
        "ground": pick(rng, ((255, 255, 255), (245, 245, 245), (228, 224, 216))),
    }  # fmt: skip


def draw_product(c: Choices) -> Pillow.Image:
    """Draw it."""
    side = c["size"]
    picture = Pillow.new("RGB", (side, side), c["ground"])
    draw = ImageDraw.Draw(picture)
    u = side / 100
    colour = COLOURS[c["colour"]]
    ink = (245, 245, 245) if sum(colour) < 420 else (20, 20, 20)

    def shape(points: list[tuple[float, float]]) -> None:
        draw.polygon([(x * u, y * u) for x, y in points], fill=colour, outline=(90, 90, 90))

    middle = (50 * u, 52 * u)
    match c["thing"]:
        case "shirt":
            shape([(30, 20), (42, 24), (58, 24), (70, 20), (88, 36), (78, 46), (71, 40), (71, 86), (29, 86), (29, 40),
                   (22, 46), (12, 36)])  # fmt: skip
        case "bottle":
            draw.rounded_rectangle((36 * u, 30 * u, 64 * u, 92 * u), 6 * u, fill=colour)
            draw.rectangle((45 * u, 8 * u, 55 * u, 34 * u), fill=colour)
            middle = (50 * u, 60 * u)
        case "chair":
            shape([(30, 10), (66, 10), (68, 52), (32, 52)])
            shape([(28, 52), (72, 52), (76, 62), (24, 62)])
            for x in (27, 70):
                draw.rectangle((x * u, 62 * u, (x + 3) * u, 94 * u), fill=(70, 55, 40))
            middle = (49 * u, 32 * u)
        case "mug":
            draw.rounded_rectangle((26 * u, 28 * u, 66 * u, 80 * u), 4 * u, fill=colour)
            draw.arc((58 * u, 38 * u, 84 * u, 68 * u), -90, 90, fill=colour, width=round(5 * u))
            middle = (46 * u, 54 * u)
        case "box":
            shape([(20, 30), (60, 26), (60, 84), (20, 88)])
            draw.polygon([(x * u, y * u) for x, y in ((60, 26), (80, 32), (80, 80), (60, 84))],
                         fill=tuple(int(v * 0.75) for v in colour))  # fmt: skip
            middle = (40 * u, 56 * u)
    write(draw, middle, c["label"], round(5 * u), ink, "mm")
    write(draw, (middle[0], middle[1] + 8 * u), f"No {c['number']}", round(4 * u), ink, "mm")
    return picture


def vary_product(c: Choices, rng: Rng) -> Choices:
    """Change colour, label or number."""
    name = pick(rng, ("colour", "label", "number"))
    values = {"colour": COLOURS, "label": FLAVOURS, "number": range(10, 99)}[name]
    return {**c, name: pick(rng, values, c[name])}


# --- pages: the same form, filled in by another hand -----------------------------------------------------------------

FIELDS = ("Name", "City", "Date", "Amount", "Account", "Policy")


def page(rng: Rng) -> Choices:
    """Draw a filled form."""
    return {"form": int(rng.integers(4)), "height": pick(rng, (1100, 1403, 1754)),
            **{name: _entry(name, rng) for name in FIELDS}}  # fmt: skip


def _entry(name: str, rng: Rng) -> str:
    match name:
        case "Name":
            return str(pick(rng, NAMES))
        case "City":
            return f"{int(rng.integers(10_000, 99_999))} {pick(rng, CITIES)}"
        case "Date":
            return f"{int(rng.integers(1, 29)):02d}.{int(rng.integers(1, 13)):02d}.{int(rng.integers(1998, 2026))}"
        case "Amount":
            return f"{int(rng.integers(100, 9_999))}.{int(rng.integers(100)):02d} EUR"
        case _:
            return f"{int(rng.integers(10_000_000, 99_999_999))}"


def draw_page(c: Choices) -> Pillow.Image:
    """Draw it."""
    height = c["height"]
    width = round(height / 1.4142)
    picture = Pillow.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    u = height / 100
    text = round(1.7 * u)
    write(draw, (8 * u, 5 * u), ("Application", "Invoice", "Claim", "Receipt")[c["form"]], round(3 * u), (0, 0, 0))
    for i, name in enumerate(FIELDS):
        y = (16 + 6 * i) * u
        write(draw, (8 * u, y), name, text, (60, 60, 60))
        draw.rectangle((22 * u, y - 1 * u, 62 * u, y + 3 * u), outline=(120, 120, 120))
        write(draw, (23 * u, y), c[name], text, (10, 10, 90))
    rng = np.random.default_rng(c["form"])
    for i in range(14):
        words = " ".join(WORDS[j].lower() for j in rng.integers(0, len(WORDS), 8))
        write(draw, (8 * u, (56 + 2.6 * i) * u), words, round(1.4 * u), (40, 40, 40))
    return picture


def vary_page(c: Choices, rng: Rng) -> Choices:
    """Fill one field with something else; in half of all numbers, change one digit."""
    name = pick(rng, FIELDS)
    if name in ("Amount", "Account", "Policy") and rng.random() < 0.5:
        digits = [i for i, char in enumerate(c[name]) if char.isdigit()]
        at = digits[int(rng.integers(len(digits)))]
        return {**c, name: c[name][:at] + pick(rng, "0123456789", c[name][at]) + c[name][at + 1 :]}
    while (entry := _entry(name, rng)) == c[name]:
        pass
    return {**c, name: entry}


# --- charts ----------------------------------------------------------------------------------------------------------


def chart(rng: Rng) -> Choices:
    """Draw bars or a line."""
    return {"kind": pick(rng, ("bars", "line", "pie")), "values": [int(v) for v in rng.integers(15, 95, 6)],
            "title": f"{pick(rng, CITIES)} {int(rng.integers(1990, 2025))}", "colour": pick(rng, COLOURS, "white"),
            "width": pick(rng, (480, 640, 900))}  # fmt: skip


def draw_chart(c: Choices) -> Pillow.Image:
    """Draw it."""
    width, height = c["width"], c["width"] * 3 // 4
    picture = Pillow.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    u = width / 100
    colour = COLOURS[c["colour"]]
    write(draw, (50 * u, 2 * u), c["title"], round(4 * u), (0, 0, 0), "ma")
    left, bottom, top = 10 * u, 66 * u, 12 * u
    if c["kind"] == "pie":
        start, total = -90.0, sum(c["values"])
        for i, value in enumerate(c["values"]):
            end = start + 360 * value / total
            shade = tuple(int(v + (255 - v) * i / 7) for v in colour)
            draw.pieslice((25 * u, 12 * u, 75 * u, 62 * u), start, end, fill=shade, outline=(255, 255, 255))
            start = end
    else:
        draw.line((left, top, left, bottom, 95 * u, bottom), fill=(0, 0, 0), width=max(1, round(u / 3)))
        places = [left + (8 + 14 * i) * u for i in range(6)]
        tops = [bottom - (bottom - top) * value / 100 for value in c["values"]]
        if c["kind"] == "bars":
            for x, y in zip(places, tops, strict=True):
                draw.rectangle((x - 4 * u, y, x + 4 * u, bottom), fill=colour)
        else:
            draw.line([*zip(places, tops, strict=True)], fill=colour, width=max(2, round(u / 2)))
        for i, x in enumerate(places):
            write(draw, (x, bottom + u), f"Q{i + 1}", round(2.6 * u), (60, 60, 60), "ma")
    return picture


def vary_chart(c: Choices, rng: Rng) -> Choices:
    """Change a value by at least ten of a hundred, the title, or the colour."""
    match pick(rng, ("values", "values", "title", "colour")):
        case "values":
            at = int(rng.integers(6))
            changed = list(c["values"])
            changed[at] = int(pick(rng, [v for v in range(15, 95) if abs(v - changed[at]) >= 10]))
            return {**c, "values": changed}
        case "title":
            while (title := f"{pick(rng, CITIES)} {int(rng.integers(1990, 2025))}") == c["title"]:
                pass
            return {**c, "title": title}
        case _:
            return {**c, "colour": pick(rng, COLOURS, c["colour"]) if c["colour"] != "white" else "red"}


# --- screenshots -----------------------------------------------------------------------------------------------------


def screen(rng: Rng) -> Choices:
    """Draw a window with a list, switches and a chosen row."""
    return {"size": pick(rng, ((1280, 720), (1024, 768), (1440, 900))), "rows": [pick(rng, WORDS) for _ in range(9)],
            "switches": [bool(v) for v in rng.integers(0, 2, 9)], "chosen": int(rng.integers(9)),
            "dark": bool(rng.integers(2)), "count": int(rng.integers(100, 999))}  # fmt: skip


def draw_screen(c: Choices) -> Pillow.Image:
    """Draw it."""
    width, height = c["size"]
    ground, ink, line = (
        ((32, 33, 36), (230, 230, 230), (70, 70, 74)) if c["dark"] else ((250, 250, 250), (30, 30, 30), (215, 215, 215))
    )
    picture = Pillow.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(picture)
    u = height / 100
    draw.rectangle((0, 0, width, 7 * u), fill=line)
    write(draw, (2 * u, 1.6 * u), f"Settings   {c['count']} items", round(3 * u), ink)
    for i, (name, on) in enumerate(zip(c["rows"], c["switches"], strict=True)):
        y = (10 + 9.5 * i) * u
        if i == c["chosen"]:
            draw.rectangle((0, y, width, y + 9 * u), fill=(52, 98, 160) if c["dark"] else (205, 224, 250))
        write(draw, (6 * u, y + 2.4 * u), f"{name} {i + 1}", round(3 * u), ink)
        x = width - 16 * u
        draw.rounded_rectangle(
            (x, y + 2.6 * u, x + 8 * u, y + 6.4 * u), 2 * u, fill=(50, 170, 90) if on else (150, 150, 150)
        )
        knob = x + (6 * u if on else 2 * u)
        draw.ellipse((knob - 1.6 * u, y + 2.9 * u, knob + 1.6 * u, y + 6.1 * u), fill=(255, 255, 255))
    return picture


def vary_screen(c: Choices, rng: Rng) -> Choices:
    """Change a row's name, a switch, the chosen row, or the count."""
    at = int(rng.integers(9))
    match pick(rng, ("rows", "switches", "chosen", "count")):
        case "rows":
            return {**c, "rows": [pick(rng, WORDS, name) if i == at else name for i, name in enumerate(c["rows"])]}
        case "switches":
            return {**c, "switches": [not on if i == at else on for i, on in enumerate(c["switches"])]}
        case "chosen":
            return {**c, "chosen": pick(rng, range(9), c["chosen"])}
        case _:
            return {**c, "count": pick(rng, range(100, 999), c["count"])}


Draw = tuple[Callable[[Rng], Choices], Callable[[Choices], Pillow.Image], Callable[[Choices, Rng], Choices]]
FAMILIES: Mapping[str, Draw] = {
    "product": (product, draw_product, vary_product),
    "page": (page, draw_page, vary_page),
    "chart": (chart, draw_chart, vary_chart),
    "screen": (screen, draw_screen, vary_screen),
}
