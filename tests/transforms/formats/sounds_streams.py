"""FLAC, Ogg and MP3 as streams, taggers and `cat` write them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from tests.transforms.formats import Variant
from tests.transforms.formats.sound_checks import lasts, maker, plays
from tests.transforms.formats.sound_parts import (
    ape,
    flac_frames,
    id3v1,
    id3v2,
    lyrics3,
    mp3,
    mp3_frames,
    ogg_flac,
    ogg_page,
    ogg_pages,
    played,
    streamed_flac,
    wave,
    written,
)
from trichord.infra import digest

ONE, TWO = wave(440), wave(880)


def streams() -> Iterator[Variant]:
    """Yield variants of FLAC, Ogg and MP3."""
    yield from _flac()
    yield from _ogg()
    yield from _ogg_flac()
    yield from _mp3()
    yield from _mp3_joined()


def _flac() -> Iterator[Variant]:
    make = maker("FLAC", ".flac")
    for subtype, within in (("PCM_S8", 0.01), ("PCM_16", 1e-6), ("PCM_24", 1e-6)):
        data = written(ONE, "FLAC", subtype)
        yield make(subtype, data, plays(ONE, within=within))
        yield make(f"{subtype}, unknown length", streamed_flac(data), plays(ONE, within=within))
    one, two, stereo = (written(samples, "FLAC", "PCM_16") for samples in (ONE, TWO, np.stack([ONE, ONE / 2], axis=1)))
    first, second = streamed_flac(one), streamed_flac(two)
    yield make("stereo, unknown length", streamed_flac(stereo), plays(ONE * 0.75))
    long = wave(300, 40)  # its frames have numbers of two bytes
    long_one = written(long, "FLAC", "PCM_16")
    yield make("long, unknown length", streamed_flac(long_one), plays(long))
    short = streamed_flac(written(ONE[:1_000], "FLAC", "PCM_16"))
    yield make("one frame, unknown length", short, plays(ONE[:1_000]))
    for name, tags in {"ID3v1": id3v1(), "APE": ape(), "Lyrics3 and ID3v1": lyrics3() + id3v1()}.items():
        yield make(f"{name} behind", one + tags, plays(ONE))
        yield make(f"{name} behind, unknown length", first + tags, plays(ONE))
    yield make("ID3v2 before", id3v2() + one, plays(ONE))
    yield make("two ID3v2 before, unknown length", id3v2() + id3v2(70) + first, plays(ONE))
    yield make("joined", one + two, plays(ONE, TWO))
    yield make("joined, unknown lengths", first + second, plays(ONE, TWO))
    yield make("joined, tags between", one + id3v1() + id3v2() + two, plays(ONE, TWO))
    yield make("joined, tags between, unknown lengths", first + id3v2() + second, plays(ONE, TWO))
    fewer = long_one[:21] + bytes([long_one[21] & 0xF0]) + (4_096).to_bytes(4, "big") + long_one[26:]
    yield make("declares too few samples", fewer, plays(long))
    yield make("declares too few samples, a tag behind", fewer + id3v1(), plays(long))
    padded = first + bytes(2_000)
    yield make("zeros behind, unknown length", padded, plays(ONE))
    yield make("cut, zeros behind, unknown length", first[:-40] + bytes(2_000), "no whole frame ends")
    yield make("cut by a byte", one[:-1], "audio_truncated")
    yield make("cut by a byte, unknown length", first[:-1], "audio_truncated")
    yield make("cut in a frame, unknown length", first[: len(first) * 2 // 3], "audio_truncated")
    yield make("joined, the first cut", first[:-9] + second, "audio_truncated")
    yield make("metadata alone", flac_frames(first)[0], "media_empty")


def _ogg() -> Iterator[Variant]:
    opus_one, opus_two = (wave(hz, 0.5, 48_000) for hz in (440, 880))
    for codec, ending, rate_hz, links in (
        ("VORBIS", ".ogg", 16_000, (ONE, TWO)),
        ("OPUS", ".opus", 48_000, (opus_one, opus_two)),
    ):
        make = maker(f"Ogg {codec.title()}", ending)
        one, two = (written(samples, "OGG", codec, rate_hz) for samples in links)
        first, second = played(one), played(two)
        yield make("one", one, plays(first, rate_hz=rate_hz))
        yield make("chained", one + two, plays(first, second, rate_hz=rate_hz))
        yield make("chained, the same serial", one + one, plays(first, first, rate_hz=rate_hz))
        yield make("chain of five", one + two * 3 + one, plays(first, second, second, second, first, rate_hz=rate_hz))
        yield make("a tag before", id3v2() + one, plays(first, rate_hz=rate_hz))
        yield make("zeros between", one + bytes(64) + two, plays(first, second, rate_hz=rate_hz))
        yield make("other bytes between", one + b"junk" + two, "bytes between the pages")
        yield make("a tag behind", one + id3v1(), plays(first, rate_hz=rate_hz))
        yield make("a skeleton beside", _beside(one, b"fishead\0" + bytes(56)), plays(first, rate_hz=rate_hz))
        yield make("a film beside", _beside(one, b"\x80theora" + bytes(34)), plays(first, rate_hz=rate_hz))
        yield make("two sounds beside", _beside(one, b"Speex   " + bytes(72)), "2 sounds side by side")
        yield make("the last link cut", one + two[:-300], "audio_truncated")
        pages = ogg_pages(two)
        yield make("the last link without its end", one + b"".join(pages[:-1]), "no end of stream")
        yield make("the first link without its end", b"".join(ogg_pages(one)[:-1]) + two, "no end of stream")
        noise = digest.generator("pages").uniform(-0.5, 0.5, 5 * rate_hz).astype(np.float32)
        long = ogg_pages(written(noise, "OGG", codec, rate_hz))
        yield make("a page is missing", b"".join(long[:-2] + long[-1:]), "pages are missing")
    make = maker("Ogg", ".ogg")
    vorbis, opus = written(ONE, "OGG", "VORBIS"), written(opus_two, "OGG", "OPUS", 48_000)
    yield make("Vorbis, then Opus", vorbis + opus, lasts(1.0, RATE, 0.02, (440, 880)))
    other = written(wave(880, 0.5, 22_050), "OGG", "VORBIS", 22_050)
    yield make("chained, another rate", vorbis + other, lasts(1.0, RATE, 0.02, (440, 880)))
    yield make("Speex", _alone(b"Speex   " + bytes(72)), "Speex")
    yield make("a film alone", _alone(b"\x80theora" + bytes(34)), "no sounds")
    yield make("Vorbis, then Speex", vorbis + _alone(b"Speex   " + bytes(72)), "Speex")


RATE = 16_000


def _ogg_flac() -> Iterator[Variant]:
    make = maker("Ogg FLAC", ".oga")
    one, two = written(ONE, "FLAC", "PCM_16"), written(TWO, "FLAC", "PCM_16")
    first, second = ogg_flac(streamed_flac(one)), ogg_flac(streamed_flac(two), 8)
    yield make("one", ogg_flac(one), plays(ONE))
    yield make("unknown length", first, plays(ONE))
    yield make("chained", ogg_flac(one) + ogg_flac(two, 8), plays(ONE, TWO))
    yield make("chained, unknown lengths", first + second, plays(ONE, TWO))
    vorbis = written(TWO, "OGG", "VORBIS")
    yield make("Vorbis behind", first + vorbis, plays(ONE, played(vorbis)))
    yield make("without its end", b"".join(ogg_pages(first)[:-1]), "no end of stream")
    yield make("cut", first[:-20], "audio_truncated")


def _mp3() -> Iterator[Variant]:
    make, data, bare = maker("MP3", ".mp3"), mp3(ONE), mp3(ONE, declares=False)
    whole, rest = played(data), lasts(0.5, 16_000, 0.12, (440,))
    yield make("one", data, plays(whole))
    yield make("without a number of frames", bare, rest)
    for name, before, behind in (
        ("ID3v2 before", id3v2(), b""),
        ("two ID3v2 before", id3v2() + id3v2(99), b""),
        ("ID3v2 and zeros before", id3v2() + bytes(500), b""),
        ("ID3v1 behind", b"", id3v1()),
        ("APE behind", b"", ape()),
        ("APE, version 1, and ID3v1 behind", b"", ape(header=False) + id3v1()),
        ("Lyrics3 and ID3v1 behind", b"", lyrics3() + id3v1()),
        ("ID3v2 behind", b"", id3v2()),
        ("a damaged tag behind", b"", b"APETAGEX" + b"\xff" * 80),
        ("zeros behind", b"", bytes(700)),
    ):
        yield make(name, before + data + behind, plays(whole))
        yield make(f"{name}, no number of frames", before + bare + behind, rest)
    middle = mp3_frames(data)[5]
    for name, tag in {"ID3v2": id3v2(), "ID3v1": id3v1(), "APE": ape(), "APE, version 1": ape(header=False)}.items():
        yield make(f"{name} within", data[:middle] + tag + data[middle:], plays(whole))
    wrong = id3v2()[:9] + b"\x05" + id3v2()[10:]
    yield make("a damaged tag within", data[:middle] + wrong + data[middle:], "audio_corrupt")
    yield make("a frame destroyed", data[:middle] + b"\0\1\2\3" + data[middle + 4 :], "audio_corrupt")
    yield make("cut by a byte", data[:-1], "audio_truncated")
    yield make("cut at a frame", data[:middle], "audio_truncated")
    yield make("cut in its tag", id3v2()[:200], "audio_truncated")
    at = data.index(b"Info") if b"Info" in data else data.index(b"Xing")
    fewer = data[: at + 8] + struct.pack(">I", 3) + data[at + 12 :]
    yield make("declares too few frames", fewer, lasts(0.5, 16_000, 0.12, (440,)))


def _mp3_joined() -> Iterator[Variant]:
    make, one, two = maker("MP3 joined", ".mp3"), mp3(ONE), mp3(TWO)
    first, second = played(one), played(two)
    for name, between in {
        "nothing": b"",
        "ID3v1": id3v1(),
        "ID3v2": id3v2(),
        "ID3v1 and ID3v2": id3v1() + id3v2(),
        "APE and ID3v1": ape() + id3v1(),
        "APE, version 1": ape(header=False),
        "Lyrics3": lyrics3() + id3v1(),
        "zeros": bytes(300),
    }.items():
        yield make(f"{name} between", one + between + two, plays(first, second))
    yield make("three", one + id3v1() + two + id3v1() + one, plays(first, second, first))
    both = b"".join(mp3(samples, declares=False) for samples in (ONE, TWO))
    yield make("frames alone", both, lasts(1.0, 16_000, 0.2, (440, 880)))
    higher = mp3(wave(880, 0.5, 32_000), 32_000)
    yield make("another rate", one + higher, lasts(1.0, 16_000, 0.02, (440, 880)))
    stereo = mp3(np.stack([TWO, TWO], axis=1))
    yield make("mono, then stereo", one + stereo, lasts(1.0, 16_000, 0.02, (440, 880)))
    at = one.index(b"Info") if b"Info" in one else one.index(b"Xing")
    frames = struct.unpack(">I", one[at + 8 : at + 12])[0]
    told = one[: at + 8] + struct.pack(">I", 2 * frames + 1) + one[at + 12 :]
    yield make("the first declares all", told + two, lasts(1.0, 16_000, 0.2, (440, 880)))
    yield make("the second cut", one + two[:-30], "audio_truncated")
    yield make("the second lacks a frame", one + two[: mp3_frames(two)[-1]], "audio_truncated")


def _beside(data: bytes, packet: bytes) -> bytes:
    """An Ogg with a second stream, whose pages lie between those of the first."""
    first, *rest = ogg_pages(data)
    pages = [ogg_page([packet], 99, 0, flags=2)]
    pages += [ogg_page([bytes(20)], 99, number, flags=4 * (number == len(rest))) for number in range(1, len(rest) + 1)]
    return first + pages[0] + b"".join(page for pair in zip(rest, pages[1:], strict=True) for page in pair[::-1])


def _alone(packet: bytes) -> bytes:
    return ogg_page([packet], 5, 0, flags=2) + ogg_page([bytes(30)], 5, 1, flags=4)
