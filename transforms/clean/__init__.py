"""Cleaning: ops that decode, measure, repair and reject, in the order of the chain."""

from __future__ import annotations
