"""A scene in words: five captions that differ in frame, order, synonyms and in what they leave out."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from trichord.pipelines.demo.languages import ENGLISH
from trichord.pipelines.demo.languages.table import Frame, Language, Words
from trichord.pipelines.demo.scenes import Group, Scene

CAPTIONS = 5
_SLOT = re.compile(r"\{(\w+)\}")


class _Speaker:
    """Chooses the words of one caption: a synonym or an omission is likelier the higher the difficulty."""

    def __init__(self, rng: np.random.Generator, difficulty: float, language: Language) -> None:
        self._language = language
        self._draws = iter(rng.random(128).tolist())
        self._difficulty = difficulty

    def word(self, choices: Words) -> str:
        """The plain word, or a synonym."""
        return choices[self.choice(len(choices))]

    def choice(self, options: int) -> int:
        """0, or with chance 0.9 x difficulty another option."""
        if next(self._draws) >= 0.9 * self._difficulty or options == 1:
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
        language = self._language
        nouns = language.shapes[group.shape]
        noun = nouns[self.choice(len(nouns))]
        exact = group.count == 1 or self.says(0.7)
        count = self.word(language.counts[group.count] if exact else language.several)
        words = {
            "noun": noun.many if group.count > 1 else noun.one,
            "count": count.format(measure=noun.measure),
            "size": self.word(language.sizes[group.size]) if self.says(0.85) else "",
            "colour": self.word(language.colours[group.colour]) if main or self.says(0.6) else "",
            "place": self.word(language.positions[group.position]) if self.says(0.85) else "",
        }
        order = language.orders[self.form(len(language.orders))]
        return language.blank.join(pattern.format_map(words) for pattern in order if words[_SLOT.findall(pattern)[0]])


def _fill(frame: Frame, parts: Sequence[str], background: str, language: Language) -> str:
    """Return a frame around the groups; `background` is its colour in words, or '' where it goes unmentioned."""
    said = parts[0]
    for i, part in enumerate(parts[1:], 1):
        usual = frame.last if i == len(parts) - 1 else frame.joint
        said += (frame.second if i == 1 and frame.second is not None else usual) + part
    behind = frame.background.format(colour=background) if background else frame.unnamed
    text = frame.text.format(parts=said, background=behind)
    for pattern, replacement in language.elisions:
        text = re.sub(pattern, replacement, text)
    return text[:1].upper() + text[1:] if frame.capital else text


def write_captions(
    scene: Scene, rng: np.random.Generator, difficulty: float, language: Language = ENGLISH
) -> tuple[str, ...]:
    """Five captions of a scene, no two in the same frame.

    At difficulty 0 every attribute is named in its plain word. Towards 1, synonyms stand in for plain words, and sizes,
    places, exact counts, the background, even lesser groups go unmentioned; main shape and main colour never do.
    """
    captions = []
    for frame in rng.permutation(len(language.frames))[:CAPTIONS].tolist():
        speaker = _Speaker(rng, difficulty, language)
        named = [group for i, group in enumerate(scene.groups) if i == 0 or speaker.says(0.6)]
        if len(named) > 1 and not speaker.says(0.7):
            named.reverse()
        phrases = [speaker.group(group, main=group is scene.groups[0]) for group in named]
        background = speaker.word(language.backgrounds[scene.background]) if speaker.says(0.95) else ""
        captions.append(_fill(language.frames[frame], phrases, background, language))
    return tuple(captions)
