"""Augmentation: training variants of records, each a function of record, copy and seed."""

from __future__ import annotations
