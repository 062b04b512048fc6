"""AIFF and AIFF-C, AU, CAF and NIST SPHERE: headers that declare a length, and the sound behind them."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from trichord.transforms.containers import ContainerError
from trichord.transforms.sound_files.tags import find_end
from trichord.transforms.sound_files.wave import is_placeholder

_AIFF_BYTES = {b"fl32": 4, b"FL32": 4, b"fl64": 8, b"FL64": 8, b"alaw": 1, b"ALAW": 1, b"ulaw": 1, b"ULAW": 1}
_AIFF_PCM = (b"NONE", b"twos", b"sowt", b"raw ", b"in24", b"42ni", b"in32", b"23ni")
_AIFF_BLOCKS = (b"ima4", b"GSM ", b"DWVW")  # whose frames have no fixed size
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
_AU_BLOCKS = (23, 25, 26)  # G.721 and G.723
_CAF_READ = (b"lpcm", b"alaw", b"ulaw", b"alac")


def read_aiff(data: bytes, at: int, max_duration_s: float) -> tuple[Iterable[bytes], int]:
    """Return an AIFF or AIFF-C with its lengths, and the byte behind it.

    Raises:
        ContainerError: truncated, corrupt or format.
    """
    declared, position = _b32(data, at + 4), at + 12
    form_end, streamed = at + 8 + declared, is_placeholder(declared)
    comm = version = b""
    start = length = -1
    while position + 8 <= len(data) and not (start >= 0 and not streamed and position >= form_end):
        name, size = data[position : position + 4], _b32(data, position + 4)
        if name == b"FORM" and start >= 0:
            break
        if name == b"COMM":
            comm = data[position + 8 : position + 8 + size]
        elif name == b"FVER":
            version = data[position : position + 8 + size]
        elif name == b"SSND":
            if start >= 0:
                raise ContainerError("corrupt", "two SSND chunks")
            offset = _b32(data, position + 8)
            start, length, rest = position + 16 + offset, size - 8 - offset, len(data) - position - 8
            if (size > rest and is_placeholder(size)) or (size in (0, 8) and rest > 8 and not comm[2:6].strip(b"\0")):
                streamed, length, size = True, find_end(data, start) - start, rest
            elif size > rest:
                raise ContainerError("truncated", f"declares {size} bytes of sound, holds {rest}")
        position += 8 + size + size % 2
    if start < 0 or (not streamed and declared > len(data) - at):
        raise ContainerError("truncated", f"no complete sound within {len(data)} bytes")
    if len(comm) < 18:
        raise ContainerError("corrupt", "no COMM chunk")
    channels, frames, bits = struct.unpack_from(">HIH", comm)
    codec = comm[18:22] if data[at + 8 : at + 12] == b"AIFC" else b"NONE"
    width = channels * ((bits + 7) // 8 if codec in _AIFF_PCM else _AIFF_BYTES.get(codec, 0))
    if not width:
        if codec not in _AIFF_BLOCKS or streamed or not channels:
            raise ContainerError("format", f"AIFF-C of {codec!r}" + " of unknown length" * streamed)
        return [data[at : min(position, len(data))]], min(position, len(data))
    if not frames or is_placeholder(frames) or streamed:
        frames = max(0, length) // width
    if frames * width > length:
        raise ContainerError("truncated", f"declares {frames} frames, holds {max(0, length) // width}")
    end = min(position, len(data))
    if (at, end) == (0, len(data)) and frames * width == length and comm[2:6] == frames.to_bytes(4, "big"):
        return [data], end
    comm = comm[:2] + frames.to_bytes(4, "big") + comm[6:]
    sound = data[start : start + frames * width]
    body = b"".join(
        (
            data[at + 8 : at + 12],
            version,
            b"COMM" + struct.pack(">I", len(comm)) + comm + b"\0" * (len(comm) % 2),
            b"SSND" + struct.pack(">III", len(sound) + 8, 0, 0) + sound + b"\0" * (len(sound) % 2),
        )
    )
    return [b"FORM" + struct.pack(">I", len(body)) + body], end


def read_au(data: bytes, at: int, max_duration_s: float) -> tuple[Iterable[bytes], int]:
    """Return an AU with its length, and the byte behind it.

    Raises:
        ContainerError: truncated or format.
    """
    order = ">" if data[at : at + 4] == b".snd" else "<"
    if at + 24 > len(data):
        raise ContainerError("truncated", f"a header of {len(data) - at} bytes")
    start, length, codec, _, channels = struct.unpack_from(order + "5I", data, at + 4)
    width, rest = _AU_BYTES.get(codec, 0) * channels, len(data) - at - start
    if start < 24 or not (width or codec in _AU_BLOCKS):
        raise ContainerError("format", f"AU of encoding {codec}, {channels} channels, sound at byte {start}")
    if length not in (0, 0xFFFFFFFF):
        if length > rest:
            raise ContainerError("truncated", f"declares {length} bytes of sound, holds {rest}")
        end = at + start + length
        return [data if (at, end) == (0, len(data)) else data[at:end]], end
    end = find_end(data, min(at + start, len(data)))
    length = max(0, end - at - start)
    length -= length % (width or 1)
    return [data[at : at + 8] + struct.pack(order + "I", length) + data[at + 12 : at + start + length]], end


def read_caf(data: bytes, at: int, max_duration_s: float) -> tuple[Iterable[bytes], int]:
    """Return a CAF with its length, and the byte behind it.

    Raises:
        ContainerError: truncated, corrupt or format.
    """
    position, packet, found = at + 8, 0, b""
    codec = b""
    while position + 12 <= len(data) and not (found and data[position : position + 4] == b"caff"):
        name, size = (
            data[position : position + 4],
            int.from_bytes(data[position + 4 : position + 12], "big", signed=True),
        )
        start, rest = position + 12, len(data) - position - 12
        if name == b"desc" and rest >= 32:
            codec, packet = data[start + 8 : start + 12], _b32(data, start + 16)
        if name == b"data":
            found = data
            if size == -1 or (size in (0, 4) and rest > 4 and codec != b"alac"):
                end = find_end(data, start)
                size = end - start - (end - start - 4) % (packet or 1)
                if codec == b"alac":
                    raise ContainerError("format", "CAF of ALAC of unknown length")
                found = data[at : position + 4] + size.to_bytes(8, "big") + data[start : start + size]
        if size < 0 or size > rest:
            raise ContainerError("truncated", f"chunk {name!r} declares {size} bytes, holds {rest}")
        position = start + size
    if not found:
        raise ContainerError("truncated", f"no complete sound within {len(data)} bytes")
    if codec not in _CAF_READ:
        raise ContainerError("format", f"CAF of {codec.decode('ascii', 'replace').strip() or 'no codec'}")
    end = min(position, len(data))
    return [found if found is not data or (at, end) == (0, len(data)) else data[at:end]], end


def read_nist(data: bytes, at: int, max_duration_s: float) -> tuple[Iterable[bytes], int]:
    """Return a NIST SPHERE file, and the byte behind it.

    Raises:
        ContainerError: truncated, corrupt or format.
    """
    fields: dict[bytes, bytes] = {}
    size = data[at + 8 : at + 16].strip()
    start = at + int(size) if size.isdigit() else at
    for line in data[at + 16 : start].split(b"\n"):
        name, _, value = line.partition(b" ")
        fields[name] = value.partition(b" ")[2].strip()
    coding = fields.get(b"sample_coding", b"pcm")
    if coding not in (b"pcm", b"ulaw", b"mu-law", b"alaw"):
        raise ContainerError("format", f"NIST SPHERE of {coding.decode('ascii', 'replace')}")
    counts = [fields.get(name, b"") for name in (b"sample_count", b"sample_n_bytes", b"channel_count")]
    if not all(count.isdigit() and len(count) < 12 for count in counts):
        raise ContainerError("corrupt" if b"end_head" in fields else "truncated", "an incomplete NIST header")
    frames, width, channels = map(int, counts)
    end = start + frames * width * channels
    if end > len(data):
        raise ContainerError("truncated", f"declares {end - at} bytes, holds {len(data) - at}")
    return [data if (at, end) == (0, len(data)) else data[at:end]], end


def _b32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
