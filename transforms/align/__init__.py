"""Aligning: rows brought together by key, time and region, and the check that modalities belong together."""

from __future__ import annotations
