"""How modalities are brought together, and how it is checked that they belong together."""

from __future__ import annotations

from infra.config.base import Strict


class AlignConfig(Strict):
    """How modalities are brought together."""
