"""A corpus in another language is searched as well as in English, on the same seed."""

from __future__ import annotations

import pytest

from tests.bench.demo_languages import compare, measure
from trichord.pipelines.demo.languages import ENGLISH, LANGUAGES

CLOSE = 0.03


@pytest.mark.full
@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != ENGLISH.code])
def test_recall_and_the_figures_of_the_mixed_gallery_are_those_of_english(code: str) -> None:
    found = {name: [measure(LANGUAGES[name], 2_000, 0)] for name in (ENGLISH.code, code)}
    for row in compare(found):
        if row["figure"].startswith("defects"):
            assert row[code] >= 0.95 if "recall" in row["figure"] else row[code] <= 0.002, row
        else:
            assert row[f"{code} away"] >= -CLOSE, row
    assert len(compare(found)) == 13
