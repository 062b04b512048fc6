"""Find the whole sounds in a file, as files that libsndfile reads to their end.

Sound is streamed, and streams are joined, so a file may not know its length, may hold several sounds one behind
another, and may have tags before, between and behind them. libsndfile then stops early or guesses. Here the container
is walked first: an unknown length is found by what is there, joined sounds are taken apart, and tags are left out.

| container | unknown length is written as | truncation is found by | damage is found by |
|---|---|---|---|
| WAV, RF64, W64 | 0, or about 2^31 or 2^32 (2^63) | length of `data` and of the file | `fmt ` consistent with itself |
| AIFF, AIFF-C | 0, or about 2^31 or 2^32 | length of `SSND`, frames of `COMM` | |
| AU | 0 or 2^32 - 1 | its length | |
| CAF | -1 | lengths of its chunks | |
| NIST | | its header | |
| FLAC | 0 samples | libFLAC; of an unknown length, CRC of the last frame | libFLAC, by the CRC of every frame |
| Ogg | | last page complete and marked as end of stream | CRC and numbers of the pages |
| MP3 | no Xing, Info or VBRI frame | last frame complete, declared frames | chain of frame headers |

A file of unknown length that ends between two samples cannot be known to be cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from trichord.transforms.containers import ContainerError
from trichord.transforms.sound_files.chunked import read_aiff, read_au, read_caf, read_nist
from trichord.transforms.sound_files.flac import read_flac
from trichord.transforms.sound_files.foreign import name_foreign
from trichord.transforms.sound_files.mpeg import frame_at, read_mp3
from trichord.transforms.sound_files.ogg import read_ogg
from trichord.transforms.sound_files.tags import skip_tags
from trichord.transforms.sound_files.wave import read_w64, read_wave

READ = "WAV, RF64, W64, AIFF, AU, CAF, NIST, FLAC, Ogg, MP3"
MAX_LINKS = 4_096  # joined sounds in a file: opening each costs about as much as a second of sound

_Reader = Callable[[bytes, int, float], tuple[Iterable[bytes], int]]


def find_sounds(data: bytes, max_duration_s: float) -> Iterator[bytes]:
    """Yield the sounds of a file in their order, each as a file that libsndfile reads whole.

    A usual file is yielded as it is.

    Raises:
        ContainerError: format (a kind that is not read, or more than MAX_LINKS sounds), truncated, corrupt or too_long.
    """
    start = at = skip_tags(data, 0)
    links = 0
    while (reader := _reader(data, at, first=at == start)) is not None:
        found, end = reader(data, at, max_duration_s)
        for link in found:
            links += 1
            if links > MAX_LINKS:
                raise ContainerError("format", f"more than {MAX_LINKS:,} joined sounds")
            yield link
        if end >= len(data):
            return
        at = skip_tags(data, end)
    if at == start:
        if data[:3] == b"ID3" and at + 4 > len(data):
            raise ContainerError("truncated", f"a tag of {at} bytes, no sound behind it")
        start = at if data[:3] == b"ID3" else 0
        begins = f"begins {data[start : start + 8]!r}"
        if (name := name_foreign(data, start)) is not None:
            raise ContainerError("format", f"{name} is not read (read are {READ}): {begins}")
        raise ContainerError("format", f"none of {READ}: {begins}")


def _reader(data: bytes, at: int, *, first: bool) -> _Reader | None:
    mark, form = data[at : at + 4], data[at + 8 : at + 12]
    if mark in (b"RIFF", b"RIFX", b"RF64", b"BW64") and form == b"WAVE":
        return read_wave
    if mark == b"riff" and data[at + 4 : at + 8] == b"\x2e\x91\xcf\x11":
        return read_w64
    if mark == b"FORM" and form in (b"AIFF", b"AIFC"):
        return read_aiff
    if mark in (b".snd", b"dns."):
        return read_au
    if mark == b"caff":
        return read_caf
    if mark == b"fLaC":
        return read_flac
    if mark == b"OggS":
        return read_ogg
    if data[at : at + 8] == b"NIST_1A\n":
        return read_nist
    # four bytes say little: behind another sound they are not an MP3
    return read_mp3 if first and frame_at(data, at) is not None else None
