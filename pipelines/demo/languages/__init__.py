"""The languages that the demo speaks, each a table in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping

from trichord.pipelines.demo.languages.chinese import CHINESE
from trichord.pipelines.demo.languages.english import ENGLISH
from trichord.pipelines.demo.languages.table import Language

LANGUAGES: Mapping[str, Language] = {language.code: language for language in (ENGLISH, CHINESE)}

__all__ = ["CHINESE", "ENGLISH", "LANGUAGES", "Language"]
