"""Bytes of text files as text: UTF-8, or UTF-16 and UTF-32 with their mark; for others, which byte is not UTF-8."""

from __future__ import annotations

import codecs

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_HEAD = 256
_SHOWN_BEFORE = 20  # characters before a wrong byte


def decode_text(data: bytes) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark, which is left out.

    Raises:
        ValueError: it is in another encoding; the message says which byte of which line is not UTF-8.
    """
    wide = wide_encoding(data)
    try:
        if wide is not None and data.startswith(tuple(mark for mark, _ in _MARKS)):
            return data.decode(wide)
        if wide is not None:
            raise ValueError(f"it looks like {wide} without a byte-order mark; save it as UTF-8")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if wide is not None:
            raise ValueError(f"not {wide}, though it begins with its mark: {error.reason}") from error
        raise ValueError(explain_undecodable(data, error)) from error


def wide_encoding(head: bytes) -> str | None:
    """Return "UTF-16" or "UTF-32" if the beginning of a file shows it, by its mark or by NUL bytes; None otherwise."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    head = head[: min(_HEAD, len(head) - len(head) % 4)]
    if len(head) < 4 or 0 not in head:
        return None
    zeros = [head[place::4].count(0) for place in range(4)]
    quarter = len(head) // 4
    if sum(count == quarter for count in zeros) == 3 and 0 in zeros:
        return "UTF-32"
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    return "UTF-16" if min(even, odd) == 0 and max(even, odd) > quarter else None


def explain_undecodable(data: bytes, error: UnicodeDecodeError) -> str:
    """Return which byte of which line is not UTF-8; of one line, what is before it."""
    before = data[: error.start]
    line, start = before.count(b"\n") + 1, before.rfind(b"\n") + 1
    where = f"byte {error.start - start + 1} of line {line}" if b"\n" in data else f"byte {error.start + 1}"
    shown = before[start:].decode(errors="replace")[-_SHOWN_BEFORE:]
    after = f", after {shown!r}" if shown else ""
    return f"byte 0x{data[error.start]:02x} ({where}{after}) is not UTF-8"
