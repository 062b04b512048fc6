"""The site builds without a warning, and its pages load nothing from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from tests.docs.pages import REPOSITORY
from tests.shared import made_once


@pytest.fixture(scope="module")
def site(shared_folder: Path) -> Path:
    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NO_MKDOCS_2_WARNING", "1")
            config = load_config(str(REPOSITORY / "mkdocs.yml"), site_dir=str(folder), strict=True)
            build(config)

    return made_once(shared_folder / "site", make)


class Loads(HTMLParser):
    """What a page loads by itself, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.add(given["id"])
        if tag in ("script", "img", "iframe", "source", "video", "audio") and "src" in given:
            self.loaded.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "preconnect", "icon", "manifest"):
            self.loaded.append(given["href"])
        if tag == "a" and "href" in given:
            self.linked.append(given["href"])


def parsed(page: Path) -> Loads:
    loads = Loads()
    loads.feed(page.read_text(encoding="utf-8"))
    return loads


def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        for target in parsed(page).loaded:
            assert not urlsplit(target).netloc, f"{page}: {target}"
            path = unquote(urlsplit(target).path)
            there = site / path[1:] if path.startswith("/") else page.parent / path  # 404.html is served anywhere
            assert target.startswith("data:") or there.exists(), f"{page}: {target}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_every_link_of_the_site_leads_to_a_page_and_a_heading_that_are_there(site):
    known = {page.resolve(): parsed(page).ids for page in site.rglob("*.html")}
    for page in known:
        if page.name == "404.html":
            continue
        for target in parsed(page).linked:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            there = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            there = there / "index.html" if there.is_dir() else there
            assert there.exists(), f"{page}: {target}"
            if parts.fragment and there in known:
                assert unquote(parts.fragment) in known[there], f"{page}: {target}"


def test_the_reference_has_the_public_face_and_the_extension_points_with_their_docstrings(site):
    for page, wanted in (
        ("api/trichord.html", ("trichord.open", "trichord.Searcher.search_many", "trichord.FusionModel.encode_text")),
        ("api/ops.html", ("trichord.transforms.op.Op", "trichord.transforms.batch.Batch.reject")),
        ("api/encoders.html", ("trichord.encoders.base.Encoder.encode",)),
        ("api/index_builders.html", ("trichord.index_builders.base.Searcher.search",)),
        ("api/config.html", ("trichord.infra.config.project.Project",)),
    ):
        ids = parsed(site / page).ids
        for name in wanted:
            assert name in ids, name
    assert "Every row that comes in must come out" in (site / "api/ops.html").read_text(encoding="utf-8")


def test_the_search_of_the_site_finds_settings(site):
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert any("rows_per_partition" in entry["text"] for entry in index["docs"])
