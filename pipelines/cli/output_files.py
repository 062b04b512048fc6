"""Files that options name for output: what is there is replaced only if it is such as the verb writes."""

from __future__ import annotations

from pathlib import Path

from trichord.infra.errors import ConfigError

CARD = "dataset_card.md"  # beside the page of a preparation
_PAGE, _CARD, _PLAN, _COMPARISON = b"<!doctype html", b"---\nlicense:", b'{"format":', b"# Comparison: "


def page_file(path: Path | None) -> Path | None:
    """Return the path of `--report`.

    Raises:
        ConfigError: another file is there.
    """
    return _checked(path, _PAGE, "a page of trichord")


def preparation_file(path: Path | None) -> Path | None:
    """Return the path of a preparation's `--report`, which has a dataset card beside it; errors as of `page_file`."""
    if path is not None and path.name:
        _checked(path.with_name(CARD), _CARD, "a dataset card of trichord")
    return page_file(path)


def plan_file(path: Path | None) -> Path | None:
    """Return the path of `plan --out`; errors as of `page_file`."""
    return _checked(path, _PLAN, "a plan of trichord")


def comparison_file(path: Path | None) -> Path | None:
    """Return the path of `compare --report`; errors as of `page_file`."""
    return _checked(path, _COMPARISON, "a comparison of trichord")


def _start(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _checked(path: Path | None, begins: bytes, what: str) -> Path | None:
    if path is None:
        return None
    try:
        folder = path.is_dir()
        found = _start(path, len(begins)) if path.is_file() else b""
    except (OSError, ValueError):  # writing says why
        return path
    if folder:
        raise ConfigError(f"{path} is a folder.\nNext: name a file in it.")
    if found and found != begins:
        raise ConfigError(f"{path} exists and is not {what}; it was left as it is.\nNext: name another file.")
    return path
