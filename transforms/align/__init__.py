"""Join rows by key, time and region, and check that their modalities belong together."""

from __future__ import annotations
