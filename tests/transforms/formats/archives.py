"""Tar files as webdataset, GNU tar, Python and macOS write them, plain and compressed, and other archives."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from tests.transforms.formats import Counted, Expected, Read, Refused, Variant
from tests.transforms.formats.collecting import settings
from tests.transforms.samples import picture, saved

JPEG = saved(picture(48, 36), "JPEG")
Members = list[tuple[str, bytes]]
AB: Members = [("a.jpg", JPEG), ("a.txt", b"a dog"), ("b.jpg", JPEG), ("b.txt", b"a cat")]


def tar(members: Members, form: int = tarfile.PAX_FORMAT, more: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    """A tar of files, and of members without content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in more:
            archive.addfile(info)
    return out.getvalue()


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A member without content."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def pairs(expected: Mapping[str, str | None], *, rejected: int = 0, **columns: Mapping[str, Any]) -> Read:
    """Records with these texts by key, each with a picture, other columns by key, and this many rejected rows."""

    def check(rows: list[dict[str, Any]]) -> bool:
        good = {row["key"]: row for row in rows if "rejected" not in row}
        others = all(good[key][name] == value for name, by_key in columns.items() for key, value in by_key.items())
        same = {key: row["text"] for key, row in good.items()} == expected
        return same and others and all(row["image"] for row in good.values()) and len(rows) - len(good) == rejected

    return Read(check)


BOTH = pairs({"a": "a dog", "b": "a cat"})


def _variant(name: str, data: bytes, variant: str, expected: Expected, **options: Any) -> Variant:
    files = {name: data, **settings("webdataset", **options)}
    return Variant("archive", name.partition(".")[2].lower(), variant, files, expected)


def archives() -> Iterator[Variant]:
    """Every variant of archives."""
    yield from _compressed()
    yield from _headers()
    yield from _members()
    yield from _others()


def _compressed() -> Iterator[Variant]:
    plain = tar(AB)
    squeezed = {
        "tar": plain,
        "TAR": plain,
        "tar.gz": gzip.compress(plain, mtime=0),
        "tgz": gzip.compress(plain, mtime=0),
        "tar.bz2": bz2.compress(plain),
        "tbz2": bz2.compress(plain),
        "tar.xz": lzma.compress(plain),
        "txz": lzma.compress(plain),
        "tar.zst": pa.Codec("zstd").compress(plain, asbytes=True),
        "tzst": pa.Codec("zstd").compress(plain, asbytes=True),
    }
    for ending, data in squeezed.items():
        yield _variant(f"x.{ending}", data, f"a folder of .{ending}", BOTH)
        yield _variant(f"x.{ending}", data, f"the path of .{ending}", BOTH, path=f"x.{ending}")
        if ending.lower() != "tar":
            yield _variant(f"x.{ending}", data[: len(data) // 2], "half of it", Refused("Fix or remove the file"))
            yield _variant(f"x.{ending}", b"not that" * 100, "another file", Refused("Fix or remove the file"))
            small = Refused("`max_unpacked_bytes`")
            yield _variant(f"x.{ending}", data, "more than allowed", small, max_unpacked_bytes=1_000)
    yield _variant("x.tar.gz", gzip.compress(plain[:2_048]) + gzip.compress(plain[2_048:]), "in two parts", BOTH)
    yield _variant("x.tar", plain[: len(plain) // 2], "half of it", Refused("truncated"))
    marked = {
        f"{part}.tar.zst": pa.Codec("zstd").compress(tar(AB[i : i + 2]), asbytes=True)
        for part, i in (("train", 0), ("test", 2))
    }
    subsets = pairs({"a": "a dog", "b": "a cat"}, subset={"a": "train", "b": "test"})
    yield Variant("archive", "tar.zst", "marks in the names", marked | settings("webdataset"), subsets)


def _headers() -> Iterator[Variant]:
    long = "/".join(["a folder with a long name"] * 8)
    deep = [(f"{long}/{name}", data) for name, data in AB]
    kept = pairs({f"{long}/a": "a dog", f"{long}/b": "a cat"})
    for form, name in ((tarfile.PAX_FORMAT, "pax"), (tarfile.GNU_FORMAT, "GNU")):
        yield _variant("x.tar", tar(deep, form), f"long names of {name}", kept)
        accents = [(name.replace("a.", "é."), data) for name, data in AB]
        yield _variant("x.tar", tar(accents, form), f"accents of {name}", pairs({"é": "a dog", "b": "a cat"}))
    yield _variant("x.tar", tar(AB, tarfile.USTAR_FORMAT), "ustar", BOTH)
    short = "/".join(["folder"] * 20)
    split = [(f"{short}/{name}", data) for name, data in AB]
    kept = pairs({f"{short}/a": "a dog", f"{short}/b": "a cat"})
    yield _variant("x.tar", tar(split, tarfile.USTAR_FORMAT), "ustar's divided names", kept)
    composed, apart = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    for one, other, told in ((composed, apart, "NFC, its text in NFD"), (apart, composed, "NFD, its text in NFC")):
        mixed = [(f"{one}.jpg", JPEG), (f"{other}.txt", b"a dog")]
        yield _variant("x.tar", tar(mixed), f"a picture in {told}", pairs({composed: "a dog"}))
    for kind, target, name in (
        (tarfile.SYMTYPE, "a.jpg", "a symbolic link"),
        (tarfile.LNKTYPE, "a.jpg", "a hard link"),
        (tarfile.FIFOTYPE, "", "a pipe"),
        (tarfile.CHRTYPE, "", "a device"),
    ):
        more = (member("c.jpg", kind, target),)
        yield _variant("x.tar", tar(AB, more=more), name, pairs({"a": "a dog", "b": "a cat"}, rejected=1))
        yield _variant("x.tar", tar(AB, more=more), f"{name}, the reason", Refused("member_invalid"))
    sparse = member("c.jpg", tarfile.GNUTYPE_SPARSE)
    yield _variant("x.tar", tar(AB, tarfile.GNU_FORMAT, (sparse,)), "a sparse file", Refused("a sparse file"))
    folders = (member("d", tarfile.DIRTYPE), member("./", tarfile.DIRTYPE))
    yield _variant("x.tar", tar(AB, more=folders), "folders", BOTH)
    yield _variant(
        "x.tar", tar([("../c.jpg", JPEG), *AB]), "a name that leads out", Refused("leads out of the archive")
    )
    yield _variant("x.tar", tar([("/c.jpg", JPEG), *AB]), "an absolute name", Refused("leads out of the archive"))


def _members() -> Iterator[Variant]:
    dotted = [(f"./{name}", data) for name, data in AB]
    yield _variant("x.tar", tar(dotted), "names that begin with ./", BOTH)
    upper = [(name.replace("jpg", "JPG").replace("txt", "TXT"), data) for name, data in AB]
    yield _variant("x.tar", tar(upper), "endings in upper case", BOTH)
    yield _variant("x.tar", tar(AB[::-1]), "members in another order", BOTH)
    mac = [("._a.jpg", b"x"), (".DS_Store", b"x"), *AB]
    yield _variant("x.tar", tar(mac), "macOS's hidden files", BOTH)
    again = [*AB, ("a.txt", b"another")]
    yield _variant("x.tar", tar(again), "a member twice", Refused("key_repeated"))
    two = [*AB, ("a.jpeg", JPEG)]
    yield _variant("x.tar", tar(two), "two pictures of a key", Refused("the member 'a.jpg' beside 'a.jpeg'"))
    wordings = [*AB, ("a.caption", b"a hound"), ("a.json", b'{"captions": ["a puppy"], "split": "test", "n": 1}')]
    told = pairs(
        {"a": "a dog", "b": "a cat"}, captions={"a": ["a hound", "a puppy"]}, subset={"a": "test"}, meta={"a": {"n": 1}}
    )
    yield _variant("x.tar", tar(wordings), "captions, marks and meta", told)
    for ending in ("text", "caption", "cap"):
        named = [("a.jpg", JPEG), (f"a.{ending}", b"a dog")]
        yield _variant("x.tar", tar(named), f".{ending}", pairs({"a": "a dog"}))
    keyed = [*AB, ("a.json", json.dumps({"__key__": "other"}).encode())]
    yield _variant(
        "x.tar", tar(keyed), "__key__", pairs({"a": "a dog", "b": "a cat"}, meta={"a": {"__key__": "other"}})
    )
    yield _variant(
        "x.tar", tar([*AB, ("a.cls", b"3\n")]), "a class", pairs({"a": "a dog", "b": "a cat"}, meta={"a": {"cls": "3"}})
    )
    for text in (b'{"n": 1, "n": 2}', b'{"m": {"n": 1, "n": 2}}'):
        why = Refused("repeats the name 'n'")
        yield _variant("x.tar", tar([*AB, ("a.json", text)]), f"JSON {text.decode()}", why)
    yield _variant("x.tar", tar([*AB, ("a.json", b"[1]")]), "JSON that is a list", Refused("not an object"))
    wide = [("a.jpg", JPEG), ("a.txt", "a dog".encode("utf-16")), ("a.json", b"\xef\xbb\xbf{}")]
    yield _variant("x.tar", tar(wide), "texts in UTF-16", pairs({"a": "a dog"}))
    latin = [("a.jpg", JPEG), ("a.txt", "café".encode("latin-1"))]
    yield _variant("x.tar", tar(latin), "a text in Latin-1", Refused("byte 0xe9 (byte 4"))
    for ending in ("seg.png", "npy", "pth", "md", "json.gz"):
        yield _variant("x.tar", tar([*AB, (f"a.{ending}", b"x")]), f"members .{ending}", Counted())
    yield _variant("x.tar", tar([*AB, ("a.b.jpg", JPEG)]), "a name of two dots", Counted())


def _others() -> Iterator[Variant]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in AB:
            archive.writestr(name, data)
    for ending in ("zip", "7z", "rar", "parquet", "tar.lz4"):
        files = {"x.tar": tar(AB), f"y.{ending}": packed.getvalue()}
        yield Variant("archive", ending, "beside a tar", files | settings("webdataset"), Counted())
    yield _variant("x.zip", packed.getvalue(), "a folder of zips", Refused("there is no .tar file"))
    yield _variant("x.zip", packed.getvalue(), "the path of a zip", Refused("does not read .zip files"), path="x.zip")
    yield _variant("x.tar", packed.getvalue(), "a zip under another name", Refused("Fix or remove the file"))
