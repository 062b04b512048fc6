"""A small project on a folder of texts and pictures, whose runs take about two seconds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from trichord.infra.digest import generator

_TEXT = """red blue green square circle line photo small big house tree river mountain cat dog bird sky night day
morning road bridge harbour garden window paper stone glass winter summer"""
WORDS = _TEXT.split()
SETTINGS: dict[str, Any] = {
    "engine": {"workers": 1},
    "prepare": {"rows_per_partition": 16},
    "model": {"dimension": 16, "hidden": 32},
    "train": {"epochs": 1, "batch_size": 32},
    "gate": {"min_over_chance": 0.0, "max_recall_drop": 1.0, "max_row_drop": 1.0, "min_ann_recall": 0.0,
             "max_reject_ratio": 1.0},
}  # fmt: skip
RECORDS = 48


def text_of(number: int, version: int = 0) -> bytes:
    """A text of its own for a record's version."""
    random = generator("text", number, version)
    return " ".join(WORDS[int(i)] for i in random.integers(len(WORDS), size=12)).encode()


def picture_of(number: int, version: int = 0) -> bytes:
    """A picture of its own for a record's version."""
    pixels = generator("picture", number, version).integers(0, 256, (12, 12, 3)).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(pixels).resize((96, 96), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def files_of(number: int, version: int = 0) -> dict[str, bytes]:
    """The files of a record by their paths: most have a text and a picture."""
    stem = f"{number % 7}/n{number}"
    files = {f"{stem}.txt": text_of(number, version)}
    return files if number % 6 == 0 else {**files, f"{stem}.png": picture_of(number, version)}


def put(folder: Path, number: int, version: int = 0) -> list[str]:
    """Write a record's files, and return their absolute paths."""
    for name, data in files_of(number, version).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return [str(folder / name) for name in files_of(number, version)]


def write_small_project(folder: Path, *, records: int = RECORDS, path: str = "data", **settings: Any) -> Path:
    """A folder of records and a project file on it."""
    for number in range(records):
        put(folder / "data", number)
    source = {"name": "photos", "kind": "folder", "path": path}
    project = folder / "trichord.yaml"
    project.write_text(yaml.safe_dump({"lake": "lake", "sources": [source], **SETTINGS, **settings}))
    return project
