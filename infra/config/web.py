"""How media behind http(s) URIs are fetched."""

from __future__ import annotations

from infra.config.base import Strict


class WebConfig(Strict):
    """How media behind http(s) URIs are fetched."""
