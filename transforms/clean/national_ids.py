"""Numbers that states give to persons and companies: how each is written, its check digits, and what it is called.

A number counts by its form alone only where little else can have it. `SURE` forms always count; `HERE` forms where the
project names the region; `NAMED` forms where their name stands before them. Every form counts beside its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from trichord.transforms.clean import check_digits as c


class Certainty(Enum):
    """Where a number with right check digits counts."""

    SURE = 0
    HERE = 1
    NAMED = 2


SURE, HERE, NAMED = Certainty
_PROVINCES = frozenset((11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 50, 51, 52,
                        53, 54, 61, 62, 63, 64, 65, 71, 81, 82, 83))  # fmt: skip
_IBAN_LENGTHS = {
    15: "NO", 16: "BE", 18: "DK FI FO GL NL", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS", 23: "AE GI IL IQ OM TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST",
    26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA",
    30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
}  # fmt: skip
# What names an order, a ware or a device: a number behind it is not a person's, unless only a person's can be so
NO_PERSON = re.compile(
    r"(?:EAN|UPC|GTIN|ISBN|ISSN|IMEI|ASIN|SKU|SSCC|bar ?code|order|invoice|tracking|serial|part|ref|article|item|lot"
    r"|batch|ticket|version|build|timestamp|hash|commit|订单|訂單|单号|單號|编号|編號|条码|条形码|條碼|流水|快递|运单|序列|货号|型号"
    r"|注文|伝票|品番|型番|追跡|주문|송장|바코드|สั่งซื้อ|พัสดุ|pedido|factura|commande|facture|Bestell|Rechnung|Artikel"
    r"|encomenda|ordine|fattura|zamówieni|bestelling|заказ|артикул)[^\d]{0,16}$",
    re.IGNORECASE,
)
# What makes the number right behind it an amount, or a parameter of something that only its name tells
AMOUNT = re.compile(
    r"(?:[¥￥$€£₩₹₽=]|第|(?:播放|浏览|阅读|点击|访问|转发)[量数次]?|点赞数?|销量|库存|粉丝数?|金额|总额|总价|价格|余额|人口)[\s:：=为]{0,3}$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    """A kind of number: pattern on plain ASCII text, check on its letters and digits alone in capitals."""

    region: str  # ISO 3166; "" for any
    kind: str
    pattern: re.Pattern[str]
    is_valid: Callable[[str], bool]
    certainty: Certainty
    names: tuple[str, ...]  # in lower case
    named: re.Pattern[str]  # a name, right before the number
    least: int  # digits

    def counts(self, written: str, before: str, regions: frozenset[str]) -> bool:
        """Return whether what is written, behind this text, is such a number; `regions` are the project's."""
        if not self.is_valid("".join(filter(str.isalnum, written)).upper()):
            return False
        if self.certainty is SURE or self.named.search(before):
            return True
        if self.certainty is not HERE or self.region not in regions:
            return False
        return not (NO_PERSON.search(before) or AMOUNT.search(before))


def behind(names: str) -> re.Pattern[str]:
    """Return a pattern of the place behind a name, with up to 16 characters and no digit between.

    Names are separated by blanks; a blank within one is `_`. Names of Latin letters begin as words do, and those in
    capitals end so too.
    """
    forms = []
    for name in names.split():
        start = r"(?<![A-Za-z])" if name[0].isascii() else ""
        end = r"(?![A-Za-z])" if name.isupper() and name.isascii() else ""
        forms.append(f"{start}{re.escape(name.replace('_', ' '))}{end}")
    return re.compile(rf"(?:{'|'.join(forms)})[^\d]{{0,16}}$", re.IGNORECASE)


def _id(
    region: str, form: str, is_valid: Callable[[str], bool], certainty: Certainty, names: str, kind: str = "ID",
    least: int = 6,
) -> Identifier:  # fmt: skip
    """Return an identifier; `names` as of `behind`."""
    # no letter, digit, or sign that makes it a part of something else beside it
    pattern = re.compile(rf"(?<![\w.+/#@-])(?<!\d,)(?:{form})(?![\w@=-]|[.,/:]\d)", re.ASCII | re.IGNORECASE)
    called = tuple(name.replace("_", " ").lower() for name in names.split())
    return Identifier(
        region=region, kind=kind, pattern=pattern, is_valid=is_valid, certainty=certainty,
        names=called, named=behind(names), least=least,
    )  # fmt: skip


def _iban() -> str:
    forms = []
    for length, countries in _IBAN_LENGTHS.items():
        groups, rest = divmod(length - 4, 4)
        tail = rf" ?[A-Z0-9]{{{rest}}}" if rest else ""
        forms.append(rf"(?:{countries.replace(' ', '|')})\d\d(?: ?[A-Z0-9]{{4}}){{{groups}}}{tail}")
    return "|".join(forms)


def _cn_resident(v: str) -> bool:
    day = c.is_date(int(v[6:10]), int(v[10:12]), int(v[12:14]))
    return int(v[:2]) in _PROVINCES and day and c.mod_11_2(v)


_USCC = r"[1-9ANY][1-9]\d{6}[0-9A-HJ-NPQRTUWXY]{10}"


def _cn_company(v: str) -> bool:
    sure = not v.isdecimal() or c.organisation_code(v[8:17])  # 18 digits may be an order
    return int(v[2:4]) in _PROVINCES and sure and c.uscc(v)


def _pesel(v: str) -> bool:
    month = int(v[2:4])
    year = {0: 1900, 1: 2000, 2: 2100, 3: 2200, 4: 1800}[month // 20] + int(v[:2])
    return c.is_date(year, month % 20, int(v[4:6])) and c.last_by(v, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3), 10)


def _belgian(v: str) -> bool:
    rest = int(v[9:])
    return c.is_day(v[:6], "YMD") and any(97 - int(f"{century}{v[:9]}") % 97 == rest for century in ("", "2"))


def _fi(v: str) -> bool:
    return c.is_day(v[:6], "DMY") and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(v[:6] + v[-4:-1]) % 31] == v[-1]


def _dni(v: str) -> bool:
    number = int(v[:-1].translate(str.maketrans("XYZ", "012")))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] == v[-1]


def _norwegian(v: str) -> bool:
    first = c.last_by(v, (3, 7, 6, 1, 8, 9, 4, 5, 2))
    return c.is_day(v[:6], "DMY") and first and c.last_by(v, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2))


def _czech(v: str) -> bool:
    month = int(v[2:4]) % 50 % 20 if int(v[2:4]) % 50 > 12 else int(v[2:4]) % 50
    day = c.is_day(f"{v[:2]}{month:02}{v[4:6]}", "YMD")
    return day and (len(v) == 9 or int(v) % 11 == 0 or (int(v[:9]) % 11 == 10 and v[9] == "0"))


def _pps(v: str) -> bool:
    total = c.weigh(v, range(8, 1, -1)) + ("WABCDEFGHI".index(v[8]) * 9 if len(v) == 9 else 0)
    return "WABCDEFGHIJKLMNOPQRSTUV"[total % 23] == v[7]


def _krn(v: str) -> bool:
    checked = (11 - c.weigh(v, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)) % 11) % 10 == int(v[12])
    return c.is_day(v[:6], "YMD") and (checked or (v[:2] >= "20" and v[6] in "34"))  # since October 2020 at random


def _snils(v: str) -> bool:
    return c.weigh(v, range(9, 0, -1)) % 101 % 100 == int(v[9:])


def _rut(v: str) -> bool:
    total = sum(int(d) * (2 + i % 6) for i, d in enumerate(reversed(v[:-1])))
    return "0123456789K0"[11 - total % 11 if total % 11 else 0] == v[-1]


def _nhs(v: str) -> bool:
    return c.last_by(v, range(10, 1, -1)) and len(set(v)) > 1


def _ssn(v: str) -> bool:
    return v[:3] not in ("000", "666") and v[0] != "9" and v[3:5] != "00" and v[5:] != "0000"


def _thai(v: str) -> bool:
    return (11 - c.weigh(v, range(13, 1, -1)) % 11) % 10 == int(v[12])


def _dutch(v: str) -> bool:
    return (c.weigh(v, range(9, 1, -1)) - int(v[8])) % 11 == 0 and v != "0" * 9


def _swedish(v: str) -> bool:
    return c.is_day(v[-10:-4], "YMD") and c.luhn(v[-10:])


def _austrian(v: str) -> bool:
    return c.is_day(v[4:], "DMY") and c.weigh(v, (3, 7, 9, 0, 5, 8, 4, 2, 1, 6)) % 11 == int(v[3])


def _romanian(v: str) -> bool:
    checked = c.sum_last_by(v, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9), ten=1)
    return checked and c.is_day(v[1:7], "YMD")


def _baltic(v: str) -> bool:
    return c.is_day(v[1:7], "YMD") and c.baltic(v)


def _south_african(v: str) -> bool:
    return c.is_day(v[:6], "YMD") and v[10] in "012" and c.luhn(v)


def _any(v: str) -> bool:
    return True


def _my_number(v: str) -> bool:
    rest = c.weigh(v, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return int(v[11]) == (0 if rest <= 1 else 11 - rest)


_PHONES = "手机 手機 电话 電話 联系 聯絡 致电 拨打 微信 热线 号码 座机 传真 phone mobile tel"

IDENTIFIERS: tuple[Identifier, ...] = (
    _id("", _iban(), c.mod_97, SURE, "IBAN", "IBAN"),
    _id("CN", r"[1-8]\d{5}([ -]?)(?:18|19|20)\d{6}\1\d{3}[\dX]", _cn_resident, SURE, "身份证"),
    _id("CN", _USCC, _cn_company, SURE, "信用代码"),
    _id("CN", _USCC, c.uscc, NAMED, "信用代码"),
    _id("CN", r"(?:\(?\+?86\)?[ -]?)?1[3-9]\d(?:\d{8}|([ -])\d{4}\1\d{4})", _any, HERE, _PHONES, "PHONE"),
    _id("CN", r"\(?0(?:10|2\d|[3-9]\d\d)\)?[ -]?[2-8]\d{6,7}", _any, NAMED, _PHONES, "PHONE"),
    _id("TW", r"[A-Z][1289]\d{8}", c.twid, HERE, "身分證 身份證 統一證號"),
    _id("HK", r"[A-Z]{1,2}\d{6}\([0-9A]\)", c.hkid, HERE, "身份證 HKID"),
    _id("SG", r"[STFGM]\d{7}[A-Z]", c.nric, HERE, "NRIC FIN"),
    _id("JP", r"\d{4}([ -]?)\d{4}\1\d{4}", _my_number, NAMED, "マイナンバー 個人番号 my_number"),
    _id("KR", r"\d{6}-[1-8]\d{6}", _krn, HERE, "주민등록번호 주민번호 외국인등록번호"),
    _id("TH", r"[1-8]-\d{4}-\d{5}-\d\d-\d", _thai, SURE, "ประชาชน"),
    _id("TH", r"[1-8]\d{12}", _thai, NAMED, "ประชาชน"),
    _id("IN", r"[2-9]\d{3}([ -])\d{4}\1\d{4}", c.verhoeff, HERE, "aadhaar आधार UIDAI"),
    _id("IN", r"[2-9]\d{11}", c.verhoeff, NAMED, "aadhaar आधार UIDAI"),
    _id("IN", r"[A-Z]{3}[PCHFATBLJG][A-Z]\d{4}[A-Z]", _any, HERE, "PAN permanent_account", least=4),
    _id("BR", r"\d{3}\.\d{3}\.\d{3}-\d\d", c.cpf, SURE, "CPF"),
    _id("BR", r"\d{11}", c.cpf, HERE, "CPF"),
    _id("BR", r"[A-Z\d]{2}\.[A-Z\d]{3}\.[A-Z\d]{3}/[A-Z\d]{4}-\d\d", c.cnpj, SURE, "CNPJ"),
    _id("BR", r"[A-Z\d]{8}0001\d\d", c.cnpj, HERE, "CNPJ"),
    _id("DE", r"[1-9]\d( ?)\d{3}\1\d{3}\1\d{3}", c.steuer_id, HERE,
        "steuer-id steuer_id steuerid idnr steueridentifikation tax_id"),
    _id("ES", r"(?:\d{8}|[XYZ]-?\d{7})-?[A-HJ-NP-TV-Z]", _dni, HERE, "DNI NIE NIF"),
    _id("FR", r"[12]( ?)\d\d\1\d\d\1(?:\d\d|2[AB])\1\d{3}\1\d{3}\1\d\d", c.nir, HERE, "NIR sécurité_sociale INSEE"),
    _id("IT", r"[A-Z]{6}[\dL-NP-V]{2}[A-EHLMPR-T][\dL-NP-V]{2}[A-Z][\dL-NP-V]{3}[A-Z]", c.codice_fiscale, SURE,
        "codice_fiscale"),
    _id("NL", r"\d{9}", _dutch, NAMED, "BSN burgerservicenummer sofinummer"),
    _id("PL", r"\d{11}", _pesel, HERE, "PESEL"),
    _id("BE", r"\d\d\.\d\d\.\d\d-\d{3}[.-]\d\d", _belgian, SURE, "rijksregister registre_national NISS INSZ"),
    _id("BE", r"\d{11}", _belgian, HERE, "rijksregister registre_national NISS INSZ"),
    _id("PT", r"[1-9]\d{8}", lambda v: c.last_by(v, range(9, 1, -1), ten=0), NAMED, "NIF contribuinte"),
    _id("GB", r"\d{3}([ -]?)\d{3}\1\d{4}", _nhs, NAMED, "NHS"),
    _id("GB", r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]( ?)\d\d\1\d\d\1\d\d\1[A-D]", _any, HERE,
        "NI NINO national_insurance"),
    _id("SE", r"(?:19|20)?\d{6}[-+]\d{4}", _swedish, HERE, "personnummer pnr"),
    _id("SE", r"(?:19|20)?\d{10}", _swedish, NAMED, "personnummer pnr"),
    _id("FI", r"\d{6}[-+A-FU-Y]\d{3}[A-FHJ-NPR-Y]", _fi, SURE, "henkilötunnus hetu"),
    _id("FI", r"\d{6}[-+A-FU-Y]\d{3}\d", _fi, HERE, "henkilötunnus hetu"),
    _id("DK", r"\d{6}-\d{4}", lambda v: c.is_day(v[:6], "DMY"), HERE, "CPR personnummer"),
    _id("NO", r"\d{6} ?\d{5}", _norwegian, HERE, "fødselsnummer personnummer"),
    _id("CH", r"756\.\d{4}\.\d{4}\.\d\d", c.gs1, SURE, "AHV AVS"),
    _id("CH", r"756\d{10}", c.gs1, NAMED, "AHV AVS"),
    _id("AT", r"\d{4} ?\d{6}", _austrian, NAMED, "SVNR sozialversicherung"),
    _id("IE", r"\d{7}[A-W][A-IW]?", _pps, HERE, "PPS PPSN"),
    _id("CZ", r"\d{6}/\d{3,4}", _czech, HERE, "rodné_číslo r.č r._č"),
    _id("SK", r"\d{6}/\d{3,4}", _czech, HERE, "rodné_číslo r.č r._č"),
    _id("RO", r"[1-9]\d{12}", _romanian, HERE, "CNP"),
    _id("EE", r"[1-8]\d{10}", _baltic, HERE, "isikukood"),
    _id("LT", r"[1-8]\d{10}", _baltic, HERE, "asmens_kodas"),
    _id("HR", r"\d{11}", c.mod_11_10, NAMED, "OIB"),
    _id("GR", r"\d{11}", lambda v: c.is_day(v[:6], "DMY") and c.luhn(v), HERE, "AMKA αμκα"),
    _id("TR", r"[1-9]\d{10}", c.tckn, HERE, "TC T.C. TCKN kimlik"),
    _id("RU", r"\d{3}-\d{3}-\d{3}[ -]\d\d", _snils, SURE, "снилс SNILS"),
    _id("ZA", r"\d{13}", _south_african, HERE, "id_number id_no"),
    _id("IL", r"\d{9}", c.luhn, NAMED, "תעודת_זהות teudat"),
    _id("US", r"\d{3}-\d\d-\d{4}", _ssn, HERE, "SSN social_security"),
    _id("CA", r"[1-79]\d\d([ -])\d{3}\1\d{3}", c.luhn, HERE, "SIN social_insurance"),
    _id("MX", r"[A-Z][AEIOUX][A-Z]{2}\d{6}[HMX][A-Z]{5}[A-Z\d]\d", c.curp, SURE, "CURP"),
    _id("CL", r"\d{1,2}\.\d{3}\.\d{3}-[\dK]", _rut, HERE, "RUT RUN"),
    _id("AR", r"\d\d-\d{8}-\d", lambda v: c.last_by(v, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2), ten=9), HERE, "CUIT CUIL"),
)  # fmt: skip
REGIONS = frozenset(one.region for one in IDENTIFIERS) - {""}


def identifiers_in(text: str, plain: str, regions: frozenset[str]) -> list[Identifier]:
    """Return the identifiers that a text may hold: sure ones, those of the regions, and those that it names."""
    digits = sum(map(plain.count, "0123456789"))
    lower = text.lower()
    return [
        one
        for one in IDENTIFIERS
        if digits >= one.least
        and (one.certainty is SURE or one.region in regions or any(name in lower for name in one.names))
    ]
