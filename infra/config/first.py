"""The settings that a user meets first, by their path: the first section of the reference page."""

from __future__ import annotations

FIRST = (
    "lake",
    "extends",
    "sources[].name",
    "sources[].kind",
    "sources[].path",
    "sources[].media_root",
    "sources[].fields.key",
    "sources[].fields.text",
    "sources[].fields.image",
    "sources[].fields.audio",
    "sources[].fields.captions",
    "sources[].fields.group",
    "sources[].require",
    "prepare.text.languages",
    "prepare.image.min_side",
    "prepare.dedup.near",
    "model.text.kind",
    "model.text.path",
    "model.dimension",
    "train.epochs",
    "train.held_out",
    "index.views",
    "index.backends",
    "index.kind",
    "gate.max_row_drop",
    "engine.kind",
    "engine.workers",
    "storage.endpoint",
)
