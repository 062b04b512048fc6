"""Writes the demo corpus: a manifest, its media, and the labels that say what was planted."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trichord.pipelines.core.json_objects import parse_object
from trichord.pipelines.core.result import plain
from trichord.pipelines.demo.defects import DEFAULT_RATE, DEFECTS, rates_of
from trichord.pipelines.demo.languages import ENGLISH, Language
from trichord.pipelines.demo.records import Recipe, Record

MANIFEST, LABELS = "manifest.jsonl", "labels.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSummary:
    """What was written; `counts` holds every defect, even one that was planted nowhere."""

    folder: str
    records: int
    counts: Mapping[str, int]


def write_corpus(
    folder: str | os.PathLike[str],
    *,
    records: int,
    seed: int,
    difficulty: float = 0.5,
    defects: float | Mapping[str, float] = DEFAULT_RATE,
    language: Language = ENGLISH,
) -> CorpusSummary:
    """Write a corpus of `records` scenes into `folder`, one record at a time, about 10 MB for every 100.

    Files: `manifest.jsonl` (id, text, captions, image, audio, group: all that the pipeline reads), `images/`, `audio/`,
    and `labels.jsonl` (key, index, defects, twin, group, clean_text, scene, image, audio), the known answer. `defects`
    is one rate for every kind, or rates by kind; a record has one defect at most. A longer corpus of the same settings
    begins with the same records, save the last of an odd number. In another `language` scenes, pictures, sounds and
    defects are the same, and the texts say the same. Manifest and labels are replaced when complete.

    Raises:
        ValueError: `records` is negative, `difficulty` outside [0, 1], or `defects` no rates (see `rates_of`).
    """
    if records < 0:
        raise ValueError(f"records must not be negative, got {records}")
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty must lie in [0, 1], got {difficulty}")
    recipe = Recipe(seed=seed, records=records, difficulty=difficulty, rates=rates_of(defects), language=language)
    root = Path(folder)
    for name in ("images", "audio"):
        (root / name).mkdir(parents=True, exist_ok=True)
    counts = Counter(dict.fromkeys(DEFECTS, 0))
    with ExitStack() as stack:
        manifest, labels = (
            stack.enter_context(open(root / f".{name}.tmp", "w", encoding="utf-8", newline="\n"))
            for name in (MANIFEST, LABELS)
        )
        for index in range(records):
            record = recipe.make(index)
            row, label = _row(record), _label(record)
            (root / row["image"]).write_bytes(record.picture.data)
            (root / row["audio"]).write_bytes(record.sound.data)
            manifest.write(json.dumps(row, ensure_ascii=False) + "\n")
            labels.write(json.dumps(label, ensure_ascii=False) + "\n")
            counts.update(label["defects"])
    for name in (LABELS, MANIFEST):
        os.replace(root / f".{name}.tmp", root / name)
    return CorpusSummary(folder=str(root), records=records, counts=MappingProxyType(dict(counts)))


def read_labels(folder: str | os.PathLike[str]) -> Iterator[Mapping[str, Any]]:
    """Read the rows of a corpus's `labels.jsonl`, in record order."""
    with open(Path(folder) / LABELS, encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield parse_object(line)


def key_of(index: int) -> str:
    """Return the key of record `index`."""
    return f"scene-{index:06d}"


def _row(record: Record) -> Mapping[str, Any]:
    key = key_of(record.index)
    return {
        "id": key,
        "text": record.text,
        "captions": list(record.captions),
        "image": f"images/{key}.{record.picture.kind}",
        "audio": f"audio/{key}.{record.sound.kind}",
        "group": key_of(record.group),
    }


def _label(record: Record) -> Mapping[str, Any]:
    key, picture, sound = key_of(record.index), record.picture, record.sound
    return {
        "key": key,
        "index": record.index,
        "defects": [record.defect] if record.defect else [],
        "twin": None if record.twin is None else key_of(record.twin),
        "group": key_of(record.group),
        "clean_text": record.clean_text,
        "scene": plain(record.scene),
        "image": {"width": picture.width, "height": picture.height, "format": picture.kind},
        "audio": {"rate_hz": sound.rate_hz, "duration_s": round(sound.duration_s, 4), "format": sound.kind},
    }
