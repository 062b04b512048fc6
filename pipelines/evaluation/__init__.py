"""How good a space is: retrieval between and across modalities, and its geometry."""

from __future__ import annotations
