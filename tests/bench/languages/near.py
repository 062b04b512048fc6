"""Which pieces of Chinese find near duplicates: characters or the words of a dictionary (jieba), how well and how fast.

Captions come from one template, so that the wrong ones are alike. A copy differs from its caption in punctuation,
blanks and an idle word; a lookalike in two words that tell it apart. jieba is no dependency: without it its rows lack.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise

import numpy as np

from trichord.infra.digest import generator
from trichord.transforms.dedup.shingles import DENSE_SHINGLE, normal_form

CAPTIONS = 1_000
_PARTS = (
    ("清晨", "傍晚", "午后", "深夜", "雨中", "雪天", "节日里", "周末"),
    ("一位老人", "两个孩子", "几名学生", "一个摄影师", "一对夫妇", "许多游客", "一名骑手", "三位工人"),
    ("在公园的湖边", "在火车站广场", "在学校操场上", "在老城的街角", "在超市门口", "在山顶的平台", "在海边沙滩上", "在桥下"),
    ("静静地看书", "放风筝", "排队买票", "弹吉他唱歌", "喂一群鸽子", "拍摄日出", "打太极拳", "搭一顶蓝色帐篷"),
    ("旁边停着一辆红色自行车", "身后有一棵大榕树", "远处可以看见高楼", "地上放着一个黑色背包", "周围开满了黄色的花",
     "头顶飞过一架直升机", "脚边趴着一只白猫", "墙上挂着旧招牌"),
)  # fmt: skip

Cut = Callable[[str], set[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a way to cut texts finds.

    Attributes:
        way: its name.
        copies: mean Jaccard similarity of copies with their captions.
        lookalikes: the same of lookalikes.
        apart: share of the copies that are nearer than 99 of 100 lookalikes.
        first: share of the copies whose caption is the nearest of all captions.
        chars_a_second: speed, one core, without loading.
    """

    way: str
    copies: float
    lookalikes: float
    apart: float
    first: float
    chars_a_second: float


def measure_near() -> Iterator[Found]:
    """Yield what each way finds."""
    captions, copies, lookalikes = _captions()
    for way, cut in _ways().items():
        cut(captions[0])  # loads a dictionary
        started = time.perf_counter()
        pieces = [cut(text) for text in captions]
        seconds = time.perf_counter() - started
        others, alike = [cut(text) for text in copies], [cut(text) for text in lookalikes]
        of_copies = np.array([_jaccard(one, other) for one, other in zip(pieces, others, strict=True)])
        of_lookalikes = np.array([_jaccard(one, other) for one, other in zip(pieces, alike, strict=True)])
        nearest = [int(np.argmax([_jaccard(one, caption) for caption in pieces])) for one in others]
        yield Found(
            way=way,
            copies=float(of_copies.mean()),
            lookalikes=float(of_lookalikes.mean()),
            apart=float((of_copies > np.quantile(of_lookalikes, 0.99)).mean()),
            first=float((np.array(nearest) == np.arange(len(nearest))).mean()),
            chars_a_second=sum(map(len, captions)) / seconds,
        )


def _captions() -> tuple[list[str], list[str], list[str]]:
    """Return captions, their copies and their lookalikes, `CAPTIONS` each."""
    rng = generator("bench", "near captions")
    drawn = sorted({tuple(int(i) for i in rng.integers(0, 8, 5)) for _ in range(2 * CAPTIONS)})
    chosen = [drawn[int(i)] for i in rng.permutation(len(drawn))[:CAPTIONS]]
    captions, copies, lookalikes = [], [], []
    for row in chosen:
        when, who, where, what, beside = (words[i] for words, i in zip(_PARTS, row, strict=True))
        captions.append(f"{when}，{who}{where}{what}，{beside}。")
        copies.append(
            (
                f"{when}{who}{where}{what},{beside}",
                f"{when} {who}正{where}{what}；{beside}！",
                f"{when}的时候，{who}{where}{what}，{beside}。",
            )[int(rng.integers(3))]
        )
        other = list(row)
        for place in rng.choice(5, 2, replace=False).tolist():
            other[place] = (other[place] + 1 + int(rng.integers(7))) % 8
        when, who, where, what, beside = (words[i] for words, i in zip(_PARTS, other, strict=True))
        lookalikes.append(f"{when}，{who}{where}{what}，{beside}。")
    return captions, copies, lookalikes


def _ways() -> dict[str, Cut]:
    ways: dict[str, Cut] = {
        "4 characters, punctuation as a blank (before)": lambda text: _grams(_blanks(text), 4),
        "2 characters": lambda text: _grams(normal_form(text), DENSE_SHINGLE),
        "3 characters": lambda text: _grams(normal_form(text), 3),
    }
    if find_spec("jieba") is not None:
        jieba = import_module("jieba")
        jieba.setLogLevel(60)
        ways["words of jieba"] = lambda text: set(jieba.lcut(normal_form(text)))
        ways["pairs of jieba's words"] = lambda text: set(map(" ".join, pairwise(jieba.lcut(normal_form(text)))))
    return ways


def _blanks(text: str) -> str:
    return "".join(char if char.isalnum() else " " for char in text)


def _grams(text: str, size: int) -> set[str]:
    padded = f" {text} "
    return {padded[i : i + size] for i in range(len(padded) - size + 1)}


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(1, len(one | other))
