"""The client of a model's endpoint against a real server: what it sends, retries, refuses, and never tells."""

from __future__ import annotations

import json

import pytest

from tests.pipelines.rag.model_server import model_server
from trichord.infra.config import EndpointConfig
from trichord.infra.errors import ConfigError, ServiceError
from trichord.pipelines.rag.endpoint import Endpoint

KEY = "sk-secret-0123456789"
ASKED = [{"role": "user", "content": '<source id="1">\na red bus\n</source>\n\nQuestion: What is red?'}]


@pytest.fixture
def server():
    with model_server() as server:
        yield server


def endpoint(server, **settings) -> Endpoint:
    return Endpoint(EndpointConfig(url=server.url, model="extractive", backoff_s=0, **settings), "rag.endpoint")


def test_a_conversation_is_answered_and_counted(server):
    told = endpoint(server).complete(ASKED, temperature=0.0, max_tokens=20, seed=3)
    assert (told.text, told.finish_reason, told.model) == ("a red bus [1]", "stop", "extractive")
    assert set(told.usage) == {"prompt_tokens", "completion_tokens"}
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert "Authorization" not in request.headers
    assert request.body == {
        "model": "extractive", "messages": ASKED, "stream": False, "temperature": 0.0, "max_tokens": 20, "seed": 3,
    }  # fmt: skip


def test_what_is_left_to_the_service_is_not_sent(server):
    endpoint(server).complete(ASKED)
    assert set(server.requests[0].body) == {"model", "messages", "stream"}


def test_text_that_is_no_valid_unicode_reaches_the_service(server):
    told = endpoint(server).complete([{"role": "user", "content": '<source id="1">\nred \ud800 bus\n</source>'}])
    assert told.text.endswith("[1]")


def test_the_key_is_sent_and_stands_in_no_message_and_no_log(server, monkeypatch, capsys):
    monkeypatch.setenv("MODEL_KEY", f" {KEY}\n")
    server.queue += [lambda exchange: exchange.send(b"{}", 503), lambda exchange: exchange.send(KEY.encode(), 401)]
    with pytest.raises(ServiceError) as caught:
        endpoint(server, key_env="MODEL_KEY").complete(ASKED)
    assert [request.headers["Authorization"] for request in server.requests] == [f"Bearer {KEY}"] * 2
    assert "401: ***" in str(caught.value)
    assert KEY not in str(caught.value)
    told = capsys.readouterr().err
    assert "endpoint_retried" in told
    assert KEY not in told


@pytest.mark.parametrize("key", ["", "two words", "new\nline", "schlüssel"])
def test_a_variable_without_a_usable_key_is_a_mistake_of_the_settings(server, monkeypatch, key):
    monkeypatch.setenv("MODEL_KEY", key)
    with pytest.raises(ConfigError, match="MODEL_KEY") as caught:
        endpoint(server, key_env="MODEL_KEY")
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_service_is_asked_again(server, status):
    server.queue += [lambda exchange: exchange.send(b"busy", status, Retry_After="0")] * 2
    assert endpoint(server, retries=2).complete(ASKED).text == "a red bus [1]"
    assert len(server.requests) == 3


def test_a_service_that_stays_busy_is_given_up_with_its_words(server):
    server.queue += [lambda exchange: exchange.send(b"too many users", 429)] * 3
    with pytest.raises(ServiceError, match="status 429: too many users"):
        endpoint(server, retries=2).complete(ASKED)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refusal_is_not_asked_again(server, status):
    server.queue += [lambda exchange: exchange.send(b"no", status)]
    with pytest.raises(ServiceError, match=f"status {status}: no"):
        endpoint(server).complete(ASKED)
    assert len(server.requests) == 1


def test_no_redirect_is_followed(server, monkeypatch):
    monkeypatch.setenv("MODEL_KEY", KEY)
    with model_server() as elsewhere:
        server.queue += [lambda exchange: exchange.send(b"", 307, Location=f"{elsewhere.url}/chat/completions")]
        with pytest.raises(ServiceError, match="status 307"):
            endpoint(server, key_env="MODEL_KEY").complete(ASKED)
        assert not elsewhere.requests


def test_no_proxy_of_the_environment_is_used(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert endpoint(server).complete(ASKED).text == "a red bus [1]"


@pytest.mark.parametrize("declared", [True, False])
def test_an_answer_over_the_limit_is_refused(server, declared):
    big = b'{"choices": [' + b" " * 5_000 + b"]}"

    def send(exchange):
        if declared:
            return exchange.send(big)
        exchange.handler.send_response(200)
        exchange.handler.end_headers()
        exchange.handler.wfile.write(big)

    server.queue += [send]
    with pytest.raises(ServiceError, match="2048 bytes of max_answer_bytes"):
        endpoint(server, max_answer_bytes=2048).complete(ASKED)


def test_an_encoded_answer_is_not_unpacked(server):
    server.queue += [lambda exchange: exchange.send(b"\x1f\x8b", Content_Encoding="gzip")]
    with pytest.raises(ServiceError, match="'gzip', which was not asked for"):
        endpoint(server).complete(ASKED)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": {"content": null}}]}',
     b'{"choices": [{"message": {"content": 3}}]}', b"[" * 100_000, b"\xff\xfe",
     b'{"choices": [{"message": {"content": "a"}}], "usage": [3]}', b'{"choices": [' + b"9" * 5_000 + b"]}"],
    ids=["empty", "html", "list", "object", "no choice", "null", "number", "deep", "bytes", "usage", "digits"],
)  # fmt: skip
def test_an_answer_that_is_no_completion_is_an_error_with_its_beginning(server, body):
    server.queue += [lambda exchange: exchange.send(body)]
    with pytest.raises(ServiceError, match="gave no chat completion"):
        endpoint(server).complete(ASKED)


def test_half_a_surrogate_pair_in_an_answer_is_replaced(server):
    body = rb'{"model": "m\udc00", "choices": [{"message": {"content": "a \ud83d\ude00 \ud800 bus"}}]}'
    server.queue += [lambda exchange: exchange.send(body)]
    told = endpoint(server).complete(ASKED)
    assert (told.text, told.model) == ("a \U0001f600 ? bus", "m?")


def test_what_comes_with_a_refusal_is_not_read_to_its_end(server):
    read = []

    def endless(exchange):
        exchange.handler.send_response(503)
        exchange.handler.end_headers()
        for _ in range(500):
            exchange.handler.wfile.write(b" ")  # fails once the client has hung up
            if server.stopping.wait(0.01):
                return
        read.append("all of it")

    server.queue += [endless]
    assert endpoint(server, timeout_s=60).complete(ASKED).text == "a red bus [1]"
    assert not read


@pytest.mark.parametrize(
    ("header", "tried", "wait_s"),
    [("7", 0, 7), ("9" * 400, 0, 60), ("soon", 1, 2), ("Fri, 31 Dec 9999 23:59:59 GMT", 0, 60), (None, 0, 0),
     (None, 1, 2), (None, 3, 8), (None, 20, 30)],
    ids=["asked", "too long", "nonsense", "date", "at once", "second", "fourth", "capped"],
)  # fmt: skip
def test_a_service_is_waited_for_as_it_asks_up_to_the_cap(header, tried, wait_s):
    config = EndpointConfig(url="http://localhost/v1", model="m", backoff_s=2, backoff_cap_s=30, retry_after_cap_s=60)
    assert Endpoint(config, "rag.endpoint")._wait_s(header, tried) == wait_s


def test_an_answer_that_was_cut_says_so(server):
    cut = {"choices": [{"message": {"content": "a red"}, "finish_reason": "length"}]}
    server.queue += [lambda exchange: exchange.send(json.dumps(cut).encode())]
    told = endpoint(server).complete(ASKED)
    assert (told.text, told.finish_reason, told.model, dict(told.usage)) == ("a red", "length", "", {})


@pytest.mark.parametrize("how", ["silence", "drip"])
def test_a_service_that_does_not_come_to_an_end_is_left(server, how):
    server.queue += [getattr(server, how)]
    with pytest.raises(ServiceError, match=r"timed out|timeout_s"):
        endpoint(server, timeout_s=0.2).complete(ASKED)
    assert len(server.requests) == 1, "a model that is still writing is not asked again"


def test_a_service_that_is_not_there_is_an_error_of_the_service(server):
    settings = EndpointConfig(url="http://127.0.0.1:9/v1", model="m", retries=1, backoff_s=0)
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9/v1/chat/completions \(rag\.judge\) cannot be asked"):
        Endpoint(settings, "rag.judge").complete(ASKED)


@pytest.mark.parametrize("url", ["http://models.example/v1", "http://10.0.0.5:8000/v1", "http://127.0.0.1.example/v1"])
def test_plain_http_to_another_machine_is_refused_unless_permitted(url):
    with pytest.raises(ConfigError, match="allow_http"):
        Endpoint(EndpointConfig(url=url, model="m"), "rag.endpoint")
    Endpoint(EndpointConfig(url=url, model="m", allow_http=True), "rag.endpoint")
    Endpoint(EndpointConfig(url=url.replace("http://", "https://"), model="m"), "rag.endpoint")


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://[::1]:1/v1", "http://127.9.9.9/v1/"])
def test_plain_http_to_this_machine_is_spoken(url):
    Endpoint(EndpointConfig(url=url, model="m"), "rag.endpoint")


@pytest.mark.parametrize(("missing", "given"), [("url", {"model": "m"}), ("model", {"url": "http://localhost/v1"})])
def test_a_missing_setting_is_named(missing, given):
    with pytest.raises(ConfigError, match=rf"rag\.endpoint\.{missing} is not set"):
        Endpoint(EndpointConfig(**given), "rag.endpoint")


@pytest.mark.parametrize("url", ["ftp://x/v1", "http://user:pw@host/v1", "http://host/v1?key=1", "host/v1"])
def test_a_url_with_a_password_or_a_query_is_refused(url):
    with pytest.raises(ValueError, match="url"):
        EndpointConfig(url=url)
