"""Files made to hurt, of any size, and the readers of sources, media and settings.

Each maker returns about `size` bytes of a file of one kind; `read` does with it what a run does: plan, read, prepare.
"""

from __future__ import annotations

import gzip
import io
import shutil
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from trichord.infra import strict_yaml
from trichord.infra.config import PrepareConfig, Source, StorageConfig
from trichord.infra.errors import SourceError, TrichordError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.batch import Batch, Row
from trichord.transforms.chain import prepare_chain
from trichord.transforms.collect import plan_source, read_partition
from trichord.transforms.collect.table_rows import MAX_CELL_CHARS
from trichord.transforms.op import run_chain

Make = Callable[[int], bytes]
_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


def repeat(unit: bytes, size: int, head: bytes = b"", tail: bytes = b"") -> bytes:
    """`head`, the unit as often as it fits, `tail`."""
    return head + unit * max(1, (size - len(head) - len(tail)) // len(unit)) + tail


def filled(unit: bytes, head: bytes = b"", tail: bytes = b"") -> Make:
    """A maker of `repeat`."""
    return partial(_filled, unit, head, tail)


def _filled(unit: bytes, head: bytes, tail: bytes, size: int) -> bytes:
    return repeat(unit, size, head, tail)


JSONL: dict[str, Make] = {
    "a long line": filled(b"a", b'{"id":"a","text":"', b'"}\n'),
    "open lists": filled(b"[", b'{"id":"a","text":'),
    "open objects": filled(b'{"a":'),
    "a huge number": filled(b"9", b'{"id":"a","text":"x","n":', b"}\n"),
    "a huge fraction": filled(b"9", b'{"id":"a","text":"x","n":0.', b"}\n"),
    "a huge exponent": filled(b"9", b'{"id":"a","text":"x","n":1e', b"}\n"),
    "many numbers": filled(b"1e9,", b'{"id":"a","text":"x","n":[', b"1]}\n"),
    "many captions": filled(b'"a",', b'{"id":"a","text":"x","captions":[', b'"b"]}\n'),
    "many segments": filled(
        b'{"start_s":1,"end_s":2,"text":"a"},', b'{"id":"a","text":"x","segments":[', b'{"start_s":1,"end_s":2}]}\n'
    ),
    "many regions": filled(
        b'{"box":[1,1,2,2],"text":"a"},', b'{"id":"a","text":"x","regions":[', b'{"box":[1,1,2,2],"text":"a"}]}\n'
    ),
    "escapes": filled(b"\\u0301\\u0323", b'{"id":"a","text":"', b'"}\n'),
    "half surrogates": filled(b"\\ud800", b'{"id":"a","text":"', b'"}\n'),
    "one key again": filled(b'"a":1,', b'{"id":"a","text":"x",', b'"b":1}\n'),
    "empty lines": filled(b"\n"),
    "short rows": filled(b'{"id":"a","text":"x"}\n'),
    "bad rows": filled(b"this is not a row\n"),
    "zeros": filled(b"\0"),
    "a long key": filled(b"k", b'{"text":"x","id":"', b'"}\n'),
    "a long path": filled(b"a/../", b'{"id":"a","image":"', b'a.jpg"}\n'),
}


def _open_quote(first: bytes) -> Make:
    """Lines behind a quote that is never closed, by size beyond the limit of a cell, where lines begin again."""
    return lambda size: repeat(b"a\n", MAX_CELL_CHARS + size, first)


CSV: dict[str, Make] = {
    "a giant cell": filled(b"a", b"id,text\na,", b"\n"),
    "an open quote": _open_quote(b'id,text\na,"'),
    "quotes": filled(b'""', b'id,text\na,"', b'"\n'),
    "many columns": filled(b"c,", b"id,text,", b"\n"),
    "many cells": filled(b"c,", b"id,text\n", b"\n"),
    "open lists in a cell": filled(b"[", b"id,captions\na,"),
    "open quotes again": filled(b'a,"b\n', b"id,text\n"),
    "carriage returns": filled(b"a,b\r", b"id,text\n"),
}
COCO: dict[str, Make] = {
    "captions of one picture": filled(
        b'{"id":1,"image_id":1,"caption":"a"},', b'{"images":[{"id":1,"file_name":"a.jpg"}],"annotations":[',
        b'{"id":1,"image_id":1,"caption":"a"}]}',
    ),
    "pictures of one id": filled(
        b'{"id":1,"file_name":"a.jpg"},', b'{"annotations":[{"id":1,"image_id":1,"caption":"a"}],"images":[',
        b'{"id":1,"file_name":"a.jpg"}]}',
    ),
    "pictures of one id with many captions": lambda size: repeat(
        b'{"id":1,"file_name":"a.jpg"},', size,
        b'{"annotations":[' + b'{"id":1,"image_id":1,"caption":"a"},' * (size // 80) + b'{"id":1,"image_id":1,'
        b'"caption":"a"}],"images":[', b'{"id":2,"file_name":"a.jpg"}]}',
    ),
    "things that are not annotations": filled(b"1,", b'{"images":[],"annotations":[', b"1]}"),
    "open lists": filled(b"[", b'{"images":'),
}  # fmt: skip
FLICKR: dict[str, Make] = {
    "captions of one picture": filled(b"a.jpg#0\ta caption\n"),
    "number signs": filled(b"#1", b"a.jpg#0\ta caption\n", b"\n"),
    "tabs": filled(b"#1\t", b"a.jpg#0\ta caption\n", b"\n"),
    "bars": filled(b"|", b"image| comment_number| comment\n", b"\n"),
    "an open quote": _open_quote(b'image,caption\n"'),
}


def _parquet(table: pa.Table, **how: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **how)
    return out.getvalue()


def one_value_again(chars: int, rows: int) -> bytes:
    """Rows that share one long value: a dictionary makes the file small."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["v " * (chars // 2)]))
    return _parquet(pa.table({"id": [str(i) for i in range(rows)], "text": column}))


PARQUET: dict[str, Make] = {
    "a longer value again": lambda size: one_value_again(size // 2, 16),
    "one value again and again": lambda size: one_value_again(1_000, size // 64),
    "many groups": lambda size: _parquet(pa.table({"id": [str(i) for i in range(size // 400)]}), row_group_size=1),
    "many columns": lambda size: _parquet(pa.table({"id": ["a"], **{f"c{i}": [1] for i in range(size // 300)}})),
    "much metadata": lambda size: _parquet(pa.table({"id": ["a"]}).replace_schema_metadata({"a": "b" * (size // 2)})),
    "a long list": lambda size: _parquet(pa.table({"id": ["a"], "captions": [["a"] * (size // 4)]})),
    "many rows of nothing": lambda size: _parquet(pa.table({"id": pa.nulls(size * 2, pa.string())})),
    "a footer of noise": filled(b"\x15\x00", b"PAR1", b"\x00\x00\x00\x00PAR1"),
    "a long footer": lambda size: b"PAR1" + b"\x19" * size + struct.pack("<I", size) + b"PAR1",
}


def _tar(members: Iterator[tuple[str, bytes]], **headers: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(data), dict(headers)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def many_headers(size: int) -> bytes:
    """Members with an extended header of many short records each."""
    headers = {f"k{i}": "v" for i in range(50_000 // 16)}
    return _tar(((f"{i}.txt", b"a") for i in range(max(1, size // 60_000))), **headers)


def _with_header(kind: bytes, header: bytes, size: int, data: bytes = b"") -> bytes:
    """A tar whose first member is an extended header, followed by members up to a size."""
    first = tarfile.TarInfo("pax")
    first.type, first.size = kind, len(header)
    blocks = first.tobuf(tarfile.USTAR_FORMAT) + header.ljust(-(-len(header) // 512) * 512, b"\0")
    member = tarfile.TarInfo("a.txt")
    member.size = len(data)
    blocks += member.tobuf(tarfile.USTAR_FORMAT) + data.ljust(-(-len(data) // 512) * 512, b"\0")
    more = (tarfile.TarInfo(f"{i}.txt").tobuf(tarfile.USTAR_FORMAT) for i in range(max(0, size - len(blocks)) // 512))
    return blocks + b"".join(more) + bytes(1_024)


TAR: dict[str, Make] = {
    "many members": lambda size: _tar((f"{i}.txt", b"a") for i in range(size // 1_024)),
    "members of one key": lambda size: _tar((f"a.{i}", b"a") for i in range(size // 1_024)),
    "texts of one key": lambda size: _tar(("a.txt", b"a") for _ in range(size // 1_024)),
    "a long header": lambda size: _tar(iter([("a.txt", b"a")]), comment="x" * size),
    "many headers": many_headers,
    "a long json": lambda size: _tar(iter([("a.json", repeat(b"[", size))])),
    "a long text": lambda size: _tar(iter([("a.txt", repeat(b"<s>", size))])),
    "a header of digits": lambda size: _with_header(b"x", b"1" * (size // 2), size),
    "a header of short records": lambda size: _with_header(b"x", b"2 " * (size // 4) + b"=", size),
    "a header of a number": lambda size: _with_header(b"x", b"%d a=%s\n" % (size // 2 + 12, b"1" * (size // 2)), size),
    "a global header": lambda size: _with_header(
        b"g", b"".join(b"14 k%06d=v \n" % i for i in range(size // 28)), size // 2
    ),
    "a sparse file": lambda size: _with_header(
        b"x", b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n", size, b"999999\n" + b"1" * size
    ),
    "no end": filled(b"a" * 512),
    "zeros": filled(b"\0" * 512),
}
TAR_GZ: dict[str, Make] = {"a bomb": lambda size: gzip.compress(bytes(size * 64), 9)}


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(middle: bytes, side: int = 8) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(bytes((3 * side + 1) * side)))
    return b"\x89PNG\r\n\x1a\n" + head + middle + pixels + _chunk(b"IEND", b"")


_JPEG_HEAD = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
DELTA: dict[str, Make] = {
    "open lists": filled(b"["),
    "open objects": filled(b'{"add":'),
    "a long path": filled(b"a/", b'{"add":{"path":"', b'"}}\n'),
    "short actions": filled(b'{"txn":{"appId":"a","version":1}}\n'),
    "a huge number": filled(b"9", b'{"protocol":{"minReaderVersion":', b"}}\n"),
}
_8BIM, _TAG = b"8BIM\4\4\0\0\0\0\0\0", b"\0\1\3\0\1\0\0\0\1\0\0\0"
_BMP = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 1_000, 1_000, 1, 24, 0, 0, 0, 0, 0, 0)
_BOMB = zlib.compress(bytes(3_000_000))  # 3 kB
IMAGE: dict[str, Make] = {
    "png text": lambda size: _png(_chunk(b"tEXt", b"a\0" + bytes(size))),
    "png packed text": lambda size: _png(_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(size * 32), 9))),
    "png many texts": lambda size: _png(_chunk(b"tEXt", b"key\0value") * (size // 24)),
    "png many keys": lambda size: _png(b"".join(_chunk(b"tEXt", b"k%d\0v" % i) for i in range(size // 24))),
    "png profile": lambda size: _png(_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(size * 32), 9))),
    "png exif": lambda size: _png(_chunk(b"eXIf", b"II*\0\x08\0\0\0" + b"\xff\xff" + bytes(size))),
    "png empty chunks": lambda size: _png(_chunk(b"abcd", b"") * (size // 12)),
    "png packed comments": lambda size: _png(_chunk(b"zTXt", b"Raw profile type exif\0\0" + _BOMB) * (size // 3_000)),
    "png profiles": lambda size: _png(_chunk(b"iCCP", b"p\0\0" + _BOMB) * (size // 3_000)),
    "png empty pixels": lambda size: _png(_chunk(b"IDAT", b"") * (size // 12)),
    "gif frames": filled(
        b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0", b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff", b"\x3b"
    ),
    "gif comments": filled(b"\x21\xfe\1a\0", b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff", b"\x3b"),
    "gif blocks": filled(b"\1a", b"GIF89a\1\0\1\0\0\0\0\x21\xfe", b"\0\x3b"),
    "jpeg segments": filled(b"\xff\xe1\x00\x04ab", _JPEG_HEAD, b"\xff\xd9"),
    "jpeg comments": filled(b"\xff\xfe\x00\x04ab", _JPEG_HEAD, b"\xff\xd9"),
    "jpeg scans": filled(b"\xff\xda", _JPEG_HEAD),
    "jpeg fill bytes": filled(b"\xff", _JPEG_HEAD),
    "jpeg exif": filled(b"\xff\xe1\xff\xff" + (b"Exif\0\0II*\0\x08\0\0\0\xff\xff").ljust(65_533, b"\1"), _JPEG_HEAD),
    "jpeg profile": filled(b"\xff\xe2\xff\xff" + b"ICC_PROFILE\0\1\1".ljust(65_533, b"\0"), _JPEG_HEAD),
    "jpeg photoshop": filled(b"\xff\xed\xff\xff" + (b"Photoshop 3.0\0" + _8BIM * 5_400)[:65_533], _JPEG_HEAD),
    "tiff tags": lambda size: b"II*\0\x08\0\0\0\xff\xff" + _TAG * 65_535 + bytes(max(0, size - 786_000)),
    "tiff directories": lambda size: b"II*\0\x08\0\0\0" + b"".join(
        struct.pack("<HHHIII", 1, 256, 3, 1, 1, 8 + 18 * (i + 1)) for i in range(size // 18)
    ),
    "webp chunks": lambda size: b"RIFF" + struct.pack("<I", size) + b"WEBP" + b"abcd\0\0\0\0" * (size // 8),
    "bmp": lambda size: _BMP + bytes(size),
}  # fmt: skip

_FMT = b"fmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0"
AUDIO: dict[str, Make] = {
    "wav chunks": lambda size: b"RIFF" + struct.pack("<I", 36) + b"WAVE" + _FMT + b"abcd\0\0\0\0" * (size // 8)
    + b"data\0\0\0\0",
    "wav formats": lambda size: b"RIFF" + struct.pack("<I", 36) + b"WAVE" + _FMT * (size // len(_FMT))
    + b"data\2\0\0\0\0\0",
    "wav lists": lambda size: b"RIFF" + struct.pack("<I", 36) + b"WAVE" + _FMT + b"LIST" + struct.pack("<I", size)
    + (b"INFOINAM\2\0\0\0a\0" * (size // 14)).ljust(size, b"\0")[:size] + b"data\2\0\0\0\0\0",
    "wav samples": lambda size: b"RIFF" + struct.pack("<I", size + 36) + b"WAVE" + _FMT + b"data"
    + struct.pack("<I", size) + bytes(size),
    "flac blocks": filled(b"\4\0\0\0", b"fLaC\0\0\0\x22" + bytes(34)),
    "flac comments": lambda size: b"fLaC\0\0\0\x22" + bytes(34) + b"\x84" + struct.pack(">I", size)[1:]
    + b"\0\0\0\0" + struct.pack("<I", size // 6) + b"\2\0\0\0a=" * (size // 6),
    "ogg pages": filled(b"OggS" + bytes(23)),
    "mp3 tag": lambda size: b"ID3\4\0\0" + bytes((size >> s) & 0x7F for s in (21, 14, 7, 0)) + bytes(size)
    + b"\xff\xfb\x90\0" + bytes(413),
    "mp3 tag frames": lambda size: b"ID3\4\0\0" + bytes((size >> s) & 0x7F for s in (21, 14, 7, 0))
    + (b"TXXX\0\0\0\1\0\0\0" * (size // 11)).ljust(size, b"\0") + b"\xff\xfb\x90\0" + bytes(413),
    "mp3 frames": filled((b"\xff\xfb\x10\xc4").ljust(104, b"\0")),
    "mp3 zeros": lambda size: b"ID3\4\0\0\0\0\0\0" + bytes(size) + b"\xff\xfb\x90\0" + bytes(413),
    "sync bytes": filled(b"\xff\xfb\x90\0"),
}  # fmt: skip
YAML: dict[str, Make] = {
    "keys": filled(b"a: 1\n"),
    "open lists": filled(b"["),
    "items": filled(b"- a\n"),
    "open keys": filled(b"? "),
    "dashes": filled(b"- "),
    "aliases": filled(b"*a,", b"a: &a [1]\nb: [", b"1]"),
    "a long word": filled(b"a", b"a: "),
    "quotes": filled(b"''", b"a: '"),
    "references": filled(b"${A:-", b"a: "),
    "blanks": filled(b" ", b"a:"),
    "numbers": filled(b"9", b"a: "),
    "flow": filled(b"{a: ", b"x: "),
}


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A reader of one kind of file, and the files made for it."""

    name: str
    files: dict[str, Make]
    read: Callable[[bytes], object]


def _read_source(name: str, settings: dict[str, object], data: bytes) -> int:
    """Plan a source of one file, read it and prepare it; returns the number of rows."""
    folder = tempfile.mkdtemp(prefix="crafted-")
    try:
        Path(folder, name).write_bytes(data)
        lake, config = Lake(Storage(StorageConfig()), f"{folder}/lake"), PrepareConfig()
        source = _SOURCE.validate_python({"name": "s", "path": f"{folder}/{name}", **settings})
        plan = plan_source(source, lake, rows_per_partition=256, cache=None, config=config)
        chain = prepare_chain(config, source)
        seen = 0
        for partition in plan.partitions:
            for batch in read_partition(source, lake, partition, config=config):
                done, _ = run_chain(batch, chain)
                seen += len(done.rows) + len(done.rejects)
        return seen
    except TrichordError:
        return -1
    finally:
        shutil.rmtree(folder)


def _read_delta(log: bytes) -> int:
    """Plan a Delta source whose log has one entry."""
    folder = tempfile.mkdtemp(prefix="crafted-")
    try:
        Path(folder, "t", "_delta_log").mkdir(parents=True)
        Path(folder, "t", "_delta_log", f"{0:020d}.json").write_bytes(log)
        source = _SOURCE.validate_python({"name": "s", "kind": "delta", "path": f"{folder}/t"})
        lake = Lake(Storage(StorageConfig()), f"{folder}/lake")
        return plan_source(source, lake, rows_per_partition=256, cache=None).rows
    except SourceError:
        return -1
    finally:
        shutil.rmtree(folder)


def _decode(medium: str, data: bytes) -> int:
    """Prepare a row with one medium; returns the number of rejects."""
    raw = {f"raw_{medium}s": (data,)}
    batch, _ = run_chain(Batch(rows=(Row(key="k", text="a"),), **raw), prepare_chain(PrepareConfig()))  # type: ignore[arg-type]  # two of its fields
    return len(batch.rejects)


def readers() -> list[Reader]:
    """All readers with their files."""
    sources: list[tuple[str, str, dict[str, Make], dict[str, object]]] = [
        ("jsonl", "m.jsonl", JSONL, {"kind": "manifest"}),
        ("csv", "m.csv", CSV, {"kind": "manifest"}),
        ("coco", "c.json", COCO, {"kind": "captions"}),
        ("flickr", "c.token", FLICKR, {"kind": "captions"}),
        ("parquet", "p.parquet", PARQUET, {"kind": "parquet"}),
        ("tar", "t.tar", TAR, {"kind": "webdataset"}),
        ("tar.gz", "t.tar.gz", TAR_GZ, {"kind": "webdataset"}),
    ]
    found = [
        Reader(name=f"collect: {name}", files=files, read=partial(_read_source, file, settings))
        for name, file, files, settings in sources
    ]
    found += [
        Reader(name="collect: delta log", files=DELTA, read=_read_delta),
        Reader(name="media: image", files=IMAGE, read=partial(_decode, "image")),
        Reader(name="media: audio", files=AUDIO, read=partial(_decode, "audio")),
        Reader(name="config: yaml", files=YAML, read=lambda data: strict_yaml.parse(data, {})),
    ]
    return found
