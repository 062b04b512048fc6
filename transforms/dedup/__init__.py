"""Duplicates: what identifies a record's content, and which contents are near each other."""

from __future__ import annotations
