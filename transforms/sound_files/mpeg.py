"""MP3: a chain of frames, with tags before, between and behind them; a frame may declare their number."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trichord.transforms.containers import ContainerError
from trichord.transforms.sound_files.tags import skip_items, skip_tags

# kbit/s of Layer III by header index; 0 is 'free format', whose frames declare no length
_MP3_V1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_V2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MP3_RATES = (44_100, 48_000, 32_000)
_DECLARING = (b"Xing", b"Info")
_LETTERS = b"XI"  # with which they begin; compared first, as every frame is asked
_MAX_SYNCS = 100_000  # that may be in a damaged tag
_SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")
_CHAIN = 3  # frames in a row that are not an accident
_TAG_MARKS = (b"TAG", b"APETAGEX", b"LYRICSBE", b"ID3", b"3DI")


def frame_at(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Return (bytes, samples, rate in Hz) declared by the Layer III frame header at `at`, or None."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE6 != 0xE2:  # sync, Layer III
        return None
    version, index, rate = (data[at + 1] >> 3) & 3, data[at + 2] >> 4, (data[at + 2] >> 2) & 3
    if version == 1 or rate == 3 or index in (0, 15):
        return None
    rate_hz = _MP3_RATES[rate] >> (0 if version == 3 else 1 if version == 2 else 2)
    kbit, factor = (_MP3_V1[index], 144_000) if version == 3 else (_MP3_V2[index], 72_000)
    return factor * kbit // rate_hz + ((data[at + 2] >> 1) & 1), factor // 125, rate_hz


def read_mp3(data: bytes, at: int, max_duration_s: float) -> tuple[Iterator[bytes], int]:
    """Return the joined sounds of an MP3, and the file's length: whatever follows belongs to it.

    A sound begins where the rate or mono changes, and where a frame declares the frames of another sound. Each declares
    its number of frames: libsndfile would guess the length and may stop in the middle.

    Raises:
        ContainerError: truncated, corrupt, format or too_long.
    """
    sounds = _walk(data, at, max_duration_s)
    for sound in sounds:
        if sound.lacks:
            raise ContainerError("truncated", f"declares {sound.declared} frames, holds {sound.frames - 1}")
    return (sound.build(data) for sound in sounds), len(data)


class _Sound:
    """Frames of one sound, without the tags between them.

    Args:
        data: the file.
        at: first byte of the first frame.
        rate_hz: its rate.
    """

    def __init__(self, data: bytes, at: int, rate_hz: int) -> None:
        self.rate_hz, self.mono = rate_hz, data[at + 3] >> 6 == 3
        self.side = _side(data[at + 1], data[at + 3])
        self.declared = _declared(data, at)  # frames, by the first one, which is not counted
        self.frames = 0
        self.pieces: list[tuple[int, int]] = []  # first and last byte

    @property
    def lacks(self) -> bool:
        """Frames are missing; some writers count the declaring frame as well."""
        return self.declared is not None and self.frames < self.declared

    def build(self, data: bytes) -> bytes:
        """Return the frames, headed by one that declares their number."""
        whole = self.pieces == [(0, len(data))]
        body = data if whole else b"".join(data[start:end] for start, end in self.pieces)
        if self.declared in (self.frames - 1, self.frames):
            return body
        behind = _side(body[1], body[3])
        frames = self.frames
        if self.declared is not None or body[behind : behind + 4] in _DECLARING:  # it declares another number, or none
            if body[behind : behind + 4] in _DECLARING and body[behind + 7] & 1:
                size = len(body) if body[behind + 7] & 2 else int.from_bytes(body[behind + 12 : behind + 16], "big")
                told = (frames - 1).to_bytes(4, "big") + size.to_bytes(4, "big")
                return body[: behind + 8] + told + body[behind + 16 :]
            body, frames = body[(frame_at(body, 0) or (0,))[0] :], frames - 1
        # the same kind of frame, without CRC, at a rate that leaves room for the declaration (LAME's "Info" header)
        header = bytes([0xFF, body[1] | 1, 0xE0 | (body[2] & 0x0C), body[3]]) if body else b""
        size = (frame_at(header, 0) or (0,))[0]
        info = header.ljust(behind, b"\0") + b"Info" + (1).to_bytes(4, "big") + frames.to_bytes(4, "big")
        return info.ljust(size, b"\0") + body


def _walk(data: bytes, at: int, max_duration_s: float) -> list[_Sound]:
    sounds: list[_Sound] = []
    now = _Sound(b"\0\0\0\0", 0, 0)  # none
    first, duration_s, last_full = at, 0.0, len(data) - 40
    while True:
        start, frames = at, 0
        while frame := frame_at(data, at):
            size, samples, rate_hz = frame
            if at + size > len(data):
                raise ContainerError("truncated", f"frame {frames} at byte {at} is incomplete")
            if (
                rate_hz != now.rate_hz
                or (data[at + 3] >> 6 == 3) != now.mono
                or (
                    at < last_full
                    and (data[at + now.side] in _LETTERS or data[at + 36] == 0x56)
                    and _is_first(data, at, now)
                )
            ):
                if at > start:
                    now.pieces.append((start, at))
                start, now = at, _Sound(data, at, rate_hz)
                sounds.append(now)
            now.frames += 1
            at, frames, duration_s = at + size, frames + 1, duration_s + samples / rate_hz
            if duration_s > max_duration_s + 1:
                raise ContainerError("too_long", f"longer than {max_duration_s:g} s")
        if at > start:
            now.pieces.append((start, at))
        if not sounds:
            raise ContainerError("truncated" if first + 4 > len(data) else "format", f"no Layer III frame at byte {at}")
        if (behind := _behind_tags(data, at)) is None:
            return sounds
        at = behind


def _is_first(data: bytes, at: int, now: _Sound) -> bool:
    """Return True if a frame declares the frames of another sound: those that this one declares have come."""
    declares = data[at + now.side : at + now.side + 4] in _DECLARING or data[at + 36 : at + 40] == b"VBRI"
    return declares and (now.declared is None or now.frames >= now.declared)


def _behind_tags(data: bytes, at: int) -> int | None:
    """Return where sound goes on behind the tags at `at`; None if the file ends with them.

    Raises:
        ContainerError: what follows is neither.
    """
    end = skip_tags(data, at)
    if end == at and (end := skip_items(data, at)) > at:
        end = skip_tags(data, end)
    if end >= len(data):
        return None
    if frame_at(data, end) is not None and end > at:
        return end
    if data[at : at + 8].lstrip(b"\0").startswith(_TAG_MARKS) or end > at:
        # a tag that is not as long as it declares: it ends the file, unless there is sound behind it
        if (sound := _find_chain(data, end)) is not None:
            raise ContainerError("corrupt", f"the tag at byte {at} does not end before the sound at byte {sound}")
        if data[at : at + 8].startswith(_TAG_MARKS):
            return None
    raise ContainerError("truncated" if len(data) - end < 4 else "corrupt", f"no frame at byte {end}")


def _find_chain(data: bytes, at: int) -> int | None:
    for number, found in enumerate(_SYNC.finditer(data, at)):
        position = found.start()
        if number > _MAX_SYNCS:
            return position
        for _ in range(_CHAIN):
            if (frame := frame_at(data, position)) is None:
                break
            position += frame[0]
        else:
            return found.start()
    return None


def _side(version: int, mode: int) -> int:
    """Return the bytes of a frame's header and side information, by its second and fourth byte."""
    mono, mpeg1 = mode >> 6 == 3, version & 0x18 == 0x18
    return 4 + ((17 if mono else 32) if mpeg1 else (9 if mono else 17))


def _declared(data: bytes, at: int) -> int | None:
    """Return the number of frames declared by a first frame's Xing, Info or VBRI header."""
    behind = at + _side(data[at + 1], data[at + 3])
    if data[behind : behind + 4] in (b"Xing", b"Info") and data[behind + 7 : behind + 8] and data[behind + 7] & 1:
        return int.from_bytes(data[behind + 8 : behind + 12], "big")
    if data[at + 36 : at + 40] == b"VBRI":
        return int.from_bytes(data[at + 50 : at + 54], "big")
    return None
