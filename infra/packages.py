"""Versions of installed packages, read from their metadata once a process: recipes ask for the same ones again."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache
def version(package: str) -> str:
    """Return the version of an installed package. Raises PackageNotFoundError where it is not installed."""
    return metadata.version(package)
