"""The synthetic corpus: scenes as words, pictures and sound, with planted, labelled defects."""

from __future__ import annotations
