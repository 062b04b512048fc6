"""Tests of the jobs."""

from __future__ import annotations
