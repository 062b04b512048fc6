"""Check digits: which numbers may be what they seem. Every function takes the bare value, without blanks or hyphens.

Only sums of digits are used, so each takes time in proportion to the value's length.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BASE_36 = "0123456789" + _LETTERS
# Verhoeff 1969: the dihedral group D5, and the powers of a permutation
_VERHOEFF = tuple(
    tuple((j + i) % 5 + 5 * (j >= 5) if i < 5 else (i - j) % 5 + 5 * (j < 5) for j in range(10)) for i in range(10)
)
_TURNS = [list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
while len(_TURNS) < 8:
    _TURNS.append([_TURNS[1][i] for i in _TURNS[-1]])
_ODD = (
    1,
    0,
    5,
    7,
    9,
    13,
    15,
    17,
    19,
    21,
    2,
    4,
    18,
    20,
    11,
    3,
    6,
    8,
    12,
    14,
    16,
    10,
    22,
    25,
    24,
    23,
)  # Italy, by letter


def digits_of(value: str) -> list[int]:
    """Return the digits of a value that has nothing else."""
    return [ord(char) - 48 for char in value]


def weigh(value: str, weights: Sequence[int]) -> int:
    """Return the sum of the first digits, each times its weight."""
    return sum(digit * weight for digit, weight in zip(digits_of(value), weights, strict=False))


def luhn(value: str) -> bool:
    """ISO/IEC 7812-1, annex B: payment cards, IMEI, and numbers of Sweden, Canada, Greece, Israel, South Africa."""
    numbers = reversed(digits_of(value))
    return sum(n if i % 2 == 0 else 2 * n - 9 * (n > 4) for i, n in enumerate(numbers)) % 10 == 0


def gs1(value: str) -> bool:
    """EAN-8, UPC-A, EAN-13 (also ISBN-13 and Swiss AHV), GTIN-14, SSCC: weights 1 and 3 from the right."""
    return sum(n * (1 + 2 * (i % 2)) for i, n in enumerate(reversed(digits_of(value)))) % 10 == 0


def verhoeff(value: str) -> bool:
    """India's Aadhaar."""
    found = 0
    for i, digit in enumerate(reversed(digits_of(value))):
        found = _VERHOEFF[found][_TURNS[i % 8][digit]]
    return found == 0


def mod_97(value: str) -> bool:
    """ISO/IEC 7064 MOD 97-10 over digits and letters, the first four characters last: IBAN (ISO 13616)."""
    turned = value[4:] + value[:4]
    return int("".join(str(_BASE_36.index(char)) for char in turned)) % 97 == 1


def mod_11_10(value: str) -> bool:
    """ISO/IEC 7064 MOD 11,10: Germany's tax identifier, Croatia's OIB."""
    product = 10
    for digit in digits_of(value[:-1]):
        product = ((product + digit) % 10 or 10) * 2 % 11
    return (product + int(value[-1])) % 10 == 1


def mod_11_2(value: str) -> bool:
    """ISO/IEC 7064 MOD 11-2, whose last character may be X: China's GB 11643."""
    total = 0
    for char in value:
        total = (2 * total + (10 if char == "X" else int(char))) % 11
    return total == 1


def last_by(value: str, weights: Sequence[int], modulus: int = 11, *, ten: int | None = None) -> bool:
    """Return whether the digit behind the weighted ones is `-sum % modulus`; a 10 is written as `ten`, or never."""
    expected: int | None = -weigh(value, weights) % modulus
    if expected == 10:
        expected = ten
    return int(value[len(weights)]) == expected


def sum_last_by(value: str, weights: Sequence[int], ten: int | None = 0) -> bool:
    """Return whether the digit behind the weighted ones is `sum % 11`; a 10 is written as `ten`, or never."""
    expected: int | None = weigh(value, weights) % 11
    return int(value[len(weights)]) == (ten if expected == 10 else expected)


def uscc(value: str) -> bool:
    """China's unified social credit code (GB 32100, base 31)."""
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    total = sum(alphabet.index(char) * pow(3, i, 31) for i, char in enumerate(value[:17]))
    return alphabet[-total % 31] == value[17]


def organisation_code(value: str) -> bool:
    """China's organisation code (GB 11714), which places 9 to 17 of a unified social credit code are."""
    total = sum(_BASE_36.index(char) * n for char, n in zip(value, (3, 7, 9, 10, 5, 8, 4, 2), strict=False))
    return "0123456789X0"[11 - total % 11] == value[8]


def codice_fiscale(value: str) -> bool:
    """Italy's tax code: odd and even places count differently (decree of 23 December 1976)."""
    total = 0
    for i, char in enumerate(value[:15]):
        number = int(char) if char.isdigit() else _LETTERS.index(char)
        total += _ODD[number] if i % 2 == 0 else number
    return _LETTERS[total % 26] == value[15]


def cpf(value: str) -> bool:
    """Brazil's number of persons: two digits by mod 11, a 10 written as 0; eleven equal digits are none."""
    return len(set(value)) > 1 and all(
        -weigh(value, range(size + 1, 1, -1)) % 11 % 10 == int(value[size]) for size in (9, 10)
    )


def cnpj(value: str) -> bool:
    """Brazil's number of companies, since 2026 with letters (their code minus 48)."""
    weights = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    for size in (12, 13):
        total = sum((ord(char) - 48) * weight for char, weight in zip(value, weights[13 - size :], strict=False))
        if int(value[size]) != -total % 11 % 10:
            return False
    return len(set(value)) > 1


def steuer_id(value: str) -> bool:
    """Germany: of the first ten digits one comes two or three times, the others at most once; MOD 11,10."""
    counts = sorted((value[:10].count(digit) for digit in set(value[:10])), reverse=True)
    return value[0] != "0" and counts[0] in (2, 3) and counts[1] == 1 and mod_11_10(value)


def nir(value: str) -> bool:
    """France: key 97 minus the remainder; Corsica's 2A and 2B count as 19 and 18."""
    month = int(value[3:5])
    number = int(value[:13].replace("2A", "19").replace("2B", "18"))
    return (1 <= month <= 12 or 20 <= month <= 42 or month >= 50) and 97 - number % 97 == int(value[13:])


def hkid(value: str) -> bool:
    """Hong Kong: weights 9 to 1 over letters (A is 10, none is 36) and digits, mod 11; A is 10."""
    padded = value.rjust(9)
    total = sum((36 if char == " " else _BASE_36.index(char)) * (9 - i) for i, char in enumerate(padded))
    return total % 11 == 0


def twid(value: str) -> bool:
    """Taiwan: the letter's place in this order plus 10 as two digits, then weights 8 to 1 and 1, mod 10."""
    number = 10 + "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(value[0])
    return (number // 10 + number % 10 * 9 + weigh(value[1:9], range(8, 0, -1)) + int(value[9])) % 10 == 0


def nric(value: str) -> bool:
    """Singapore: a letter by weights mod 11, another row for each kind."""
    rest = (weigh(value[1:8], (2, 7, 6, 5, 4, 3, 2)) + {"T": 4, "G": 4, "M": 3}.get(value[0], 0)) % 11
    rows = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "G": "XWUTRQPNMLK", "M": "KLJNPQRTUWX"}
    return rows[value[0]][10 - rest if value[0] == "M" else rest] == value[8]


def curp(value: str) -> bool:
    """Mexico: weights 18 to 2 over digits and letters with Ñ, mod 10."""
    alphabet = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
    return -sum(alphabet.index(char) * (18 - i) for i, char in enumerate(value[:17])) % 10 == int(value[17])


def tckn(value: str) -> bool:
    """Turkey: two check digits over odd and even places."""
    numbers = digits_of(value)
    tenth = (7 * sum(numbers[0:9:2]) - sum(numbers[1:8:2])) % 10
    return value[0] != "0" and numbers[9] == tenth and numbers[10] == sum(numbers[:10]) % 10


def baltic(value: str) -> bool:
    """Estonia and Lithuania: mod 11 with a second row of weights where the first gives 10."""
    for weights in ((1, 2, 3, 4, 5, 6, 7, 8, 9, 1), (3, 4, 5, 6, 7, 8, 9, 1, 2, 3)):
        if (rest := weigh(value, weights) % 11) < 10:
            return rest == int(value[10])
    return value[10] == "0"


def is_date(year: int, month: int, day: int) -> bool:
    """Return whether it is a day of the calendar, from 1850 to 2100."""
    try:
        return 1850 <= date(year, month, day).year <= 2100
    except ValueError:
        return False


def is_day(value: str, order: str) -> bool:
    """Return whether six digits are a day of some century, in an order: YMD, DMY or MDY."""
    parts = {name: int(value[2 * i : 2 * i + 2]) for i, name in enumerate(order)}
    return any(is_date(century + parts["Y"], parts["M"], parts["D"]) for century in (1900, 2000))
