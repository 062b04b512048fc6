"""Personal data in texts: mail addresses, phone numbers, IP addresses, payment cards, identity numbers.

Only sure finds count. A mask, and the record of the change, name only the kind (`<EMAIL>`). Texts are read as plain
ASCII: digits of every script and full-width letters as their own, and characters of scripts without blanks between
words (and Hangul) as punctuation, so that a number right beside them stands alone.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, TypeAlias

from trichord.infra.packages import version
from trichord.transforms.batch import Batch, Change
from trichord.transforms.clean import annotate
from trichord.transforms.clean.check_digits import gs1, luhn
from trichord.transforms.clean.national_ids import AMOUNT, NO_PERSON, behind, identifiers_in
from trichord.transforms.op import Op
from trichord.transforms.word_breaks import is_dense, is_unspaced

_READ_CHARS = 100_000  # of a text; the rest is not masked
_BEFORE_CHARS = 40  # read before a number
_WITHOUT_PREFIX = frozenset(("AR", "BR", "CA", "CL", "CO", "IN", "MX", "US"))  # mobile numbers begin with the area
_MOST_SIGNS = 6  # blanks, hyphens and parentheses in a mobile number
_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[a-zA-Z0-9-]{1,63}\.){1,8}[a-zA-Z]{2,24}(?![\w@-])")
_CARD = re.compile(
    r"(?<![\w.+-])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{4}([ -])\d{6}\2\d{4,5})(?![\w-]|\.\d)"
)
_PHONE = re.compile(r"(?<![\w+])\+[(]?\d[\d ().\u00a0/-]{5,24}\d(?!\w)")
_NATIONAL_PHONE = re.compile(r"(?<![\w+.-])[(+]{0,2}\d[\d ().\u00a0/-]{5,24}\d(?!\w)")
_IPV4 = re.compile(r"(?<![\w.:/-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\w)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])")
_MOBILE = re.compile(r"(?<![\w+./#-])(?<!\d,)\(?\d[\d ()\u00a0-]{6,20}\d(?![\w-]|[.,/:]\d)")
# mobile numbers with a slash between, and what makes a number an amount; both are read as other signs
_LISTED = re.compile(r"(?<![\w+./=#-])1[3-9]\d{9}(?:/1[3-9]\d{9})+(?!\w)")
_UNIT = re.compile(r"(?<=\d) ?(?:元(?![旦宵月气件])|円|圓|원(?!장)|次(?![日序])|条(?!件)|[万亿萬億€₽₫₩])")
_VERSIONED = re.compile(
    r"(?:version|release|build|section|chapter|ver\.?|v\.?|§|firmware|版本|バージョン|버전|รุ่น)\s{0,2}$", re.IGNORECASE
)
_SAYS_PHONE = behind(
    "手机 手機 电话 電話 联系 聯絡 致电 拨打 微信 携帯 전화 휴대폰 โทร tel phone telephone mobile call whatsapp móvil "
    "celular handy тел هاتف फोन मोबाइल"
)
_BARCODE = behind("ean upc gtin isbn issn imei sscc barcode 条码 条形码 條碼 バーコード 바코드")
_ORDER = re.compile(  # the order's own number, not another one in the same sentence
    r"(?:订单|訂單|运单|運單|[单單流水編编][号號]|流水|(?:order|tracking|invoice|serial) ?(?:no|number|id)?)"
    r"[.:：#\s是为]{0,3}$",
    re.IGNORECASE,
)
_SAYS_CARD = behind("card visa diners karte carte tarjeta cartao cartão 银行卡 信用卡 卡号 卡號 カード 카드 บัตร")
_BANK_CARD = behind("银行卡 信用卡 储蓄卡 借记卡 銀行卡 bank_card credit_card debit_card")

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


IsSure: TypeAlias = Callable[[str, str], bool]  # of what is written, and what stands before it


class _Plain(dict[int, str]):
    """What each character is read as (`str.translate`): one character for one."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char.isdecimal():
            found = str(unicodedata.decimal(char))
        elif char in "＋－．＠（）／" or "Ａ" <= char <= "Ｚ" or "ａ" <= char <= "ｚ":
            found = chr(code - 0xFEE0)
        elif char in "\u2010\u2011\u2012\u2013\u2212":
            found = "-"
        elif is_unspaced(char) or is_dense(char):
            found = "。"
        else:
            found = char
        self[code] = found
        return found


_PLAIN = _Plain()


def _read(text: str) -> str:
    """Return a text as it is read, as long as it is: numbers of a list stand alone, and amounts are no numbers."""
    plain = text if text.isascii() else _UNIT.sub(lambda unit: "_" * len(unit[0]), text).translate(_PLAIN)
    return _LISTED.sub(lambda match: match[0].replace("/", "。"), plain) if "/" in plain else plain


def _is_card(written: str, before: str) -> bool:
    """Return whether issuer, length and checksum (Luhn) are a payment card's, and it is not called a barcode or order.

    A number that is called a bank's card may be of any issuer: older Chinese cards have prefixes of their own.
    """
    number = "".join(filter(str.isdecimal, written))
    issued = any(
        len(number) in lengths and any(first <= int(number[: len(str(first))]) <= last for first, last in prefixes)
        for prefixes, lengths in _ISSUERS
    )
    if (
        _BARCODE.search(before)
        or _ORDER.search(before)
        or not luhn(number)
        or not (issued or _BANK_CARD.search(before))
    ):
        return False
    # more likely a trade item number than an old Visa or a Diners card
    return len(number) > 14 or not gs1(number) or _SAYS_CARD.search(before) is not None


def _is_ip(written: str, before: str) -> bool:
    """Return whether it is another machine's address, not a version or section number."""
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified:
        return False
    if address.version == 6:  # `a::b` is code
        return sum(map(bool, written.split(":"))) >= 3
    small = all(part < 16 for part in address.packed)
    return not small and _VERSIONED.search(before) is None


def _is_phone(region: str | None, written: str, before: str) -> bool:
    """Return whether it is a valid phone number, of a region if it has no country code."""
    del before
    import phonenumbers

    try:
        number = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        return False
    return bool(phonenumbers.is_valid_number(number))


def _is_mobile(region: str, written: str, before: str) -> bool:
    """Return whether it is a mobile number of a region, or called a phone number (in a URL it must be).

    It must begin as inside the country (07…, 010…), unless people leave that out and write it in groups.
    """
    if len(written) - sum(map(str.isdecimal, written)) > _MOST_SIGNS:
        return False
    import phonenumbers

    try:
        number = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        return False
    if NO_PERSON.search(before) or not phonenumbers.is_valid_number_for_region(number, region):
        return False
    if _SAYS_PHONE.search(before):
        return True
    if AMOUNT.search(before):
        return False
    kinds = {phonenumbers.PhoneNumberType.MOBILE}
    prefix = phonenumbers.ndd_prefix_for_region(region, True)
    begun = prefix is not None and written.lstrip("(").startswith(prefix)
    if written.isdecimal():
        return phonenumbers.number_type(number) in kinds and begun
    if prefix is not None and not begun and region not in _WITHOUT_PREFIX:
        return False
    return phonenumbers.number_type(number) in {*kinds, phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE}


def known_regions() -> frozenset[str]:
    """Return the countries (ISO 3166) whose phone numbers are known, which are all."""
    import phonenumbers

    return frozenset(phonenumbers.SUPPORTED_REGIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPii(Op):
    """Measures `text_pii`, the pieces of personal data in text and captions; may mask them."""

    version: ClassVar[int] = 4

    mask: bool
    phone_region: str | None = None
    regions: tuple[str, ...] = ()  # whose identity and mobile numbers count without being named

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
        plain = _read(head)
        kinds: list[str] = []
        for kind, pattern, is_sure in self._detectors(head, plain):
            head, plain, found = _mask(kind, pattern, is_sure, head, plain)
            kinds += [kind] * found
        if "@" in head:  # a local part in any script
            head, _, found = _mask("EMAIL", _EMAIL, lambda *_: True, head, head)
            kinds += ["EMAIL"] * found
        return head + tail, kinds

    def _detectors(self, head: str, plain: str) -> Iterator[tuple[str, re.Pattern[str], IsSure]]:
        """Yield what may be in a text, given also in `plain` form: kind, pattern, and whether a match is surely one."""
        if "@" in plain:
            yield "EMAIL", _EMAIL, lambda *_: True
        if any(digit in plain for digit in "0123456789"):
            regions = frozenset(self.regions)
            for one in identifiers_in(head, plain, regions):
                yield one.kind, one.pattern, partial(one.counts, regions=regions)
            yield "CARD", _CARD, _is_card
            yield "IP", _IPV4, _is_ip
            for region in self.regions:
                yield "PHONE", _MOBILE, partial(_is_mobile, region)
            if self.phone_region is not None or "+" in plain:
                pattern = _PHONE if self.phone_region is None else _NATIONAL_PHONE
                yield "PHONE", pattern, partial(_is_phone, self.phone_region)
        if plain.count(":") > 1:
            yield "IP", _IPV6, _is_ip


def _silence(change: Change) -> Change:
    """Return an earlier change without its values: they may contain, in some encoding, what is masked now."""
    if change.field != "text" and not change.field.startswith("captions"):
        return change
    return replace(change, before="<PII>", after="<PII>")


def _mask(kind: str, pattern: re.Pattern[str], is_sure: IsSure, head: str, plain: str) -> tuple[str, str, int]:
    """Return text and plain text with each sure match replaced, and how many there were."""
    parts: list[tuple[str, str]] = []
    last = count = 0
    before = ""
    for match in pattern.finditer(plain):
        start, end = match.span()
        if not is_sure(match[0], (before + head[last:start])[-_BEFORE_CHARS:]):
            continue
        parts += [(head[last:start], plain[last:start]), (f"<{kind}>", f"<{kind}>")]
        before = (before + head[last:start])[-_BEFORE_CHARS:] + f"<{kind}>"
        last, count = end, count + 1
    if not count:
        return head, plain, 0
    parts.append((head[last:], plain[last:]))
    return "".join(own for own, _ in parts), "".join(read for _, read in parts), count
