"""URLs without what lets their holder in: passwords, tokens, signatures.

A row may name its media by signed URLs, which are credentials for a while. They are used when a medium is fetched, and
nowhere kept: plans, rejects, receipts, records, reports and messages hold them redacted. So a URL that is signed again
every night names the same medium every night.
"""

from __future__ import annotations

import hashlib
import re
from typing import TypeVar
from urllib.parse import quote, unquote

from trichord.infra.json_values import map_strings

MASK = "REDACTED"

_SLASHES = r"(:\\?/\\?/|\b(?i:https?|s3|gs|az):/)"  # JSON may write `https:\/\/`; a path's normal form is `https:/`
_CHAR = r"[^\s\"'<>`\\]"
_USER = re.compile(  # the second form is a password with a slash in it, as S3 keys have
    rf"{_SLASHES}(?:[^\s\"'<>`\\/?#]{{1,512}}|[^\s\"'<>`\\/?#@:]{{0,64}}:(?![0-9]{{1,5}}[/?#]){_CHAR}{{0,128}}?)@"
)
_QUERY = re.compile(rf"[?&#](?:{_CHAR}++|\\u0026|\\/)*+")
_PARAMETER = re.compile(r"((?:[?&#;]|\\u0026)([\w.~%+-]{1,64})=)((?:(?!\\u0026)[^&#;])*)", re.ASCII)
_HEADER = re.compile(
    r"((?:authorization|x-api-key|api-key|set-cookie|cookie)[\"']?\s{0,4}[:=]\s{0,4}[\"']?"
    r"(?:(?:bearer|basic|digest|token|aws4-hmac-sha256)\s{1,4})?)[^\s\"',}]+",
    re.IGNORECASE,
)
_KEY = re.compile(  # Azure's connection strings; the key in a file of a Google service account
    r"((?:AccountKey|SharedAccessKey|SharedAccessSignature)=|-----BEGIN [A-Z ]{0,16}PRIVATE KEY-----)"
    r"(?:(?<==)[^\s;\"',}]+|(?<=-)[^-]+)",
    re.IGNORECASE,
)
_NESTED = re.compile(r"%(?:25)*(?:3a|3f|26|23)", re.IGNORECASE)  # a URL within the URL
_ASCII_HINTS = (
    "?",
    "&",
    "#",
    ":/",
    ":\\/",
    "authori",
    "api-key",
    "cookie",
    "accountkey",
    "sharedaccess",
    "private key",
)
_HINTS = re.compile(r"[?&#]|:\\?/|authori[sz]ation|api-key|cookie|accountkey|sharedaccess|private key", re.IGNORECASE)

# Names in lower case with `-` for `_`.
_SIGNING = re.compile(r"x-(?:amz|goog|oss|cos|ms)-.*")
_SECRET = re.compile(
    r".*(?:token|secret|password|passwd|pwd|signature|api-?key|access-?key(?:-?id)?|access-?id|credentials?|jwt|hmac)"
    r"|key|sig|sign|auth|authorization|pass|bearer|sas|hdnts|hdnea|session(?:-?id)?|(?:.*-)?subscription-key"
)
_AZURE = frozenset(
    ("sig", "se", "sp", "sv", "st", "sr", "spr", "sip", "ss", "srt", "skoid", "sktid", "skt", "ske", "sks", "skv")
)
_SIGNED = frozenset(
    ("signature", "expires", "policy", "key-pair-id", "awsaccesskeyid", "googleaccessid", "ossaccesskeyid")
)
_DEPTH = 3  # URLs within URLs
_AFTER = ":.,)]"  # behind a URL, of the sentence that holds it

T = TypeVar("T")


def redact(text: str) -> str:
    """Return text in which the URLs hold no user, password, token or signature, and headers no credentials."""
    return _redacted(text, _DEPTH) if _HINTS.search(text) else text


def may_redact(encoded: str) -> bool:
    """Return False if `redact` changes none of the strings in a JSON text, which may write one backslash as two."""
    text = encoded.replace("\\\\", "\\")
    if text.isascii() and not any(map(text.lower().__contains__, _ASCII_HINTS)):  # most rows, in a tenth of the time
        return False
    return _HINTS.search(text) is not None


def redact_values(value: T) -> T:
    """Return JSON-like values with every string in them redacted, the names of fields too."""
    return map_strings(value, redact)


def name_content(url: str) -> str:
    """Return a name for what a URL leads to, without its credentials.

    Signatures that expire do not count: the same object signed twice has one name. Other hidden values, such as
    `?key=`, may say which object is meant, so a digest of them is part of the name (behind `#`).
    """
    redacted = redact(url)
    if redacted == url:
        return url
    kept: list[str] = []
    for query in _QUERY.finditer(url):
        signing = _signing(query[0])
        for whole, found, value in _PARAMETER.findall(query[0]):
            name = _plain(found)
            expires = name in signing or _SIGNING.fullmatch(name)
            if not expires and (_SECRET.fullmatch(name) or _NESTED.search(value)):
                kept.append(whole + value)
    if not kept:
        return redacted
    return f"{redacted}#{hashlib.sha256(' '.join(kept).encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def _redacted(text: str, depth: int) -> str:
    if "@" in text:
        text = _USER.sub(rf"\1{MASK}@", text)
    text = _KEY.sub(rf"\1{MASK}", text)
    text = _QUERY.sub(lambda found: _query(found[0], depth), text)
    return _HEADER.sub(lambda found: f"{found[1]}{MASK}{_after(found[0])}", text)


def _query(query: str, depth: int) -> str:
    signing = _signing(query)

    def hide(found: re.Match[str]) -> str:
        name, value = _plain(found[2]), found[3]
        after = _after(value) if found.end() == len(query) else ""
        value = value[: len(value) - len(after)]
        if name in signing or _SIGNING.fullmatch(name) or _SECRET.fullmatch(name):
            return found[1] + MASK + after
        if depth and _NESTED.search(value):
            inner = unquote(value)
            hidden = _query(f"?url={inner}", depth - 1)[5:] if "%25" in value else _redacted(inner, depth - 1)
            return found[1] + quote(hidden, safe="") + after if hidden != inner else found[0]
        return found[0]

    return _PARAMETER.sub(hide, query)


def _after(value: str) -> str:
    """Return the punctuation at the end of a value, which a message wrote behind the URL."""
    return value[len(value.rstrip(_AFTER)) :]


def _signing(query: str) -> frozenset[str]:
    """Return the parameters that belong to a signature which expires, beside those that say so by their name."""
    names = {_plain(name) for _, name, _ in _PARAMETER.findall(query)}
    found: frozenset[str] = frozenset()
    if "sig" in names and names & {"se", "sv"}:
        found |= _AZURE
    if "signature" in names and names & {"expires", "policy", "key-pair-id"}:
        found |= _SIGNED
    return found


def _plain(name: str) -> str:
    return unquote(name).lower().replace("_", "-")
