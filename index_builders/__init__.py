"""Search indexes over vector shards: one file a backend, exact truth, and the choice between them."""

from __future__ import annotations
