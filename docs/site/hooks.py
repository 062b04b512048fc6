"""Hooks of mkdocs: the package for the API pages, the pages that lie outside docs/, and links between all of them."""

from __future__ import annotations

import posixpath
import re
import shutil
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[2]
ROOMS = ("pipelines", "transforms", "encoders", "index_builders", "infra")
OUTSIDE = (
    "README.md",
    "README.zh-CN.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "CODE_OF_CONDUCT.md",
    "LICENSE",
    "tests/bench/RESULTS.md",
)
SHOWN_OF_EXAMPLES = (".md", ".yaml", ".py", ".jsonl", ".ipynb", ".txt")
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")


@event_priority(100)  # before mkdocstrings looks which of its paths exist
def on_config(config: Any) -> Any:
    """Copy the package under its own name, where mkdocstrings reads it (without running it)."""
    package = REPOSITORY / "build" / "api-source" / "trichord"
    shutil.rmtree(package, ignore_errors=True)
    for room in ROOMS:
        shutil.copytree(REPOSITORY / room, package / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "__init__.py", package)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages outside docs/ under their own paths; the README is the first page."""
    examples = [path for path in (REPOSITORY / "examples").rglob("*") if path.suffix in SHOWN_OF_EXAMPLES]
    names = [*OUTSIDE, *sorted(str(path.relative_to(REPOSITORY)) for path in examples)]
    for name in names:
        files.append(File.generated(config, site_path(name), abs_src_path=str(REPOSITORY / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Turn the repository's relative links into the site's."""
    here = repository_path(page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), match[1]))
        return posixpath.relpath(site_path(target), posixpath.dirname(page.file.src_uri) or ".") + (match[2] or "")

    return LINK.sub(moved, markdown)


def site_path(name: str) -> str:
    """Where a file of the repository lies in the site's sources."""
    return "index.md" if name == "README.md" else name.removeprefix("docs/")


def repository_path(uri: str) -> str:
    """The file of the repository that a source of the site is."""
    if uri == "index.md":
        return "README.md"
    return f"docs/{uri}" if (REPOSITORY / "docs" / uri).is_file() else uri
