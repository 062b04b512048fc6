"""AIFF, AU, CAF and NIST SPHERE as recorders, streams and corpora write them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from tests.transforms.formats import Variant
from tests.transforms.formats.sound_checks import LAW, LOSSY, maker, plays
from tests.transforms.formats.sound_parts import chunk, comm, form, id3v2, pcm, played, ssnd, wave, written

ONE, TWO = wave(440), wave(880)
_BIG = (ONE * 32_768).astype(">i2").tobytes()


def headed() -> Iterator[Variant]:
    """Yield variants of AIFF, AIFF-C, AU, CAF and NIST SPHERE."""
    yield from _aiff()
    yield from _au()
    yield from _caf()
    yield from _nist()


def _aiff() -> Iterator[Variant]:
    make, packed = maker("AIFF", ".aiff"), maker("AIFF-C", ".aifc")
    for subtype, within in (
        ("PCM_S8", 0.01), ("PCM_16", 1e-6), ("PCM_24", 1e-6), ("PCM_32", 1e-6), ("FLOAT", 1e-6), ("DOUBLE", 1e-6),
        ("ALAW", LAW), ("ULAW", LAW),
    ):  # fmt: skip
        yield make(subtype, written(ONE, "AIFF", subtype), plays(ONE, within=within))
    yield packed("ima4", written(ONE, "AIFF", "IMA_ADPCM"), plays(ONE, within=LOSSY, spare=80))
    version = chunk(b"FVER", struct.pack(">I", 0xA2805140), order=">")
    for codec, body, bits in (
        (b"sowt", pcm(ONE), 16),
        (b"NONE", _BIG, 16),
        (b"fl32", ONE.astype(">f4").tobytes(), 32),
        (b"FL32", ONE.astype(">f4").tobytes(), 32),
        (b"in24", (ONE * 2**23).astype(">i4").reshape(-1, 1).view(np.uint8)[:, 1:].tobytes(), 24),
    ):
        name, parts = codec.decode(), (version, comm(len(ONE), bits=bits, codec=codec), ssnd(body))
        yield packed(name, form(*parts, kind=b"AIFC"), plays(ONE))
        streamed = (version, comm(0, bits=bits, codec=codec), ssnd(body, length=0))
        yield packed(f"{name}, streamed", form(*streamed, kind=b"AIFC", length=0), plays(ONE))
    for codec in (b"MAC3", b"QDMC", b"ac-3"):
        file = form(version, comm(len(ONE), codec=codec), ssnd(_BIG), kind=b"AIFC")
        yield packed(codec.decode(), file, codec.decode())
    one = form(comm(len(ONE)), ssnd(_BIG))
    two = form(comm(len(TWO)), ssnd((TWO * 32_768).astype(">i2").tobytes()))
    for name, file in {
        "lengths of 0": form(comm(0), ssnd(_BIG, length=0), length=0),
        "lengths of all bits": form(comm(0xFFFFFFFF), ssnd(_BIG, length=0xFFFFFFFF), length=0xFFFFFFFF),
        "lengths of sox": form(comm(0x3F800000), ssnd(_BIG, length=0x7F000008), length=0x7F00002E),
        "lengths of about 2^31": form(comm(0x3FFFFFFF), ssnd(_BIG, length=0x7FFFF000), length=0x7FFFF02E),
        "the sound before its format": form(ssnd(_BIG), comm(len(ONE))),
        "an offset": form(comm(len(ONE)), ssnd(_BIG, offset=6)),
        "an odd name, padded": form(chunk(b"NAME", b"odd", order=">"), comm(len(ONE)), ssnd(_BIG)),
        "ID3 behind": form(comm(len(ONE)), ssnd(_BIG), chunk(b"ID3 ", id3v2(), order=">")),
        "ID3 before": id3v2() + one,
    }.items():
        yield make(name, file, plays(ONE))
    yield make("joined", one + two, plays(ONE, TWO))
    yield make("cut by a byte", one[:-1], "audio_truncated")
    yield make("more frames than there are", form(comm(len(ONE) + 9), ssnd(_BIG)), "audio_truncated")
    yield make("no format", form(ssnd(_BIG)), "no COMM chunk")
    yield make("no sound", form(comm(0), ssnd(b"")), "media_empty")


def _au() -> Iterator[Variant]:
    make = maker("AU", ".au")
    for subtype, within in (
        ("PCM_S8", 0.01), ("PCM_16", 1e-6), ("PCM_24", 1e-6), ("PCM_32", 1e-6), ("FLOAT", 1e-6), ("ULAW", LAW),
        ("ALAW", LAW),
    ):  # fmt: skip
        yield make(subtype, written(ONE, "AU", subtype), plays(ONE, within=within))
    yield make("little-endian", written(ONE, "AU", "PCM_16", endian="LITTLE"), plays(ONE))
    one, two = written(ONE, "AU", "PCM_16"), written(TWO, "AU", "PCM_16")
    for name, length in (("all bits", b"\xff" * 4), ("0", bytes(4))):
        yield make(f"length of {name}", one[:8] + length + one[12:], plays(ONE))
    yield make("length unknown, half a sample", one[:8] + b"\xff" * 4 + one[12:] + b"\1", plays(ONE))
    yield make("joined", one + two, plays(ONE, TWO))
    streamed = one[:8] + b"\xff" * 4 + one[12:]
    yield make("joined, of unknown lengths", streamed + streamed, plays(ONE, ONE))
    yield make("cut by a byte", one[:-1], "audio_truncated")
    yield make("of an unknown encoding", one[:12] + b"\0\0\0\x63" + one[16:], "encoding 99")


def _caf() -> Iterator[Variant]:
    make = maker("CAF", ".caf")
    for subtype, within in (("PCM_16", 1e-6), ("PCM_24", 1e-6), ("FLOAT", 1e-6), ("ULAW", LAW), ("ALAC_16", 1e-6)):
        data = written(ONE, "CAF", subtype)
        spare = len(played(data)) - len(ONE)  # libsndfile's encoder of ALAC fills its last packet
        yield make(subtype, data, plays(ONE, within=within, spare=spare))
    one = written(ONE, "CAF", "PCM_16")
    at = one.index(b"data") + 4
    one = one[: at + 12 + 2 * len(ONE)]
    yield make("length of -1", one[:at] + b"\xff" * 8 + one[at + 8 :], plays(ONE))
    yield make("length of -1, half a sample", one[:at] + b"\xff" * 8 + one[at + 8 :] + b"\1", plays(ONE))
    yield make("length of 0", one[:at] + bytes(8) + one[at + 8 :], plays(ONE))
    yield make("cut by a byte", one[:-1], "audio_truncated")
    yield make("AAC within", one.replace(b"lpcm", b"aac "), "aac")
    yield make("Opus within", one.replace(b"lpcm", b"opus"), "opus")


def _nist() -> Iterator[Variant]:
    make, one = maker("NIST SPHERE", ".wav"), written(ONE, "NIST", "PCM_16")
    yield make("PCM_16", one, plays(ONE))
    yield make("ULAW", written(ONE, "NIST", "ULAW"), plays(ONE, within=LAW))
    yield make("cut by a byte", one[:-1], "audio_truncated")
    coding = b"sample_coding -s26 pcm,embedded-shorten-v2.00\n"
    head = one[:1024].replace(b"end_head\n", coding + b"end_head\n")[:1024]
    yield make("Shorten within", head + one[1024:], "shorten")
