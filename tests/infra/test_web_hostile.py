"""Hostile servers: nothing private is reached, nothing hangs, nothing grows, and no other host's word is taken."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra.test_web_addresses import ODD
from tests.infra.web_server import LIMIT, FakeClock, Web, certificate, dripping, listening, redirect, serving
from trichord.infra.web import DownloadError

QUICK: dict[str, Any] = {"retries": 0, "total_timeout_s": 0.15, "read_timeout_s": 5, "connect_timeout_s": 5}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with serving() as server:
        yield Web(server, tmp_path / "lake")


def test_no_odd_spelling_reaches_the_network(web: Web) -> None:
    with web.fetcher() as fetcher:
        for url in ODD:
            with pytest.raises(DownloadError) as caught:
                fetcher.fetch(url, LIMIT)
            assert caught.value.reason == "download_refused"
    assert not web.asked
    assert not web.server.connections


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost.example", "[::ffff:127.0.0.1]", "[::1]"])
def test_this_machine_is_not_reached_unless_allowed(host: str, web: Web) -> None:
    web.server.files({"/a": b"secret"})
    web.names = {"localhost.example": ["127.0.0.1"]}
    with web.fetcher(allow_private=()) as fetcher, pytest.raises(DownloadError) as caught:
        fetcher.fetch(web.server.url("/a", host), LIMIT)
    assert (caught.value.reason, caught.value.permanent) == ("download_refused", True)
    assert not web.server.connections


@pytest.mark.parametrize(
    "location",
    ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://[::1]/",
     "http://intranet.example/", "http://127.1/", "http://2130706433/", "file:///etc/passwd", "ftp://a.example/",
     "//10.0.0.1/x", "http://u:p@127.0.0.1/", "http://127.0.0.1:22/", "http://both.example/", "\\\\10.0.0.1\\x",
     "http://[::ffff:10.0.0.1]/", "http://10.0.0.1%2f@127.0.0.1/", "gopher://127.0.0.1:6379/_FLUSHALL"],
)  # fmt: skip
def test_no_redirect_leads_to_a_private_address(location: str, web: Web) -> None:
    web.server.answers["/a"] = redirect(location)
    web.names = {"intranet.example": ["10.1.2.3"], "both.example": ["8.8.8.8", "192.168.0.1"]}
    reason, detail = web.failure("/a")
    assert reason == "download_refused"
    assert detail.startswith("permanent: ")
    assert len(web.server.requests) == 1


def test_a_resolver_that_changes_its_mind_gains_nothing(web: Web) -> None:
    web.server.files({"/a": b"one"})
    answers = [["8.8.8.8"], ["127.0.0.1"]]
    connected: list[tuple[str, int]] = []

    def resolve(host: str, port: int) -> list[str]:
        web.asked.append(host)
        return answers[min(len(web.asked), len(answers)) - 1]

    web.resolve = resolve  # type: ignore[method-assign]

    def connect(address: tuple[str, int], *args: object) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "create_connection", connect)
        with web.fetcher(allow_private=(), retries=0) as fetcher, pytest.raises(DownloadError, match="reached"):
            fetcher.fetch(web.server.url("/a", "rebind.example"), LIMIT)
    assert connected == [("8.8.8.8", web.server.port)], "the checked address, not what the name means a moment later"
    assert web.asked == ["rebind.example"], "one lookup a request"
    with web.fetcher(allow_private=()) as fetcher, pytest.raises(DownloadError, match="not public"):
        fetcher.fetch(web.server.url("/b", "rebind.example"), LIMIT)
    assert not web.server.connections


def test_an_idle_connection_is_not_used_for_a_name_that_now_means_another_address(web: Web) -> None:
    web.server.files({"/a": b"one", "/b": b"two"})
    web.names = {"moved.example": ["127.0.0.1"]}
    with web.fetcher(retries=0) as fetcher:
        web.read(fetcher, web.server.url("/a", "moved.example"))
        web.names = {"moved.example": ["127.9.9.9"]}
        with pytest.raises(DownloadError, match="reached"):
            fetcher.fetch(web.server.url("/b", "moved.example"), LIMIT)
        web.names = {"moved.example": ["10.0.0.1"]}
        with pytest.raises(DownloadError, match="not public"):
            fetcher.fetch(web.server.url("/c", "moved.example"), LIMIT)
    assert web.server.connections == 1


def test_proxies_of_the_environment_are_not_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    web.server.files({"/a": b"one"})
    assert web.fetch("/a") == b"one"


def test_a_lookup_that_hangs_is_not_waited_for(web: Web) -> None:
    go = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        go.wait(30)
        return ["127.0.0.1"]

    web.resolve = resolve  # type: ignore[method-assign]
    start = time.monotonic()
    with web.fetcher(retries=0, connect_timeout_s=0.05) as fetcher, pytest.raises(DownloadError, match="reached"):
        fetcher.fetch("http://slow.example/", LIMIT)
    assert time.monotonic() - start < 10
    go.set()


@pytest.mark.parametrize("where", ["headers", "body", "body of unknown length", "chunks", "nothing", "100-continue"])
def test_a_server_that_drips_is_cut_off(where: str, web: Web) -> None:
    stop = web.server.stopping
    web.server.answers["/a"] = {
        "headers": dripping(b"X-A: b\r\n", stop, b"HTTP/1.1 200 OK\r\n"),
        "body": dripping(b"x", stop, b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"),
        "body of unknown length": dripping(b"x", stop, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
        "chunks": dripping(b"1\r\nx\r\n", stop, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "nothing": dripping(b"", stop),
        "100-continue": dripping(b"HTTP/1.1 100 Continue\r\n\r\n", stop),
    }[where]
    start = time.monotonic()
    assert web.failure("/a", **QUICK) == ("download_failed", "transient: the download took too long")
    assert time.monotonic() - start < 5
    assert len(web.server.requests) == 1, "not tried again: it would take as long"


def test_a_tls_handshake_that_drips_is_cut_off(web: Web) -> None:
    def speak(line: socket.socket) -> None:
        line.recv(10_000)
        line.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KiB follows
        for _ in range(1_000):
            line.sendall(b"\x02")
            time.sleep(0.01)

    with listening(speak) as port:
        start = time.monotonic()
        with (
            web.fetcher(ports=(port,), retries=0, connect_timeout_s=0.1) as fetcher,
            pytest.raises(DownloadError, match="download_failed"),
        ):
            fetcher.fetch(f"https://127.0.0.1:{port}/", LIMIT)
        assert time.monotonic() - start < 5


def test_a_server_that_falls_silent_is_not_waited_for(web: Web) -> None:
    def answer(exchange: Any) -> None:
        web.server.stopping.wait(2)

    web.server.answers["/a"] = answer
    assert web.failure("/a", retries=0, read_timeout_s=0.05) == (
        "download_failed",
        "transient: the server fell silent",
    )


def contents(web: Web) -> list[Path]:
    """What was written into the lake besides receipts."""
    files = (path for path in web.lake.rglob("*") if path.is_file())
    return [path for path in files if path.name != "receipts.parquet"]


def endless(line: socket.socket, head: bytes, piece: bytes) -> None:
    line.recv(10_000)
    line.sendall(head)
    for _ in range(2_000):  # 131 MB: far over every limit
        line.sendall(piece)


@pytest.mark.parametrize(
    ("head", "piece", "detail"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536, "permanent: more than the 100000 bytes that are read"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65_536 + b"\r\n",
         "permanent: more than the 100000 bytes that are read"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 65_536, None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 65_534, None),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"x" * 60_000 + b"\r\n", None),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"x" * 65_536, None),
        (b"HTTP/1.1 ", b"2" * 65_536, None),
        (b"", b"x" * 65_536, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", b"x",
         "permanent: more than the 100000 bytes that are read"),
    ],
)  # fmt: skip
def test_an_endless_answer_is_cut_off_by_its_size(head: bytes, piece: bytes, detail: str | None, web: Web) -> None:
    with listening(lambda line: endless(line, head, piece)) as port, web.fetcher(ports=(port,), retries=0) as fetcher:
        with pytest.raises(DownloadError) as caught:
            fetcher.fetch(f"http://127.0.0.1:{port}/", LIMIT)
        assert detail is None or caught.value.detail == detail
    assert not contents(web)


def said(raw: bytes) -> Callable[[socket.socket], None]:
    def speak(line: socket.socket) -> None:
        line.recv(10_000)
        line.sendall(raw)

    return speak


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 100,
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\nabc",
        b"HTTP/1.1 -1 OK\r\n\r\nabc",
        b"HTTP/9.9 200 OK\r\n\r\nabc",
        b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe://\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://a\r\n b.example/\r\n\r\n",
        b"HTTP/1.1 503 No\r\nRetry-After: 99999999999999999999999999\r\n\r\n",
        b"HTTP/1.1 503 No\r\nRetry-After: Mon, 99 Foo 99999 99:99:99 GMT\r\n\r\n",
        b"HTTP/1.1 503 No\r\nRetry-After: \xb2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ],
)
def test_an_answer_that_is_no_whole_content_is_a_failure(raw: bytes, web: Web) -> None:
    with (
        listening(said(raw)) as port,
        web.fetcher(ports=(port,), retries=0) as fetcher,
        pytest.raises(DownloadError),
    ):
        fetcher.fetch(f"http://127.0.0.1:{port}/", LIMIT)
    assert not contents(web)


def test_more_bytes_than_declared_are_not_taken_for_the_next_answer(web: Web) -> None:
    def answer(exchange: Any) -> None:
        exchange.raw(200, {"Content-Length": "3", "ETag": 'evil"\r\n X: y'})
        exchange.write(b"oneHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    web.server.answers["/a"] = answer
    web.server.files({"/b": b"two"})
    with web.fetcher() as fetcher:
        assert web.read(fetcher, web.server.url("/a")) == b"one"
        time.sleep(0.02)
        assert web.read(fetcher, web.server.url("/b")) == b"two"
    assert web.fetch("/a") == b"one", "a malformed validator is not sent back"
    assert "If-None-Match" not in web.server.requests[-1].headers


def test_odd_dates_do_not_matter(web: Web) -> None:
    web.server.answers["/a"] = lambda exchange: exchange.send(b"one", Last_Modified="Mon, 99 Foo 99999 99:99:99 GMT")
    assert web.fetch("/a") == b"one"


def test_a_connection_that_is_reset_is_tried_again(web: Web) -> None:
    times = []

    def speak(line: socket.socket) -> None:
        times.append(1)
        line.recv(10_000)
        if len(times) < 3:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")

    with listening(speak) as port, web.fetcher(ports=(port,)) as fetcher:
        assert web.read(fetcher, f"http://127.0.0.1:{port}/") == b"one"
    assert len(times) == 3


def test_a_header_bomb_is_refused(web: Web) -> None:
    web.server.answers["/a"] = lambda exchange: exchange.send(b"one", X_A="x" * 2_000)
    assert web.failure("/a", max_header_bytes=1_024) == ("download_failed", "permanent: headers over max_header_bytes")
    assert web.fetch("/a") == b"one"


def test_https_is_spoken_to_the_checked_address_under_the_name_of_the_url(tmp_path: Path) -> None:
    pem = certificate(tmp_path, "files.example", "127.0.0.1")
    with serving(pem) as server:
        web = Web(
            server, tmp_path / "lake", FakeClock(), {"files.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]}
        )
        server.files({"/a": b"one"})
        with web.fetcher(ca_file=str(pem)) as fetcher:
            assert web.read(fetcher, server.url("/a", "files.example")) == b"one"
            assert web.read(fetcher, server.url("/a")) == b"one", "an address can be in a certificate, too"
            with pytest.raises(DownloadError, match="certificate is not trusted"):
                fetcher.fetch(server.url("/a", "other.example"), LIMIT)
        assert server.requests[0].headers["Host"] == f"files.example:{server.port}"
        with web.fetcher(max_age_s=0) as fetcher, pytest.raises(DownloadError, match="certificate is not trusted"):
            fetcher.fetch(server.url("/a?other", "files.example"), LIMIT)
        assert len(server.requests) == 2


def test_a_redirect_from_https_to_http_is_refused(tmp_path: Path) -> None:
    pem = certificate(tmp_path, "127.0.0.1")
    with serving(pem) as server, serving() as plain:
        web = Web(server, tmp_path / "lake")
        plain.files({"/a": b"one"})
        plain.answers["/up"] = redirect(server.url("/b"))
        server.files({"/b": b"two"})
        server.answers["/a"] = redirect(plain.url("/a"))
        options: dict[str, Any] = {"ca_file": str(pem), "ports": (server.port, plain.port)}
        assert web.failure("/a", **options) == ("download_refused", "permanent: a redirect from https to http")
        assert not plain.requests
        with web.fetcher(**options) as fetcher:
            assert web.read(fetcher, plain.url("/up")) == b"two"


def test_an_ipv6_server_can_be_asked(tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serving(host="::1") as server:
        web = Web(server, tmp_path / "lake")
        server.files({"/a": b"one"})
        with web.fetcher(allow_private=("::1/128",)) as fetcher:
            assert web.read(fetcher, server.url("/a", "[::1]")) == b"one"
        assert server.requests[0].headers["Host"] == f"[::1]:{server.port}"
