"""WAV and its forms of 64 bits: RIFF, RIFX, RF64, BW64 and Sony's W64."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from trichord.transforms.containers import ContainerError
from trichord.transforms.sound_files.mpeg import read_mp3
from trichord.transforms.sound_files.tags import find_end

PCM, FLOAT, EXTENSIBLE, MP3 = 1, 3, 0xFFFE, 0x55
_BYTES = {PCM: (1, 2, 3, 4), FLOAT: (4, 8)}  # of a sample
_LAWS = (6, 7)
_BLOCKS = (2, 0x11, 0x31, 0x38, 0x64)  # MS and IMA ADPCM, GSM, NMS, G.721
_NAMES = {
    0x00: "an unknown codec", 0x01: "integers", 0x03: "floating-point numbers", 0x08: "DTS", 0x50: "MPEG Layer I or II",
    0x92: "AC-3", 0xFF: "AAC", 0x160: "WMA", 0x161: "WMA", 0x162: "WMA", 0x163: "WMA", 0x1610: "AAC", 0x2000: "AC-3",
    0x2001: "DTS", 0xA106: "AAC", 0xF1AC: "FLAC",
}  # fmt: skip
_GUID_W64 = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # behind `wave`, `fmt `, `data`
MAX_CHUNKS = 10_000
_RIFFS = (b"RIFF", b"RIFX", b"RF64", b"BW64")


def is_placeholder(length: int) -> bool:
    """Return True for what writers of streams put where a length of 32 bits belongs: 0, about 2^31, about 2^32.

    ffmpeg writes 2^32 - 1, sox and mplayer 2^31 - 4096 (sox in an AIFF 2^31 - 2^24), arecord 2^31, each with or without
    the header's bytes.
    """
    if 0 < length < 0x7F000000:
        return False
    return length <= 0x7F000100 or 0x7FFFF000 <= length <= 0x80000100 or length >= 0xFFFFEF00


def read_wave(data: bytes, at: int, max_duration_s: float) -> tuple[Iterable[bytes], int]:
    """Return the sound of a WAV, and the byte behind it.

    Raises:
        ContainerError: truncated, corrupt, format or too_long.
    """
    order = "big" if data[at : at + 4] == b"RIFX" else "little"
    parts, declared = _Parts(order), _u32(data, at + 4, order)
    wide = 0  # length of the sound that an RF64 declares
    streamed = is_placeholder(declared) or data[at : at + 2] != b"RI"
    riff_end, plain = at + 8 + declared, at == 0 and not streamed and declared + 8 == len(data)
    position = at + 12
    while position + 8 <= len(data):
        name, length, start = data[position : position + 4], _u32(data, position + 4, order), position + 8
        if parts.has_sound and (name in _RIFFS or (position >= riff_end and not streamed)):
            break
        if name == b"ds64":
            wide = int.from_bytes(data[start + 8 : start + 16], "little")
        elif name == b"data":
            length = wide if wide and length == 0xFFFFFFFF and wide < 1 << 62 else length
            plain &= parts.add_sound(data, start, length)
            length = parts.length
            if parts.unknown:
                position = start + length
                break
        else:
            parts.add(name, data[start : start + length], length)
        position, tight = _next_chunk(data, start + length)
        plain &= not tight
    end = position if not plain else len(data)
    if not parts.has_sound:
        cut = streamed or riff_end > len(data)
        raise ContainerError("truncated" if cut else "corrupt", f"no complete data chunk within {len(data)} bytes")
    if (
        not streamed and declared > len(data) - at
    ):  # some writers count the eight bytes before the length, or a pad byte
        raise ContainerError("truncated", f"declares {declared + 8} bytes, holds {len(data) - at}")
    parts.check()
    if parts.tag == MP3:
        return read_mp3(parts.body(data), 0, max_duration_s)[0], end
    return [data if plain else parts.build(data)], min(end, len(data))


def read_w64(data: bytes, at: int, max_duration_s: float) -> tuple[Iterable[bytes], int]:
    """Return the sound of a W64 as a WAV, and the byte behind it.

    Raises:
        ContainerError: truncated, corrupt, format or too_long.
    """
    parts, position = _Parts("little"), at + 40
    while position + 24 <= len(data):
        name, size = data[position : position + 4], int.from_bytes(data[position + 16 : position + 24], "little")
        start, length = position + 24, size - 24
        if parts.has_sound and data[position + 4 : position + 16] != _GUID_W64:
            break
        if name == b"data":
            parts.add_sound(data, start, 0 if size <= 24 or size >= 1 << 62 else length)
            length = parts.length
            if parts.unknown:
                position = start + length
                break
        else:
            parts.add(name, data[start : start + max(0, length)], length)
        position = start + max(0, length) + -max(0, length) % 8
    if not parts.has_sound:
        raise ContainerError("truncated", f"no complete data chunk within {len(data)} bytes")
    parts.check()
    if parts.tag == MP3:
        return read_mp3(parts.body(data), 0, max_duration_s)[0], position
    return [parts.build(data)], min(position, len(data))


class _Parts:
    """The chunks of a WAV that its sound needs."""

    def __init__(self, order: str) -> None:
        self._order = order
        self._format, self._fact, self._start = b"", b"", 0
        self.length = self._chunks = 0
        self.tag, self._block = 0, 1
        self.has_sound = self.unknown = False

    def add(self, name: bytes, chunk: bytes, length: int) -> None:
        """Keep a chunk that the decoder needs.

        Raises:
            ContainerError: format, for more than MAX_CHUNKS.
        """
        self._chunks += 1
        if self._chunks > MAX_CHUNKS:
            raise ContainerError("format", f"more than {MAX_CHUNKS:,} chunks")
        if name == b"fmt " and len(chunk) >= 16:
            self._format = chunk[:length]
        elif name == b"fact":
            self._fact = chunk[:4]

    def add_sound(self, data: bytes, start: int, length: int) -> bool:
        """Keep where the sound is; return False if its length is unknown, or its format not yet known.

        Raises:
            ContainerError: truncated; corrupt, for a second one.
        """
        if self.has_sound:
            raise ContainerError("corrupt", "two data chunks")
        rest = len(data) - start
        self.unknown = (length > rest and is_placeholder(length)) or (
            not length and not _is_chunks(data, start, self._order)
        )
        if length > rest and not self.unknown:
            raise ContainerError("truncated", f"declares {length} bytes of sound, holds {rest}")
        self.has_sound, self._start = True, start
        self.length = find_end(data, start) - start if self.unknown else length
        return bool(self._format) and not self.unknown

    def check(self) -> None:
        """Raise ContainerError unless the format is one that is read, and agrees with itself."""
        if not self._format:
            raise ContainerError("corrupt", "no fmt chunk")
        shape = struct.unpack_from((">" if self._order == "big" else "<") + "HHIIHH", self._format)
        tag, channels, rate_hz, bytes_per_s, block, bits = shape
        usual = tag in (PCM, FLOAT, EXTENSIBLE)
        if tag == EXTENSIBLE and len(self._format) >= 26:
            tag = int.from_bytes(self._format[24:26], "big" if self._order == "big" else "little")
        self.tag, self._block = tag, max(1, block)
        # these have frames of fixed size; compressed tags have not
        if (usual and (block != channels * ((bits + 7) // 8) or bytes_per_s != rate_hz * block)) or (
            tag in _LAWS and block != channels
        ):
            declared = f"{channels} × {bits} bit at {rate_hz} Hz, {block} bytes a frame, {bytes_per_s} bytes a second"
            raise ContainerError("corrupt", f"the format contradicts itself: {declared}")
        if tag in _BYTES and bits and (bits + 7) // 8 not in _BYTES[tag]:
            raise ContainerError("format", f"WAV of {_NAMES[tag]} of {bits} bits")
        if tag not in (*_BYTES, *_LAWS, *_BLOCKS, MP3):
            raise ContainerError("format", f"WAV of {_NAMES.get(tag, 'an unsupported codec')} (format {tag:#x})")

    def body(self, data: bytes) -> bytes:
        """Return the bytes of the sound: of an unknown length, without half a frame at the end."""
        half = self.length % self._block if self.unknown and self.tag != MP3 else 0
        return data[self._start : self._start + self.length - half]

    def build(self, data: bytes) -> bytes:
        """Return a WAV of nothing but the sound, with its lengths."""
        chunks = [(b"fmt ", self._format), *([(b"fact", self._fact)] if self._fact else []), (b"data", self.body(data))]
        rest = b"".join(
            part for name, chunk in chunks for part in (name, self._pack(len(chunk)), chunk, b"\0" * (len(chunk) % 2))
        )
        return b"".join((b"RIFX" if self._order == "big" else b"RIFF", self._pack(len(rest) + 4), b"WAVE", rest))

    def _pack(self, length: int) -> bytes:
        return struct.pack(">I" if self._order == "big" else "<I", length)


def _u32(data: bytes, at: int, order: str) -> int:
    return int.from_bytes(data[at : at + 4], "big" if order == "big" else "little")


def _next_chunk(data: bytes, end: int) -> tuple[int, bool]:
    """Return where the chunk after one that ends at `end` begins, and whether a pad byte is missing there."""
    padded = end + end % 2
    if padded != end and _is_name(data[end : end + 4]) and not _is_name(data[padded : padded + 4]):
        return end, True
    return padded, False


def _is_name(four: bytes) -> bool:
    return len(four) == 4 and all(0x20 <= byte < 0x7F for byte in four)


def _is_chunks(data: bytes, at: int, order: str) -> bool:
    """Return True if there is nothing at `at`, or chunks to the end."""
    while at + 8 <= len(data) and _is_name(data[at : at + 4]):
        length = _u32(data, at + 4, order)
        at += 8 + length + length % 2
    return len(data) <= at <= len(data) + 1
