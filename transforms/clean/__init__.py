"""Cleaning: what is decoded, measured, mended and refused, in the order it happens."""

from __future__ import annotations
