"""The HTTP inbox takes what holders of a secret send, and bounds what anybody can cost."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra.events.forged import KEYS, forgeries, signed
from tests.infra.events.notices import gcs_cloud_event, pubsub, s3_notice
from trichord.infra.errors import ConfigError
from trichord.infra.events import http_inbox
from trichord.infra.events.counts import Counts
from trichord.infra.events.event import MAX_BODY_BYTES
from trichord.infra.events.hooks import TOLERANCE_S, HookGate
from trichord.infra.events.http_inbox import HttpInbox
from trichord.infra.events.inbox import Inbox
from trichord.infra.events.secret_file import SecretFile

TOKEN = "a-token-of-enough-characters"
PLACE = {"source": "photos", "paths": ["a.txt"]}
BODY = json.dumps({"type": "source.changed", "data": PLACE}).encode()


class Site:
    """An inbox that listens on a free port of the loopback interface."""

    def __init__(self, folder: Path, limit: int = 100) -> None:
        self.token, self.keys = folder / "token", folder / "keys"
        self.token.write_text(f"{TOKEN}\n")
        self.keys.write_text(f"# the old one\n{KEYS[0]}\n{KEYS[1]}\n")
        self.now_s = 0.0
        self.gate = HookGate(SecretFile(str(self.keys), "watch.hook_keys"), lambda: self.now_s)
        self.inbox = Inbox(lambda event: event.source == "photos" or event.uri.startswith(("s3://lake/", "gs://lake/")),
                           Counts(), limit)  # fmt: skip
        self.problems: list[str] = []
        secret = SecretFile(str(self.token), "watch.token_file")
        self.channel = HttpInbox("127.0.0.1:0", self.inbox, token=secret, hooks=self.gate, ready=lambda: self.problems)
        self.channel.start()

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.channel.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def event(self, body: Any, **headers: str) -> int:
        """Status of what a holder of the token sends to /events."""
        named = {"authorization": f"Bearer {TOKEN}", **{name.replace("_", "-"): text for name, text in headers.items()}}
        return self.ask("POST", "/events", json.dumps(body).encode(), named)[0]

    def hook(self, body: bytes, headers: dict[str, str]) -> int:
        """Status of a webhook."""
        return self.ask("POST", "/hooks", body, headers)[0]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.channel.stop()


def test_a_cloud_event_a_pubsub_message_and_a_plain_notice_are_taken(site: Site) -> None:
    assert site.event(PLACE) == 202
    assert site.event(pubsub("a.jpg")) == 202
    assert site.event(s3_notice("in/a.txt")) == 202
    assert site.event(gcs_cloud_event("a.jpg"), content_type="application/cloudevents+json") == 202
    headers = {"ce_type": "x", "ce_id": "1", "ce_source": "/airflow", "ce_specversion": "1.0"}
    assert site.event({"uri": "s3://lake/in/"}, **headers, content_type="application/json") == 202
    assert site.inbox.waiting == 5
    assert site.event({"source": "other"}) == 422
    assert site.event({"no": "place"}) == 422
    assert site.event(s3_notice("in/a.txt", event="ObjectTagging:Put")) == 200
    assert site.inbox.counts.by_channel() == {"http": {"accepted": 5, "ignored": 1, "refused": 2}}


WRONG = ["", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ü", TOKEN]


@pytest.mark.parametrize("header", WRONG)
def test_nobody_without_the_token_is_heard(site: Site, header: str) -> None:
    headers = {"authorization": header} if header else {}
    assert site.ask("POST", "/events", json.dumps(PLACE).encode(), headers)[0] == 401
    assert site.inbox.waiting == 0


def test_a_signed_hook_is_taken_once(site: Site) -> None:
    assert site.hook(BODY, signed(BODY)) == 202
    assert site.hook(BODY, signed(BODY)) == 200, "a replay is answered and not looked at"
    assert site.inbox.waiting == 1
    assert site.hook(BODY, signed(BODY, name="msg_2", key=KEYS[1])) == 202
    site.now_s += 2 * TOLERANCE_S + 1
    assert site.gate.take("msg_1"), "its signature holds no longer, so the id is forgotten"


def test_keys_are_rotated_without_a_restart(site: Site) -> None:
    assert site.hook(BODY, signed(BODY, key=KEYS[2])) == 401
    site.keys.write_text(f"{KEYS[1]}\n{KEYS[2]}\n")
    assert site.hook(BODY, signed(BODY, key=KEYS[2])) == 202
    assert site.hook(BODY, signed(BODY, key=KEYS[0], name="msg_2")) == 401
    site.keys.unlink()
    assert site.hook(BODY, signed(BODY, key=KEYS[2], name="msg_3")) == 503


@pytest.mark.parametrize("age_s", [TOLERANCE_S + 30, -TOLERANCE_S - 30])
def test_a_hook_that_is_too_old_or_from_the_future_is_refused(site: Site, age_s: float) -> None:
    assert site.hook(BODY, signed(BODY, age_s=age_s)) == 401
    assert site.hook(BODY, signed(BODY, age_s=age_s * 0.8)) == 202


def test_of_300_forged_hooks_none_is_taken(site: Site) -> None:
    assert {site.hook(body, headers) for body, headers in forgeries(BODY, 300)} == {401}
    assert site.inbox.waiting == 0
    assert site.inbox.counts.total("refused") == 300


def test_a_signed_hook_of_nonsense_is_told_so_and_its_id_stays_free(site: Site) -> None:
    for body in (b"[" * 200_000, b"{}", b'{"data": {"source": "other"}}', b"no json"):
        assert site.hook(body, signed(body)) == 422
    assert site.hook(BODY, signed(BODY)) == 202


def test_a_full_inbox_answers_429_and_the_same_hook_is_taken_later(tmp_path: Path) -> None:
    site = Site(tmp_path, limit=1)
    assert site.hook(BODY, signed(BODY)) == 202
    assert site.hook(BODY, signed(BODY, name="msg_2")) == 429
    assert site.event(PLACE) == 429
    site.inbox.finish(site.inbox.held())
    assert site.hook(BODY, signed(BODY, name="msg_2")) == 202
    site.channel.stop()


def test_bodies_and_headers_are_bounded(site: Site) -> None:
    token = {"authorization": f"Bearer {TOKEN}"}
    assert site.ask("POST", "/events", b"", {**token, "content-length": str(MAX_BODY_BYTES + 1)})[0] == 413
    assert site.ask("POST", "/hooks", b"", {"content-length": "9" * 30})[0] == 411
    assert site.ask("POST", "/hooks", b"", {"content-length": "-1"})[0] == 411
    assert site.ask("POST", "/events", b"0\r\n\r\n", {**token, "transfer-encoding": "chunked"})[0] == 411
    with pytest.raises((http.client.HTTPException, OSError)):
        site.ask("GET", "/healthz", headers={f"x-{number}": "x" * 1_000 for number in range(30)})
    with pytest.raises((http.client.HTTPException, OSError)):
        site.ask("GET", "/" + "x" * 100_000)
    assert site.ask("GET", "/healthz") == (200, b"ok\n")


def test_slow_clients_are_cut_and_too_many_are_not_answered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_inbox, "REQUEST_S", 0.5)
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", site.channel.port), timeout=20) as slow:
        slow.sendall(b"POST /hooks HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        while not cut(slow):
            pass
    assert time.monotonic() - started < 10
    monkeypatch.setattr(http_inbox, "REQUEST_S", 60)
    opened = [socket.create_connection(("127.0.0.1", site.channel.port)) for _ in range(http_inbox.MAX_CONNECTIONS)]
    with pytest.raises((http.client.HTTPException, OSError)):
        site.ask("GET", "/healthz")
    for one in opened:
        one.close()
    for _ in range(200):
        try:
            assert site.ask("GET", "/healthz")[0] == 200
            break
        except (http.client.HTTPException, OSError):
            threading.Event().wait(0.02)
    else:
        raise AssertionError("closed connections are never free again")


def cut(slow: socket.socket) -> bool:
    """Send a byte, and return True if the other side has closed."""
    try:
        slow.sendall(b"x")
        slow.settimeout(0.05)
        return slow.recv(100) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_probes_tell_whether_it_lives_and_whether_it_works(site: Site) -> None:
    assert site.ask("GET", "/healthz") == (200, b"ok\n")
    assert site.ask("GET", "/readyz")[0] == 200
    site.problems.append("sqs:photos receives nothing")
    status, body = site.ask("GET", "/readyz")
    assert (status, json.loads(body)["problems"]) == (503, ["sqs:photos receives nothing"])
    assert [site.ask(method, path)[0] for method, path in (("GET", "/"), ("GET", "/events"), ("POST", "/"))] == [
        404
    ] * 3
    assert site.ask("PUT", "/events")[0] == 501


def test_an_inbox_without_secrets_or_with_weak_ones_does_not_listen(tmp_path: Path) -> None:
    inbox = Inbox(lambda _: True, Counts(), 1)

    def start(token: str | None, keys: str | None, address: str = "127.0.0.1:0") -> None:
        for name, text in (("token", token), ("keys", keys)):
            (tmp_path / name).write_text(text or "")
        one = SecretFile(str(tmp_path / "token"), "watch.token_file") if token is not None else None
        gate = HookGate(SecretFile(str(tmp_path / "keys"), "watch.hook_keys")) if keys is not None else None
        HttpInbox(address, inbox, token=one, hooks=gate, ready=list).start()

    for token, keys, words in (
        (None, None, "nobody may send without a secret"),
        ("", None, "holds no secret"),
        ("short", None, "16 characters"),
        (None, "whsec_c2hvcnQ=", "24 or more bytes"),
        (None, "whsec_%%%", "24 or more bytes"),
        (None, "\n".join(KEYS), "3 keys"),
        (None, "ü", "not ASCII"),
    ):
        with pytest.raises(ConfigError, match=words):
            start(token, keys)
    with pytest.raises(ConfigError, match="cannot be bound"):
        start(TOKEN, None, "127.0.0.1:99999")
