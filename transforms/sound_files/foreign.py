"""Names of files that are not readable sounds, for a reject that says what the file is."""

from __future__ import annotations

_MARKS = (
    (b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA or WMV (ASF)"),
    (b"#!AMR", "AMR"),
    (b"#!SILK", "SILK"),
    (b"\x02#!SILK", "SILK"),
    (b"ADIF", "AAC (ADIF)"),
    (b".RMF", "RealMedia"),
    (b".ra\xfd", "RealAudio"),
    (b"MAC ", "Monkey's Audio"),
    (b"wvpk", "WavPack"),
    (b"TTA1", "True Audio"),
    (b"MPCK", "Musepack"),
    (b"MP+", "Musepack"),
    (b"OFR ", "OptimFROG"),
    (b"DSD ", "DSD"),
    (b"FRM8", "DSD"),
    (b"MThd", "MIDI"),
    (b"Creative Voice File", "VOC"),
    (b"\x0b\x77", "AC-3"),
    (b"\x7f\xfe\x80\x01", "DTS"),
    (b"FLV\x01", "Flash video"),
    (b"\0\0\x01\xba", "an MPEG programme stream"),
    (b"ajkg", "Shorten"),
)
_RIFFS = {b"AVI ": "AVI video", b"WEBP": "a WebP picture", b"RMID": "MIDI", b"CDXA": "CD-XA"}
_LAYERS = {0: "AAC (ADTS)", 1: "MP3 of free format", 2: "MPEG Layer II", 3: "MPEG Layer I"}


def name_foreign(data: bytes, at: int) -> str | None:
    """Return the name of the format that begins at `at`, or None if it is not known."""
    head = data[at : at + 20]
    if head[4:8] == b"ftyp":
        return f"MP4, M4A or MOV (brand {head[8:12].decode('ascii', 'replace').strip()!r})"
    if head[:4] == b"RIFF":
        return _RIFFS.get(head[8:12])
    if head[:4] == b"FORM":
        return f"IFF {head[8:12].decode('ascii', 'replace')!r}"
    if len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x18 != 0x08:
        layer = (head[1] >> 1) & 3
        if layer == 0 and head[1] & 0xF0 == 0xF0 and head[2] & 0x3C <= 0x30:
            return _LAYERS[0]
        if layer and head[2] & 0x0C != 0x0C and head[2] & 0xF0 != 0xF0 and (layer > 1 or head[2] & 0xF0 == 0):
            return _LAYERS[layer]
    if len(data) > at + 376 and data[at] == data[at + 188] == data[at + 376] == 0x47:
        return "an MPEG transport stream"
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)
