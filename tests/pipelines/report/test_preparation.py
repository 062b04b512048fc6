"""The page of a preparation needs no publication, tells of every row, and is safe, bounded and repeatable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Place
from tests.pipelines.lakes import workspace_of
from tests.pipelines.report.report_lake import (
    HOSTILE,
    SmallLake,
    duplicate,
    hostile,
    match,
    picture,
    record,
    reject,
    sound,
)
from tests.pipelines.report.test_page import TAGS, Parsed
from trichord.infra.lake import schema
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.shard import ShardRef, iter_shard
from trichord.pipelines.report import cards, facts, plots, tally
from trichord.pipelines.report.changes import difference
from trichord.pipelines.report.facts import read_facts
from trichord.pipelines.report.flow import all_ops, source_flows
from trichord.pipelines.report.page import write_preparation_page
from trichord.pipelines.report.render import MAX_BYTES, spaced
from trichord.pipelines.report.smallest import Smallest

SECTIONS = ["From rows to records", "Rejects", "Duplicates", "Alike in one modality", "Op by op", "Sources",
            "What the records contain", "Changes", "Sample records", "Measured scores"]  # fmt: skip


@pytest.fixture
def lake(place: Place, tmp_path: Path) -> SmallLake:
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "blurred.jpg").write_bytes(picture(99))
    (sources / "clipped.flac").write_bytes(sound())
    (tmp_path / "secret.jpg").write_bytes(picture(97))
    return SmallLake(place, sources)


def page_of(lake: SmallLake, path: Path, **told: object) -> Parsed:
    write_preparation_page(read_facts(lake.workspace), path, **told)  # type: ignore[arg-type]
    return Parsed(path)


def test_a_preparation_is_told_without_a_publication(lake: SmallLake, tmp_path: Path) -> None:
    rejects = [
        reject("sharp", "threshold:image_blurred", "image_blurred", image="blurred.jpg", text="a blurred dog")
        | {"detail": "image_sharpness 12.5 is below 150"},
        reject("loud", "threshold:audio_clipped", "audio_clipped", audio="clipped.flac"),
        reject("worse", "read", "row_invalid", raw="{"),
    ]
    lake.prepare([record(number) for number in range(6)], rejects=rejects, duplicates=[duplicate(5, 1)],
                 matches=[match(3, 2)])  # fmt: skip
    parsed = page_of(lake, tmp_path / "page.html")

    assert parsed.headings == SECTIONS
    assert "9 rows in = 5 kept + 3 rejected + 1 duplicate." in parsed.words
    assert re.search(r"read 9 −1 8 .*threshold:image blurred 8 −1 7 .*threshold:audio clipped 7 −1 6", parsed.words)
    assert re.search(r"demo manifest 1 9 0 3 33 % 1 5 [0-9a-f]{12}", parsed.words)
    assert "a blurred dog" in parsed.words
    assert re.search(r"exact content key-5 .* survivor key-1", parsed.words)
    assert re.search(r"image key-3 .* earlier key-2 .* image 40/256", parsed.words)
    assert "text + image + audio 6" in parsed.words
    assert parsed.source.count(b'class="bin refused"') == 1  # the one value that a threshold names
    assert b'class="wave"' in parsed.source  # also of the rejected sound


def test_a_hostile_lake_puts_nothing_but_text_on_the_page(lake: SmallLake, tmp_path: Path) -> None:
    rejects = [reject(HOSTILE, HOSTILE, HOSTILE, image="../secret.jpg", text=HOSTILE, file=HOSTILE)]
    matches = [match(8, 7, HOSTILE) | {"modality": HOSTILE}]
    lake.prepare([hostile(number) for number in range(4)] + [record(7), record(8)], rejects=rejects,
                 duplicates=[duplicate(8, 7) | {"evidence": HOSTILE}], matches=matches)  # fmt: skip
    defects = [{"defect": HOSTILE, "planted": 1, "found": 0, "as": HOSTILE}]
    parsed = page_of(lake, tmp_path / "page.html", title=HOSTILE, defects=defects)

    assert {tag for tag, _ in parsed.tags} <= TAGS | {"image"}
    assert sum(tag == "style" for tag, _ in parsed.tags) == 1
    names = {name for _, attributes in parsed.tags for name in attributes}
    assert not {name for name in names if name == "style" or name.startswith("on")}
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in parsed.linked())
    assert "<script>alert(1)</script>" in parsed.words
    assert not {"\u202e", "\x00"} & set(parsed.words)
    assert "media outside root" in parsed.words
    [policy] = [tag["content"] for _, tag in parsed.tags if tag.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; media-src data:; style-src 'sha256-")
    for fate in ("Kept and changed", "Cut from a parent", "Transcript aligned with the sound", "Partly blurred"):
        assert fate in parsed.words


def test_an_empty_lake_has_a_page(lake: SmallLake, tmp_path: Path) -> None:
    parsed = page_of(lake, tmp_path / "page.html")

    assert parsed.headings == [name for name in SECTIONS if name != "Alike in one modality"]
    for sentence in ("Nothing is prepared yet", "No row was rejected.", "No record is a duplicate.",
                     "There are no records.", "There are no records to show.", "No score was measured."):  # fmt: skip
        assert sentence in parsed.words
    lake.prepare([])
    assert "0 rows in = 0 kept" in page_of(lake, tmp_path / "page.html").words


def test_a_lake_from_before_matches_has_a_page(lake: SmallLake, tmp_path: Path) -> None:
    lake.shard("records", [record(0)], schema.RECORDS)
    assert "1 rows in = 1 kept" in page_of(lake, tmp_path / "page.html").words


def test_equal_lakes_make_equal_pages(lake: SmallLake, tmp_path: Path) -> None:
    lake.prepare([hostile(number) for number in range(3)], rejects=[reject("r", "read", "row_invalid")])
    one = page_of(lake, tmp_path / "one.html").source
    assert page_of(lake, tmp_path / "two.html").source == one


def test_the_page_stays_small_whatever_the_lake_holds(
    lake: SmallLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "wide \u2603 " * 600
    change = {"field": "text", "before": long, "after": long + "!"}
    records = [
        hostile(number)
        | {
            "text": long,
            "key": f"{number}-" + "k" * 2_000,
            "subset": f"subset {number}",
            "changes": [change | {"op": f"op {number} {i}"} for i in range(20)],
            "labels": [("text_language", f"l{number}" * 100), ("image_blur_map", "64x64:" + "1" * 4_096)],
            "segments": [{"start_s": 0.0, "end_s": 9.0, "text": long, "score": 1.0}] * 300,
            "scores": [(f"image_{number}_{i}" + "s" * 500, 1.0) for i in range(10)],
            "image": picture(number, 16),
        }
        for number in range(40)
    ]
    rejects = [reject(f"{i}-" + "k" * 1_000, f"op{i}", f"reason{i}", raw=long, image="blurred.jpg") for i in range(300)]
    lake.prepare(records, rejects=rejects, matches=[match(i, i + 1, long) | {"modality": f"m{i}"} for i in range(50)])
    monkeypatch.setattr(cards.Printer.__init__, "__defaults__", (30_000, 4))
    parsed = page_of(
        lake, tmp_path / "page.html", defects=[{"defect": long, "planted": 1, "found": 1, "as": long}] * 900
    )

    assert len(parsed.source) + cards.MEDIA_BYTES < MAX_BYTES


def test_the_funnel_follows_the_counts_of_the_ops(lake: SmallLake) -> None:
    chain = [op.name for op in read_facts(lake.workspace).chains[0].ops]
    by_op = {f"{op}/in": 7 if op != "cut_time" else 4 for op in chain} | {f"{op}/rejected": 0 for op in chain}
    by_op["threshold:audio_clipped/rejected"] = 1
    behind = chain[chain.index("threshold:audio_clipped") + 1 :]
    by_op |= {f"{op}/in": 6 for op in behind}
    lake.prepare([record(i) for i in range(6)], rejects=[reject("r", "threshold:audio_clipped", "audio_clipped")],
                 added=3, by_op=by_op)  # fmt: skip
    steps = {step.op: step for step in all_ops(source_flows(read_facts(lake.workspace)))}

    assert (steps["cut_time"].rows_in, steps["cut_time"].added, steps["cut_time"].kept) == (4, 3, 7)
    assert steps["cut_regions"].added == 0
    assert steps["threshold:audio_clipped"].kept == 6 == list(steps.values())[-1].kept


def test_facts_read_every_table_once(lake: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.prepare([record(i) for i in range(3)], rejects=[reject("r", "read", "row_invalid")],
                 duplicates=[duplicate(2, 1)], matches=[match(1, 0)])  # fmt: skip
    read: list[str] = []

    def noted(lake: Lake, ref: ShardRef, *arguments: Any, **named: Any) -> Iterator[pa.RecordBatch]:
        read.append(ref.table)
        return iter_shard(lake, ref, *arguments, **named)

    for module in (facts, tally):
        monkeypatch.setattr(module, "iter_shard", noted)
    facts.read_facts(lake.workspace)

    assert sorted(read) == ["duplicates", "matches", "records", "rejects"]


def test_an_empty_partition_is_no_source_of_its_own(lake: SmallLake) -> None:
    lake.prepare([])
    assert [flow.source for flow in source_flows(read_facts(lake.workspace))] == ["demo"]


def test_a_large_lake_is_judged_by_some_of_its_shards(lake: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.prepare([record(i, media=False) for i in range(9)])
    whole = read_facts(lake.workspace).records
    monkeypatch.setattr(tally, "SCORED", 4)
    some = read_facts(lake.workspace).records

    assert (whole.looked, whole.total, whole.whole) == (9, 9, True)
    assert len(some.scores["text_chars"]) == 4
    assert some.modalities == whole.modalities


@given(
    names=st.lists(st.text(max_size=8), unique=True), size=st.integers(1, 5), order=st.randoms(use_true_random=False)
)
def test_a_sample_depends_on_neither_order_nor_number(names: list[str], size: int, order: object) -> None:
    one: Smallest[str] = Smallest(size)
    other: Smallest[str] = Smallest(size)
    for name in names:
        one.offer(name, name)
    shuffled = list(names)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    for name in shuffled:
        if other.wants(name):
            other.offer(name, name)

    assert one.items() == other.items()
    assert len(one.items()) == min(size, len(names))


@given(before=st.text(alphabet="ab c"), after=st.text(alphabet="ab c"))
def test_a_difference_puts_back_together_what_it_took_apart(before: str, after: str) -> None:
    found = difference(before, after)
    assert found.head + found.gone + found.tail == before or len(before) > 30
    assert found.head + found.come + found.tail == after or len(after) > 30


def test_a_difference_shows_whole_words() -> None:
    found = difference("two small wedes on blue", "two small wedges on blue")
    assert (found.head, found.gone, found.come, found.tail) == ("two small ", "wedes", "wedges", " on blue")


def test_white_space_that_looks_like_one_space_is_shown() -> None:
    assert spaced("a\u00a0b  c d ") == "a␣b␣␣c d␣"


def test_blurred_tiles_are_drawn_where_they_are() -> None:
    svg = plots.tiles("data:image/jpeg;base64,", (40, 20), "2x2:01.0")
    assert 'class="tile-blurred" x="20.0" y="0.0" width="20.0" height="10.0"' in svg
    assert 'class="tile-flat" x="0.0" y="10.0" width="20.0" height="10.0"' in svg
    for broken in ("", "2x2:01", "0x0:", "99x99:1", '2x2:"><script>'):
        assert "tile-" not in plots.tiles("data:image/jpeg;base64,", (40, 20), broken)


def test_words_stand_where_they_are_said_and_stay_inside() -> None:
    svg = plots.words([(0.0, 1.0, "hello there", 0.9), (5.0, 99.0, "<b>", 0.1)], 2.0)
    width = plots.STRIP_SIZE[0]
    assert f'class="word high" x="0.0" y="2" width="{width / 2}"' in svg
    assert f'class="word low" x="{float(width)}" y="2" width="1.0"' in svg
    assert "hello there" in svg


def test_the_indexed_demo_lake_makes_a_page(indexed: tuple[Path, dict], tmp_path: Path) -> None:
    write_preparation_page(read_facts(workspace_of(indexed[0])), tmp_path / "page.html")
    parsed = Parsed(tmp_path / "page.html")

    summary = indexed[1]
    assert f"{summary['rows_in']:,} rows in = {summary['rows_kept']:,} kept" in parsed.words
    assert [name for name in parsed.headings if name in SECTIONS] == parsed.headings
    assert "changed after the records were made" not in parsed.words
