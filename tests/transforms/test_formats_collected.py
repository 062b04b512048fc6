"""Subtitles, tables, names and archives as the world writes them: read right, refused with the reason, or counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import webvtt

from tests.transforms.formats import Read, Variant
from tests.transforms.formats.archives import archives
from tests.transforms.formats.collecting import judge
from tests.transforms.formats.subtitles import subtitles
from tests.transforms.formats.tables import tables
from trichord.transforms.align.subtitles import parse_segments
from trichord.transforms.text_bytes import decode_text

Make = Callable[[], Iterator[Variant]]


@pytest.mark.parametrize(("make", "least"), [(subtitles, 80), (tables, 200), (archives, 80)])
def test_every_variant_is_read_right_or_refused_with_the_reason_or_counted(
    make: Make, least: int, tmp_path: Path
) -> None:
    variants = list(make())
    names = [(one.format, one.variant) for one in variants]
    assert len(set(names)) == len(names) >= least
    wrong = {f"{one.format}, {one.variant}": judge(one, tmp_path / str(i)) for i, one in enumerate(variants)}
    assert not "\n".join(f"{name}: {why}" for name, why in wrong.items() if why)


_NOT_OF_THE_REFERENCE = {  # what webvtt-py leaves as it is, or drops
    "utf-32",
    "a line of blanks between cues",
    "a comma",
    "tags and entities",
    "an arrow in the text",
}


def test_webvtt_is_read_as_the_reference_reads_it() -> None:
    read = 0
    for one in subtitles():
        if one.format != "vtt" or not isinstance(one.expected, Read) or one.variant in _NOT_OF_THE_REFERENCE:
            continue
        data = one.files["a.vtt"]
        text = decode_text(data).replace("\r\n", "\n").replace("\r", "\n")
        found = [(cue.start, cue.end, " ".join(cue.text.split())) for cue in webvtt.from_string(text).captions]
        ours = [(_clock(cue.start_s), _clock(cue.end_s), cue.text) for cue in parse_segments(data, "vtt")]
        assert ours == found, one.variant
        read += 1
    assert read > 20


def _clock(seconds: float) -> str:
    whole, ms = divmod(round(seconds * 1_000), 1_000)
    return f"{whole // 3_600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{ms:03d}"
