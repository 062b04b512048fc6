"""The parts of a lake's records, and the words by which sources mark them.

`train` records are trained on; `validation` records stop the training and fit the calibration; `test` records are
measured, and nothing else sees them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Literal, get_args

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)

# `eval` and `holdout` may mean either held-out part. As test they keep every figure honest: training sees none of them.
SPELLINGS: Mapping[Part, tuple[str, ...]] = {
    "train": ("train", "training", "trainset", "trainval", "restval", "训练", "训练集"),
    "validation": (
        "validation",
        "val",
        "valid",
        "validate",
        "dev",
        "devel",
        "development",
        "minival",
        "验证",
        "验证集",
    ),
    "test": ("test", "testing", "testset", "eval", "evaluation", "holdout", "heldout", "测试", "测试集"),
}
_PART_OF = {word: part for part, words in SPELLINGS.items() for word in words}
_YEAR = re.compile(r"(?:19|20)\d\d$")  # COCO: train2017


def find_part(mark: str, given: Mapping[str, Part] | None = None) -> Part | None:
    """Return the part that a source's mark means; None if it is unknown.

    Case, punctuation and a year at the end do not count (`Held-Out`, `val2017`). Of several words the first must be
    known, and no other may mean another part: `train-clean-100` is train, `train_test` is unknown.

    Args:
        mark: not empty.
        given: parts by mark, from the project file; they come first.
    """
    folded = mark.strip().casefold()
    named = {key.strip().casefold(): part for key, part in (given or {}).items()}
    if folded in named:
        return named[folded]
    if (whole := find_spelling(folded)) is not None:
        return whole
    words = _words(folded)
    part = _PART_OF.get(words[0]) if words else None
    return part if all(_PART_OF.get(word, part) == part for word in words[1:]) else None


def find_spelling(name: str) -> Part | None:
    """Return the part that a name means by itself (`Held-Out`, `val2017`), without words beside it; else None."""
    return _PART_OF.get("".join(_words(name.strip().casefold())))


def _words(folded: str) -> list[str]:
    return [_YEAR.sub("", word) for word in re.split(r"[\W_]+", folded) if word]


def suggest_part(mark: str) -> Part | None:
    """Return the part whose spelling an unknown mark is near (`tset`); None if it is near none."""
    near = get_close_matches(mark.strip().casefold(), _PART_OF, 1, 0.7)
    return _PART_OF[near[0]] if near else None
