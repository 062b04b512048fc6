"""A translated page keeps step with the page that it translates, whose blocks `test_documentation.py` runs."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import TRANSLATED, Block, blocks_of, links_of, original_of, pages, spans_of, tokens_of

TRANSLATIONS = [page for page in pages() if original_of(page) is not None]


def meaning(block: Block) -> Any:
    """What a block does or holds; its comments may be in another language, but for one that names a file."""
    if block.language == "sh":
        return [words for line in block.text.splitlines() if (words := shlex.split(line, comments=True))]
    if block.language == "yaml":
        first = block.text.splitlines()[0]
        return yaml.safe_load(block.text), first if first.endswith(".yaml") else None
    return block.text


def shape_of(page: Path) -> tuple[list[str], list[tuple[str, bool, Any]]]:
    """Return the levels of the headings, and the blocks, both in order."""
    levels = [token.tag for token in tokens_of(page) if token.type == "heading_open"]
    return levels, [(block.language, block.excuse is None, meaning(block)) for block in blocks_of(page)]


def targets_of(page: Path) -> Counter[str]:
    """Count the links; one to a translation counts as one to its original."""
    return Counter(target.replace(TRANSLATED, "") for target in links_of(page))


def test_the_readme_and_the_first_page_are_translated():
    assert {page.name for page in TRANSLATIONS} >= {f"README{TRANSLATED}.md", f"getting-started{TRANSLATED}.md"}


@pytest.mark.parametrize("page", TRANSLATIONS, ids=lambda page: page.name)
def test_a_translation_has_the_headings_blocks_links_and_code_of_its_original(page):
    original = original_of(page)
    assert original is not None
    assert shape_of(page) == shape_of(original)
    assert targets_of(page) == targets_of(original)
    assert Counter(spans_of(page)) == Counter(spans_of(original))
    assert page.name in links_of(original)
    assert original.name in links_of(page)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("## 安装\n", "### 安装\n"),
        ("trichord reindex  ", "trichord reindex --full  "),
        ("epochs: 20", "epochs: 21"),
        ("# examples/trichord.yaml", "# examples/other.yaml"),
        ("[Ray](docs/ray.md)、", ""),
        ("`trichord schema`", "`trichord schemas`"),
    ],
)
def test_a_translation_that_falls_behind_is_noticed(tmp_path, old, new):
    page = next(page for page in TRANSLATIONS if page.name.startswith("README"))
    text = page.read_text(encoding="utf-8")
    assert old in text
    behind = tmp_path / page.name
    behind.write_text(text.replace(old, new, 1), encoding="utf-8")
    original = original_of(page)
    assert original is not None
    facts = [(shape_of(one), targets_of(one), Counter(spans_of(one))) for one in (behind, original)]
    assert facts[0] != facts[1]
