"""Personal data in texts: mail addresses, phone numbers, IP addresses, payment cards. Only sure finds count.

A mask, and the record of the change, name only the kind (`<EMAIL>`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from trichord.infra.packages import version
from trichord.transforms.batch import Batch, Change
from trichord.transforms.clean import annotate
from trichord.transforms.op import Op

_READ_CHARS = 100_000  # of a text; the rest is not masked
_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[a-zA-Z0-9-]{1,63}\.){1,8}[a-zA-Z]{2,24}(?![\w@-])")
_CARD = re.compile(
    r"(?<![\d.+-])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{4}([ -])\d{6}\2\d{4,5})(?![\d-]|\.\d)"
)
_PHONE = re.compile(r"(?<![\w+])\+[(]?\d[\d ().\u00a0/-]{5,24}\d(?!\w)")
_NATIONAL_PHONE = re.compile(r"(?<![\w+.-])[(+]{0,2}\d[\d ().\u00a0/-]{5,24}\d(?!\w)")
_IPV4 = re.compile(r"(?<![\w.:/-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\w)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])")
_VERSIONED = re.compile(r"(?:version|release|build|section|chapter|ver\.?|v\.?|§|firmware)\s{0,2}$", re.IGNORECASE)

# issuer: prefixes (first, last), lengths (ISO/IEC 7812; without Maestro, which claims half of all numbers)
_ISSUERS: tuple[tuple[tuple[tuple[int, int], ...], tuple[int, ...]], ...] = (
    (((4, 4),), (13, 16, 19)),  # Visa
    (((51, 55), (2221, 2720)), (16,)),  # Mastercard
    (((34, 34), (37, 37)), (15,)),  # American Express
    (((36, 36), (38, 39), (300, 305)), (14,)),  # Diners Club
    (((6011, 6011), (644, 649), (65, 65)), (16, 17, 18, 19)),  # Discover
    (((3528, 3589),), (16, 17, 18, 19)),  # JCB
    (((62, 62),), (16, 17, 18, 19)),  # UnionPay
)


def _is_card(match: re.Match[str]) -> bool:
    """Return whether issuer, length and checksum (Luhn; ISO/IEC 7812-1, annex B) are those of a payment card."""
    digits = [int(letter) for letter in match[0] if letter.isdecimal()]
    number = "".join(map(str, digits))
    issued = any(
        len(digits) in lengths and any(first <= int(number[: len(str(first))]) <= last for first, last in prefixes)
        for prefixes, lengths in _ISSUERS
    )
    if len(digits) == 13:  # more likely a trade item number (GS1: weights 3 and 1) than an old Visa card
        issued &= sum(digit * (1 + 2 * (i % 2)) for i, digit in enumerate(reversed(digits))) % 10 != 0
    doubled = (digit if i % 2 == 0 else 2 * digit - 9 * (digit > 4) for i, digit in enumerate(reversed(digits)))
    return issued and sum(doubled) % 10 == 0


def _is_ip(match: re.Match[str]) -> bool:
    """Return whether it is another machine's address, not a version or section number."""
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified:
        return False
    if address.version == 6:  # `a::b` is code
        return sum(map(bool, match[0].split(":"))) >= 3
    small = all(part < 16 for part in address.packed)
    return not small and _VERSIONED.search(match.string[max(0, match.start() - 12) : match.start()]) is None


def _is_phone(region: str | None, match: re.Match[str]) -> bool:
    import phonenumbers

    try:
        number = phonenumbers.parse(match[0], region)
    except phonenumbers.NumberParseException:
        return False
    return bool(phonenumbers.is_valid_number(number))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPii(Op):
    """Measures `text_pii`, the pieces of personal data in text and captions; may mask them."""

    version: ClassVar[int] = 2

    mask: bool
    phone_region: str | None = None

    @property
    def name(self) -> str:
        """The op's name."""
        return "text_pii"

    def libraries(self) -> Mapping[str, str]:
        """Return the library that knows phone numbers."""
        return {"phonenumbers": version("phonenumbers")}

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows, measured = list(batch.rows), [dict[str, float]() for _ in batch.rows]
        for i, row in enumerate(batch.rows):
            if row.text is None:
                continue
            masked = [self.mask_text(wording) for wording in (row.text, *row.captions)]
            measured[i] = {"text_pii": float(sum(len(kinds) for _, kinds in masked))}
            if not self.mask or not measured[i]["text_pii"]:
                continue
            changes: list[Change] = []
            for at, (_, kinds) in enumerate(masked):
                field = "text" if at == 0 else f"captions[{at - 1}]"
                changes += [annotate.change(self.name, field, kind, f"<{kind}>") for kind in kinds]
            text, *captions = (wording for wording, _ in masked)
            earlier = tuple(map(_silence, row.changes))
            row = replace(row, text=text, captions=tuple(captions), changes=earlier)
            rows[i] = annotate.with_changes(row, changes)
        return replace(batch, rows=tuple(rows)).with_scores(measured)

    def mask_text(self, text: str) -> tuple[str, list[str]]:
        """Return the masked text and the kinds masked, grouped by kind."""
        head, tail = text[:_READ_CHARS], text[_READ_CHARS:]
        kinds: list[str] = []
        for kind, pattern, is_sure in self._detectors(head):
            head = pattern.sub(partial(_mask, kind, is_sure, kinds), head)
        return head + tail, kinds

    def _detectors(self, text: str) -> Iterator[tuple[str, re.Pattern[str], Callable[[re.Match[str]], bool]]]:
        if "@" in text:
            yield "EMAIL", _EMAIL, lambda _: True
        if any(letter in text for letter in "0123456789"):
            yield "CARD", _CARD, _is_card
            yield "IP", _IPV4, _is_ip
            if self.phone_region is not None or "+" in text:
                pattern = _PHONE if self.phone_region is None else _NATIONAL_PHONE
                yield "PHONE", pattern, partial(_is_phone, self.phone_region)
        if text.count(":") > 1:
            yield "IP", _IPV6, _is_ip


def _silence(change: Change) -> Change:
    """Return an earlier change without its values: they may contain, in some encoding, what is masked now."""
    if change.field != "text" and not change.field.startswith("captions"):
        return change
    return replace(change, before="<PII>", after="<PII>")


def _mask(kind: str, is_sure: Callable[[re.Match[str]], bool], kinds: list[str], match: re.Match[str]) -> str:
    if not is_sure(match):
        return match[0]
    kinds.append(kind)
    return f"<{kind}>"
