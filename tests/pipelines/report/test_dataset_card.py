"""The dataset card is a card of the Hub's form, and nothing that a record says becomes a part of it but as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.conftest import Place
from tests.pipelines.lakes import workspace_of
from tests.pipelines.report.report_lake import HOSTILE, SmallLake, duplicate, hostile, record, reject
from trichord.pipelines.report.dataset_card import write_card
from trichord.pipelines.report.facts import read_facts
from trichord.pipelines.report.markdown import code, literal, table, yaml_text

WORDS = "[click](javascript:alert(1)) ![x](http://evil/x.png) <b>x</b> http://evil.example\n---\nlicense: mit | `x` *y*"


@pytest.fixture
def lake(place: Place, tmp_path: Path) -> SmallLake:
    return SmallLake(place, tmp_path / "sources")


def card_of(lake: SmallLake, folder: Path) -> tuple[dict[str, Any], str]:
    write_card(read_facts(lake.workspace), folder / "card.md")
    text = (folder / "card.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def tokens_of(body: str) -> list[Any]:
    blocks = MarkdownIt("commonmark", {"html": True}).enable("table").parse(body)
    return [token for block in blocks for token in (block, *(block.children or ()))]


def test_the_card_has_the_form_of_the_hub(lake: SmallLake, tmp_path: Path) -> None:
    meta = {"meta": json.dumps({"license": "CC BY 4.0"}), "labels": [("text_language", "en")]}
    lake.prepare([record(i) | meta for i in range(5)], duplicates=[duplicate(4, 1)],
                 rejects=[reject("r", "threshold:image_blurred", "image_blurred")])  # fmt: skip
    front, body = card_of(lake, tmp_path)

    assert front["license"] == "cc-by-4.0"
    assert front["language"] == ["en"]
    assert front["modalities"] == ["text", "image", "audio"]
    assert front["size_categories"] == ["n<1K"]
    assert "image-to-text" in front["task_categories"]
    assert "6 rows in = 4 kept + 1 rejected + 1 duplicate." in body
    for heading in ("Sources", "Composition", "What was left out", "Reject reasons", "Duplicates",
                    "How it was prepared", "Personal data", "Known limits", "How to load it"):  # fmt: skip
        assert f"# {heading}\n" in body
    assert "| `threshold:image_blurred` | `image_blurred` | 1 |" in body
    assert "| exact content | 1 |" in body


@pytest.mark.parametrize(("named", "wanted"), [
    ([], "unknown"), (["MIT", "MIT"], "mit"), (["MIT", "CC0"], "other"), (["CC BY (version not stated)"] * 2, "other"),
    (["MIT", None], "other"),
])  # fmt: skip
def test_a_licence_is_named_only_where_all_records_agree(
    lake: SmallLake, tmp_path: Path, named: list[str | None], wanted: str
) -> None:
    metas = [{"meta": json.dumps({"license": name} if name else {})} for name in named] or [{}]
    lake.prepare([record(i, media=False) | meta for i, meta in enumerate(metas)])
    assert card_of(lake, tmp_path)[0]["license"] == wanted


def test_a_hostile_record_becomes_no_markup(lake: SmallLake, tmp_path: Path) -> None:
    lake.prepare([hostile(0), hostile(1) | {"meta": json.dumps({"license": WORDS}), "subset": WORDS}],
                 rejects=[reject(WORDS, WORDS, HOSTILE)],
                 duplicates=[duplicate(1, 0) | {"evidence": WORDS}])  # fmt: skip
    front, body = card_of(lake, tmp_path)

    assert front["license"] == "other"
    assert "language" not in front  # the label is not a language
    kinds = {token.type for token in tokens_of(body)}
    assert not kinds & {"html_inline", "html_block", "link_open", "image", "em_open", "hr"}
    rows = [token for token in tokens_of(body) if token.type == "tr_open"]
    assert len(rows) == body.count("\n| ") - body.count("\n| ---")


def test_an_empty_lake_has_a_card(lake: SmallLake, tmp_path: Path) -> None:
    front, body = card_of(lake, tmp_path)
    assert front["license"] == "unknown"
    assert "There are no records." in body


def test_equal_lakes_make_equal_cards(indexed: tuple[Path, dict], tmp_path: Path) -> None:
    for name in ("one.md", "two.md"):
        write_card(read_facts(workspace_of(indexed[0])), tmp_path / name)
    assert (tmp_path / "one.md").read_bytes() == (tmp_path / "two.md").read_bytes()


@given(text=st.text(max_size=60))
def test_a_literal_is_read_back_as_plain_text(text: str) -> None:
    tokens = tokens_of(f"{literal(text)}\n")
    assert {token.type for token in tokens} <= {"paragraph_open", "inline", "text", "paragraph_close", "text_special"}
    assert yaml.safe_load(yaml_text(text)) is not None
    rows = tokens_of(table(["a", "b"], [[literal(text), code(text)]]))
    assert sum(token.type == "td_open" for token in rows) == 2
