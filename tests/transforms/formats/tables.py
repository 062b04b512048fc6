"""Tables as spreadsheets, pandas, Spark and scripts write them: CSV, TSV, JSON Lines, and captions of photos."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tests.transforms.formats import Counted, Expected, Read, Refused, Variant
from tests.transforms.formats.collecting import settings
from tests.transforms.formats.parquet_tables import parquet_tables
from tests.transforms.samples import picture, saved

JPEG = saved(picture(48, 36), "JPEG")
Texts = Mapping[str, str | None]


def texts(expected: Texts, *, rejected: int = 0, **columns: Mapping[str, Any]) -> Read:
    """Records with these texts by key, other columns by key, and this many rejected rows."""

    def check(rows: list[dict[str, Any]]) -> bool:
        good = {row["key"]: row for row in rows if "rejected" not in row}
        others = all(good[key][name] == value for name, by_key in columns.items() for key, value in by_key.items())
        found = {key: row["text"] for key, row in good.items()}
        return found == expected and others and len(rows) - len(good) == rejected

    return Read(check)


AB = texts({"a": "a dog", "b": "a cat"})


def _manifest(name: str, data: bytes | str, variant: str, expected: Expected, **options: Any) -> Variant:
    files = {name: data.encode() if isinstance(data, str) else data, **settings("manifest", name, **options)}
    return Variant("table", name.rpartition(".")[2], variant, files, expected)


def _csv(*rows: list[str]) -> str:
    """Rows as the csv module writes them, through which pandas writes."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def tables() -> Iterator[Variant]:
    """Every variant of tables."""
    yield from _encodings()
    yield from _separators()
    yield from _quotes()
    yield from _cells()
    yield from _jsonl()
    yield from _captions()
    yield from _names()
    yield from parquet_tables()


def _encodings() -> Iterator[Variant]:
    text = "id,text\na,a dog\nb,a cat\n"
    yield _manifest("m.csv", text, "plain", AB)
    yield _manifest("m.csv", b"\xef\xbb\xbf" + text.encode(), "UTF-8 with a mark", AB)
    for wide in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"):
        yield _manifest("m.csv", text.encode(wide), wide, Refused(f"the file is {wide[:6].upper()}"))
    for other, word, byte in (("cp1252", "café", "e9"), ("latin-1", "señor", "f1"), ("gb18030", "你好", "c4")):
        bad = f"id,text\na,{word}\n".encode(other)
        yield _manifest("m.csv", bad, f"{other}, every row", Refused(f"line 2: byte 0x{byte}"))
        bad = f"id,text\na,a dog\nc,{word}\nb,a cat\n".encode(other)
        yield _manifest("m.csv", bad, f"{other}, one row", texts({"a": "a dog", "b": "a cat"}, rejected=1))
        yield _manifest("m.csv", bad, f"{other}, the reason", Refused(f"byte 0x{byte} ("))
        yield _manifest("m.csv", f"id,{word}\na,b\n".encode(other), f"{other}, the header", Refused(f"byte 0x{byte}"))


def _separators() -> Iterator[Variant]:
    rows = [["id", "text"], ["a", "a dog"], ["b", "a cat"]]
    for mark, name in ((";", "semicolons"), ("|", "bars"), ("\t", "tabs")):
        data = "".join(f"{mark.join(row)}\n" for row in rows)
        shown = "\\t" if mark == "\t" else mark
        yield _manifest("m.csv", data, name, Refused(f'set `delimiter: "{shown}"`'))
        yield _manifest("m.csv", data, f"{name}, as set", AB, delimiter=mark)
        yield _manifest("m.csv", f"sep={mark}\r\n" + data, f"Excel's line of {name}", AB)
    yield _manifest("m.tsv", "id\ttext\na\ta dog\nb\ta cat\n", "plain", AB)
    yield _manifest("m.tsv", "id,text\na,a dog\n", "commas", Refused('set `delimiter: ","`'))
    text = "id,text\na,a dog\nb,a cat\n"
    yield _manifest("m.csv", text.replace("\n", "\r\n"), "CRLF", AB)
    yield _manifest("m.csv", text.replace("\n", "\r"), "CR", Refused("end with CR alone"))
    yield _manifest("m.csv", text.rstrip(), "no line feed at the end", AB)
    yield _manifest("m.csv", text.replace("\n", "\n\n"), "blank lines", AB)
    yield _manifest("m.csv", text.replace("dog", "dog\u2028x\x0by\x0cz"), "separators of Unicode", texts(
        {"a": "a dog\u2028x\x0by\x0cz", "b": "a cat"}))  # fmt: skip


def _quotes() -> Iterator[Variant]:
    yield _manifest("m.csv", '"id","text"\n"a","a dog"\n"b","a cat"\n', "all quoted", AB)
    quoted = texts({"a": 'say "hi",\nnow'})
    yield _manifest("m.csv", 'id,text\na,"say ""hi"",\nnow"\n', "lines, commas and quotes in a cell", quoted)
    yield _manifest("m.tsv", 'id\ttext\na\t"say ""hi"",\nnow"\n', "lines, commas and quotes in a cell", quoted)
    opened = 'id,text\noq1,fine\noq2,"12 inch pipe\noq3,another\noq4,more\noq5,"quoted" x\noq6,last\n'
    yield _manifest("m.csv", opened, "an open quote", texts({"oq1": "fine", "oq6": "last"}, rejected=4))
    yield _manifest(
        "m.csv", opened, "an open quote, the reason", Refused("swallowed by a cell that begins 3 lines before")
    )
    tail = 'id,text\na,a dog\nb,a cat\nc,"12 inch\n' + "".join(f"k{i},more\n" for i in range(40))
    yield _manifest("m.csv", tail, "an open quote to the end", texts({"a": "a dog", "b": "a cat"}, rejected=41))
    inches = texts({"a": 'a 12" disk', "b": "a cat"})
    yield _manifest("m.csv", 'id,text\na,a 12" disk\nb,a cat\n', "a quote within a cell", inches)
    ragged = "id,text,n\na,a dog,1\nc,short\nd,too,long,by one\nb,a cat,2\n"
    yield _manifest("m.csv", ragged, "ragged rows", texts({"a": "a dog", "b": "a cat"}, rejected=2))
    wide = 'id,text\na,a dog\nc,"two\nlines",more\nb,a cat\n'
    yield _manifest("m.csv", wide, "a ragged row of lines", texts({"a": "a dog", "b": "a cat"}, rejected=2))
    yield _manifest("m.csv", "id,text,text\na,one,two\n", "a header twice", Refused("the header repeats a name: text"))
    yield _manifest("m.csv", "id,n,text,n\na,1,one,2\n", "another header twice", Refused("repeats a name: n"))
    yield _manifest(
        "m.csv",
        "id,caption\na,one\n",
        "a field misspelt",
        Refused("did you mean `caption`"),
        fields={"text": "captoin"},
    )
    yield _manifest("m.csv", "id,text\n", "only a header", texts({}))


def _cells() -> Iterator[Variant]:
    wordings = ["a puppy", 'it\'s a "hound"', "línea\nzwei"]
    said = texts({"a": "a dog"}, captions={"a": wordings})
    names = ["id", "text", "captions"]
    yield _manifest("m.csv", _csv(names, ["a", "a dog", str(wordings)]), "pandas' lists", said)
    for name in ("", "Unnamed: 0"):
        indexed = _csv([name, *names], ["0", "a", "a dog", str(wordings)])
        yield _manifest("m.csv", indexed, f"pandas' index, named {name!r}", said)
    two = texts({"a": "a dog"}, captions={"a": wordings[:2]})
    yield _manifest("m.csv", _csv(names, ["a", "a dog", str(np.array(wordings[:2]))]), "numpy's lists", two)
    yield _manifest("m.csv", _csv(names, ["a", "a dog", json.dumps(wordings[:2])]), "JSON's lists", two)
    for written, variant in (
        (str(tuple(wordings)), "tuples"),
        ("[u'a puppy', u'it\\'s a \"hound\"']", "Python 2's lists"),
    ):
        held = said if variant == "tuples" else two
        yield _manifest("m.csv", _csv(names, ["a", "a dog", written]), variant, held)
    for written, variant in (
        (str([b"x"]), "lists of bytes"),
        (str([["x"], ["y"]]), "lists of lists"),
        (repr(np.array(["x", "y"], dtype=object)), "numpy's arrays"),
    ):
        yield _manifest("m.csv", _csv(names, ["a", "a dog", written]), variant, Refused("list of strings"))
    listed = _csv(["id", "text"], ["a", str(wordings)], ["b", "a cat"])
    yield _manifest("m.csv", listed, "a list as text", Refused("map it by `fields.captions`"))
    yield _manifest("m.jsonl.gz", b"\x1f\x8b", "compressed", Refused(".gz files are not read. Next: unpack it"))
    kept = texts({"a": "a dog"}, captions={"a": ["['tis the season]"]})
    yield _manifest("m.csv", "id,text,captions\na,a dog,['tis the season]\n", "a caption that begins as a list", kept)
    raven = texts({"a": '("The Raven" by Poe)', "b": '("Nevermore")', "c": "[laughs]", "d": '{"a" or "b"}'})
    prose = _csv(
        ["id", "text"],
        *(
            [key, text]
            for key, text in (
                ("a", '("The Raven" by Poe)'),
                ("b", '("Nevermore")'),
                ("c", "[laughs]"),
                ("d", '{"a" or "b"}'),
            )
        ),
    )
    yield _manifest("m.csv", prose, "texts in brackets", raven)
    one = texts({"a": "a dog"}, captions={"a": ["[music] plays"]})
    yield _manifest("m.csv", "id,text,captions\na,a dog,[music] plays\n", "a caption in brackets", one)
    one = texts({"a": "a dog"}, captions={"a": ["[applause]"]})
    yield _manifest("m.csv", "id,text,captions\na,a dog,[applause]\n", "a caption of one word in brackets", one)
    none = texts({"a": "a dog"}, captions={"a": []})
    yield _manifest("m.csv", "id,text,captions\na,a dog,[]\n", "an empty list", none)
    for cell, variant in (("\"['a', b, 'c']\"", "a list with a bare word"), ("['a' 'b' ... 'z']", "numpy's cut list"),
                          ("['a''b']", "a list without separator"), ("[None]", "a list of nothing")):  # fmt: skip
        yield _manifest("m.csv", f"id,text,captions\na,a dog,{cell}\n", variant, Refused("list of strings"))
    for word in ("", "NaN", "nan", "None", "NULL", "null", "<NA>", "#N/A", "\\N"):
        data = f"id,text,n\na,a dog,{word}\nb,{word},{word}\nc,a cat,1\n"
        kept = texts({"a": "a dog", "c": "a cat"}, rejected=1)
        yield _manifest("m.csv", data, f"{word or 'an empty cell'} for no value", kept)
        yield _manifest(
            "m.csv",
            f"id,text\n{word},a dog\nb,a cat\n",
            f"{word or 'an empty cell'} as key",
            texts({"b": "a cat"}, rejected=1),
        )
    segments = "\"[{'start_s': 0.0, 'end_s': 1.5, 'text': 'it''s'}]\"".replace("''", "’")
    check = Read(lambda rows: [row["key"] for row in rows] == ["a"] and rows[0]["text"] == "a dog")
    yield _manifest(
        "m.csv", f"id,text,cues\na,a dog,{segments}\n", "pandas' objects", check, fields={"segments": "cues"}
    )
    yield _manifest("m.csv", "id,text\na,a\0dog\nb,a cat\n", "a NUL", texts({"a": "a\0dog", "b": "a cat"}))


def _jsonl() -> Iterator[Variant]:
    lines = '{"id": "a", "text": "a dog"}\n{"id": "b", "text": "a cat"}\n'
    bad = texts({"a": "a dog", "b": "a cat"}, rejected=1)
    yield _manifest("m.jsonl", lines, "plain", AB)
    yield _manifest("m.jsonl", b"\xef\xbb\xbf" + lines.encode(), "UTF-8 with a mark", AB)
    yield _manifest("m.jsonl", lines.replace("\n", "\r\n").rstrip(), "CRLF", AB)
    yield _manifest("m.jsonl", lines.replace("\n", "\r"), "CR", Refused("end with CR alone"))
    yield _manifest("m.jsonl", lines.replace("\n", "\n \n"), "blank lines", AB)
    for wide in ("utf-16", "utf-16-le", "utf-32"):
        yield _manifest("m.jsonl", lines.encode(wide), wide, Refused(f"the file is {wide[:6].upper()}"))
    for line, variant, why in (
        ('{"id": "c", "id": "d", "text": "x"}', "a name twice", "repeats the name 'id'"),
        ('{"id": "c", "text": "x", "m": {"n": 1, "n": 2}}', "a nested name twice", "repeats the name 'n'"),
        ('{"id": "c", "text": "x", "m": [[{"n": 1, "n": 1}]]}', "a name twice in a list", "repeats the name 'n'"),
        ('{"id": "c", "text": "x", "n": NaN}', "NaN", "NaN is not JSON"),
        ('{"id": "c", "text": "x", "n": -Infinity}', "Infinity", "-Infinity is not JSON"),
        ('{"id": "c", "text": "x", "n": 1e999}', "a number beyond all", "not JSON compliant"),
        ('{"id": "c", "text": "x", "n": ' + "9" * 5_000 + "}", "a number of 5,000 digits", "not JSON"),
        ('{"id": "c", "text": "\\ud800"}', "half a surrogate pair", "surrogate"),
        ('{"id": "c", "text": "x"} {"id": "d"}', "two objects in a line", "not JSON"),
        ('{"id": "c", "text": "x"},', "a comma behind an object", "not JSON"),
        ("{'id': 'c', 'text': 'x'}", "Python's objects", "not JSON"),
        ('["c", "x"]', "a list", "not an object"),
        ('{"id": "c", "text": 5}', "a number as text", "must be a string"),
        ('{"id": "c", "text": "x", "captions": ["y", null]}', "null in a list", "must be a list of strings"),
        ('{"id": "c", "text": ' + "[" * 2_000 + "}", "deep nesting", "not JSON"),
    ):
        yield _manifest("m.jsonl", f"{lines}{line}\n", variant, bad)
        yield _manifest("m.jsonl", f"{lines}{line}\n", f"{variant}, the reason", Refused(why))
    latin = lines.encode() + b'{"id": "c", "text": "caf\xe9"}\n'
    yield _manifest("m.jsonl", latin, "Latin-1 in a row", Refused("byte 0xe9 (byte 25"))
    kept = texts({"a": "a\u2028dog\x85", "b": "a cat"})
    yield _manifest("m.jsonl", lines.replace("a dog", "a\u2028dog\x85"), "separators of Unicode", kept)
    rows = [{"id": "a", "text": "a dog"}, {"id": "b", "text": "a cat"}]
    yield _manifest("m.json", json.dumps(rows), "an array", Refused("it begins as one JSON array"))
    yield _manifest("m.json", json.dumps(rows, indent=1), "an array over lines", Refused("it begins as one JSON array"))
    over = json.dumps(rows[0], indent=1) + "\n" + json.dumps(rows[1], indent=1)
    yield _manifest("m.jsonl", over, "objects over lines", Refused("one JSON object over several lines"))
    text_lists = lines.replace("}", ", \"captions\": \"['x', 'y']\"}", 1)
    yield _manifest(
        "m.jsonl", text_lists, "a list as text", texts({"a": "a dog", "b": "a cat"}, captions={"a": ["x", "y"]})
    )


def _captions() -> Iterator[Variant]:
    token = "x.jpg#0\ta dog\u2028in the sun\nx.jpg#1\ta dog\ny.jpg#0\tpage\x0cbreak\nz.jpg#0\tone\x85two\n"
    whole = texts({"x": "a dog\u2028in the sun", "y": "page\x0cbreak", "z": "one\x85two"}, captions={"x": ["a dog"]})
    yield _captioned("flickr", "token.txt", token, "separators of Unicode", whole)
    yield _captioned("flickr", "token.txt", token.replace("\n", "\r\n"), "token file with CRLF", whole)
    yield _captioned("flickr", "token.txt", token.encode("utf-16"), "token file in UTF-16", whole)
    yield _captioned("flickr", "token.txt", token.replace("\n", "\r"), "token file with CR", Refused("CR alone"))
    three = {"x": "a dog", "y": "a cat", "z": "a fox"}
    latin = "x.jpg#0\ta dog\ny.jpg#0\ta cat\nz.jpg#0\ta fox\nx.jpg#1\tcafé\n".encode("latin-1")
    yield _captioned("flickr", "token.txt", latin, "token file, Latin-1 in a line", texts(three, rejected=1))
    table = 'image,caption\nx.jpg,"A dog\nruns"\ny.jpg,a cat\nz.jpg,a fox\n'
    yield _captioned("flickr", "captions.csv", table, "a line feed in a cell", texts({**three, "x": "A dog\nruns"}))
    yield _captioned(
        "flickr", "captions.txt", table.replace(",", ";"), "semicolons", texts({**three, "x": "A dog\nruns"})
    )
    bar = 'image_name| comment_number| comment\nx.jpg| 0| a dog\nx.jpg| 1   A "dog" runs .\n'
    bar += "y.jpg| 0| a cat\nz.jpg| 0| a fox\n"
    yield _captioned("flickr", "results.csv", bar, "Flickr30k's with its broken line", texts(three, rejected=1))
    broken = "image,caption\nx.jpg,a dog\nThe brown dog, which runs\ny.jpg,a cat\nz.jpg,a fox\n"
    yield _captioned("flickr", "broken.csv", broken, "a line that is no picture", texts(three, rejected=1))
    yield _captioned(
        "flickr", "broken.csv", broken, "a line that is no picture, the reason", Refused("is not the name of a picture")
    )
    twice = "image,caption,comment\nx.jpg,a dog,b\n"
    yield _captioned("flickr", "c.csv", twice, "two columns of captions", Refused("several columns of the caption"))
    opened = 'image,caption\nx.jpg,a dog\ny.jpg,a cat\nz.jpg,a fox\nx.jpg,"open\ny.jpg,more\n'
    yield _captioned("flickr", "c.csv", opened, "an open quote", texts(three, rejected=2))
    images = [{"id": i, "file_name": f"{name}.jpg"} for i, name in enumerate("xyz")]
    notes = [{"id": i, "image_id": i, "caption": text} for i, text in enumerate(three.values())]
    coco = json.dumps({"images": images, "annotations": notes})
    numbered = texts(dict(zip("012", three.values(), strict=True)))
    yield _captioned("coco", "coco.json", coco, "plain", numbered)
    yield _captioned("coco", "coco.json", coco.encode("utf-16"), "UTF-16", numbered)
    yield _captioned(
        "coco",
        "coco.json",
        coco.replace('"id": 0,', '"id": 0, "id": 9,'),
        "a name twice",
        Refused("repeats the name 'id'"),
    )
    sentences = [
        {"filename": f"{key}.jpg", "split": "test", "sentences": [{"raw": text}]} for key, text in three.items()
    ]
    kept = texts(three, subset=dict.fromkeys("xyz", "test"))
    yield _captioned("karpathy", "dataset.json", json.dumps({"images": sentences}), "plain", kept)


def _captioned(form: str, name: str, data: bytes | str, variant: str, expected: Expected) -> Variant:
    files = {name: data.encode() if isinstance(data, str) else data}
    files |= {f"photos/{key}.jpg": JPEG for key in "xyz"} | settings("captions", name)
    files |= settings("captions", name, format=form)
    made = json.loads(files["source.json"]) | {"media_root": "photos"}
    return Variant("table", form, variant, files | {"source.json": json.dumps(made).encode()}, expected)


def _names() -> Iterator[Variant]:
    for word, variant in (
        ("café", "French"),
        ("ế", "Vietnamese"),
        ("한글", "Korean"),
        ("がぎ", "Japanese"),
        ("ά", "Greek"),
    ):
        nfd, nfc = unicodedata.normalize("NFD", word), unicodedata.normalize("NFC", word)
        whole = texts({nfc: "a dog"}, image={nfc: True})
        for text, image, forms in ((nfd, nfc, "NFD and NFC"), (nfc, nfd, "NFC and NFD"), (nfd, nfd, "NFD alone")):
            files = {f"{text}.txt": b"a dog", f"{image}.jpg": JPEG, f"{nfd[0]}z.doc": b"sorts between"}
            yield Variant("table", "folder", f"{variant}, {forms}", files | settings("folder"), whole)
            row = json.dumps({"id": nfc, "text": "a dog", "image": f"{text}.jpg"}).encode()
            files = {"m.jsonl": row, f"{image}.jpg": JPEG} | settings("manifest", "m.jsonl")
            yield Variant("table", "jsonl", f"a picture's name in {variant}, {forms}", files, whole)
            row = json.dumps({"file_name": f"{text}.jpg", "text": "a dog"}).encode()
            files = {"metadata.jsonl": row, f"{image}.jpg": JPEG} | settings("imagefolder", fields={"key": "file_name"})
            described = Read(lambda rows: [(r["text"], r["image"]) for r in rows] == [("a dog", True)])
            yield Variant("table", "imagefolder", f"{variant}, {forms}", files, described)
            files = {"c.csv": f"image,caption\n{text}.jpg,a dog\n".encode(), f"{image}.jpg": JPEG}
            yield Variant("table", "flickr", f"{variant}, {forms}", files | settings("captions", "c.csv"), whole)
    marks = "a" + "\u0301\u0323" * 60
    files = {f"{marks}.txt": b"a dog"} | settings("folder")
    yield Variant(
        "table", "folder", "120 marks in a row", files, Read(lambda rows: len(rows) == 1 and rows[0]["text"] == "a dog")
    )
    for ending in ("text", "caption", "cap", "TXT", "Text"):
        files = {"a.jpg": JPEG, f"a.{ending}": b"a dog"} | settings("folder")
        yield Variant("table", "folder", f"texts in .{ending}", files, texts({"a": "a dog"}))
    for ending in ("md", "xyz", "docx", "srt", "html"):
        files = {"a.jpg": JPEG, f"a.{ending}": b"a dog"} | settings("folder")
        yield Variant("table", "folder", f"texts in .{ending}", files, Counted())
    both = {"a.txt": b"a dog", "a.caption": b"a cat"} | settings("folder")
    yield Variant("table", "folder", "two texts of a name", both, Refused("'a.txt' beside 'a.caption'"))
    wide = {"a.txt": "a dog".encode("utf-16")} | settings("folder")
    yield Variant("table", "folder", "a text in UTF-16", wide, texts({"a": "a dog"}))
    latin = {"a.txt": "a café".encode("latin-1")} | settings("folder")
    yield Variant("table", "folder", "a text in Latin-1", latin, Refused("byte 0xe9 (byte 6"))
