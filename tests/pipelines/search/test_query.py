"""What a query in words goes through: all that changes the words of a record, and nothing that only measures them."""

from __future__ import annotations

import pytest

from trichord.infra.config import PrepareConfig
from trichord.pipelines.search.query import Query, read_queries
from trichord.transforms.batch import Batch, Row
from trichord.transforms.clean import language, spelling
from trichord.transforms.clean.text import text_ops
from trichord.transforms.op import Threshold, run_chain

SPELLING = PrepareConfig.model_validate({"text": {"spelling": True, "pii": "mask"}})
TEXTS = (
    "two red circles",
    "The pictur shows a buildng behind the trees and the people in front of it.",
    "Das Bild zeigt ein Gebude hinter den Bumen und Menschen davor.",
    "Call 212-555-0188 &amp; ask for the <b>manger</b> of the restarant on the corner of the street.",
    "hello",
)


@pytest.mark.parametrize("text", TEXTS)
def test_a_query_becomes_the_text_that_a_record_becomes(text: str) -> None:
    ops = [op for op in text_ops(SPELLING.text) if not isinstance(op, Threshold)]
    [expected] = run_chain(Batch(rows=(Row(key="k", source="s", text=text),)), ops)[0].rows
    [found] = read_queries(SPELLING, [Query(text=text)]).rows
    assert found.text == expected.text


def test_the_examples_are_corrected() -> None:
    [row] = read_queries(SPELLING, [Query(text=TEXTS[1])]).rows
    assert "picture shows a building" in (row.text or "")


def test_the_language_is_asked_for_only_where_a_word_may_be_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(language, "_identifier")  # its model loads slowly
    for config in (PrepareConfig(), SPELLING):
        assert [row.text for row in read_queries(config, [Query(text="two red circles")]).rows] == ["two red circles"]
    assert not spelling.has_doubtful_words("two red circles")
    assert spelling.has_doubtful_words(TEXTS[1])
