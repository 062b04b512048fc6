"""A scene in words: five captions that differ in frame, order, synonyms and in what they leave out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from trichord.pipelines.demo.scenes import Group, Scene

CAPTIONS = 5

# The first word of each entry is the plain one; the others stand in for it as the difficulty rises.
_SHAPES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "circle": (("circle", "circles"), ("disc", "discs"), ("dot", "dots")),
    "square": (("square", "squares"), ("box", "boxes"), ("block", "blocks")),
    "triangle": (("triangle", "triangles"), ("wedge", "wedges"), ("three-sided shape", "three-sided shapes")),
    "star": (("star", "stars"), ("pentagram", "pentagrams"), ("five-pointed figure", "five-pointed figures")),
    "cross": (("cross", "crosses"), ("plus sign", "plus signs"), ("plus", "pluses")),
    "ring": (("ring", "rings"), ("hoop", "hoops"), ("doughnut", "doughnuts")),
    "heart": (("heart", "hearts"), ("valentine", "valentines"), ("love symbol", "love symbols")),
    "arrow": (("arrow", "arrows"), ("pointer", "pointers"), ("direction sign", "direction signs")),
}
_COLOURS: Mapping[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "tangerine", "amber"),
    "yellow": ("yellow", "golden", "lemon"),
    "green": ("green", "emerald", "leaf-coloured"),
    "cyan": ("cyan", "turquoise", "aqua"),
    "blue": ("blue", "cobalt", "azure"),
    "purple": ("purple", "violet", "plum"),
    "pink": ("pink", "rosy", "salmon"),
    "white": ("white", "snowy", "ivory"),
    "black": ("black", "ebony", "jet-black"),
}
_BACKGROUNDS: Mapping[str, tuple[str, ...]] = {
    "white": ("white", "bright", "blank"),
    "grey": ("grey", "ashen", "concrete"),
    "black": ("black", "pitch-dark", "night-like"),
    "navy": ("navy", "deep blue", "midnight"),
    "beige": ("beige", "sandy", "cream"),
    "mint": ("mint", "pale green", "pistachio"),
    "brown": ("brown", "earthy", "wooden"),
    "lavender": ("lavender", "pale purple", "lilac"),
}
_SIZES: Mapping[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium", "mid-sized", "ordinary"),
    "large": ("large", "big", "huge"),
}
_COUNTS: Mapping[int, tuple[str, ...]] = {
    1: ("a", "one", "a single"),
    2: ("two", "a pair of", "2"),
    3: ("three", "a trio of", "3"),
    4: ("four", "a quartet of", "4"),
}
_POSITIONS: tuple[tuple[str, ...], ...] = (
    ("at the top left", "in the upper left corner", "up on the left"),
    ("at the top", "along the upper edge", "up in the middle"),
    ("at the top right", "in the upper right corner", "up on the right"),
    ("on the left", "at the left edge", "on the left-hand side"),
    ("in the centre", "in the middle", "at the heart of it"),
    ("on the right", "at the right edge", "on the right-hand side"),
    ("at the bottom left", "in the lower left corner", "down on the left"),
    ("at the bottom", "along the lower edge", "down in the middle"),
    ("at the bottom right", "in the lower right corner", "down on the right"),
)


class _Speaker:
    """Chooses the words of one caption: a synonym or an omission is likelier the higher the difficulty."""

    def __init__(self, rng: np.random.Generator, difficulty: float) -> None:
        self._draws = iter(rng.random(128).tolist())
        self._difficulty = difficulty

    def word(self, choices: Sequence[str]) -> str:
        """The plain word, or a synonym."""
        return choices[self.choice(len(choices))]

    def choice(self, options: int) -> int:
        """0, or with chance 0.9 x difficulty another option."""
        if next(self._draws) >= 0.9 * self._difficulty:
            return 0
        return 1 + int(next(self._draws) * (options - 1))

    def says(self, at_hardest: float) -> bool:
        """Decide whether to mention a detail that the hardest captions leave out with chance `at_hardest`."""
        return next(self._draws) >= at_hardest * self._difficulty

    def form(self, options: int) -> int:
        """A wording, whatever the difficulty."""
        return int(next(self._draws) * options)

    def group(self, group: Group, main: bool) -> str:
        """One group as a noun phrase; the main one always keeps its colour."""
        noun = _SHAPES[group.shape][self.choice(3)][group.count > 1]
        exact = group.count == 1 or self.says(0.7)
        count = self.word(_COUNTS[group.count] if exact else ("some", "several"))
        size = self.word(_SIZES[group.size]) if self.says(0.85) else ""
        colour = self.word(_COLOURS[group.colour]) if main or self.says(0.6) else ""
        place = self.word(_POSITIONS[group.position]) if self.says(0.85) else ""
        match self.form(3):
            case 0:
                words = (count, size, colour, noun, place)
            case 1:
                words = (place, count, size, colour, noun)
            case _:
                paint = f"painted {colour}" if colour else ""
                words = (count, size, noun, paint, place)
        return _article(" ".join(word for word in words if word))


def _article(phrase: str) -> str:
    words = phrase.split(" ")
    return " ".join(
        "an" if word == "a" and following[:1] in "aeiou" else word
        for word, following in zip(words, [*words[1:], "-"], strict=True)
    )


def _list(parts: Sequence[str], last: str) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plain(parts: Sequence[str], ground: str) -> str:
    return _sentence(_list(parts, "and") + (_article(f" on a {ground} background") if ground else "")) + "."


def _ground_first(parts: Sequence[str], ground: str) -> str:
    opening = _article(f"Against a {ground} background one finds") if ground else "Here one finds"
    return f"{opening} {_list(parts, 'together with')}."


def _notes(parts: Sequence[str], ground: str) -> str:
    return "; ".join([*([f"{ground} backdrop"] if ground else []), *parts])


def _seen(parts: Sequence[str], ground: str) -> str:
    rest = "".join(f" We also see {part}." for part in parts[1:])
    return f"We see {parts[0]}.{rest}" + (f" Everything lies on {ground}." if ground else "")


def _drawn(parts: Sequence[str], ground: str) -> str:
    where = _article(f" over a {ground} surface") if ground else ""
    return f"Somebody has drawn {_list(parts, 'next to')}{where}."


def _inventory(parts: Sequence[str], ground: str) -> str:
    shown = f"Shown: {parts[0]}" + (f", plus {_list(parts[1:], 'and')}" if len(parts) > 1 else "")
    return shown + (f" (behind: {ground})" if ground else "")


def _question(parts: Sequence[str], ground: str) -> str:
    colour = f", all in front of something {ground}" if ground else ""
    return f"Can you find {_list(parts, 'and')}{colour}?"


_FRAMES: tuple[Callable[[Sequence[str], str], str], ...] = (
    _plain, _ground_first, _notes, _seen, _drawn, _inventory, _question,
)  # fmt: skip


def write_captions(scene: Scene, rng: np.random.Generator, difficulty: float) -> tuple[str, ...]:
    """Five captions of a scene, no two in the same frame.

    At difficulty 0 every attribute is named in its plain word. Towards 1, synonyms stand in for plain words, and sizes,
    places, exact counts, the background, even lesser groups go unmentioned; main shape and main colour never do.
    """
    captions = []
    for frame in rng.permutation(len(_FRAMES))[:CAPTIONS].tolist():
        speaker = _Speaker(rng, difficulty)
        named = [group for i, group in enumerate(scene.groups) if i == 0 or speaker.says(0.6)]
        if len(named) > 1 and not speaker.says(0.7):
            named.reverse()
        phrases = [speaker.group(group, main=group is scene.groups[0]) for group in named]
        ground = speaker.word(_BACKGROUNDS[scene.background]) if speaker.says(0.95) else ""
        captions.append(_FRAMES[frame](phrases, ground))
    return tuple(captions)
