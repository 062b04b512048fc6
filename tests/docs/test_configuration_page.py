"""Generated documentation is current."""

from __future__ import annotations

from pathlib import Path

import pytest

from trichord.infra.config.first import FIRST
from trichord.infra.reference import reference_markdown, setting

REPOSITORY = Path(__file__).parents[2]


def test_the_configuration_page_is_what_the_types_say() -> None:
    committed = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")

    assert committed == reference_markdown(), "run `make docs`"


def test_the_settings_to_know_first_are_few_and_real() -> None:
    assert len(FIRST) == len(set(FIRST)) <= 30
    assert all(setting(path) for path in FIRST)
    with pytest.raises(ValueError, match=r"no setting index\.knd"):
        setting("index.knd")
