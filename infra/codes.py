"""Codes of countries (ISO 3166) and languages (ISO 639): what somebody may have meant by another word for one."""

from __future__ import annotations

import unicodedata
from difflib import get_close_matches

# code, three letters, English name; of the countries whose identity numbers are known
_COUNTRIES = """
AR ARG Argentina|AT AUT Austria|BE BEL Belgium|BR BRA Brazil|CA CAN Canada|CH CHE Switzerland|CL CHL Chile|CN CHN China
CZ CZE Czechia|DE DEU Germany|DK DNK Denmark|EE EST Estonia|ES ESP Spain|FI FIN Finland|FR FRA France
GB GBR United Kingdom|GR GRC Greece|HK HKG Hong Kong|HR HRV Croatia|IE IRL Ireland|IL ISR Israel|IN IND India
IT ITA Italy|JP JPN Japan|KR KOR Korea|LT LTU Lithuania|MX MEX Mexico|NL NLD Netherlands|NO NOR Norway|PL POL Poland
PT PRT Portugal|RO ROU Romania|RU RUS Russia|SE SWE Sweden|SG SGP Singapore|SK SVK Slovakia|TH THA Thailand
TR TUR Turkey|TW TWN Taiwan|US USA United States|ZA ZAF South Africa
"""
_LANGUAGES = """
ar ara Arabic|cs ces Czech|da dan Danish|de deu German|el ell Greek|en eng English|es spa Spanish|fi fin Finnish
fr fra French|he heb Hebrew|hi hin Hindi|id ind Indonesian|it ita Italian|ja jpn Japanese|ko kor Korean|nl nld Dutch
no nor Norwegian|pl pol Polish|pt por Portuguese|ro ron Romanian|ru rus Russian|sv swe Swedish|th tha Thai
tr tur Turkish|uk ukr Ukrainian|vi vie Vietnamese|zh zho Chinese
"""
# codes that are taken for those of another list: a language for its country, and a country for its language
_AS_COUNTRY = {"UK": "GB", "EN": "GB", "ZH": "CN", "JA": "JP", "KO": "KR", "CS": "CZ", "DA": "DK", "EL": "GR",
               "HI": "IN", "SV": "SE", "ENG": "GB", "GER": "DE"}  # fmt: skip
_AS_LANGUAGE = {"cn": "zh", "jp": "ja", "kr": "ko", "cz": "cs", "dk": "da", "gr": "el", "ua": "uk", "vn": "vi",
                "us": "en", "gb": "en", "br": "pt", "iw": "he", "chi": "zh", "ger": "de", "fre": "fr"}  # fmt: skip


def near_country(given: str) -> str | None:
    """Return the code that a word for a country may mean; None if nothing is near."""
    word = _plain(given).upper()
    return _AS_COUNTRY.get(word) or _near(word, _table(_COUNTRIES))


def near_language(given: str) -> str | None:
    """Return the code that a word for a language may mean; None if nothing is near."""
    word = _plain(given).lower()
    first = word.replace("_", "-").split("-")[0]
    return _AS_LANGUAGE.get(first) or _near(first.upper(), _table(_LANGUAGES))


def mistaken_language(given: str) -> str | None:
    """Return the language of a code that is a country's and no language's, such as `cn`; None for any other."""
    return None if given == "br" else _AS_LANGUAGE.get(given)  # br is Breton


def _plain(given: str) -> str:
    return unicodedata.normalize("NFKC", given[:64]).strip()


def _table(text: str) -> dict[str, str]:
    parts = (entry.split(" ", 2) for line in text.split("\n") if line for entry in line.split("|"))
    return {word.upper(): code for code, short, name in parts for word in (code, short, name)}


def _near(word: str, known: dict[str, str]) -> str | None:
    if word in known:
        return known[word]
    close = get_close_matches(word, [name for name in known if len(name) > 3], 1, 0.75)
    return known[close[0]] if close and len(word) > 3 else None
