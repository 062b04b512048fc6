"""URLs lose their credentials, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trichord.infra import digest
from trichord.infra.errors import ConfigError
from trichord.infra.redaction import MASK, may_redact, name_content, redact, redact_values

SECRET = "s3cr3tV4lue"
HIDDEN = [
    f"https://user:{SECRET}@host/a.jpg",
    f"https://{SECRET}@host/a.jpg",
    f"https:/user:{SECRET}@host/a.jpg",
    f"S3:/{SECRET}@bucket/a.jpg",
    f"https://user:pa/{SECRET}@host/a.jpg",
    f"https://user:p@{SECRET}@host/a.jpg",
    f"ftp://user:{SECRET}@host/a",
    f"s3://AKIA:{SECRET}/x@bucket/key",
    f"https://b.s3.amazonaws.com/k?X-Amz-Credential={SECRET}%2F20260101&X-Amz-Date=1&w=2",
    f"https://b.s3.amazonaws.com/k?w=2&X-Amz-Signature={SECRET}",
    f"https://b.s3.amazonaws.com/k?x-amz-security-token={SECRET}",
    f"https://b.s3.amazonaws.com/k?X%2DAmz%2DSignature={SECRET}",
    f"https://b.s3.amazonaws.com/k?AWSAccessKeyId={SECRET}&Expires=5&Signature={SECRET}%3D",
    f"https://storage.googleapis.com/b/k?X-Goog-Signature={SECRET}&X-Goog-Credential={SECRET}",
    f"https://a.blob.core.windows.net/c/k?sv=2022&se={SECRET}&sp=r&sig={SECRET}%3D",
    f"https://d.cloudfront.net/k?Policy={SECRET}&Signature={SECRET}&Key-Pair-Id={SECRET}",
    *(f"https://host/a?{name}={SECRET}&w=2" for name in (
        "token", "access_token", "api_key", "apikey", "api-key", "key", "auth", "password", "pwd", "client_secret",
        "sig", "Signature", "jwt", "session_id", "refresh_token", "id_token", "hdnts", "Ocp-Apim-Subscription-Key",
    )),
    f"https://host/a#access_token={SECRET}",
    f"https://proxy/?url=https%3A%2F%2Fuser%3A{SECRET}%40host%2F%3Fa%3D1",
    f"https://proxy/?url=https%253A%252F%252Fhost%252F%253Fsig%253D{SECRET}",
    f"<a href='https://host/a?x=1&amp;token={SECRET}'>",
    f'{{"image": "https:\\/\\/user:{SECRET}@host\\/a?x=1\\u0026sig={SECRET}\\u0026y=2"}}',
    f"Max retries exceeded with url: /a?X-Amz-Signature={SECRET} (Caused by timeout)",
    f'{{"Authorization": "Bearer {SECRET}"}}',
    f"authorization: Basic {SECRET}==",
    f"Cookie: session={SECRET}",
    f"gs://user:{SECRET}@bucket/key",
    f"az:/{SECRET}@container/key",
    f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={SECRET}/+==;EndpointSuffix=core.windows.net",
    f"BlobEndpoint=http://h;SharedAccessSignature=sv=2022&sig={SECRET}",
    f'{{"private_key": "-----BEGIN PRIVATE KEY-----\\n{SECRET}\\n-----END PRIVATE KEY-----\\n"}}',
    f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}/+\n-----END RSA PRIVATE KEY-----",
]  # fmt: skip
KEPT = [
    "https://host/a.jpg?w=2&page=3#top", "https://host:8080/a@b.jpg", "file:///home/x:y@z", "s3://bucket/a@b:c",
    "mail someone@example.org", "what? key=5 & token=6", "see http://a.b/c and mail x@y.org", "basic authorization",
    "https://host/x?st=1&se=2&sp=3&expires=4", "C:\\photos\\a.jpg", "a:b//c@d",
    "gs://bucket/a@b:c", "an account key = none", "AccountName=a;", "-----BEGIN CERTIFICATE-----abc",
]  # fmt: skip


@pytest.mark.parametrize("text", HIDDEN)
def test_a_credential_is_hidden(text: str) -> None:
    assert SECRET not in redact(text)
    assert redact(redact(text)) == redact(text)
    assert SECRET not in json.dumps(redact_values({"a": [text], text: 1}))
    assert SECRET not in str(ConfigError(f"{text} cannot be read"))


@pytest.mark.parametrize("text", KEPT)
def test_everything_else_stays(text: str) -> None:
    assert redact(text) == text
    assert name_content(text) == text


PIECES = [*"ab:/@?&=#%\\ \"'", "://", "token=", "sig=", "&amp;", "\\u0026", "%3A%2F%2F", "%253F"]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_redaction_is_done_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_the_same_object_signed_twice_has_one_name() -> None:
    url = "https://b/k.jpg?w=2&X-Amz-Date={0}&X-Amz-Signature={0}"
    assert name_content(url.format("one")) == name_content(url.format("two")) != name_content(url.replace("k", "l"))
    azure = "https://a/k?sv=1&se={0}&sig={0}"
    assert name_content(azure.format("one")) == name_content(azure.format("two"))


def test_hidden_values_that_may_say_which_object_is_meant_keep_names_apart() -> None:
    assert name_content("https://host/image?key=one") != name_content("https://host/image?key=two")
    proxied = "https://proxy/?url=https%3A%2F%2Fhost%2F%3Fkey%3D"
    assert name_content(f"{proxied}one") != name_content(f"{proxied}two")
    assert "one" not in name_content("https://host/image?key=one")


@pytest.mark.parametrize(
    "secret", ["token=x", "a=1&sig=x&se=1&sv=2", "url=https%3A%2F%2Fb%3Ftoken%3Dx", "token=a:b/c.d"]
)
@pytest.mark.parametrize("after", [": not found", ". Next", "), which", ", and", "]: no", ":"])
def test_the_sentence_behind_a_url_keeps_its_punctuation(secret: str, after: str) -> None:
    hidden = redact(f"https://a/b?{secret}{after}")
    assert hidden == redact(f"https://a/b?{secret}") + after
    assert hidden.endswith(f"{MASK}{after}")
    assert redact(f"Authorization: Bearer x{after}") == f"Authorization: Bearer {MASK}{after}"


@pytest.mark.parametrize("piece", ["://a:", "?a=", "&", "authorization:", "?a=%3a", "\\u0026a=", "://a@", "%25"])
def test_long_crafted_text_costs_linear_time(piece: str) -> None:
    redact(piece * (200_000 // len(piece)))  # quadratic time would outlast the test run


PIECES = [*"aA:/\\?&#@=\"'\n\x00éſK", "token", "Authorization", "cooKie: ", "https:\\/\\/u:p@h", "?key=v"]


@given(st.lists(st.lists(st.sampled_from(PIECES)).map("".join)))
def test_json_in_which_nothing_may_be_redacted_holds_nothing_that_is(strings: list[str]) -> None:
    if not may_redact(digest.canonical_json(strings).decode()):
        assert redact_values(strings) == strings
