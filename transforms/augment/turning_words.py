"""What turns a meaning in other languages than English: negations, left and right, numbers up to ten.

Enough not to remove or exchange it by chance. Whole words where there are blanks between, else single characters.
"""

from __future__ import annotations

from collections.abc import Mapping

TURNING_WORDS: Mapping[str, str] = {
    "de": (
        r"nicht|nie|niemals|nichts|niemand|kein\w*|weder|noch|ohne|link\w*|recht\w*|ein|eins|eine\w?|zwei|"
        r"drei|vier|fünf|sechs|sieben|acht|neun|zehn"
    ),
    "fr": (
        r"ne|n|pas|plus|jamais|rien|personne|aucune?|ni|sans|non|gauche|droite?|une?|deux|trois|quatre|cinq|"
        r"six|sept|huit|neuf|dix|(?:ne|n|pas)['’].*|n['’]\w+"
    ),
    "es": (
        r"no|nunca|nada|nadie|ning[uú]n\w*|ni|sin|tampoco|jamás|izquierd\w*|derech\w*|un|una|uno|dos|tres|"
        r"cuatro|cinco|seis|siete|ocho|nueve|diez"
    ),
    "it": (
        r"non|no|mai|niente|nulla|nessun\w*|né|senza|sinistr\w*|destr\w*|un|una|uno|due|tre|quattro|cinque|"
        r"sei|sette|otto|nove|dieci"
    ),
    "pt": (
        r"não|nunca|nada|ninguém|nenhum\w*|nem|sem|jamais|esquerd\w*|direit\w*|um|uma|dois|duas|três|quatro|"
        r"cinco|seis|sete|oito|nove|dez"
    ),
    "nl": (
        r"niet|nooit|niets|niemand|geen|noch|zonder|link\w*|recht\w*|een|één|twee|drie|vier|vijf|zes|zeven|"
        r"acht|negen|tien"
    ),
    "sv": (
        r"inte|ej|icke|aldrig|inget|ingen|inga|varken|utan|vänster|höger|en|ett|två|tre|fyra|fem|sex|sju|åtta|"
        r"nio|tio"
    ),
    "pl": (
        r"nie|nigdy|nic|nikt|żad\w+|ani|bez|lew\w+|praw\w+|jed[en]n?\w*|dw\w+|trzy|cztery|pięć|sześć|siedem|"
        r"osiem|dziewięć|dziesięć"
    ),
    "ru": (
        r"не|нет|ни|никогда|ничего|никто|никак\w+|без|лев\w+|прав\w+|слева|справа|один|одн\w+|два|две|три|"
        r"четыре|пять|шесть|семь|восемь|девять|десять"
    ),
    "uk": (
        r"не|немає|ні|ніколи|нічого|ніхто|без|лів\w+|прав\w+|один|одн\w+|два|дві|три|чотири|п['’]ять|шість|"
        r"сім|вісім|дев['’]ять|десять"
    ),
    # its endings negate
    "tr": (
        r"değil|yok|hiç\w*|asla|ne|sol\w*|sağ\w*|bir|iki|üç|dört|beş|altı|yedi|sekiz|dokuz|on|"
        r"\w+(?:me|ma|mi|mı|mu|mü)\w*|\w+s[ıiuü]z"
    ),
    "id": (
        r"tidak|tak|bukan|belum|jangan|tanpa|tiada|kiri|kanan|satu|dua|tiga|empat|lima|enam|tujuh|delapan|"
        r"sembilan|sepuluh|se\w+"
    ),
    "vi": r"không|chưa|chẳng|đừng|chớ|trái|phải|một|hai|ba|bốn|năm|sáu|bảy|tám|chín|mười",
    "ar": (
        r"لا|لم|لن|ليس\w*|ما|غير|بدون|بلا|دون|ولا|\w*يسار\w*|\w*يمين\w*|واحد\w*|اثن\w+|ثلاث\w*|أربع\w*|خمس\w*|"
        r"ست\w*|سبع\w*|ثمان\w*|تسع\w*|عشر\w*"
    ),
    "hi": r"नहीं|मत|न|ना|बिना|बाएं|बाएँ|दाएं|दाएँ|बाईं|दाईं|एक|दो|तीन|चार|पांच|पाँच|छह|सात|आठ|नौ|दस",
    "ko": (
        r"안|못|\w*(?:않|없|아니|못하|말)\w*|왼\w*|오른\w*|한|하나\w*|두|둘\w*|세|셋\w*|네|넷\w*|다섯\w*|"
        r"여섯\w*|일곱\w*|여덟\w*|아홉\w*|열"
    ),
    "zh": r"[不没沒無无非未别別莫勿否休免毋]|[左右]|[〇零一二两兩三四五六七八九十百千万萬亿億半双雙]",
    # its endings negate: no hiragana is touched
    "ja": r"[不無非未否]|[左右]|[〇零一二三四五六七八九十百千万億半]|[\u3041-\u309f]",
}
