"""All variants of sounds: containers, codecs, streams, joined files, tags, and what is not read."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.transforms.formats import Counted, Refused, Variant
from tests.transforms.formats.sound_checks import plays, sound
from tests.transforms.formats.sound_parts import RATE_HZ, played, wave, written
from tests.transforms.formats.sounds_headed import headed
from tests.transforms.formats.sounds_streams import streams
from tests.transforms.formats.sounds_wave import waves

_MP4 = struct.pack(">I", 28) + b"ftypM4A \0\0\2\0M4A isomiso2" + struct.pack(">I", 400) + b"moov" + bytes(392)
_ADTS = bytes.fromhex("fff15080043ffc21") + bytes(120)
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(100)
_MKV = bytes.fromhex("1a45dfa39f4286810142f7810142f2810442f38108428284") + b"webm" + bytes(100)
_TS = (b"\x47\x40\0\x10" + bytes(184)) * 4

# ending, bytes, what the refusal says
_FOREIGN = (
    (".m4a", _MP4, "MP4, M4A or MOV (brand 'M4A')"),
    (".mp4", _MP4.replace(b"M4A ", b"isom"), "brand 'isom'"),
    (".aac", _ADTS, "AAC (ADTS)"),
    (".webm", _MKV, "WebM or Matroska"),
    (".mka", _MKV.replace(b"webm", b"matr"), "WebM or Matroska"),
    (".amr", b"#!AMR\n" + bytes(60), "AMR"),
    (".awb", b"#!AMR-WB\n" + bytes(60), "AMR"),
    (".wma", _ASF, "WMA"),
    (".ape", b"MAC \x96\x0f" + bytes(60), "Monkey's Audio"),
    (".wv", b"wvpk" + bytes(60), "WavPack"),
    (".tta", b"TTA1" + bytes(60), "True Audio"),
    (".mpc", b"MPCK" + bytes(60), "Musepack"),
    (".dsf", b"DSD " + bytes(60), "DSD"),
    (".mid", b"MThd\0\0\0\x06\0\1\0\1\0\x60MTrk" + bytes(30), "MIDI"),
    (".voc", b"Creative Voice File\x1a" + bytes(60), "VOC"),
    (".ra", b".ra\xfd" + bytes(60), "RealAudio"),
    (".silk", b"\x02#!SILK_V3" + bytes(60), "SILK"),
    (".ac3", b"\x0b\x77" + bytes(100), "AC-3"),
    (".dts", b"\x7f\xfe\x80\x01" + bytes(100), "DTS"),
    (".mp2", bytes.fromhex("fffd8404") + bytes(400), "MPEG Layer II"),
    (".flv", b"FLV\x01\x04" + bytes(60), "Flash video"),
    (".avi", b"RIFF\x40\0\0\0AVI LIST" + bytes(60), "AVI"),
    (".ts", _TS, "transport stream"),
)


def sounds() -> Iterator[Variant]:
    """Yield every variant: read by content whatever the ending, refused where a manifest names it, or counted."""
    yield from waves()
    yield from headed()
    yield from streams()
    yield from _endings()
    for ending, data, says in _FOREIGN:
        yield sound("not read", f"{ending} that a manifest names", data, Refused(says), ending)
        yield sound("not read", f"{ending} in a folder", data, Counted(), ending)
    for name, data in {"M4A": _MP4, "AAC": _ADTS, "WMA": _ASF}.items():
        yield sound("not read", f"{name} named .mp3", data, Refused("is not read"), ".mp3")
    yield sound("not read", "an MP3 of free format", bytes.fromhex("fffb0004") + bytes(400), "free format", ".mp3")


def _endings() -> Iterator[Variant]:
    one = wave(440)
    for ending, form, subtype in (
        (".wave", "WAV", "PCM_16"), (".bwf", "WAV", "PCM_24"), (".rf64", "RF64", "PCM_16"), (".w64", "W64", "PCM_16"),
        (".aif", "AIFF", "PCM_16"), (".aiff", "AIFF", "PCM_24"), (".aifc", "AIFF", "FLOAT"), (".au", "AU", "PCM_16"),
        (".snd", "AU", "PCM_24"), (".caf", "CAF", "PCM_16"), (".oga", "OGG", "VORBIS"), (".opus", "OGG", "OPUS"),
        (".FLAC", "FLAC", "PCM_16"), (".mp3", "WAV", "PCM_16"), (".wav", "MP3", "MPEG_LAYER_III"),
        (".ogg", "FLAC", "PCM_16"), (".wav", "OGG", "VORBIS"),
    ):  # fmt: skip
        data = written(one, form, subtype, RATE_HZ)
        yield sound("ending", f"{form} named {ending}", data, plays(played(data)), ending)
