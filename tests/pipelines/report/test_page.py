"""The page is one safe, bounded file that tells what the lake holds, whatever the records say."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image as Pillow

from tests.conftest import Place
from tests.pipelines.lakes import workspace_of
from tests.pipelines.report.report_lake import SmallLake, full, picture, record, reject, sound
from trichord.infra.errors import ConfigError
from trichord.pipelines.report import cards
from trichord.pipelines.report.page import write_page
from trichord.pipelines.report.render import MAX_BYTES, shown

TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "nav", "footer", "section", "h1", "h2", "h3",
    "p", "div", "span", "a", "b", "i", "small", "code", "bdi", "img", "audio", "table", "thead", "tr", "th", "td",
    "tbody", "details", "summary", "svg", "rect", "line", "text", "circle", "polyline", "path",
}  # fmt: skip
SECTIONS = ["The gate", "From rows to records", "Planted defects", "Rejects", "Duplicates", "Op by op",
            "Sources", "What the records contain", "Changes", "Sample records", "Measured scores", "Training",
            "Recall across modalities", "Mixed gallery", "Do the modalities agree?", "Queries",
            "Tables and shards"]  # fmt: skip


class Parsed(HTMLParser):
    """The tags with their attributes, the headings, and all text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words, self.headings = "", list[str]()
        self._in = ""
        self.source = path.read_bytes()
        self.feed(self.source.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_data(self, data: str) -> None:
        if self._in == "h2" and data.strip():
            self.headings.append(data.strip())
        if self._in != "style":
            self.words = " ".join(f"{self.words} {data}".split())

    def linked(self) -> list[str]:
        return [
            value or "" for _, attributes in self.tags for name, value in attributes.items() if name in ("src", "href")
        ]


@pytest.fixture
def lake(place: Place, tmp_path: Path) -> SmallLake:
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "blurred.jpg").write_bytes(picture(99))
    (sources / "cut.jpg").write_bytes(picture(98)[:200])
    (sources / "clipped.flac").write_bytes(sound())
    (tmp_path / "secret.jpg").write_bytes(picture(97))
    os.symlink(tmp_path / "secret.jpg", sources / "link.jpg")
    return SmallLake(place, sources)


def test_a_hostile_record_puts_nothing_but_text_on_the_page(lake: SmallLake, tmp_path: Path) -> None:
    told = full(lake)
    write_page(lake.workspace, tmp_path / "out" / "page.html", **told)
    parsed = Parsed(tmp_path / "out" / "page.html")

    assert {tag for tag, _ in parsed.tags} <= TAGS
    assert sum(tag == "style" for tag, _ in parsed.tags) == 1
    names = {name for _, attributes in parsed.tags for name in attributes}
    assert not {name for name in names if name == "style" or name.startswith("on")}
    assert all(link.startswith(("data:image/jpeg;base64,", "data:audio/flac;base64,", "#")) for link in parsed.linked())
    assert "<script>alert(1)</script>" in parsed.words  # told as text, and not run as a template
    assert "{{ 7*7 }}" in parsed.words
    assert not {"\u202e", "\x00"} & set(parsed.words)


def test_the_policy_allows_the_one_style_sheet_and_data_only(lake: SmallLake, tmp_path: Path) -> None:
    lake.publish([record(0)])
    write_page(lake.workspace, tmp_path / "page.html")
    parsed = Parsed(tmp_path / "page.html")

    style = re.search(rb"<style>(.*?)</style>", parsed.source, re.DOTALL)
    assert style is not None
    wanted = base64.b64encode(hashlib.sha256(style[1]).digest()).decode()
    [policy] = [tag["content"] for _, tag in parsed.tags if tag.get("http-equiv") == "Content-Security-Policy"]
    assert policy == (
        f"default-src 'none'; img-src data:; media-src data:; style-src 'sha256-{wanted}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert parsed.source.index(b"Content-Security-Policy") < parsed.source.index(b"<style>")
    assert not re.search(rb"url\(|@import", style[1])


def test_the_page_tells_everything_in_order(lake: SmallLake, tmp_path: Path) -> None:
    told = full(lake)
    live = lake.workspace.publications.live()
    assert live is not None
    write_page(lake.workspace, tmp_path / "page.html", **told)
    parsed = Parsed(tmp_path / "page.html")

    assert parsed.headings == SECTIONS
    assert live.id in parsed.words
    assert "12 rows in = 7 kept + 4 rejected + 1 duplicate." in parsed.words
    assert "published at 2025-01-02 03:04:05 UTC" in parsed.words
    # what leaves, in the order of the chain; what has no op of the chain left first
    [funnel] = re.findall("From rows to records.*?Planted defects", parsed.words)
    steps = re.findall(r"(row invalid|image truncated|image blurred|audio clipped|exact content) \S+.*?(−\d)", funnel)
    assert steps == [("row invalid", "−1"), ("image truncated", "−1"), ("image blurred", "−1"), ("audio clipped", "−1"),
                     ("exact content", "−1")]  # fmt: skip
    assert "indexed vectors: 7 fused 7 58 %" in parsed.words
    assert "required: at least 150; 1 rejected" in parsed.words  # of the sharpness
    assert "image truncated image_truncated image_decode cut" in parsed.words  # in place of a thumbnail
    thumbnails = [link for link in parsed.linked() if link.startswith("data:image")]
    assert len(thumbnails) == 1 + 2 + 4 + 1 + 2  # a reject, a pair, records that were kept, a query, its hits
    with Pillow.open(io.BytesIO(base64.b64decode(thumbnails[0].partition(",")[2]))) as shrunk:
        assert max(shrunk.size) <= 96
    assert sum(tag == "audio" for tag, _ in parsed.tags) == 1
    assert [tag.get("class") for _, tag in parsed.tags].count("card answer") == 1
    assert re.search(r"text – image.*?AUC 0\.\d{3} , \d+ pairs.*?text → image -?\d", parsed.words)
    assert "over 8 draws of these forms" in parsed.words
    assert "records of:books 4 9 accepted" in parsed.words
    assert re.search(r"NDCG@10 0\.\d+ ± 0\.\d+ \[0\.\d+, 0\.\d+\] , MRR 0\.\d+, mAP 0\.\d+", parsed.words)
    tables = re.search(r"records \d+ 1 8 .*? 1 0 1", parsed.words)  # one shard made, the one before removed
    assert tables is not None
    write_page(lake.workspace, tmp_path / "again.html", **told)
    assert (tmp_path / "again.html").read_bytes() == parsed.source


def test_what_is_missing_is_said_in_a_sentence(lake: SmallLake, tmp_path: Path) -> None:
    lake.publish([record(number, media=False) | {"scores": []} for number in range(3)])
    write_page(lake.workspace, tmp_path / "page.html")
    parsed = Parsed(tmp_path / "page.html")

    assert parsed.headings == [name for name in SECTIONS if name not in ("Planted defects", "Queries")]
    for sentence in ("No row was rejected.", "No record is a duplicate", "No training history is stored",
                     "recall was not measured", "there is no mixed gallery",
                     "no test record has two modalities", "No score was measured.",
                     "This is the first publication, so every shard is new."):  # fmt: skip
        assert sentence in parsed.words
    assert not [link for link in parsed.linked() if not link.startswith("#")]


def test_a_reject_never_shows_a_file_from_outside_its_source(lake: SmallLake, tmp_path: Path) -> None:
    named = {"out": "../secret.jpg", "link": "link.jpg", "absolute": str(tmp_path / "secret.jpg"), "gone": "gone.jpg"}
    rejects = [reject(key, "read", "row_invalid", image=path) for key, path in named.items()][:3]
    lake.publish(
        [record(0, media=False)], rejects=[*rejects, reject("gone", "read", "media_missing", image="gone.jpg")]
    )
    write_page(lake.workspace, tmp_path / "page.html")
    parsed = Parsed(tmp_path / "page.html")

    assert parsed.words.count("image: media outside root") == 3
    assert "image: the file no longer exists" in parsed.words
    assert not [link for link in parsed.linked() if link.startswith("data:")]


def test_the_page_stays_small_whatever_is_shown(
    lake: SmallLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "wide \u2603 " * 20_000
    records = [record(number, text=long) | {"key": f"{number}-" + "k" * 5_000} for number in range(6)]
    rejects = [reject(f"{i}-" + "k" * 1_000, f"op{i}", f"reason{i}", raw=long, image="blurred.jpg") for i in range(300)]
    lake.publish(records, rejects=rejects)
    hits = [{"key": row["key"], "score": 0.5, "view": "fused", "text": long} for row in records] * 20
    queries = [{"by": "text", "query": long, "hits": hits}] * 50
    defects = [{"defect": long, "planted": 1, "found": 1, "as": long}] * 5_000
    # the budget of media is spent whole: every one that does not fit is counted, not shown
    monkeypatch.setattr(cards.Printer.__init__, "__defaults__", (60_000, 4))
    write_page(lake.workspace, tmp_path / "page.html", queries=queries, defects=defects)
    parsed = Parsed(tmp_path / "page.html")

    assert sum(map(len, (link for link in parsed.linked() if link.startswith("data:")))) <= 60_000
    assert re.search(r"\d+ pictures or sounds were left out", parsed.words)
    assert len(parsed.source) + cards.MEDIA_BYTES < MAX_BYTES


def test_nothing_published_is_a_clear_error(lake: SmallLake, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="trichord reindex"):
        write_page(lake.workspace, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_text_is_cut_and_its_unseen_characters_are_shown() -> None:
    assert shown("a\tb\n c", 10) == "a b c"
    assert shown("abcdef", 3) == "abc…"
    assert shown("a\x00\x1b\u202eb\ud800", 10) == r"a\u0000\u001b\u202eb\ud800"
    assert shown("👩\u200d🔬 é", 10) == r"👩\u200d🔬 é"


def test_the_indexed_demo_lake_makes_a_page(indexed: tuple[Path, dict], tmp_path: Path) -> None:
    workspace = workspace_of(indexed[0])
    write_page(workspace, tmp_path / "page.html")
    parsed = Parsed(tmp_path / "page.html")

    summary = indexed[1]
    assert f"{summary['rows_in']:,} rows in = {summary['rows_kept']:,} kept" in parsed.words
    told = ("Training loss", "too few validation records", "Before training", "After training", "Live model, test")
    assert re.search(".*".join(told), parsed.words)
    assert len(parsed.source) < MAX_BYTES
