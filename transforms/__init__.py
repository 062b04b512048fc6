"""Pure functions on batches; they know no engine, no table and no model."""

from __future__ import annotations
