"""Personal data and what looks like it: numbers that python-stdnum 2.2 (LGPL, so no dependency) says are valid, and
barcodes, orders, times, decimals, versions and hashes drawn from a seeded generator.

The numbers are made up. A few of what looks like personal data are right by chance: 11 digits are a CPF once in 100.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trichord.infra.digest import generator
from trichord.transforms.clean.check_digits import gs1, luhn
from trichord.transforms.clean.pii import TextPii

# region, what the number is called, and valid numbers
VALID: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("CN", "手机", ("13800138000", "186 1234 5678", "159-0000-1234", "+86 199 8765 4321")),
    ("CN", "银行卡", ("6222021234567890128", "6217 0012 3456 7890 122", "4111 1111 1111 1111")),
    ("AR", "CUIT", ("23-38307392-8", "23-85400755-6", "30-51064787-0", "27-82741909-0")),
    ("AT", "SVNR", ("3951270771", "4203100202", "6266060649", "5383200407")),
    ("BE", "Rijksregister", ("00.05.12-122.38", "35.11.20-382.24", "27.08.27-972.05", "10.05.06-913.54")),
    ("BR", "CPF", ("986.505.939-84", "387.053.124-00", "026.432.641-50", "040.888.904-77")),
    ("BR", "CNPJ", ("74.417.117/0001-01", "56.303.848/0001-44", "04.063.014/0001-05", "36.727.801/0001-09")),
    ("CA", "SIN", ("782-492-409", "113-246-292", "275-100-550", "311-096-424")),
    ("CH", "AHV", ("756.3649.1609.46", "756.6482.8670.65", "756.2311.5549.46", "756.8480.0473.02")),
    ("CL", "RUT", ("29.389.181-8", "29.543.371-K", "23.869.237-7", "17.264.449-K")),
    ("CN", "身份证号", ("110101199611107017", "110101194611131663", "11010120081207283X", "440305199102140110")),
    (
        "CN",
        "统一社会信用代码",
        ("51310115MA1DFD9G99", "51310115MA8C4B4A8Q", "9111010871092606XT", "91440300100001430T"),
    ),
    ("CZ", "rodné číslo", ("161028/7206", "050328/4188", "420213/9832", "111001/9394")),
    ("DE", "Steuer-ID", ("79 330 421 866", "76 382 147 051", "29 645 308 195", "47 823 153 969")),
    ("EE", "isikukood", ("56107029946", "55712015924", "60706068133", "68812066258")),
    ("ES", "DNI", ("44476461G", "10252245H", "79139758R", "03927942W")),
    ("ES", "NIE", ("Y9321779P", "X2275426J", "X3609547L", "Z4367599L")),
    ("FI", "henkilötunnus", ("110366-6384", "120206-171D", "260735-218F", "080935-233Y")),
    ("FR", "NIR", ("2 74 10 75 235 237 23", "2 10 11 75 525 456 76", "1 30 08 75 924 660 19", "1 59 11 75 363 566 50")),
    ("GB", "NHS number", ("637 730 1332", "405 989 5210", "307 829 1391", "500 751 5221")),
    ("GR", "AMKA", ("17081222667", "24095992129", "04107694335", "26124237954")),
    ("HR", "OIB", ("67536283774", "06270255015", "08185475205", "20201448872")),
    ("IE", "PPS", ("0687798LW", "3495548RW", "0920192RW", "8116051LH")),
    ("IL", "Teudat zehut", ("538093337", "818454472", "692931835", "202920484")),
    ("IN", "Aadhaar", ("6573 9278 8425", "6460 0974 8358", "2036 2102 5909", "7294 3563 7118")),
    ("IN", "PAN", ("RQRPD3601C", "DMBPQ8575P", "OJYPL2412I", "VHDPE0217E")),
    ("IT", "codice fiscale", ("VTZJOJ74A24H501E", "FYEYDI96R03H501R", "WVWVYB34C14H501B", "RMOJRR87M08H501S")),
    ("JP", "マイナンバー", ("8504 4059 2973", "7773 0541 8182", "1943 7868 0289", "5096 5292 1086")),
    ("KR", "주민등록번호", ("831104-1500561", "320425-2869831", "170211-1464124", "680512-1414436")),
    ("LT", "asmens kodas", ("69912156850", "64610255710", "68005069650", "45206027217")),
    ("MX", "CURP", ("BOXW640417HDFMLN05", "BOXW410404MDFMLN09", "BOXW160420MDFMLN02", "BOXW780828HDFMLN06")),
    ("NL", "BSN", ("275716545", "283801943", "492372354", "110165421")),
    ("NO", "fødselsnummer", ("03066546348", "22085227703", "12098821528", "23129890134")),
    ("PL", "PESEL", ("37022743864", "67062589272", "00112682970", "01060629260")),
    ("PT", "NIF", ("269815414", "996432973", "197216080", "436210975")),
    ("RO", "CNP", ("6190804128701", "6740118124620", "1870113121834", "2780409128015")),
    ("SE", "personnummer", ("960426-5323", "910822-5666", "390728-1905", "051227-1321")),
    ("TH", "เลขประจำตัวประชาชน", ("2-3502-84444-82-4", "5-4060-22989-10-5", "1-9585-85736-23-2", "2-1837-30682-55-1")),
    ("TR", "TC kimlik", ("81158813308", "12298294108", "26687496806", "83995721914")),
    ("US", "SSN", ("150-35-4318", "482-39-8870", "511-57-7731", "265-14-1006")),
    ("ZA", "ID number", ("3312153041187", "7008127671085", "1311169004181", "8510232061085")),
    (
        "DE",
        "IBAN",
        (
            "CH93 0076 2011 6238 5295 7",
            "DE37 5046 6108 9293 8352 21",
            "NL67 ABNA 3746 7537 52",
            "NL19 ABNA 1751 0647 82",
            "NL57 ABNA 2051 2868 58",
        ),
    ),
)
NAMED_ONLY = frozenset(("SVNR", "BSN", "NIF", "NHS number", "OIB", "Teudat zehut", "マイナンバー"))
ALONE = ("我的{}。", "他说：{}，请核对", "{}", "It is {} now.", "番号は{}です", "번호는 {}입니다", "({})", "{}；谢谢")
CALLED = (
    "{name} {number}",
    "{name}：{number}。",
    "The {name} is {number}, thanks",
    "{name}: {number}",
    "请提供{name}（{number}）",
)
FULL_WIDTH = str.maketrans("0123456789-+", "０１２３４５６７８９－＋")
NEGATIVES = 820


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """What masking finds with these regions: `missed` positives and `wrong` texts without personal data, some of each."""

    regions: tuple[str, ...]
    positives: int
    missed: tuple[str, ...]
    negatives: int
    wrong: tuple[str, ...]

    @property
    def recall(self) -> float:
        """Share of the positives that are masked as a whole."""
        return 1 - len(self.missed) / max(1, self.positives)

    @property
    def precision(self) -> float:
        """Share of the masked texts that hold personal data."""
        found = self.positives - len(self.missed)
        return found / max(1, found + len(self.wrong))


def measure_precision(regions: tuple[str, ...] | None = None) -> Precision:
    """Mask every positive that these regions should find, and every negative; None: each region's with it alone."""
    missed, total = [], 0
    ops = {one: TextPii(mask=True, regions=(one,)) for one, _, _ in VALID}
    for region, name, text in positives():
        if regions is not None and (name == "" and region not in regions):
            continue
        total += 1
        op = ops[region] if regions is None else TextPii(mask=True, regions=regions)
        masked, kinds = op.mask_text(text)
        if len(kinds) != 1 or any(char.isdigit() for char in masked):
            missed.append(text)
    plain = negatives()
    every = tuple(sorted(ops)) if regions is None else regions
    judges = (
        [TextPii(mask=True, regions=(one,)) for one in every]
        if regions is None
        else [TextPii(mask=True, regions=regions)]
    )
    wrong = [text for i, text in enumerate(plain) if judges[i % len(judges)].mask_text(text)[1]]
    return Precision(regions=every, positives=total, missed=tuple(missed), negatives=len(plain), wrong=tuple(wrong))


def positives() -> Iterator[tuple[str, str, str]]:
    """Yield region, name ('' where the number stands alone) and text."""
    at = 0
    for region, name, numbers in VALID:
        for number in numbers:
            for written in (number, number.translate(FULL_WIDTH)):
                at += 1
                yield region, name, CALLED[at % len(CALLED)].format(name=name, number=written)
                if name not in NAMED_ONLY:
                    yield region, "", ALONE[at % len(ALONE)].format(written)


def negatives() -> list[str]:
    """Return texts with barcodes, orders, times, decimals, versions, machines' own addresses and hashes."""
    rng = generator("bench", "no personal data")
    return [_NEGATIVE[i % len(_NEGATIVE)](rng) for i in range(NEGATIVES)]


def _digits(rng: np.random.Generator, count: int, first: str = "") -> str:
    return first + "".join(map(str, rng.integers(0, 10, count - len(first)).tolist()))


def _checked(stem: str, right: object) -> str:
    """Return the stem with the digit that makes it right."""
    return next(number for digit in range(10) if right(number := f"{stem}{digit}"))  # type: ignore[operator]


def _ean(rng: np.random.Generator) -> str:
    prefix = ("400", "404", "690", "692", "489", "471", "978", "880", "49", "50", "30", "54", "789", "890")
    return _checked(_digits(rng, 12, prefix[int(rng.integers(len(prefix)))]), gs1)


def _isbn_10(rng: np.random.Generator) -> str:
    stem = _digits(rng, 9, "7")
    return stem + "0123456789X"[sum(int(digit) * (i + 1) for i, digit in enumerate(stem)) % 11]


_NEGATIVE = (
    lambda rng: f"铅笔，蓝色，条形码{_ean(rng)}",
    lambda rng: f"Pencil, blue, EAN {_ean(rng)}",
    lambda rng: f"鉛筆 {_ean(rng)} 青",
    lambda rng: f"UPC {_checked(_digits(rng, 11, '0'), gs1)}",
    lambda rng: f"{_checked(_digits(rng, 11), gs1)} Shampoo 250 ml",
    lambda rng: f"GTIN: {_checked(_digits(rng, 13, '1'), gs1)}",
    lambda rng: f"IMEI {_checked(_digits(rng, 14, '35'), luhn)}",
    lambda rng: f"手机IMEI：{_checked(_digits(rng, 14, '86'), luhn)}",
    lambda rng: f"ISBN 978-7-{_digits(rng, 3)}-{_digits(rng, 5)}-{_digits(rng, 1)}",
    lambda rng: f"书号{_isbn_10(rng)}，平装",
    lambda rng: f"ISSN {_digits(rng, 4)}-{_digits(rng, 4)}",
    lambda rng: f"订单号{_digits(rng, 11, '13')}已发货",
    lambda rng: f"订单编号：{_digits(rng, 18)}",
    lambda rng: f"Order {_digits(rng, 10)} was shipped",
    lambda rng: f"order no. {_digits(rng, 12)}",
    lambda rng: f"注文番号は{_digits(rng, 11)}です",
    lambda rng: f"快递单号 {_digits(rng, 15, '7')}",
    lambda rng: f"Rechnung {_digits(rng, 11)} vom Montag",
    lambda rng: f"ts={_digits(rng, 10, '17')}",
    lambda rng: f"时间戳{_digits(rng, 13, '17')}毫秒",
    lambda rng: f"2024-{rng.integers(10, 13)}-{rng.integers(10, 29)} 10:{rng.integers(10, 60)}:{rng.integers(10, 60)}",
    lambda rng: f"圆周率约为3.{_digits(rng, 15)}",
    lambda rng: f"0.{_digits(rng, 11, '13')} mm",
    lambda rng: f"人口{rng.integers(1, 999)},{_digits(rng, 3)},{_digits(rng, 3)}人",
    lambda rng: f"版本 {rng.integers(1, 9)}.{rng.integers(1, 99)}.{rng.integers(1, 99)}.{rng.integers(1, 99)}",
    lambda rng: f"v{rng.integers(1, 9)}.{rng.integers(10, 99)}.{_digits(rng, 4)}",
    lambda rng: f"127.0.0.1:{rng.integers(1_024, 65_535)}",
    lambda rng: f"md5 {rng.bytes(16).hex()}",
    lambda rng: f"提交{rng.bytes(20).hex()}修复了它",
    lambda rng: f"https://example.org/item/{_digits(rng, 11, '13')}",
    lambda rng: f"id_{_digits(rng, 11, '15')}",
    lambda rng: f"长{rng.integers(100, 999)}米，宽{rng.integers(10, 99)}米，售价{rng.integers(10_000, 99_999)}元",
    lambda rng: f"{rng.integers(1_990, 2_030)}年{rng.integers(1, 13)}月{rng.integers(1, 29)}日 {rng.integers(10, 24)}点",
    lambda rng: f"共{_digits(rng, 10, '4')}字节",
    lambda rng: f"sum {_digits(rng, 12, '9')} of all",
    lambda rng: f"{_digits(rng, 9, '8')} 次播放，{_digits(rng, 8, '3')} 个赞",
    lambda rng: f"QQ群{_digits(rng, 9, '6')}",
    lambda rng: f"邮编{_digits(rng, 6)}，海拔{_digits(rng, 4)}米",
    lambda rng: f"{_digits(rng, 16, '9')} + {_digits(rng, 14, '8')}",
    lambda rng: f"Model XC-{_digits(rng, 6)}-{_digits(rng, 2)}",
    lambda rng: f"{_digits(rng, 3)} x {_digits(rng, 3)} x {_digits(rng, 4)} mm",
)  # fmt: skip
