"""CPU time is linear in the size of crafted texts and files, in every op and reader; limits come first.

`python -m tests.faults.crafted --json` prints the figures.
"""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.crafted import KIB, cases, cost_of
from trichord.infra.config import PrepareConfig, TextConfig
from trichord.pipelines.search.query import Query, read_queries
from trichord.transforms.batch import Batch, Row
from trichord.transforms.bounded_text import MAX_MARKS, normal_form, stream_safe
from trichord.transforms.clean.text import MAX_CAPTIONS, text_ops
from trichord.transforms.op import run_chain

WORST = ("marks", "marks of two", "tags", "scripts", "open cues")
SHORT_KIB = (8, 32)


def _named(case: object) -> str:
    return f"{case.reader}-{case.input}"  # type: ignore[attr-defined]  # a Case


SHORT = [
    pytest.param(case, id=_named(case), marks=[] if number % 3 == 0 else [pytest.mark.full])
    for number, case in enumerate(cases(inputs=WORST))
]


@pytest.mark.parametrize("case", SHORT)
def test_cpu_time_of_crafted_input_is_linear_in_its_size(case):
    cost = cost_of(case, SHORT_KIB)
    assert cost.linear, cost


@pytest.mark.sweep
@pytest.mark.parametrize("case", list(cases()), ids=_named)
def test_cpu_time_of_4_mib_of_crafted_input_is_linear_in_its_size(case):
    cost = cost_of(case, KIB)
    assert cost.linear, cost


def _reasons(text: str, *captions: str) -> list[tuple[str, str]]:
    batch, _ = run_chain(Batch(rows=(Row(key="k", text=text, captions=captions),)), text_ops(TextConfig()))
    return [(reject.op, reject.reason) for reject in batch.rejects]


def test_texts_and_captions_beyond_all_use_are_rejects_before_anything_works_on_them():
    assert _reasons("\u0301\u0323" * 400_000) == [("text_bounds", "text_too_long")]
    assert _reasons("<s>" * 70_000) == [("text_bounds", "text_too_long")]
    assert _reasons("a", "\u0301\u0323" * 400_000) == [("text_bounds", "caption_too_long")]
    assert _reasons("a", *["b"] * (MAX_CAPTIONS + 1)) == [("text_bounds", "captions_too_many")]
    assert _reasons("a b " * 5_001) == [("threshold:text_too_long", "text_too_long")]
    assert _reasons("a", *map(str, range(100))) == []


def test_a_query_is_cut_before_it_is_read():
    [row] = read_queries(PrepareConfig(), [Query(text="one " * 2_000_000)]).rows
    assert len(row.text or "") == TextConfig().max_chars - 1  # "one " ends in a blank


MARK = st.sampled_from("\u0301\u0323\u0344\u0f73\u0f71\u3099\u05b0")


@given(text=st.text(max_size=60), marks=st.text(MARK, max_size=MAX_MARKS // 2))
@settings(max_examples=300, deadline=None)
def test_the_normal_form_of_texts_with_fewer_marks_in_a_row_is_unicodes_own(text, marks):
    for form in ("NFC", "NFKC", "NFKD"):
        assert normal_form(form, text) == unicodedata.normalize(form, text)
        assert normal_form(form, text[:9] + marks + "x") == unicodedata.normalize(form, text[:9] + marks + "x")


@given(st.text(MARK, min_size=MAX_MARKS + 1, max_size=200))
@settings(max_examples=100, deadline=None)
def test_no_run_of_marks_is_longer_than_the_stream_safe_format_allows_and_none_is_lost(marks):
    safe = stream_safe(f"a{marks}b")
    assert safe.replace("\u034f", "") == f"a{marks}b"
    assert max(map(len, safe[1:-1].split("\u034f"))) <= MAX_MARKS
