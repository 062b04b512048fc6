"""Captions sources: photos with captions in the formats of COCO, Karpathy, Flickr8k and Flickr30k.

One record per picture. Its mark is the image's `split` in JSON, or the list of `splits` that names it.
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from trichord.infra.config import CaptionsSource
from trichord.infra.errors import SourceError
from trichord.infra.json_values import JsonObject, parse_json
from trichord.infra.lake.storage import Stat, Storage, TooLarge
from trichord.infra.printable import MAX_NAME_CHARS, printable
from trichord.infra.redaction import redact
from trichord.transforms.bounded_text import normal_form
from trichord.transforms.collect.caption_lines import caption_rows
from trichord.transforms.collect.drafts import Draft, InvalidRow
from trichord.transforms.collect.field_map import bad_row, draft, name_of, text_of
from trichord.transforms.collect.folder import MODALITY_OF_ENDING
from trichord.transforms.collect.line import Line
from trichord.transforms.collect.split_lists import read_splits
from trichord.transforms.text_bytes import decode_text

_KARPATHY = ("filename", "filepath", "cocoid", "split", "sentences", "sentids")  # with a meaning, or implied by one
_Captions = dict[str, list[tuple[int, str]]]  # by picture: (number, caption)


def captions_root(source: CaptionsSource) -> str:
    """Return the folder of the photos."""
    return source.media_root or posixpath.dirname(source.path)


def read_captions(source: CaptionsSource, storage: Storage) -> Iterator[Draft]:
    """Yield every picture with its captions, also pictures without captions and captions without a picture.

    Raises:
        SourceError: the file is missing, too large, or in another format.
    """
    try:
        data = storage.read(source.path, max_bytes=source.max_bytes)
    except FileNotFoundError as error:
        raise SourceError(f"{source.path}: there is no such file. Fix `path` of source {source.name!r}") from error
    except TooLarge as error:
        raise SourceError(f"{error}. Raise `max_bytes` of source {source.name!r}, or split the file") from error
    lists = read_splits(source, storage, captions_root(source))
    kind = source.format
    if kind == "flickr" or (kind == "auto" and not source.path.lower().endswith(".json")):
        drafts = _flickr(data, source, storage)
    else:
        drafts = _json(data, source)
    yield from (lists.mark(draft) for draft in drafts) if lists.marks else drafts


def _json(data: bytes, source: CaptionsSource) -> Iterator[Draft]:
    try:
        document = parse_json(decode_text(data), unique=True)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{source.path} is not JSON ({error}). Fix the file, or set `format`") from error
    del data
    images = document.get("images") if isinstance(document, dict) else None
    nested = isinstance(images, list) and any(isinstance(image, dict) and "sentences" in image for image in images)
    if source.format == "karpathy" or (source.format == "auto" and nested):
        yield from _karpathy(images, source)
    else:
        yield from _coco(document, source)


def _karpathy(images: object, source: CaptionsSource) -> Iterator[Draft]:
    """Read `images` with `filename`, `split` and `sentences`, as in dataset_coco.json and dataset_flickr8k.json."""
    if not isinstance(images, list):
        raise SourceError(f"{source.path} has no list `images`. Fix the file, or set `format`")
    for image in images:
        try:
            if not isinstance(image, dict):
                raise InvalidRow(f"an image is a {type(image).__name__}, not an object")
            name, folder = (text_of(image.get(field), field) for field in ("filename", "filepath"))
            if name is None:
                raise InvalidRow("an image without filename")
            key = _id(image["cocoid"], "cocoid") if image.get("cocoid") is not None else _stem(name)
            sentences = image.get("sentences")
            if not isinstance(sentences, list) or not all(isinstance(sentence, dict) for sentence in sentences):
                raise InvalidRow("sentences must be a list of objects")
            numbered = [
                (*_rank(sentence.get("sentid")), place, text_of(sentence.get("raw"), "raw"))
                for place, sentence in enumerate(sentences)
            ]
            wordings = [raw for *_, raw in sorted(numbered, key=lambda row: row[:-1]) if raw and raw.strip()]
            meta = {field: value for field, value in image.items() if field not in _KARPATHY}
            media = {"image": posixpath.join(folder, name) if folder else name}
            yield _record(key, media, wordings, meta, name_of(image.get("split"), "split"))
            for sentence in sentences:
                if not (sentence.get("raw") or "").strip():
                    yield _invalid({"image": name, **sentence}, "a sentence without a caption")
        except (InvalidRow, ValueError, RecursionError) as error:
            yield _invalid(image, str(error))


def _rank(number: object) -> tuple[int, Any]:
    """Return a key that sorts numbers before everything else."""
    return (0, number) if isinstance(number, int) else (1, str(number))


def _coco(document: Any, source: CaptionsSource) -> Iterator[Draft]:
    parts = [document.get(name) if isinstance(document, dict) else None for name in ("images", "annotations")]
    if not all(isinstance(part, list) for part in parts):
        raise SourceError(f"{source.path} has no lists `images` and `annotations`. Fix the file, or set `format`")
    images, annotations = parts
    captions: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for annotation in annotations or ():
        try:
            if not isinstance(annotation, dict):
                raise InvalidRow(f"an annotation is a {type(annotation).__name__}, not an object")
            caption = text_of(annotation.get("caption"), "caption")
            if caption is None or not caption.strip():
                raise InvalidRow("an annotation without a caption")
            rank = _rank(annotation.get("id"))
            captions[_id(annotation.get("image_id"), "image_id")].append((*rank, caption))
        except InvalidRow as error:
            yield _invalid(annotation, str(error))
    chosen, taken = _chosen(images or ()), set[str]()
    for image in images or ():
        try:
            if not isinstance(image, dict):
                raise InvalidRow(f"an image is a {type(image).__name__}, not an object")
            if (again := chosen.get(str(image.get("id")))) is not None:
                if image != again or str(image["id"]) in taken:
                    yield _repeated(image)
                    continue
                taken.add(str(image["id"]))
            key, name = _id(image.get("id"), "id"), text_of(image.get("file_name"), "file_name")
            wordings = [row[-1] for row in sorted(captions.get(key, ()))]
            meta = {field: value for field, value in image.items() if field not in ("id", "file_name", "split")}
            if name is None:
                raise InvalidRow("an image without file_name")
            yield _record(key, {"image": name}, wordings, meta, name_of(image.get("split"), "split"))
        except (InvalidRow, ValueError, RecursionError) as error:
            yield _invalid(image, str(error))
    known = {str(image["id"]) for image in images or () if isinstance(image, dict) and "id" in image}
    for key in sorted(captions.keys() - known):
        wordings = [row[-1] for row in sorted(captions[key])]
        yield _without_picture(key, wordings, f"no image has the id {redact(key)[:200]!r}")


def _chosen(images: Sequence[object]) -> dict[str, JsonObject]:
    """Return which of several images with one id has the captions: the first by its JSON, whatever their order."""
    several = {
        key for key, n in Counter(str(one.get("id")) for one in images if isinstance(one, dict)).items() if n > 1
    }
    found: dict[str, JsonObject] = {}
    for image in images:
        if isinstance(image, dict) and (key := str(image.get("id"))) in several:
            found[key] = min(found.get(key, image), image, key=lambda one: json.dumps(one, sort_keys=True))
    return found


def _repeated(image: JsonObject) -> Draft:
    """Return an image whose id another image has, without its captions: all together they would be very many."""
    made = bad_row(redact(json.dumps(image))[:2_000], "another image of this file has this id")
    return replace(made, key=printable(redact(str(image["id"])))[:MAX_NAME_CHARS], reason="key_repeated")


def _invalid(value: object, detail: str) -> Draft:
    return bad_row(redact(json.dumps(value))[:2_000], detail)


def _id(value: object, name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise InvalidRow(f"{name} must be an integer or a string, not {type(value).__name__}")
    return str(value)


def _record(key: str, media: dict[str, str], wordings: list[str], meta: JsonObject, mark: str = "") -> Draft:
    """Make a record; raise InvalidRow or ValueError as `draft` does."""
    from trichord.transforms.collect.alignment import Aligned

    line: Line = {
        "text": wordings[0] if wordings else None,
        "captions": wordings[1:],
        "group": key,
        "subset": mark,
        "meta": meta,
    }
    return draft(key, line, media, Aligned(), "no key")


def _without_picture(key: str, wordings: list[str], detail: str) -> Draft:
    try:
        made = _record(key, {}, wordings, {})
    except (InvalidRow, ValueError) as error:
        return bad_row(key, str(error))
    return made if made.reason else Draft(key=made.key, line=made.line, reason="media_missing", detail=detail)


def _flickr(data: bytes, source: CaptionsSource, storage: Storage) -> Iterator[Draft]:
    captions: _Captions = defaultdict(list)
    for row in caption_rows(data, source):
        if isinstance(row, Draft):
            yield row
        else:
            captions[normal_form("NFC", row[0])].append(row[1:])
    del data
    root = captions_root(source).rstrip("/")
    for stat in storage.list(root):
        name = stat.uri[len(root) + 1 :]
        composed = normal_form("NFC", name)
        if composed in captions:
            yield _named(composed, captions.pop(composed), stat)
        elif _is_picture(name) and not any(part.startswith(".") for part in name.split("/")):
            yield _named(composed, (), stat)
    for name in sorted(captions):
        if _is_picture(name):
            yield _named(name, captions[name], name)
        else:
            for _, caption in captions[name]:
                yield bad_row(f"{name}: {caption}", f"{name[:100]!r} is not the name of a picture")


def _is_picture(name: str) -> bool:
    return MODALITY_OF_ENDING.get(posixpath.splitext(name)[1].lower()) == "image"


def _named(name: str, numbered: Sequence[tuple[int, str]], picture: Stat | str) -> Draft:
    wordings = [caption for _, caption in sorted(numbered, key=lambda pair: pair[0])]
    try:
        made = _record(_stem(name), {"image": name}, wordings, {})
    except (InvalidRow, ValueError) as error:
        return bad_row(f"{name}: {wordings}" if wordings else name, str(error))
    return replace(made, media={"image": picture}) if made.media else made


def _stem(name: str) -> str:
    return posixpath.splitext(posixpath.basename(name))[0]
