"""Subtitles as YouTube, editors, spreadsheets and scripts write them, beside the sound that they belong to."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.transforms.formats import Counted, Expected, Read, Refused, Variant
from tests.transforms.formats.collecting import settings
from tests.transforms.samples import sound

SOUND = sound(np.sin(np.arange(40_000) / 5).astype(np.float32) * 0.3, rate_hz=8_000)
Cues = list[tuple[float, float, str]]
ONE: Cues = [(1.0, 2.0, "Hello there")]
TWO: Cues = [(1.0, 2.0, "one"), (2.0, 3.5, "two")]


def cues(expected: Cues, *, rejected: int = 0) -> Read:
    """Parts with these times and texts, in this order, and this many rejected ones."""

    def check(rows: list[dict[str, Any]]) -> bool:
        parts = sorted(
            (row for row in rows if "#t" in row["key"] and "rejected" not in row), key=lambda r: str(r["key"])
        )
        bad = [row for row in rows if "#t" in row["key"] and "rejected" in row]
        found = [(*row["span"], row["text"] or "") for row in parts]
        return found == expected and len(bad) == rejected and all(row["audio"] for row in parts)

    return Read(check)


def _variant(name: str, data: bytes | str, variant: str, expected: Expected | Cues) -> Variant:
    files = {name: data.encode() if isinstance(data, str) else data, "a.wav": SOUND}
    files["m.jsonl"] = json.dumps({"id": "a", "audio": "a.wav", "subs": name}).encode() + b"\n"
    files |= settings("manifest", "m.jsonl", fields={"segments": "subs"}, optional_fields=["segments"], parents="drop")
    made = cues(expected) if isinstance(expected, list) else expected
    return Variant("subtitle", name.rpartition(".")[2], variant, files, made)


def subtitles() -> Iterator[Variant]:
    """Every variant of subtitles."""
    for variant, text, expected in (*_vtt(), *_vtt_refused()):
        yield _variant("a.vtt", text, variant, expected)
    for variant, text, expected in (*_srt(), *_srt_refused()):
        yield _variant("a.srt", text, variant, expected)
    for variant, text, expected in _json():
        yield _variant("a.json", text, variant, expected)
    for ending in ("ass", "ssa", "sbv", "ttml", "lrc", "sub", "dfxp"):
        yield _variant(f"a.{ending}", "0:00:01.00,0:00:02.00\nHello\n", "named by a row", Refused("does not end in"))
        files = {f"a.{ending}": b"Hello\n", "a.wav": SOUND} | settings("folder")
        yield Variant("subtitle", ending, "loose beside a sound", files, Counted())


def _vtt() -> Iterator[tuple[str, bytes | str, Expected | Cues]]:
    one = "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nHello there\n"
    yield "plain", one, ONE
    yield "no line feed at the end", one.rstrip(), ONE
    yield "CRLF", one.replace("\n", "\r\n"), ONE
    yield "CR", one.replace("\n", "\r"), ONE
    yield "UTF-8 with a mark", b"\xef\xbb\xbf" + one.encode(), ONE
    for wide in ("utf-16", "utf-32"):
        yield wide, one.encode(wide), ONE
    auto = (
        "WEBVTT\nKind: captions\nLanguage: en\n\n00:00:00.160 --> 00:00:03.429 align:start position:0%\n \n"
        "welcome<00:00:00.960><c> to</c><00:00:01.520><c> the</c><00:00:02.159><c> series</c>\n\n"
        "00:00:03.429 --> 00:00:03.629 align:start position:0%\nwelcome to the series\n \n\n"
        "00:00:03.629 --> 00:00:05.749 align:start position:0%\nwelcome to the series\n"
        "on neural<00:00:04.000><c> nets</c>\n"
    )
    said = "welcome to the series"
    yield (
        "YouTube's automatic",
        auto,
        [(0.16, 3.429, said), (3.429, 3.629, said), (3.629, 5.749, f"{said} on neural nets")],
    )
    both = "WEBVTT\n{}\n00:01.000 --> 00:02.000\none\n\n{}00:02.000 --> 00:03.500{}\ntwo\n"
    yield "without hours", both.format("", "", ""), TWO
    yield "comments", both.format("\nNOTE by me\n", "NOTE\nof two\nlines\n\n", ""), TWO
    yield "style and region", both.format("\nSTYLE\n::cue { color: red }\n\nREGION\nid:fred\nlines:3\n", "", ""), TWO
    yield "HLS", both.format("X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000\n", "", ""), TWO
    yield "identifiers", both.format("\n1", "the second --  cue\n", ""), TWO
    yield "settings", both.format("", "", " line:0 position:20% size:60% align:start"), TWO
    yield "a title behind WEBVTT", both.format("", "", "").replace("WEBVTT", "WEBVTT - a title"), TWO
    yield "no empty line between cues", both.format("", "", "").replace("one\n\n", "one\n"), TWO
    yield "a line of blanks between cues", both.format("", "2\n", "").replace("one\n\n", "one\n  \n"), TWO
    yield "a comma", one.replace(".000", ",000"), ONE
    yield "120 hours", "WEBVTT\n\n120:00:01.500 --> 120:00:02.000\nlate\n", [(432_001.5, 432_002.0, "late")]
    spoken = "<v.loud Ann><i.x>A&amp;B</i> &lt;3 <ruby>k<rt>c</rt></ruby> &#39;n&nbsp;more</v>"
    yield "tags and entities", f"WEBVTT\n\n00:01.000 --> 00:02.000\n{spoken}\n", [(1.0, 2.0, "A&B <3 kc 'n more")]
    yield "less-than signs", "WEBVTT\n\n00:01.000 --> 00:02.000\nI <3 you, 1 < 2\n", [(1.0, 2.0, "I <3 you, 1 < 2")]
    yield "two lines", "WEBVTT\n\n00:01.000 --> 00:02.000\n- Hi.\n- Ho.\n", [(1.0, 2.0, "- Hi. - Ho.")]
    yield "separators of Unicode", "WEBVTT\n\n00:01.000 --> 00:02.000\na\u2028b\x0bc\x85d\n", [(1.0, 2.0, "a b c d")]
    yield "an arrow in the text", one.replace("Hello", "go --> Hello"), [(1.0, 2.0, "go --> Hello there")]
    yield (
        "a cue without text",
        "WEBVTT\n\n00:01.000 --> 00:02.000\n\n00:02.000 --> 00:03.500\ntwo\n",
        [(1.0, 2.0, ""), TWO[1]],
    )
    order = "WEBVTT\n\n00:03.000 --> 00:04.000\nc\n\n00:01.000 --> 00:03.500\na\n"
    yield "out of order and overlapping", order, [(3.0, 4.0, "c"), (1.0, 3.5, "a")]
    wrong = (
        "WEBVTT\n\n00:02.000 --> 00:01.000\nx\n\n00:01.000 --> 00:01.000\ny\n\n00:01.000 --> 00:02.000\nHello there\n"
    )
    yield "cues that end before they begin", wrong, cues(ONE, rejected=2)
    yield "only a header", "WEBVTT\n", Read(lambda rows: [row.get("key") for row in rows] == ["a"])


def _vtt_refused() -> Iterator[tuple[str, bytes | str, Expected | Cues]]:
    one = "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nHello there\n"
    yield "no header", one[8:], Refused("not with WEBVTT")
    yield (
        "Latin-1",
        one.replace("Hello", "café").encode("latin-1"),
        Refused("byte 0xe9 (byte 4 of line 4, after 'caf')"),
    )
    yield "UTF-16 without a mark", one.encode("utf-16-le"), Refused("UTF-16 without a byte-order mark")
    yield "an empty line in a cue", one + "\nstill me\n", Refused("line 6 has no time")
    yield "a commented cue", one.replace("00:00:01", "NOTE\n00:00:01", 1), Refused("line 4 has times inside a comment")
    yield "1:00", one.replace("00:00:01.000", "1:00"), Refused("minutes and seconds or hours and minutes")
    yield "letters in a time", one.replace("00:00:01.000", "00:xx"), Refused("line 3")
    yield "75 minutes", one.replace("00:00:01.000", "75:00.000"), Refused("more than 59")


def _srt() -> Iterator[tuple[str, bytes | str, Expected | Cues]]:
    one = "1\n00:00:01,000 --> 00:00:02,000\nHello there\n"
    two = "1\n00:00:01,000 --> 00:00:02,000\none\n\n2\n00:00:02,000 --> 00:00:03,500\ntwo\n"
    yield "plain", two, TWO
    yield "CRLF", two.replace("\n", "\r\n"), TWO
    yield "CR", two.replace("\n", "\r"), TWO
    yield "UTF-8 with a mark", b"\xef\xbb\xbf" + two.encode(), TWO
    for wide in ("utf-16", "utf-32"):
        yield wide, two.encode(wide), TWO
    yield "UTF-16, big end first", b"\xfe\xff" + two.encode("utf-16-be"), TWO
    yield "without hours, comma", two.replace("00:00:", "00:"), TWO
    yield "without hours, dot", two.replace("00:00:", "00:").replace(",000", ".000").replace(",500", ".500"), TWO
    yield "hours of one digit", two.replace("00:00:0", "0:00:0"), TWO
    yield "digits without zeros", "1\n0:0:1,000 --> 0:0:2,000\nHello there\n", ONE
    yield "whole seconds", one.replace(",000", ""), ONE
    stamps = [str(datetime.timedelta(seconds=seconds)) for seconds in (1, 2.5)]
    yield "Python's timedelta", f"1\n{' --> '.join(stamps)}\nHello there\n", [(1.0, 2.5, "Hello there")]
    yield "no numbers", two.replace("1\n00", "00").replace("2\n00", "00"), TWO
    yield "no empty lines", two.replace("one\n\n", "one\n"), TWO
    yield "many empty lines", two.replace("\n\n", "\n\n\n \n\n"), TWO
    yield "all numbers 0", two.replace("1\n00", "0\n00").replace("2\n00", "0\n00"), TWO
    yield "numbers with a dot", two.replace("1\n00", "1.\n00").replace("2\n00", "2.\n00"), TWO
    yield "a year as text", two.replace("one", "1984"), [(1.0, 2.0, "1984"), TWO[1]]
    yield "an empty line in a text", two.replace("one", "one\n\nmore"), [(1.0, 2.0, "one more"), TWO[1]]
    yield "a cue without text", two.replace("one\n", ""), [(1.0, 2.0, ""), TWO[1]]
    yield "places behind times", one.replace("02,000", "02,000  X1:40 X2:600 Y1:20 Y2:50"), ONE
    yield "no blanks at the arrow", one.replace(" --> ", "-->"), ONE
    yield "an arrow in the text", one.replace("Hello", "You --> Hello"), [(1.0, 2.0, "You --> Hello there")]
    tags = '{\\an8}<font color="#fff">A&amp;B</font><br/><i>C</i> &quot;d&quot; AT&T'
    yield "tags and entities", one.replace("Hello there", tags), [(1.0, 2.0, 'A&B C "d" AT&T')]
    yield "separators of Unicode", one.replace("Hello there", "a\u2028b\x0cc\x85d"), [(1.0, 2.0, "a b c d")]
    order = "2\n00:00:03,000 --> 00:00:04,000\nc\n\n1\n00:00:01,000 --> 00:00:03,500\na\n"
    yield "out of order and overlapping", order, [(3.0, 4.0, "c"), (1.0, 3.5, "a")]
    wrong = two.replace("00:00:02,000 --> 00:00:03,500", "00:00:03,500 --> 00:00:02,000")
    yield "a cue that ends before it begins", wrong, cues(TWO[:1], rejected=1)
    yield "a cue of no length", two.replace("03,500", "02,000"), cues(TWO[:1], rejected=1)
    yield (
        "a negative time",
        two.replace("00:00:02,000 --> 00:00:03", "-00:00:02,000 --> 00:00:03"),
        cues(TWO[:1], rejected=1),
    )
    yield "WebVTT by its content", "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nHello there\n", ONE


def _srt_refused() -> Iterator[tuple[str, bytes | str, Expected | Cues]]:
    one = "1\n00:00:01,000 --> 00:00:02,000\nHello there\n"
    yield "1:00", one.replace("00:00:01,000", "1:00"), Refused("'1:00' may be minutes and seconds or hours")
    yield "a fraction of one digit", one.replace("01,000", "01,5"), Refused("may be 5 ms or 0.5 s")
    yield "a fraction of two digits", one.replace("01,000", "01.50"), Refused("may be 50 ms or 0.50 s")
    yield "frames", one.replace("01,000", "01:12"), Refused("is not a time")
    yield "61 seconds", one.replace("00:02,000", "00:61,000"), Refused("more than 59")
    yield "seconds alone", one.replace("00:00:01,000", "1.0"), Refused("is not a time")
    yield "a short arrow", one + "\n2\n00:00:03,000 -> 00:00:04,000\nlost\n", Refused("line 6 is not `start --> end`")
    yield "a broken arrow", one + "\n2\n00:00:03,000 -- > 00:00:04,000\nlost\n", Refused("line 6 is not")
    yield "a dash for an arrow", one + "\n2\n00:00:03,000 - 00:00:04,000\nlost\n", Refused("line 6 is not")
    yield "cut off behind a number", one + "\n2\n", Refused("line 5 is a number without times")
    yield "no times", "once upon a time\n", Refused("no line has times")
    yield "text before times", f"Subtitles by me\n\n{one}", Refused("line 1 comes before the first times")
    latin = one.replace("Hello", "café").encode("cp1252")
    yield "Windows-1252", latin, Refused("byte 0xe9 (byte 4 of line 3, after 'caf') is not UTF-8")
    yield "GB18030", one.replace("Hello", "你好").encode("gb18030"), Refused("is not UTF-8")


def _json() -> Iterator[tuple[str, bytes | str, Expected | Cues]]:
    said = {"start_s": 1, "end_s": 2.0, "text": "Hello there"}
    yield "a list", json.dumps([said]), ONE
    yield "an object, as of Whisper", json.dumps({"segments": [said], "language": "en"}), ONE
    yield "UTF-16", json.dumps([said]).encode("utf-16"), ONE
    yield (
        "a name twice",
        '[{"start_s": 1, "start_s": 60, "end_s": 61, "text": "x"}]',
        Refused("repeats the name 'start_s'"),
    )
    yield "times as texts", '[{"start_s": "1:00", "end_s": 61, "text": "x"}]', Refused("must be a number")
    yield "other names", '[{"start": 1, "end": 2, "text": "x"}]', Refused("has no start_s (it has end, start, text)")
    yield "NaN", '[{"start_s": NaN, "end_s": 61, "text": "x"}]', Refused("must be a number")
