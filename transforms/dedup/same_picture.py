"""Pictures that show the same: every place of one is compared with the same place of the other.

A copy may be encoded again, resized, cropped or framed a little, lighter or darker, or have a faint watermark. So one
picture is first laid over the other (Evangelidis and Psarakis 2008, "Parametric Image Alignment using Enhanced
Correlation Coefficient Maximization"), then brightness is fitted, and then no place may differ: what remains is
measured against the contrast of that place, so a small label counts as much as a large object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from trichord.transforms.batch import Image
from trichord.transforms.dedup.ink import compare_ink
from trichord.transforms.dedup.places import Places
from trichord.transforms.dedup.watermark import remove_mark
from trichord.transforms.libraries import cv2

VERSION = 3  # raised when the same pictures would get another verdict

Grey = npt.NDArray[np.float32]  # (H, W), 0 to 255
Mask = npt.NDArray[np.bool_]
Levels = npt.NDArray[np.float32]  # (256,)
Warp = npt.NDArray[np.float64]  # (3, 3), from pixels of one picture to those of the other

UNSEEN, UNSEEN_CHROMA = 6.0, 2.0  # levels by which a whole place may be lighter or darker, and more or less coloured
LEVELS = (128, 256)  # longer sides at which the pictures are laid over each other
MOST_ITERATIONS = (40, 15)
ZOOMS = (1.0, 0.95, 1.05)  # where to begin: a copy may be cropped or framed
LEAST_LIKENESS, SURE_LIKENESS = 0.7, 0.97  # correlation at the coarsest level
INK_LEVELS, LEAST_BOX = 40, 0.2
MOST_ASPECT = 1.25  # quotient of aspects
LEAST_SCALE = 0.35  # a smaller copy does not show enough
MOST_SHEAR, MOST_STRETCH, MOST_SHIFT = 0.02, 1.3, 0.15
LEAST_SHARED = 0.72  # share of either picture that the other covers, a plain frame aside
MOST_FRAME = 0.08  # of a side
WINDOW, CHROMA_WINDOW = 7, 9  # pixels
NOISE, CHROMA_NOISE = 12.0, 9.0  # grey levels: what coding may change in a place without contrast
MOST_DIFFERENCE = 0.38  # of a place, relative to its contrast
FINE, MOST_FINE_DIFFERENCE = 320, 0.35  # the same from this longer side on: in a `detail`
FRAME_LEVELS, FRAME_SPREAD, FRAME_EDGE = 6.0, 32, 40
SMOOTH = 0.9  # pixels: what resampling a picture changes


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureVerdict:
    """The result of comparing two pictures: same or not, the difference in the most different place, and the reason."""

    same: bool
    difference: float  # of the most different place; from `MOST_DIFFERENCE` on they are not the same
    why: str = ""


def compare_pictures(one: Image, other: Image, *, only_colour: bool = False) -> PictureVerdict:
    """Compare two pictures, (H, W, 3) RGB or (H, W) grey; the order does not matter.

    With `only_colour` luminance does not count: it was compared in larger copies.
    """
    one, other = strip_frame(one), strip_frame(other)
    small, large = sorted((one, other), key=lambda image: (image.shape[0] * image.shape[1], image.tobytes()))
    height, width = small.shape[:2]
    if max(height, width) < LEAST_SCALE * max(large.shape[:2]):
        return _unlike("one is too small to tell")
    aspect = (width / height) / (large.shape[1] / large.shape[0])
    if not 1 / MOST_ASPECT <= aspect <= MOST_ASPECT:
        return _unlike("another shape")
    scale = np.sqrt(height * width / (large.shape[0] * large.shape[1]))
    size = max(16, round(large.shape[1] * scale)), max(16, round(large.shape[0] * scale))
    large = np.asarray(
        cv2.resize(large, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8
    )
    fine = max(height, width) > FINE
    limit = MOST_FINE_DIFFERENCE if fine else MOST_DIFFERENCE
    a, b = _channels(small), _channels(large)
    warp = _align(a[0], b[0])
    if warp is None:
        return _unlike("they cannot be laid over each other")
    inside = _covered(warp, (height, width), b[0])
    if inside is None:
        return _unlike("another part of the picture")
    laid = [_lay(channel, warp, (height, width)) for channel in b]
    a, laid = _match_brightness(a, laid, inside)
    difference, why, places = _differ(a, laid, inside, only_colour=only_colour)
    if difference < limit:
        return _with_ink(difference, "", a, laid, inside, limit)
    around = np.ones((WINDOW, WINDOW), np.uint8)
    spread = cv2.dilate(places.reach(limit / 2).astype(np.uint8), around) > 0
    for plain, marked, marked_is_b in ((a, laid, True), (laid, a, False)):
        if (cleared := remove_mark(plain, marked, spread)) is not None:
            pair = (plain, cleared) if marked_is_b else (cleared, plain)
            left, _, _ = _differ(*pair, inside, only_colour=only_colour)
            if left < limit:
                return _with_ink(left, "a faint watermark", *pair, inside, limit)
    return PictureVerdict(same=False, difference=difference, why=why)


def _with_ink(difference: float, why: str, a: list[Grey], b: list[Grey], inside: Mask, limit: float) -> PictureVerdict:
    """Return the verdict on two pictures no place of which differs, once the colour of ink is compared."""
    ink = limit * compare_ink(a, b, inside)
    if ink >= limit:
        return PictureVerdict(same=False, difference=ink, why="another colour")
    return PictureVerdict(same=True, difference=max(difference, ink), why=why)


def _unlike(why: str) -> PictureVerdict:
    return PictureVerdict(same=False, difference=1.0, why=why)


def grey_of(image: Image) -> npt.NDArray[np.uint8]:
    """Return a colour picture (H, W, 3) in grey (H, W)."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def strip_frame(image: Image) -> Image:
    """Return the picture without a thin frame of one colour that ends sharply; a margin without an edge stays."""
    top, bottom, left, right = (_frame_depth(image, across, last) for across in (1, 0) for last in (False, True))
    return np.ascontiguousarray(image[top : image.shape[0] - bottom, left : image.shape[1] - right])


def _frame_depth(image: Image, across: int, last: bool) -> int:
    """Return how many lines at an edge are such a frame: rows (`across` is 1) or columns (0), first or last."""
    count, width = image.shape[1 - across], image.shape[across]

    most = max(1, round(MOST_FRAME * count))
    chosen = slice(-most - 3 if most + 3 < count else None, None) if last else slice(most + 3)
    lines = image[chosen] if across else image[:, chosen]

    def along(place: int) -> npt.NDArray[np.uint8]:
        return lines.take(-1 - place if last else place, axis=1 - across).reshape(width, -1)

    first = along(0)
    ranked = np.sort(first, axis=0)
    twice = [below + above for below, above in zip(*ranked[[(width - 1) // 2, width // 2]].tolist(), strict=True)]

    def within(part: Image, levels: int) -> npt.NDArray[np.uint8]:
        lowest, highest = (tuple((both + up) // 2 + move for both in twice) for up, move in ((1, -levels), (0, levels)))
        return np.asarray(cv2.inRange(part, lowest, highest))

    if cv2.countNonZero(within(first[:, None], FRAME_SPREAD)) / width <= 0.995:
        return 0  # as in nearly all photographs
    margin = width // 12
    tenth = slice(margin, margin - (2 * margin - width) // 10)  # rounded up
    if (within(lines[:, tenth] if across else lines[tenth], FRAME_EDGE) == 255).all():
        return 0  # no line differs along nine tenths, as on plain ground
    plain = cv2.reduce(within(lines, FRAME_SPREAD), across, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel() / (255 * width)
    found = (plain[::-1] if last else plain) > 0.995
    if found.all() or not 0 < (depth := int(np.argmin(found))) <= most:
        return 0
    behind = along(min(depth + 2, len(found) - 1))[margin : width - margin].astype(np.int16)
    sharp = (np.abs(behind - np.array(twice) / 2).max(axis=1) > FRAME_EDGE).mean() > 0.9
    return depth + 2 if sharp else 0  # the lines where both meet are of neither


def _differ(a: list[Grey], b: list[Grey], inside: Mask, *, only_colour: bool) -> tuple[float, str, Places]:
    """Return how far the most different place differs, in what, and the places of luminance."""
    places = Places(a[0], b[0], inside, noise=NOISE, window=WINDOW, unseen=UNSEEN)
    most, why = (0.0, "") if only_colour else (places.most(), "a part differs")
    for channel, other in zip(a[1:], b[1:], strict=True):
        chroma = Places(channel, other, inside, noise=CHROMA_NOISE, window=CHROMA_WINDOW, unseen=UNSEEN_CHROMA).most()
        if chroma > most:
            most, why = chroma, "another colour"
    return most, why, places


def _channels(image: Image) -> list[Grey]:
    """Return luminance and, of a colour picture, two chroma channels, slightly smoothed."""
    if image.ndim == 2:
        return [_smooth(image.astype(np.float32), SMOOTH)]
    planes = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb))
    return [_smooth(plane.astype(np.float32), SMOOTH if i == 0 else 1.5) for i, plane in enumerate(planes)]


def _smooth(plane: Grey, sigma: float) -> Grey:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)


def _lay(plane: Grey, warp: Warp, shape: tuple[int, int]) -> Grey:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (shape[1], shape[0])
    return np.asarray(
        cv2.warpAffine(plane, warp[:2].astype(np.float32), size, flags=flags, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )


def _align(a: Grey, b: Grey) -> Warp | None:
    """Return the affine map (3, 3) from pixels of `a` to pixels of `b`, coarse to fine; None where there is none."""
    start = _scaling(b.shape[1] / a.shape[1], b.shape[0] / a.shape[0])
    guesses = [_box_to_box(content_box(a), content_box(b)), *(start @ _about_middle(a.shape, zoom) for zoom in ZOOMS)]
    likeness, warp = -1.0, start
    for guess in guesses:
        found = _fit(a, b, guess, LEVELS[0], MOST_ITERATIONS[0])
        if found[0] > likeness:
            likeness, warp = found
        if likeness > SURE_LIKENESS:
            break
    if likeness < LEAST_LIKENESS:
        return None
    for level, iterations in zip(LEVELS[1:], MOST_ITERATIONS[1:], strict=True):
        _, warp = _fit(a, b, warp, level, iterations)
        if level >= max(a.shape):
            break
    return warp


def _fit(a: Grey, b: Grey, warp: Warp, level: int, iterations: int) -> tuple[float, Warp]:
    """Return the correlation that is reached with longer sides of `level` pixels, and the better map; -1 if none."""
    share = min(1.0, level / max(a.shape))
    small_a, small_b = _shrink(a, share), _shrink(b, share)
    to_a = _scaling(small_a.shape[1] / a.shape[1], small_a.shape[0] / a.shape[0])
    to_b = _scaling(small_b.shape[1] / b.shape[1], small_b.shape[0] / b.shape[0])
    guess = (to_b @ warp @ np.linalg.inv(to_a))[:2].astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, iterations, 1e-5)
    everywhere = np.ones(small_b.shape, np.uint8)
    try:
        likeness, found = cv2.findTransformECC(small_a, small_b, guess, cv2.MOTION_AFFINE, criteria, everywhere, 5)
    except cv2.error:  # it does not converge
        return -1.0, warp
    fitted = np.linalg.inv(to_b) @ np.vstack([found, [0, 0, 1]]) @ to_a
    return (float(likeness), fitted) if _is_plausible(fitted, a, b) else (-1.0, warp)


def _is_plausible(warp: Warp, a: Grey, b: Grey) -> bool:
    stretch = warp[0, 0] * a.shape[1] / b.shape[1], warp[1, 1] * a.shape[0] / b.shape[0]
    turned = max(abs(warp[0, 1]), abs(warp[1, 0]))
    shift = max(abs(warp[0, 2]) / b.shape[1], abs(warp[1, 2]) / b.shape[0])
    fits = min(stretch) > 1 / MOST_STRETCH and max(stretch) < MOST_STRETCH
    return bool(np.isfinite(warp).all() and fits and turned < MOST_SHEAR and shift < MOST_SHIFT)


def content_box(grey: npt.NDArray[np.floating | np.uint8]) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right (exclusive) of what differs from the ground at the edges; all if nothing does."""
    height, width = grey.shape
    edge = np.sort(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    ground = (float(edge[(len(edge) - 1) // 2]) + float(edge[len(edge) // 2])) / 2
    if grey.dtype == np.uint8:
        plain = cv2.inRange(grey, math.ceil(ground - INK_LEVELS), math.floor(ground + INK_LEVELS))
        ink = cv2.bitwise_not(plain)
    else:
        ink = (np.abs(grey - np.float32(ground)) > INK_LEVELS).astype(np.uint8)
    y, x = max(1, height // 80), max(1, width // 80)
    ink[:y], ink[-y:], ink[:, :x], ink[:, -x:] = 0, 0, 0, 0  # what is left of a frame
    left, top, across, down = cv2.boundingRect(ink)
    if not across or down - 1 < LEAST_BOX * height or across - 1 < LEAST_BOX * width:
        return 0, 0, height, width
    return top, left, top + down, left + across


def _box_to_box(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> Warp:
    x, y = (b[3] - b[1]) / (a[3] - a[1]), (b[2] - b[0]) / (a[2] - a[0])
    return np.array([[x, 0, b[1] - x * a[1]], [0, y, b[0] - y * a[0]], [0, 0, 1]])


def _about_middle(shape: tuple[int, ...], zoom: float) -> Warp:
    y, x = shape[0] / 2, shape[1] / 2
    return np.array([[zoom, 0, x - zoom * x], [0, zoom, y - zoom * y], [0, 0, 1]])


def _scaling(x: float, y: float) -> Warp:
    """Return the map that scales pixels, whose centres are at whole numbers."""
    return np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5], [0, 0, 1]])


def _shrink(plane: Grey, share: float) -> Grey:
    if share >= 1:
        return plane
    size = max(8, round(plane.shape[1] * share)), max(8, round(plane.shape[0] * share))
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)


def _covered(warp: Warp, shape: tuple[int, int], b: Grey) -> Mask | None:
    """Return where `a` is covered by `b`, (H, W); None where either shows much that the other does not."""
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    ones = np.ones(shape, np.float32), np.ones_like(b)
    inside = cv2.warpAffine(ones[1], warp[:2], (shape[1], shape[0]), flags=flags) > 0.5
    back = cv2.warpAffine(ones[0], np.linalg.inv(warp)[:2], (b.shape[1], b.shape[0]), flags=flags) > 0.5
    framed = back.all() or float(b[~back].std()) < FRAME_LEVELS
    if inside.mean() < LEAST_SHARED or (back.mean() < LEAST_SHARED and not framed):
        return None
    eroded = cv2.erode(inside.astype(np.uint8), np.ones((WINDOW + 4, WINDOW + 4), np.uint8), borderValue=1)
    return np.asarray(eroded > 0)


def _match_brightness(a: list[Grey], b: list[Grey], inside: Mask) -> tuple[list[Grey], list[Grey]]:
    """Return both in one brightness: the one that a curve explains better is changed by the best of a few."""
    step = max(1, int(np.sqrt(a[0].size / 16_384)))
    inner = inside[::step, ::step]
    x, y = (plane[0][::step, ::step][inner] for plane in (a, b))
    to_a, to_b = _fit_curve(y, x), _fit_curve(x, y)
    if to_a[0] <= to_b[0]:
        return a, _brighten(b, to_a[1])
    return _brighten(a, to_b[1]), b


def _fit_curve(x: Grey, y: Grey) -> tuple[float, Levels]:
    """Return the error that the best curve leaves between x and y, and the curve."""
    levels = np.clip(np.rint(x), 0, 255).astype(np.uint8)
    errors = []
    for curve, cost in _curves():
        apart = cv2.absdiff(cv2.LUT(levels, curve), y)
        errors.append(cv2.sumElems(np.minimum(apart, 24))[0] / max(1, len(x)) + cost)
    best = int(np.argmin(errors))
    return errors[best], _curves()[best][0]


def _brighten(planes: list[Grey], curve: Levels) -> list[Grey]:
    """Return planes of another brightness: red, green and blue follow the curve; where one is cut, colours change."""
    if len(planes) == 1 or curve is _curves()[0][0]:
        return [_apply(curve, plane) for plane in planes]
    rgb = cv2.cvtColor(cv2.merge(planes) / np.float32(255), cv2.COLOR_YCrCb2RGB)
    levels = np.clip(rgb, 0, 1) * np.float32(255)
    lit = cv2.merge([_apply(curve, np.asarray(plane, np.float32)) for plane in cv2.split(levels)])
    changed = cv2.cvtColor(lit / np.float32(255), cv2.COLOR_RGB2YCrCb) * np.float32(255)
    return [np.asarray(plane, np.float32) for plane in cv2.split(changed)]


def _apply(curve: Levels, plane: Grey) -> Grey:
    low = np.clip(np.floor(plane), 0, 254).astype(np.uint8)
    steps = np.append(np.diff(curve), np.float32(0))
    return np.asarray(cv2.LUT(low, curve) + (plane - low) * cv2.LUT(low, steps), np.float32)


@lru_cache(maxsize=1)
def _curves() -> list[tuple[Levels, float]]:
    """Return curves of brightness, each with what it costs to assume it.

    A curve that would turn black into grey below a ground that stays white is another colour, so gains, offsets and
    contrasts are small where white would stay.
    """
    levels: Levels = np.arange(256, dtype=np.float32)
    gains = [np.clip(levels * g, 0, 255) for g in np.linspace(0.7, 1.26, 57)]
    offsets = [np.clip(levels + c, 0, 255) for c in range(-30, 16, 3) if c]
    powers = [(levels / 255) ** g * 255 for g in (0.75, 0.8, 0.85, 0.9, 0.95, 1.05, 1.1, 1.15, 1.2, 1.3)]
    contrasts = [
        np.clip((levels - m) * g + m, 0, 255)
        for m in (96, 128, 160, 192, 224)
        for g in (0.8, 0.9, 1.1, 1.2)
        if m < 192 or 0.8 < g < 1.2
    ]
    costs = (0.05, gains), (0.1, offsets), (0.1, powers), (0.15, contrasts)
    curves = [(np.asarray(curve, np.float32), cost) for cost, kind in costs for curve in kind]
    return [(levels, 0.0), *curves]
