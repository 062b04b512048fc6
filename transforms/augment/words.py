"""Which words of a text must not change: sides, negations, numbers, colours.

English in full. Of other languages (`KNOWN_LANGUAGES`) negations, sides and small numbers are known, so that their
words may be removed or exchanged; and sides and colours, so that pictures are not mirrored or tinted against captions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import regex

from trichord.transforms.augment.turning_words import TURNING_WORDS
from trichord.transforms.batch import Row
from trichord.transforms.word_breaks import UNSPACED_CHAR, is_unspaced

# English sides that a mirrored picture exchanges; longer words are built on these two.
_SIDE = re.compile(
    r"(?<![^\W_])(left|right)(?=(?:most|ward|wards|hand|handed|side|er|ers|y)?(?![^\W_]))", re.IGNORECASE
)
# The same in some other languages: enough not to mirror, too little to rewrite.
_FOREIGN_SIDE = re.compile(
    r"\b(?:links|rechts|linke[nmrs]?|rechte[nmrs]?|gauche|droite?|izquierd[ao]s?|derech[ao]s?|sinistr[ao]|destr[ao]"
    r"|esquerd[ao]s?|direit[ao]s?|clockwise|anti-?clockwise|counter-?clockwise|vänster|höger|lew(?:a|y|ej|ym)|praw(?:a|y|ej|ym)"
    r"|лев\w{1,3}|прав\w{1,3}|слева|справа|влево|вправо|лів\w{1,3}|sol(?:da\w*|un\w+|daki)|sağ\w{0,6}|kiri|kanan|trái|phải"
    r"|\w{0,3}يسار\w{0,2}|\w{0,3}يمين\w{0,2}|بائیں|دائیں|बा[एय][ँंाेी]*|दा[एय][ँंाेी]*)\b"
    r"|左|右|왼|오른|좌측|우측|ซ้าย|ขวา|ຊ້າຍ|ຂວາ|ឆ្វេង|ស្តាំ|ဘယ်ဘက်|ညာဘက်",
    re.IGNORECASE,
)
_OTHER = {"left": "right", "right": "left"}

_COLOUR = re.compile(
    r"\b(?:red|orange|yellow|green|blue|purple|violet|pink|magenta|cyan|turquoise|teal|brown|beige|tan|golden?|silver"
    r"|maroon|navy|crimson|scarlet|lime|olive|colou?r\w*)(?:ish)?\b",
    re.IGNORECASE,
)
# The same in some other languages, also inside longer words.
_FOREIGN_COLOUR = re.compile(
    r"红|紅|橙|黄|黃|绿|綠|蓝|藍|紫|粉色|粉红|棕|褐|金色|银色|銀色|青|赤|緑|色|ピンク|オレンジ|ブルー|グリーン|レッド|イエロー"
    r"|빨간|빨강|붉은|주황|노란|노랑|초록|녹색|파란|파랑|푸른|보라|분홍|갈색|금색|은색|สี|ສີ|ពណ៌|အရောင်"
    r"|\b(?:rot(?:e[mnrs]?)?|orange\w*|gelb\w*|grün\w*|blau\w*|lila|violett\w*|rosa\w*|braun\w*|farb\w*"
    r"|roug\w+|jaun\w+|vert\w{0,2}|bleu\w*|violet\w*|bruns?|brunes?|couleurs?"
    r"|roj[ao]s?|naranja\w*|amarill[ao]s?|verdes?|azul\w*|morad[ao]s?|marr[óo]n\w*|color\w*"
    r"|ross[aoei]|arancion\w*|giall[aoei]|verd[ei]|blu|marron\w*|vermelh[ao]s?|amarel[ao]s?|rox[ao]s?"
    r"|rood|geel|groene?|blauwe?|paarse?|bruine?|kleur\w*|czerwon\w+|żółt\w+|zielon\w+|niebiesk\w+|kolor\w*"
    r"|красн\w+|оранжев\w+|ж[её]лт\w+|зел[её]н\w+|син\w{2,3}|голуб\w+|фиолетов\w+|розов\w+|коричнев\w+|цвет\w*"
    r"|червон\w+|жовт\w+|kırmızı\w*|sarı\w*|yeşil\w*|mavi\w*|renk\w*|merah|kuning|hijau|biru|warna|đỏ|vàng|xanh|màu"
    r"|أحمر|حمراء|أصفر|صفراء|أخضر|خضراء|أزرق|زرقاء|لون\w*|लाल|पीला|पीली|हरा|हरी|नीला|नीली|रंग\w*)\b",
    re.IGNORECASE,
)

_TURNING = (
    "no|not|none|never|nothing|nobody|nowhere|neither|nor|without|cannot|left|right|leftmost|rightmost|left-hand"
    "|right-hand|leftward|rightward|leftwards|rightwards|clockwise|counterclockwise|anticlockwise|one|two|three|four"
    r"|five|six|seven|eight|nine|ten|\w*n['’]t"
)
# One pattern for whole tokens, with or without punctuation about them.
PROTECTED = rf"(?i)^\W*(?:{_TURNING}|.*\d.*)?\W*$"
_PROTECTED = re.compile(PROTECTED, re.DOTALL)
_LONGEST_WORD = 64  # letters; what is longer is no word
KNOWN_LANGUAGES = frozenset(TURNING_WORDS) | {"en"}
TOKEN = regex.compile(
    rf"{UNSPACED_CHAR}\p{{M}}*|(?:(?!{UNSPACED_CHAR})[^\W_])+(?:['’-](?:(?!{UNSPACED_CHAR})[^\W_])+)*|\s+|(?:[^\w\s]|_)+",
    regex.V1,
)


@lru_cache(maxsize=len(TURNING_WORDS))
def _turning(language: str) -> re.Pattern[str]:
    return re.compile(rf"(?i)^\W*(?:{TURNING_WORDS[language]})\W*$", re.DOTALL)


def words_of(row: Row) -> Iterator[str]:
    """Yield all words of a row: text, captions, segments."""
    if row.text is not None:
        yield row.text
    yield from row.captions
    for segment in row.segments:
        yield segment.text


def tokens(text: str) -> list[str]:
    """Split a text into words, white space and punctuation; joined, they are the text.

    A character of a script without blanks, with its marks, is a word.
    """
    found: list[str] = TOKEN.findall(text)
    return found


def count_words(text: str) -> int:
    """Return how many words a text has; two characters of scripts without blanks are about one."""
    found = [token[0] for token in tokens(text) if token[0].isalnum()]
    characters = sum(map(is_unspaced, found))
    return len(found) - characters + characters // 2


def is_protected(token: str, language: str = "en") -> bool:
    """Return whether a token must not change: a number, a negation, a side, or not a word."""
    if _PROTECTED.match(token) is not None:
        return True
    if language not in TURNING_WORDS:
        return False
    return len(token) > _LONGEST_WORD or _turning(language).match(token) is not None


def protected_words(text: str, language: str = "en") -> Counter[str]:
    """Count the protected words of a text."""
    return Counter(
        token.casefold() for token in tokens(text) if is_protected(token, language) and token.strip().isalnum()
    )


def says_side(text: str) -> bool:
    """Return whether a text says left or right, in English or another language known here."""
    return says_foreign_side(text) or _SIDE.search(text) is not None


def says_foreign_side(text: str) -> bool:
    """Return whether it does so in words that `swap_sides` does not exchange."""
    return _FOREIGN_SIDE.search(text) is not None


def swap_sides(text: str) -> str:
    """Exchange left and right, keeping capitals."""

    def other(match: re.Match[str]) -> str:
        word = match[0]
        swapped = _OTHER[word.lower()]
        return swapped.upper() if word.isupper() else swapped.capitalize() if word[0].isupper() else swapped

    return _SIDE.sub(other, text)


def names_colour(text: str) -> bool:
    """Return whether a text names a colour, in English or another language known here."""
    return _COLOUR.search(text) is not None or _FOREIGN_COLOUR.search(text) is not None
