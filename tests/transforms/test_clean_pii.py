"""Personal data: numbers of many countries are masked, in any script, and what only looks like them is not."""

from __future__ import annotations

import time

import pytest

from tests.bench.languages.personal import VALID, measure_precision
from trichord.infra.config import TextConfig
from trichord.transforms.clean import check_digits
from trichord.transforms.clean.national_ids import REGIONS
from trichord.transforms.clean.pii import TextPii, known_regions

EVERY = tuple(sorted({region for region, _, _ in VALID}))
CHINA = TextPii(mask=True, regions=("CN",))
ANY = TextPii(mask=True)


@pytest.mark.parametrize("regions", [None, (), ("CN",), EVERY], ids=["each alone", "none", "China", "all at once"])
def test_planted_numbers_are_found_and_what_looks_like_them_is_not(regions: tuple[str, ...] | None) -> None:
    found = measure_precision(regions)
    assert found.positives > 300
    assert found.negatives > 800
    assert found.recall >= 0.98, found.missed
    assert found.precision >= 0.98, found.wrong


@pytest.mark.parametrize(("region", "name", "numbers"), VALID, ids=[f"{region} {name}" for region, name, _ in VALID])
def test_a_number_with_another_last_digit_is_not_one(region: str, name: str, numbers: tuple[str, ...]) -> None:
    """The right numbers are python-stdnum's; a check digit has one right value in 10, so another is wrong."""
    if name in {"手机", "PAN", "SSN", "personnummer"}:  # no check digit; Denmark's has none and the same name
        return
    op = TextPii(mask=True, regions=(region,))
    for number in numbers:
        digit = next(i for i in reversed(range(len(number))) if number[i].isdecimal())
        others = [number[:digit] + other + number[digit + 1 :] for other in "0123456789" if other != number[digit]]
        wrong = [other for other in others if op.mask_text(f"{name} {other}")[1]]
        assert len(wrong) <= (1 if name in {"CNPJ", "CPF", "DNI", "NIE", "henkilötunnus", "PPS"} else 2), wrong


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("我的手机13800138000，有事打电话", "我的手机<PHONE>，有事打电话"),
        ("手机号：13800138000、13900139000", "手机号：<PHONE>、<PHONE>"),
        ("座机010-62345678转3", "座机<PHONE>转3"),
        ("身份证号：１１０１０１１９９６１１１０７０１７", "身份证号：<ID>"),
        ("身份证11010119461113166 3", "身份证11010119461113166 3"),
        ("联系test@example.com谢谢", "联系<EMAIL>谢谢"),
        ("用户@example.com", "<EMAIL>"),
        ("邮箱ｔｅｓｔ＠ｅｘａｍｐｌｅ．ｃｏｍ", "邮箱<EMAIL>"),
        ("服务器203.0.113.7宕机", "服务器<IP>宕机"),
        ("版本203.0.113.7发布", "版本203.0.113.7发布"),
        ("電話＋８１ ９０ １２３４ ５６７８", "電話<PHONE>"),
        ("전화+82 10-1234-5678로", "전화<PHONE>로"),
        ("IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFF", "IBAN <IBAN> BIC COBADEFF"),
        ("银行卡9558820200012345676", "银行卡<CARD>"),  # an issuer's own prefix
        ("العدد +٢٠ ١٠ ١٢٣٤ ٥٦٧٨", "العدد <PHONE>"),
    ],
)
def test_numbers_beside_any_script_are_masked_and_nothing_else(text: str, masked: str) -> None:
    assert ANY.mask_text(text)[0] == masked


@pytest.mark.parametrize(
    "text",
    ["13800138000", "Pencil, blue, EAN 4039621723216", "订单号13800138000", "3.13800138000", "https://a.example/13800138000",
     "a13800138000b", "IMEI 378282246310005", "条码：30569309025904"],
)  # fmt: skip
def test_a_number_that_may_be_anything_stays(text: str) -> None:
    assert ANY.mask_text(text) == (text, [])
    assert CHINA.mask_text(text)[1] == (["PHONE"] if text == "13800138000" else [])


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("13812345678/13912345678/15812345678", "<PHONE>/<PHONE>/<PHONE>"),
        ("https://a.example/?phone=13812345678&a=1", "https://a.example/?phone=<PHONE>&a=1"),
        ("https://a.example/?id=11010519491231002X&a=1", "https://a.example/?id=<ID>&a=1"),
        ("身份证 110105 19491231 002x", "身份证 <ID>"),
        ("手机13812345678元旦快乐", "手机<PHONE>元旦快乐"),
        ("13812345678次日到", "<PHONE>次日到"),
        ("订单已付，卡号4111111111111111", "订单已付，卡号<CARD>"),
        ("order paid with 4111111111111111", "order paid with <CARD>"),
    ],
)
def test_numbers_in_lists_addresses_and_groups_are_masked(text: str, masked: str) -> None:
    assert CHINA.mask_text(text)[0] == masked


@pytest.mark.parametrize(
    "text",
    ["价格¥13812345678", "售价13812345678元", "共13812345678 次", "第13812345678条", "播放量：13812345678",
     "销量 13812345678", "https://a.example/?t=13812345678", "13812345678€", "运单号 4111111111111111",
     "订单编号：6222021234567890128", "Order no. 4111111111111111"],
)  # fmt: skip
def test_amounts_and_orders_are_no_persons(text: str) -> None:
    assert CHINA.mask_text(text) == (text, [])


def test_mobile_numbers_of_a_region_are_found_as_people_write_them() -> None:
    numbers = {"GB": "07400 123456", "DE": "(0151) 23456789", "KR": "01012345678", "US": "(202) 555-0123",
               "BR": "(11) 91234-5678", "JP": "090-1234-5678", "FR": "06 12 34 56 78", "IN": "98765 43210"}  # fmt: skip
    for region, text in numbers.items():
        assert TextPii(mask=True, regions=(region,)).mask_text(f"{text}!") == ("<PHONE>!", ["PHONE"]), region
        assert ANY.mask_text(f"{text}!")[1] == []


def test_check_digits_are_those_of_published_examples() -> None:
    assert check_digits.mod_11_2("11010519491231002X")  # GB 11643
    assert check_digits.uscc("91350100M000100Y43")  # GB 32100
    assert check_digits.mod_97("GB82WEST12345698765432")  # ISO 13616
    assert check_digits.verhoeff("2363")  # Wikipedia, "Verhoeff algorithm"
    assert check_digits.luhn("79927398713")
    assert check_digits.gs1("4006381333931")
    assert check_digits.cpf("11144477735")
    assert check_digits.cnpj("12ABC34501DE35")  # Receita Federal: the form with letters
    assert check_digits.nir("255081416802538")
    assert check_digits.codice_fiscale("RSSMRA85T10A562S")
    assert check_digits.hkid("A1234563")
    assert check_digits.twid("A123456789")
    assert check_digits.nric("S1234567D")
    assert not check_digits.mod_11_2("110105194912310021")


def test_every_region_is_a_country_and_the_setting_reaches_the_op() -> None:
    assert known_regions() >= REGIONS
    assert TextConfig(pii_regions=("CN", "IN")).pii_regions == ("CN", "IN")


@pytest.mark.parametrize("unit", ["1", "1 ", "手机13800138000", "DE89 ", "A1", "4111-", "756.", "１"])
def test_hostile_numbers_take_linear_time(unit: str) -> None:
    op = TextPii(mask=True, regions=("CN", "DE", "BR", "IN", "GB"))

    def cost(size: int) -> float:
        text = f"手机 CPF DNI {unit * (size // len(unit))}"
        started = time.process_time()
        op.mask_text(text)
        return time.process_time() - started

    cost(1_000)
    assert cost(16_000) < max(16 * cost(4_000), 0.5)  # 4 times the size
