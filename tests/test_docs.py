"""Generated documentation is current."""

from __future__ import annotations

from pathlib import Path

from trichord.infra.reference import reference_markdown

REPOSITORY = Path(__file__).parents[1]


def test_the_configuration_page_is_what_the_types_say() -> None:
    committed = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")

    assert committed == reference_markdown(), "run `make docs`"
