"""Duplicates: what identifies a record's content."""

from __future__ import annotations
