"""Small plots as inline SVG, without colours: the page's style sheet colours their classes.

Every value goes through `Markup.format`, which escapes it; coordinates are plain numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from markupsafe import Markup
from rich.cells import cell_len, set_cell_size

from trichord.infra.printable import printable
from trichord.transforms.batch import Waveform

CURVE_SIZE = (470, 190)
HISTOGRAM_SIZE = (300, 132)
WAVE_SIZE, WIDE_WAVE_SIZE, STRIP_SIZE = (96, 28), (440, 36), (440, 18)
WORDS = 60
_BINS = 24
_GRID = re.compile(r"(\d{1,2})x(\d{1,2}):([01.]+)")


def curve(points: Sequence[tuple[float, float]], label: str, *, best: int | None = None) -> Markup:
    """Plot a line through (epoch, value) points, with round ticks and the point `best` marked."""
    width, height = CURVE_SIZE
    left, right, top, bottom = 46, width - 14, 14, height - 26
    ticks = round_ticks(min(y for _, y in points), max(y for _, y in points))
    first, last = points[0][0], points[-1][0]

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = left + (right - left) * ((point[0] - first) / (last - first) if last > first else 0.5)
        y = bottom - (bottom - top) * (point[1] - ticks[0]) / (ticks[-1] - ticks[0])
        return round(x, 1), round(y, 1)

    parts = [_line(left, place((first, tick))[1], right, place((first, tick))[1], "grid") for tick in ticks]
    parts += [_text(left - 6, place((first, tick))[1] + 4, figure(tick), "tick end") for tick in ticks]
    parts += [_text(place((x, ticks[0]))[0], height - 8, figure(x), "tick middle") for x in _whole_ticks(first, last)]
    line = " ".join(f"{x},{y}" for x, y in map(place, points))
    parts.append(Markup('<polyline class="curve" points="{}"/>').format(line))
    marked = points if len(points) <= 60 else []
    parts += [_dot(*place(point), 2, "dot") for point in marked]
    if best is not None:
        x, y = place(points[best])
        parts.append(_dot(x, y, 4, "best"))
        # keep the label inside the frame: left of points on the right, below points at the top
        anchor = "end" if x > width / 2 else ""
        down = 16 if y < top + 12 else -8
        parts.append(_text(x, y + down, figure(points[best][1]), f"value {anchor}"))
    return _svg(width, height, parts, label)


def histogram(
    values: Sequence[float], label: str, limits: Sequence[tuple[str, float]] = (), refused: Sequence[float] = ()
) -> Markup:
    """Plot the distribution of values, with limits (name, value) that are close to the values.

    `refused` values are stacked on the others in their own colour. The axis is logarithmic if all values are positive
    and span more than a factor of 50. Only finite values are plotted; there must be at least one.
    """
    width, height = HISTOGRAM_SIZE
    left, right, top, bottom = 8, width - 8, 24, height - 22
    kept, out = (_finite(part) for part in (values, refused))
    finite = np.concatenate([kept, out])
    low, high = float(finite.min()), float(finite.max())
    scale = math.log10 if low > 0 and high / low > 50 else float
    start, end = scale(low), scale(high)
    room = (end - start) or max(abs(start), 1.0) * 0.1
    near = [(kind, limit) for kind, limit in limits if (scale is float or limit > 0)
            and start - room / 2 <= scale(limit) <= end + room / 2]  # fmt: skip
    edges = [scale(limit) for _, limit in near]
    axis = min([start, *edges]) - room * 0.03, max([end, *edges]) + room * 0.03

    def x_of(value: float) -> float:
        return round(left + (right - left) * (value - axis[0]) / (axis[1] - axis[0]), 1)

    parts = []
    if end > start:
        (counts, bounds), (gone, _) = (
            np.histogram(np.log10(part) if scale is math.log10 else part, _BINS, (start, end)) for part in (kept, out)
        )
        most = (counts + gone).max()
        columns = zip(counts.tolist(), gone.tolist(), pairwise(map(x_of, bounds.tolist())), strict=True)
        for count, left_out, (a, b) in columns:
            floor = float(bottom)
            for rows, kind in ((count, "bin"), (left_out, "bin refused")):
                least = 1.0 if kind == "bin" else 2.0
                tall = min(max((bottom - top) * rows / most, least), floor - top) if rows else 0.0
                if rows or kind == "bin":
                    parts.append(_rect(a + 0.5, floor - tall, max(b - a - 1, 1), tall, kind))
                floor -= tall
    else:
        parts.append(_rect(x_of(start) - 4, top, 8, bottom - top, "bin" if len(kept) else "bin refused"))
    parts.append(_line(left, bottom, right, bottom, "axis"))
    parts.append(_text(x_of(start), height - 7, figure(low), "tick" if end > start else "tick middle"))
    if end > start:
        parts.append(_text(x_of(end), height - 7, figure(high), "tick end"))
    for kind, limit in near:
        x = x_of(scale(limit))
        side = "limit" if x < width / 2 else "limit end"
        parts.append(_line(x, top - 6, x, bottom, "limit"))
        parts.append(_text(x, top - 10, f"{kind} {figure(limit)}", side))
    return _svg(width, height, parts, label)


def overlaid(low: float, high: float, strangers: Sequence[float], pairs: Sequence[float], label: str) -> Markup:
    """Plot two distributions from `low` to `high`, as shares of equal bins, `pairs` in front of `strangers`."""
    width, height = HISTOGRAM_SIZE
    left, right, top, bottom = 8, width - 8, 10, height - 22
    most = max(*strangers, *pairs) or 1.0
    parts = []
    for shares, kind in ((strangers, "bin strangers"), (pairs, "bin pairs")):
        wide = (right - left) / len(shares)
        for place, share in enumerate(shares):
            tall = max((bottom - top) * share / most, 1.0)
            if share:
                parts.append(_rect(left + place * wide + 0.25, bottom - tall, wide - 0.5, tall, kind))
    parts.append(_line(left, bottom, right, bottom, "axis"))
    if low < 0 < high:
        x = round(left + (right - left) * -low / (high - low), 1)
        parts.append(_line(x, bottom, x, bottom + 4, "axis"))
        if left + 30 < x < right - 30:
            parts.append(_text(x, height - 7, "0", "tick middle"))
    parts.append(_text(left, height - 7, figure(low), "tick"))
    parts.append(_text(right, height - 7, figure(high), "tick end"))
    return _svg(width, height, parts, label)


def _finite(values: Sequence[float]) -> np.ndarray:
    given = np.asarray(values, dtype=float)
    return given[np.isfinite(given)]


def tiles(uri: str, size: tuple[int, int], marks: str) -> Markup:
    """Draw a picture with its blurred tiles in red and its flat tiles in grey.

    Args:
        uri: the picture, a data URI.
        size: its width and height in pixels.
        marks: the label `image_blur_map`, for example `2x2:01.0`: row by row, 1 blurred, 0 sharp, a dot flat.
    """
    width, height = size
    parts = [Markup('<image href="{}" width="{}" height="{}"/>').format(uri, width, height)]
    grid = _GRID.fullmatch(marks)
    side = int(grid[1]) if grid else 0
    if grid and side == int(grid[2]) and 0 < side <= 64 and len(grid[3]) == side * side:
        across, down = width / side, height / side
        for place, mark in enumerate(grid[3]):
            if mark != "0":
                kind = "tile-blurred" if mark == "1" else "tile-flat"
                parts.append(_rect(place % side * across, place // side * down, across, down, kind))
        lines = "".join(f"M{i * across:.1f} 0V{height}M0 {i * down:.1f}H{width}" for i in range(1, side))
        parts.append(Markup('<path class="tile-line" d="{}"/>').format(lines))
    return _svg(width, height, parts, "picture with blurred tiles marked")


def words(segments: Sequence[tuple[float, float, str, float]], duration_s: float) -> Markup:
    """Draw words (start and end in seconds, text, score from 0 to 1) at their times in a sound of `duration_s`."""
    width, height = STRIP_SIZE
    parts = []
    for start, end, said, score in segments[:WORDS]:
        a, b = (width * min(1.0, max(0.0, at / max(duration_s, 1e-9))) for at in (start, end))
        kind = "low" if score < 0.4 else "high" if score >= 0.7 else ""
        parts.append(_rect(a, 2, max(b - a, 1.0), height - 4, f"word {kind}"))
        room = int((b - a - 3) / 4.6)
        if room >= 2:
            seen = printable(said)
            label = seen if cell_len(seen) <= room else set_cell_size(seen, room - 1).rstrip() + "…"
            parts.append(_text(round(a + 2, 1), height - 6, label, "said"))
    return _svg(width, height, parts, "words in time")


def waveform(wave: Waveform, size: tuple[int, int] = WAVE_SIZE) -> Markup:
    """Draw the lowest and highest sample of each column at full scale, so that clipping shows as a flat edge."""
    width, height = size
    columns = np.array_split(wave.samples, min(width, max(1, len(wave.samples))))
    middle = height / 2
    path = "".join(
        f"M{x} {middle - float(part.max()) * middle:.1f}V{middle - float(part.min()) * middle + 0.5:.1f}"
        for x, part in enumerate(columns)
    )
    return _svg(width, height, [Markup('<path class="wave" d="{}"/>').format(path)], "waveform")


def waterfall(before: int, rows: int, total: int, kind: str) -> Markup:
    """Draw a bar of `rows` that ends at `before`, on a scale of `total`."""
    scale = 1_000 / max(1, total)
    wide = min(1_000.0, max(rows * scale, 3.0)) if rows else 0.0
    start = min(max(0.0, (before - rows) * scale), 1_000 - wide)
    return _stretched([_rect(0, 6, round(start, 1), 2, "lead"), _rect(round(start, 1), 0, round(wide, 1), 14, kind)])


def bar(value: float, kind: str, *, whole: float = 1.0, mark: float | None = None) -> Markup:
    """Draw a bar of `value` on a scale of `whole`, and a tick at `mark`."""

    def reach(part: float) -> float:
        return round(1_000 * min(1.0, max(0.0, part / whole)), 1)

    parts = [_rect(0, 0, 1_000, 14, "track"), _rect(0, 0, reach(value), 14, kind)]
    if mark is not None:
        parts.append(_rect(max(0.0, reach(mark) - 4), 0, 8, 14, "mark"))
    return _stretched(parts)


def round_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Return about `wanted` + 1 round numbers that enclose [low, high]."""
    size = max(abs(low), abs(high))
    span = high - low if high - low > 1e-6 * size else size or 1.0
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit * wanted >= span)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{step * i:.12g}") for i in range(first, max(last, first + 1) + 1)]


def figure(value: float) -> str:
    """Format a number with three significant digits, or thousands separators: 1,234, 0.123, 5e-07."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if abs(value) >= 100 or (float(value).is_integer() and abs(value) < 100):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _whole_ticks(first: float, last: float) -> list[float]:
    return [tick for tick in round_ticks(first, last, 6) if first <= tick <= last and tick.is_integer()]


def _svg(width: int, height: int, parts: Sequence[Markup], label: str) -> Markup:
    frame = Markup('<svg viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">{}</svg>')
    return frame.format(width, height, width, height, label, Markup("").join(parts))


def _stretched(parts: Sequence[Markup]) -> Markup:
    frame = Markup('<svg class="bar" viewBox="0 0 1000 14" preserveAspectRatio="none" aria-hidden="true">{}</svg>')
    return frame.format(Markup("").join(parts))


def _rect(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    shape = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>')
    return shape.format(kind, round(x, 1), round(y, 1), round(width, 1), round(height, 1))


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, x1, y1, x2, y2)


def _dot(x: float, y: float, radius: float, kind: str) -> Markup:
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(kind, x, y, radius)


def _text(x: float, y: float, label: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(kind, x, y, label)
