"""Ogg (RFC 3533): pages of streams side by side, and of chains of streams one behind another."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from trichord.transforms.containers import ContainerError
from trichord.transforms.sound_files.flac import read_flac
from trichord.transforms.sound_files.tags import skip_tags

_MIRROR = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
_CODECS = {
    b"\x01vorbis": "Vorbis", b"OpusHead": "Opus", b"\x7fFLAC": "FLAC", b"Speex   ": "Speex", b"CELT    ": "CELT",
    b"PCM     ": "PCM", b"OggMIDI\0": "MIDI",
}  # fmt: skip
_READ = ("Vorbis", "Opus", "FLAC")
_HEADERS = {"Vorbis": 3, "Opus": 2, "FLAC": 1}  # packets before the sound
_FIRST, _LAST = 2, 4  # flags of a page


def ogg_crc(page: bytes) -> int:
    """Return the CRC of an Ogg page whose checksum field is zero (RFC 3533: polynomial 0x04C11DB7, not reflected).

    zlib's CRC has the same polynomial reflected and other constants, so bits are mirrored before and after.
    """
    mirrored = zlib.crc32(page.translate(_MIRROR), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRROR), "big")


@dataclass(slots=True)
class _Stream:
    """The pages of one stream."""

    codec: str  # empty if it is not a sound
    pages: list[tuple[int, int, int]] = field(default_factory=list)  # first byte, first byte of its body, end
    number: int = 0  # of the last page
    packets: int = 0  # that ended
    ended: bool = False
    gap: tuple[int, int] | None = None  # numbers of the pages around the first one that is missing


def read_ogg(data: bytes, at: int, max_duration_s: float) -> tuple[Iterable[bytes], int]:
    """Return the sounds of an Ogg chain, one for each link, and the byte behind the last page.

    FLAC comes as a FLAC file, and what lies beside a sound (pictures, subtitles, a skeleton) is left out.

    Raises:
        ContainerError: truncated, corrupt or format.
    """
    links, end = _walk(data, at)
    whole = len(links) == 1 and len(links[0]) == 1 and (at, end) == (0, len(data))
    sounds = [_choose(link) for link in links]
    return _build(data, sounds, whole=whole, max_duration_s=max_duration_s), end


def _walk(data: bytes, at: int) -> tuple[list[dict[int, _Stream]], int]:
    """Return the streams of each link by their serial number, and the byte behind the last page."""
    links: list[dict[int, _Stream]] = []
    begun = False  # the link at hand has pages after the first ones
    while data[at : at + 4] == b"OggS":
        body = at + 27 + (data[at + 26] if at + 27 <= len(data) else 0)
        end = body + sum(data[at + 27 : body])
        if at + 27 > len(data) or end > len(data):
            raise ContainerError("truncated", f"page at byte {at} is incomplete")
        if ogg_crc(data[at : at + 22] + bytes(4) + data[at + 26 : end]) != _u32(data, at + 22):
            raise ContainerError("corrupt", f"page at byte {at} fails its CRC")
        flags, serial, number = data[at + 5], _u32(data, at + 14), _u32(data, at + 18)
        if flags & _FIRST and (begun or not links):
            links.append({})
            begun = False
        elif not flags & _FIRST:
            begun = True
        if flags & _FIRST:
            codec = next((name for mark, name in _CODECS.items() if data.startswith(mark, body)), "")
            links[-1][serial] = _Stream(codec, number=number)
        stream = links[-1].get(serial) if links else None
        if stream is None:
            raise ContainerError("corrupt", f"page at byte {at} is of a stream that has not begun")
        if stream.pages and number != stream.number + 1 and stream.packets > _HEADERS.get(stream.codec, 0):
            stream.gap = stream.gap or (stream.number, number)
        stream.number, stream.ended = number, stream.ended or bool(flags & _LAST)
        stream.packets += sum(lace < 255 for lace in data[at + 27 : body])
        stream.pages.append((at, body, end))
        at = end
        if data[at : at + 4] != b"OggS" and data.startswith(b"OggS", behind := skip_tags(data, at)):
            at = behind
    later = data.find(b"OggS", at)
    if later >= 0:
        raise ContainerError("corrupt", f"{later - at} bytes between the pages at byte {at}")
    return links, at


def _choose(link: dict[int, _Stream]) -> _Stream:
    """Return the one sound of a link."""
    sounds = [stream for stream in link.values() if stream.codec]
    if len(sounds) != 1:
        raise ContainerError("format", f"Ogg of {len(sounds) or 'no'} sounds" + " side by side" * (len(sounds) > 1))
    sound = sounds[0]
    if sound.codec not in _READ:
        raise ContainerError("format", f"Ogg {sound.codec} is not read (read are {', '.join(_READ)})")
    if sound.gap is not None:
        raise ContainerError("corrupt", f"pages are missing: number {sound.gap[1]} follows {sound.gap[0]}")
    if not sound.ended:
        raise ContainerError("truncated", f"no end of stream within {sound.pages[-1][2]} bytes")
    return sound


def _build(data: bytes, sounds: list[_Stream], *, whole: bool, max_duration_s: float) -> Iterator[bytes]:
    for sound in sounds:
        if sound.codec == "FLAC":
            # the first packet is a mark of 9 bytes before a FLAC's beginning (https://xiph.org/flac/ogg_mapping.html)
            flac = b"".join(data[body:end] for _, body, end in sound.pages)[9:]
            if flac[:4] != b"fLaC":
                raise ContainerError("corrupt", "Ogg FLAC without its mark")
            yield from read_flac(flac, 0, max_duration_s)[0]
        else:
            yield data if whole else b"".join(data[start:end] for start, _, end in sound.pages)


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")
