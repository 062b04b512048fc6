"""Rows cut by time and by region: known cuts, malformed input, and no row lost whatever the lists contain."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trichord.infra.config import ManifestSource, PrepareConfig
from trichord.transforms.align.cue import SegmentsError
from trichord.transforms.align.cut_rows import MAX_PARTS
from trichord.transforms.align.regions import CutRegions, region_ops
from trichord.transforms.align.subtitles import parse_segments
from trichord.transforms.align.time import CutTime, time_ops
from trichord.transforms.batch import Batch, Row, Waveform
from trichord.transforms.chain import prepare_chain
from trichord.transforms.media import encode_audio, encode_image
from trichord.transforms.op import recipe_of, run_chain

SOUND, PICTURE = b"a sound", b"a picture"
SRT = b"1\n00:00:01,500 --> 00:00:02,250\n<i>Hello</i>\nthere\n\n2\n00:01:00,000 --> 00:01:02,000\nYou --> me\n"
VTT = (
    b"WEBVTT\n\nNOTE none\n\n00:01.500 --> 00:02.250 align:start\n<v Ann>Hello\nthere\n\n"
    b"01:00:00.000 --> 01:00:02.000\nYou\n"
)
FLAG = st.booleans()


def batch_of(alignment: dict[str, Any], files: dict[str, bytes] | None = None, **fields: Any) -> Batch:
    row = Row(key="a", source="s", group="g", subset="train", meta='{"n":1}', alignment=json.dumps(alignment), **fields)
    return Batch(rows=(row,), raw_audios=(SOUND,), raw_images=(PICTURE,), attachments=(files,))


def segment(start_s: float, end_s: float, text: str = "words") -> dict[str, Any]:
    return {"start_s": start_s, "end_s": end_s, "text": text}


def cut(batch: Batch, parents: Any = "keep") -> Batch:
    return run_chain(batch, (CutTime(parents=parents), CutRegions(parents=parents)))[0]


def test_a_segment_becomes_a_row_with_its_span_of_the_very_same_sound() -> None:
    after = cut(batch_of({"segments": [segment(1, 2, "one"), segment(2, 3.5, " two ")]}, text="all", captions=("x",)))
    parent, one, two = after.rows
    assert [row.key for row in after.rows] == ["a", "a#t0000", "a#t0001"]
    assert [(row.text, row.span, row.parent) for row in (one, two)] == [("one", (1, 2), "a"), ("two", (2, 3.5), "a")]
    assert all(raw is SOUND for raw in after.raw_audios)
    assert all(raw is PICTURE for raw in after.raw_images)
    assert (one.captions, one.group, one.subset, one.meta, one.alignment) == ((), "g", "train", '{"n":1}', "{}")
    assert [(said.start_s, said.end_s, said.text) for said in parent.segments] == [(1, 2, "one"), (2, 3.5, " two ")]


def test_the_picture_that_overlaps_most_is_taken_and_one_that_no_segment_takes_is_a_row() -> None:
    files = {"image:0": b"p0", "image:1": b"p1", "image:2": b"p2"}
    pictures = [
        {"start_s": 0, "end_s": 4, "attachment": "image:0"},
        {"start_s": 4, "end_s": 8, "attachment": "image:1"},
        {"start_s": 20, "end_s": 25, "attachment": "image:2"},
    ]
    cues = [segment(1, 5), segment(3, 5), segment(3.5, 8), segment(10, 11)]
    after = cut(batch_of({"segments": cues, "pictures": pictures}, files))
    found = dict(zip((row.key for row in after.rows), after.raw_images, strict=True))
    assert found == {
        "a": PICTURE, "a#t0000": b"p0", "a#t0001": b"p0", "a#t0002": b"p1", "a#t0003": PICTURE, "a#p0002": b"p2",
    }  # fmt: skip
    alone = after.rows[-1]
    assert (alone.span, alone.text, after.raw_audios[-1]) == ((20, 25), None, SOUND)


@pytest.mark.parametrize(("form", "data", "last"), [("srt", SRT, 60.0), ("vtt", VTT, 3_600.0)])
def test_subtitle_files_are_read_from_memory(form: str, data: bytes, last: float) -> None:
    after = cut(batch_of({"segments_format": form}, {"segments": data}))
    assert [row.span for row in after.rows[1:]] == [(1.5, 2.25), (last, last + 2)]
    assert after.rows[1].text == "Hello there"
    assert after.attachments == (None,) * 3


def test_a_json_file_is_a_list_or_an_object_that_holds_it() -> None:
    listed = [segment(0, 1)]
    assert parse_segments(json.dumps(listed).encode(), "json") == parse_segments(
        json.dumps({"segments": listed}).encode("utf-8-sig"), "json"
    )


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("srt", b"no subtitles at all"),
        ("srt", b"1\n99999999999:00:00,000 --> 00:00:01,000\nx\n"),
        ("srt", b"\xff\xfe\xff"),
        ("srt", b"1\n00:00:01,500 --> 00:00:02,250\n" + b"x" * 30_000),
        ("vtt", b"00:01.000 --> 00:02.000\nno header\n"),
        ("vtt", b"WEBVTT\n\n00:xx --> 3\nlost\n\n00:01.000 --> 00:02.000\nok\n"),
        ("json", b"{"),
        ("json", b"[[1, 2]]"),
        ("json", b'[{"start_s": NaN, "end_s": 1, "text": ""}]'),
        ("json", b"[" * 100_000),
        ("doc", b""),
        ("json", b" " * 10_000_001),
        ("srt", b"00:00:01,500 --> 00:00:02,250\n" * 20_001),
    ],
)
def test_a_malformed_file_rejects_the_row(form: str, data: bytes) -> None:
    with pytest.raises(SegmentsError):
        parse_segments(data, form)
    after = cut(batch_of({"segments_format": form}, {"segments": data}))
    assert [(reject.key, reject.reason) for reject in after.rejects] == [("a", "segments_invalid")]


def test_long_runs_of_blanks_are_read_in_linear_time() -> None:
    assert len(parse_segments(SRT + b"\n" * 2_000_000 + SRT, "srt")) == 4


def test_a_segment_that_makes_no_sense_is_refused_and_its_neighbours_stay() -> None:
    after = cut(batch_of({"segments": [segment(2, 1), segment(-1, 1), segment(3, 4), segment(3, 3)]}))
    assert [row.key for row in after.rows] == ["a", "a#t0002"]
    assert [(reject.key, reject.reason) for reject in after.rejects] == [
        (f"a#t000{i}", "segments_invalid") for i in (0, 1, 3)
    ]


def test_a_segment_without_text_is_a_row_without_text() -> None:
    assert [row.text for row in cut(batch_of({"segments": [segment(0, 1, "")]})).rows] == [None, None]


def test_a_dropped_parent_is_a_reject_and_its_regions_are_cut_all_the_same() -> None:
    alignment = {"segments": [segment(0, 1)], "regions": [{"box": [1, 2, 3, 4], "text": "sign"}]}
    after = cut(batch_of(alignment), "drop")
    assert [(row.key, row.box, row.span) for row in after.rows] == [
        ("a#r0000", (1, 2, 3, 4), None), ("a#t0000", None, (0, 1)),
    ]  # fmt: skip
    assert after.raw_audios == (None, SOUND)
    assert [(reject.key, reject.reason) for reject in after.rejects] == [("a", "replaced_by_parts")]


def test_too_many_parts_reject_the_row() -> None:
    many = [segment(i, i + 1) for i in range(10_000)]
    assert len(many) > MAX_PARTS
    assert cut(batch_of({"segments": many})).rejects[0].reason == "too_many_parts"
    boxes = [{"box": [0, 0, 1, 1], "text": ""}] * 10_000
    assert cut(batch_of({"regions": boxes})).rejects[0].reason == "too_many_parts"


def test_a_part_never_takes_the_name_of_another_row() -> None:
    batch = batch_of({"segments": [segment(0, 1)]})
    other = Batch(rows=(Row(key="a#t0000", source="s", text="x"),))
    both = Batch(rows=batch.rows + other.rows, raw_audios=(SOUND, None), raw_images=(PICTURE, None))
    after = cut(both)
    assert [row.key for row in after.rows] == ["a#t0000"]
    assert after.rejects[0].reason == "segments_invalid"


def test_malformed_regions_are_refused_one_by_one() -> None:
    regions = [{"box": [0, 0, 9, 9], "text": "ok"}, {"box": [0, 0, -1, 9]}, {"box": "x"}, 7, {"box": [0, 0, 1, True]}]
    after = cut(batch_of({"regions": regions}))
    assert [(row.key, row.text) for row in after.rows] == [("a", None), ("a#r0000", "ok")]
    assert after.raw_images[1] is PICTURE
    assert {reject.reason for reject in after.rejects} == {"regions_invalid"}
    assert len(after.rejects) == 4


def test_rows_without_times_or_boxes_pass_untouched() -> None:
    batch = Batch(rows=(Row(key="a", text="x"), Row(key="b", text="y")))
    assert cut(batch) is batch


def test_the_policy_of_the_source_reaches_both_ops() -> None:
    source = ManifestSource(kind="manifest", name="s", path="m.jsonl", parents="drop")
    recipe = recipe_of((*time_ops(source), *region_ops(source)))
    assert [step["settings"]["parents"] for step in recipe] == ["drop", "drop"]


NUMBERS = st.one_of(st.floats(-5, 50), st.integers(-3, 60), st.sampled_from([1e300, None, "1", True]))
TIMES = {"start_s": NUMBERS, "end_s": NUMBERS}
SEGMENT = st.one_of(st.fixed_dictionaries(TIMES, optional={"text": st.text(max_size=5)}), st.none())
PICTURES = st.fixed_dictionaries({**TIMES, "attachment": st.sampled_from(["image:0", "image:1", "image:9"])})
REGION = st.one_of(
    st.fixed_dictionaries({"box": st.lists(NUMBERS, min_size=3, max_size=5)}, optional={"text": st.text(max_size=5)}),
    st.integers(),
)
ALIGNMENT = st.fixed_dictionaries(
    {},
    optional={
        "segments": st.lists(SEGMENT, max_size=6),
        "pictures": st.lists(PICTURES, max_size=4),
        "regions": st.lists(REGION, max_size=5),
    },
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(ALIGNMENT, st.booleans(), st.booleans()), max_size=4),
    st.sampled_from(["keep", "drop"]),
    st.data(),
)
def test_no_row_is_lost_whatever_the_lists_hold(
    given_rows: list[tuple[dict[str, Any], bool, bool]], parents: Any, data: st.DataObject
) -> None:
    files = {"image:0": b"p0", "image:1": b"p1"}
    batch = Batch(
        rows=tuple(Row(key=str(i), text="t", alignment=json.dumps(a)) for i, (a, _, _) in enumerate(given_rows)),
        raw_audios=tuple(SOUND if audio else None for _, audio, _ in given_rows),
        raw_images=tuple(PICTURE if image else None for _, _, image in given_rows),
        attachments=(files,) * len(given_rows),
    )
    ops = (CutTime(parents=parents), CutRegions(parents=parents))
    after, counts = run_chain(batch, ops)  # raises ConservationError where a row is lost
    for name in ("cut_time", "cut_regions"):
        count = counts[name]
        assert count.rows_in + count.fan_out == count.rows_kept + count.rows_rejected
    assert not any(reject.reason == "op_error" for reject in after.rejects)
    fates = {row.key for row in after.rows} | {reject.key for reject in after.rejects}
    assert {row.key for row in batch.rows} <= fates
    for i, (alignment, audio, image) in enumerate(given_rows):  # each part has a fate, or its parent was refused
        refused = {reject.reason for reject in after.rejects if reject.key == str(i)} - {"replaced_by_parts"}
        if not refused and (audio or alignment.get("pictures")):
            assert {f"{i}#t{n:04d}" for n in range(len(alignment.get("segments", ())))} <= fates
        if not refused and image:
            assert {f"{i}#r{n:04d}" for n in range(len(alignment.get("regions", ())))} <= fates
    if given_rows:  # the same rows alone give the same result
        at = data.draw(st.integers(0, len(given_rows) - 1))
        alone, _ = run_chain(batch.slice(at, at + 1), ops)
        mine = [row for row in after.rows if row.key == str(at) or row.parent == str(at)]
        assert list(alone.rows) == mine


def test_the_whole_chain_decodes_only_the_part_that_a_row_is() -> None:
    rate_hz = 16_000
    tone = np.sin(np.arange(4 * rate_hz) * 2 * np.pi * 440 / rate_hz).astype(np.float32) * 0.5
    picture = np.random.Generator(np.random.Philox(key=2)).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    alignment = {"segments_format": "srt", "regions": [{"box": [10, 20, 70, 65], "text": "a sign"}]}
    row = Row(key="a", source="s", text="a story", alignment=json.dumps(alignment))
    batch = Batch(
        rows=(row,),
        raw_audios=(encode_audio(Waveform(tone, rate_hz)),),
        raw_images=(encode_image(picture, 95),),
        attachments=({"segments": b"1\n00:00:01,000 --> 00:00:02,500\nhe said\n"},),
    )
    source = ManifestSource(kind="manifest", name="s", path="m.jsonl")
    after, _ = run_chain(batch, prepare_chain(PrepareConfig(), source))
    lengths = {row.key: wave and wave.duration_s for row, wave in zip(after.rows, after.waves, strict=True)}
    sizes = {
        row.key: image is not None and image.shape[:2] for row, image in zip(after.rows, after.images, strict=True)
    }
    assert after.rejects == ()
    assert lengths == {"a": 4.0, "a#t0000": 1.5, "a#r0000": None}
    assert sizes == {"a": (120, 160), "a#t0000": (120, 160), "a#r0000": (65, 70)}
