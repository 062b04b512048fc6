"""A page says which script a text is in: Unicode gives Chinese and Japanese the same characters, fonts do not."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from trichord.pipelines.report import plots
from trichord.pipelines.report.render import HERE, said, script


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("红色的圆形", "zh"),
        ("scene 甲", "zh"),
        ("𠮷", "zh"),
        ("赤い丸", "ja"),
        ("ｶﾀｶﾅ", "ja"),
        ("빨간 원", "ko"),
        ("a red circle", None),
        ("красный круг", None),
        (7, None),
    ],
)
def test_a_text_names_its_script(text: object, tag: str | None) -> None:
    assert script(text) == (f' lang="{tag}"' if tag else "")


def test_a_text_is_escaped_and_cut_in_its_element() -> None:
    assert said("<b>红</b>", 20) == '<bdi lang="zh">&lt;b&gt;红&lt;/b&gt;</bdi>'
    assert said("a" * 50, 10) == f"<bdi>{'a' * 10}…</bdi>"


def test_fonts_are_those_of_the_reader() -> None:
    assert not re.search(r"@font-face|@import|url\(", (HERE / "page.css").read_text(encoding="utf-8"))


def test_a_wide_word_does_not_leave_its_box() -> None:
    drawn = str(plots.words([(0.0, 1.0, "红色的圆形在左上角的画面里", 0.9)], 10.0))
    label = re.search(r">([^<>]+)</text>", drawn)
    assert label is not None
    assert label[1].endswith("…")
    assert cell_len(label[1]) <= plots.STRIP_SIZE[0] / 10 / 4.6
