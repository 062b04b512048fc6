"""Make drafts of a source's rows by the meaning of their fields (`FieldMap`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from trichord.infra import digest
from trichord.infra.config import FieldMap
from trichord.infra.printable import MAX_NAME_CHARS, find_unnameable, printable
from trichord.infra.redaction import may_redact, redact, redact_values
from trichord.transforms.collect.alignment import Aligned, check_alignment
from trichord.transforms.collect.drafts import Draft, InvalidRow
from trichord.transforms.collect.line import Line
from trichord.transforms.collect.list_cells import parse_strings

_SHOWN_CHARS = 500  # of a line that is not a row


def bad_row(line: str, detail: str) -> Draft:
    """Return the draft of something that is not a row; its key comes from its content."""
    shown = redact(line).encode("utf-8", "replace").decode()
    return Draft(
        key=f"line:{digest.address(redact(line))[:16]}",
        line={"raw": shown[:_SHOWN_CHARS]},
        reason="row_invalid",
        detail=redact(detail)[:_SHOWN_CHARS].encode("utf-8", "replace").decode(),
    )


def bad_name(key: str, detail: str) -> Draft:
    """Return the draft of a row that cannot have its name; its key shows what can be seen of that."""
    return Draft(
        key=printable(key)[:MAX_NAME_CHARS], line={"text": None, "captions": []}, reason="key_invalid", detail=detail
    )


def map_fields(
    record: Mapping[str, object], fields: FieldMap, line: str, *, hidden: frozenset[str] = frozenset()
) -> Draft:
    """Make a draft of a record, its fields by their meaning.

    Args:
        record: JSON values by name.
        line: the record as its source wrote it, shown if it is not a row.
        hidden: fields besides those with a meaning that `meta` leaves out.
    """
    try:
        key = _name(record, fields.key)
        media = {
            modality: named
            for modality, name in (("image", fields.image), ("audio", fields.audio))
            if (named := _text(record, name))
        }
        found = check_alignment(*(get(record, name) for name in (fields.segments, fields.pictures, fields.regions)))
        meaning = _columns(fields) | hidden
        line_of: Line = {
            "text": _wording(record, fields.text),
            "captions": captions_of(get(record, fields.captions), str(fields.captions)),
            "group": _name(record, fields.group),
            "subset": _name(record, fields.subset),
            "meta": {name: value for name, value in record.items() if name not in meaning},
        }
        return draft(key, line_of, media, found, f"no {fields.key}")
    except UnicodeDecodeError:
        return bad_row(line, "half a surrogate pair, such as \\ud800, is not a character")
    except (InvalidRow, ValueError, RecursionError) as error:  # of canonical JSON: infinities
        return bad_row(line, str(error))


@lru_cache(maxsize=64)
def _columns(fields: FieldMap) -> frozenset[object]:
    """Return the names of the columns that have a meaning."""
    return frozenset(fields.model_dump().values())


def draft(key: str, line: Line, media: Mapping[str, str], found: Aligned, unnamed: str) -> Draft:
    """Make a draft of checked parts, without the credentials of URLs beside `media`, which are fetched by them.

    Without a key it is a reject with the detail `unnamed`; with a key, group or subset that cannot be a name, one that
    says why.

    Raises:
        ValueError: something is not JSON.
    """
    media = {**media, **found.media}
    if found.alignment:
        line = {**line, "alignment": found.alignment}
    if _may_hold_credentials(key, line):
        key, line = redact(key), redact_values(line)
        digest.canonical_json([key, line]).decode()
    digest.canonical_json(media).decode()
    names = (("key", key), ("group", line.get("group", "")), ("subset", line.get("subset", "")))
    if (fault := find_unnameable(names)) is not None:
        return bad_name(key, fault)
    if not key:
        return Draft(
            key=f"line:{digest.address(line, redact_values(media))[:16]}",
            line=line,
            media=media,
            reason="key_missing",
            detail=unnamed,
        )
    return Draft(key=key, line=line, media=media)


def _may_hold_credentials(key: str, line: Line) -> bool:
    """Return False if `redact` would change nothing in a row: all its values are looked through at once."""
    try:
        encoded = digest.canonical_json([key, line]).decode()
    except (ValueError, RecursionError):  # found again, unless it is hidden
        return True
    return may_redact(encoded)


def captions_of(value: object, name: str) -> list[str]:
    """Return captions from a list of strings, also one that is written as text, or from one string.

    Raises:
        InvalidRow: it is neither.
    """
    if isinstance(value, str) and (listed := parse_strings(value)) is not None:
        value = listed
    captions = [value] if isinstance(value, str) and value else value or []
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        raise InvalidRow(f"{name} must be a list of strings")
    return captions


def get(record: Mapping[str, object], name: str | None) -> object:
    """Return a field by its name or its path through nested objects; None if there is none."""
    if name is None or name in record:
        return record.get(name) if name is not None else None
    value: object = record
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _text(record: Mapping[str, object], name: str | None) -> str | None:
    return text_of(get(record, name), str(name))


def _wording(record: Mapping[str, object], name: str | None) -> str | None:
    text = _text(record, name)
    if text is not None and parse_strings(text) is not None:
        raise InvalidRow(f"{name} must be a string, not a list that is written as one; map it by `fields.captions`")
    return text


def text_of(value: object, name: str) -> str | None:
    """Return a string; None if it is absent or empty.

    Raises:
        InvalidRow: it is not a string.
    """
    if value is not None and not isinstance(value, str):
        raise InvalidRow(f"{name} must be a string, not {type(value).__name__}")
    return value or None


def _name(record: Mapping[str, object], name: str | None) -> str:
    return name_of(get(record, name), str(name))


def name_of(value: object, name: str) -> str:
    """Return a name, which may be a string or an integer; '' if it is absent.

    Raises:
        InvalidRow: it is neither.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise InvalidRow(f"{name} must be a string or an integer, not {type(value).__name__}")
    return "" if value is None else str(value)
