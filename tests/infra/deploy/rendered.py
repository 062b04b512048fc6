"""All deployment files of a project, as `trichord deploy render all` writes them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from trichord.infra.deploy.place import Place
from trichord.infra.deploy.render import render, targets

PROJECT = "lake: s3://photos/lake\nsources:\n  - {name: photos, kind: folder, path: photos}\n"


def place_of(**changes: Any) -> Place:
    """A place of a project on a disk, with two secrets; `changes` replace its values."""
    values: dict[str, Any] = {
        "name": "photos",
        "project": "/srv/photos/trichord.yaml",
        "lake": None,
        "lake_path": "/srv/photos/lake",
        "local": True,
        "image": "registry.example.com/team/trichord:1.2.3",
        "gpu_image": "registry.example.com/team/trichord:1.2.3-gpu",
        "schedule": "0 2 * * *",
        "timezone": "Europe/Berlin",
        "secrets": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        "program": sys.executable,  # any program that exists: systemd-analyze looks
        "ports": (443,),
        "milvus": False,
        "version": "1.2.3",
        "ray_version": "2.60.0",
    }
    return Place(**(values | changes))


REMOTE = place_of(
    lake="s3://photos/lake",
    lake_path="s3://photos/lake",
    local=False,
    secrets=(),
    milvus=True,
    ports=(443, 9000, 19530),
    schedule="*/15 1-3 * * 1-5",
    timezone="Etc/UTC",
    image="trichord@sha256:" + "0" * 64,
)
PLACES = {"local": place_of(), "remote": REMOTE}


def write_all(folder: Path, place: Place) -> dict[str, Path]:
    """Write the files of every target below a folder: name -> path."""
    written = {}
    for target in targets():
        for name, text in render(target, place, {"trichord.yaml": PROJECT}).items():
            path = written[name] = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return written
