"""What counts as the same record."""

from __future__ import annotations

from infra.config.base import Strict


class DedupConfig(Strict):
    """What counts as the same record."""
