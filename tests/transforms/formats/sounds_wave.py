"""WAV and its kin as recorders, streams, editors and `cat` write them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from tests.transforms.formats import Variant
from tests.transforms.formats.sound_checks import LAW, LOSSY, maker, plays
from tests.transforms.formats.sound_parts import (
    chunk,
    fmt,
    id3v1,
    id3v2,
    mp3,
    pcm,
    played,
    riff,
    wave,
    written,
)

ONE, TWO = wave(440), wave(880)
_PLACEHOLDERS = {
    "ffmpeg, in both": (0xFFFFFFFF, 0xFFFFFFFF),
    "sox": (0x7FFFF024, 0x7FFFF000),
    "the largest of 31 bits": (0x7FFFFFFF, 0x7FFFFFFF),
    "arecord": (0x80000024, 0x80000000),
    "the largest less the header": (0xFFFFFFFF, 0xFFFFFFDB),
    "zeros": (0, 0),
    "a header without sound": (36, 0),
    "a right length of the file": (36 + 2 * len(ONE), 0xFFFFFFFF),
    "a right length of the file and 0": (36 + 2 * len(ONE), 0),
    "only the file's length": (0xFFFFFFFF, 2 * len(ONE)),
    "only the file's length, 0": (0, 2 * len(ONE)),
}


def waves() -> Iterator[Variant]:
    """Yield variants of WAV, RF64 and W64."""
    yield from _codecs()
    yield from _streamed()
    yield from _chunks()
    yield from _joined()
    yield from _wide()
    yield from _refused()


def _codecs() -> Iterator[Variant]:
    make, stereo = maker("WAV", ".wav"), np.stack([ONE, ONE / 2], axis=1)
    for subtype, within in (
        ("PCM_U8", 0.01), ("PCM_16", 1e-6), ("PCM_24", 1e-6), ("PCM_32", 1e-6), ("FLOAT", 1e-6), ("DOUBLE", 1e-6),
        ("ALAW", LAW), ("ULAW", LAW),
    ):  # fmt: skip
        yield make(subtype, written(ONE, "WAV", subtype), plays(ONE, within=within))
        yield make(f"{subtype}, extensible", written(ONE, "WAVEX", subtype), plays(ONE, within=within))
    for subtype, spare in (("IMA_ADPCM", 1_100), ("MS_ADPCM", 1_100), ("GSM610", 400)):
        data = written(ONE, "WAV", subtype)
        yield make(subtype, data, plays(ONE, within=LOSSY, spare=spare))
    yield make("big-endian (RIFX)", written(ONE, "WAV", "PCM_16", endian="BIG"), plays(ONE))
    yield make("stereo", written(stereo, "WAV", "PCM_24"), plays(ONE * 0.75))
    yield make("six channels", written(np.repeat(ONE[:, None], 6, axis=1), "WAVEX", "PCM_16"), plays(ONE))
    wide = (ONE * 2**31).astype("<i4").tobytes()
    more = struct.pack("<HHI", 22, 24, 4) + bytes.fromhex("0100000000001000800000aa00389b71")
    yield make("24 bits in 32, extensible", riff(fmt(0xFFFE, bits=32, more=more), chunk(b"data", wide)), plays(ONE))
    yield make("20 bits in 24", riff(fmt(bits=20), chunk(b"data", _packed24(ONE))), plays(ONE))
    yield make("12 bits in 16", riff(fmt(bits=12), chunk(b"data", pcm(ONE))), plays(ONE))


def _streamed() -> Iterator[Variant]:
    make = maker("WAV streamed", ".wav")
    for name, (outer, inner) in _PLACEHOLDERS.items():
        data = riff(fmt(), chunk(b"data", pcm(ONE), length=inner), length=outer)
        yield make(f"lengths of {name}", data, plays(ONE))
    listed = riff(fmt(), _list(), chunk(b"data", pcm(ONE), length=0xFFFFFFFF), length=0xFFFFFFFF)
    yield make("a LIST before", listed, plays(ONE))
    yield make("half a sample at the end", listed + b"\x01", plays(ONE))
    yield make("a tag at the end", listed + id3v1(), plays(ONE))
    yield make("a tag before", id3v2() + listed, plays(ONE))
    packed = riff(fmt(bits=24), chunk(b"data", _packed24(ONE), length=0xFFFFFFFF), length=0xFFFFFFFF)
    yield make("24 bits", packed, plays(ONE))
    floats = riff(fmt(3, bits=32), chunk(b"data", ONE.tobytes(), length=0x7FFFF000), length=0x7FFFF024)
    yield make("floats", floats, plays(ONE))
    yield make("joined", listed + listed, plays(ONE, ONE))
    yield make("no sound", riff(fmt(), chunk(b"data", b"", length=0xFFFFFFFF), length=0xFFFFFFFF), "media_empty")


def _chunks() -> Iterator[Variant]:
    make, data = maker("WAV chunks", ".wav"), chunk(b"data", pcm(ONE))
    bext = chunk(b"bext", b"a broadcast".ljust(602, b"\0"))
    eight = ((ONE[:-1] * 128) + 128).astype(np.uint8).tobytes()
    for name, file in {
        "LIST before the sound": riff(fmt(), _list(), data),
        "LIST behind the sound": riff(fmt(), data, _list()),
        "bext before, iXML behind": riff(bext, fmt(), data, chunk(b"iXML", b"<BWFXML/>")),
        "JUNK first": riff(chunk(b"JUNK", bytes(28)), fmt(), data),
        "fact and PEAK": riff(fmt(), chunk(b"fact", struct.pack("<I", len(ONE))), chunk(b"PEAK", bytes(16)), data),
        "an odd chunk, padded": riff(fmt(), chunk(b"note", b"odd"), data),
        "an odd chunk, not padded": riff(fmt(), chunk(b"note", b"odd", pad=False), data),
        "an id3 chunk behind": riff(fmt(), data, chunk(b"id3 ", id3v2())),
        "the format behind the sound": riff(data, fmt()),
        "18 bytes of format": riff(fmt(more=b"\0\0"), data),
        "a length of the file too small": riff(fmt(), data, length=100),
        "a length of the file 8 too large": riff(fmt(), data, length=44 + 2 * len(ONE)),
        "ID3v2 before": id3v2() + riff(fmt(), data),
        "two ID3v2 before": id3v2() + id3v2(50) + riff(fmt(), data),
        "ID3v1 behind": riff(fmt(), data) + id3v1(),
        "zeros behind": riff(fmt(), data) + bytes(1_000),
        "other bytes behind": riff(fmt(), data) + b"\x17junk" * 9,
    }.items():
        yield make(name, file, plays(ONE))
    for name, pad in (("padded", True), ("not padded", False)):
        file = riff(fmt(bits=8), chunk(b"data", eight, pad=pad), _list())
        yield make(f"odd sound, {name}, LIST behind", file, plays(ONE[:-1], within=0.01))
        file = riff(fmt(bits=8), chunk(b"data", eight, pad=pad))
        yield make(f"odd sound, {name}, at the end", file, plays(ONE[:-1], within=0.01))


def _joined() -> Iterator[Variant]:
    make, one, two = maker("WAV joined", ".wav"), written(ONE, "WAV", "PCM_16"), written(TWO, "WAV", "PCM_16")
    yield make("two", one + two, plays(ONE, TWO))
    yield make("three, of other widths", one + written(TWO, "WAV", "FLOAT") + one, plays(ONE, TWO, ONE))
    yield make("a tag between", one + id3v2() + two, plays(ONE, TWO))
    yield make("a FLAC behind", one + written(TWO, "FLAC", "PCM_16"), plays(ONE, TWO))
    yield make("the second cut", one + two[:-100], "audio_truncated")
    higher = written(wave(880, rate_hz=32_000), "WAV", "PCM_16", 32_000)
    yield make("another rate", one + higher, plays(ONE, TWO, within=0.05))


def _wide() -> Iterator[Variant]:
    make, w64, body = maker("RF64", ".wav"), maker("W64", ".w64"), pcm(ONE)
    for name, mark, wide in (
        ("RF64", b"RF64", len(body)),
        ("BW64", b"BW64", len(body)),
        ("RF64 streamed, 0", b"RF64", 0),
        ("RF64 streamed, all bits", b"RF64", (1 << 64) - 1),
    ):
        sizes = chunk(b"ds64", struct.pack("<QQQI", wide, wide, wide // 2, 0))
        file = riff(sizes, fmt(), chunk(b"data", body, length=0xFFFFFFFF), length=0xFFFFFFFF, mark=mark)
        yield make(name, file, plays(ONE))
    sizes = chunk(b"ds64", struct.pack("<QQQI", len(body) + 72, len(body), len(ONE), 0))
    file = riff(sizes, fmt(), chunk(b"data", body[:-1], length=0xFFFFFFFF), length=0xFFFFFFFF, mark=b"RF64")
    yield make("cut by a byte", file[:-1], "audio_truncated")
    yield make("libsndfile's", written(ONE, "RF64", "PCM_24"), plays(ONE))
    whole = written(ONE, "W64", "PCM_16")
    at = whole.index(b"data") + 16
    for subtype in ("PCM_16", "PCM_24", "FLOAT"):
        yield w64(subtype, written(ONE, "W64", subtype), plays(ONE))
    yield w64("mu-law", written(ONE, "W64", "ULAW"), plays(ONE, within=LAW))
    for name, size in (("0", 0), ("2^63 - 1", (1 << 63) - 1), ("24", 24)):
        file = whole[:16] + bytes(8) + whole[24:at] + struct.pack("<Q", size) + whole[at + 8 :]
        yield w64(f"streamed, {name}", file, plays(ONE))
    yield w64("cut", whole[:-50], "audio_truncated")


def _refused() -> Iterator[Variant]:
    make, one = maker("WAV", ".wav"), riff(fmt(), chunk(b"data", pcm(ONE)))
    sound = mp3(ONE)
    tag = fmt(0x55, bits=0, more=bytes.fromhex("0c00010002000000a20101007105"))
    yield make("MP3 within", riff(tag, chunk(b"data", sound)), plays(played(sound)))
    file = riff(tag, chunk(b"data", sound, length=0xFFFFFFFF), length=0xFFFFFFFF)
    yield make("MP3 within, streamed", file, plays(played(sound)))
    yield make("MP3 within, cut", riff(tag, chunk(b"data", sound[:-40])), "audio_truncated")
    for number, name in ((0x161, "WMA"), (0x50, "MPEG Layer I or II"), (0x2000, "AC-3"), (0xFF, "AAC"), (0x9, "0x9")):
        yield make(f"{name} within", riff(fmt(number), chunk(b"data", bytes(400))), name)
    yield make("integers of 64 bits", riff(fmt(bits=64), chunk(b"data", bytes(400))), "64 bits")
    yield make("floats of 16 bits", riff(fmt(3, bits=16), chunk(b"data", bytes(400))), "16 bits")
    yield make("cut by a byte", one[:-1], "audio_truncated")
    yield make("cut in half", one[: len(one) // 2], "audio_truncated")
    yield make("declares 3 GB", riff(fmt(), chunk(b"data", pcm(ONE), length=0xC0000000)), "audio_truncated")
    yield make("two data chunks", riff(fmt(), chunk(b"data", pcm(ONE)), chunk(b"data", pcm(TWO))), "two data chunks")
    yield make("no format", riff(chunk(b"data", pcm(ONE))), "no fmt chunk")
    yield make("no sound", riff(fmt(), chunk(b"data", b"")), "media_empty")
    yield make("no sound, LIST behind", riff(fmt(), chunk(b"data", b""), _list()), "media_empty")
    yield make("no data chunk", riff(fmt(), _list()), "no complete data chunk")
    longer = riff(fmt(), chunk(b"data", wave(seconds=61).astype("<i2").tobytes(), length=0xFFFFFFFF), length=0)
    yield make("streamed, too long", longer, "audio_too_long")


def _list() -> bytes:
    return chunk(b"LIST", b"INFO" + chunk(b"ISFT", b"Lavf59.27.100\0"))


def _packed24(samples: np.ndarray) -> bytes:
    wide = (samples * 2**23).astype("<i4").reshape(-1, 1).view(np.uint8)
    return wide[:, :3].tobytes()
