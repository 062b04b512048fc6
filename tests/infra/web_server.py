"""A real HTTP(S) server in threads, whose answers a test writes by hand, and a clock that does not wait."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.serving import serving_in_thread
from trichord.infra.config import StorageConfig, WebConfig
from trichord.infra.digest import sha256_hex
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.infra.web import DownloadError, Fetcher
from trichord.infra.web.throttle import Clock

STORAGE = Storage(StorageConfig())
LIMIT = 100_000  # bytes of a download


@dataclass
class FakeClock:
    """Time passes only by sleeping, and by hand."""

    at: float = 1_700_000_000.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds

    @property
    def clock(self) -> Clock:
        return Clock(self.now, self.now, self.sleep)


@dataclass
class Request:
    """One request as it came in."""

    path: str
    headers: Mapping[str, str]


class Exchange:
    """What an answering function writes to."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.handler = handler
        self.headers = handler.headers

    def send(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        """A whole answer; `ETag='"1"'`, underscores become dashes."""
        self.raw(status, {"Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in headers.items()}})
        self.write(body)

    def raw(self, status: int, headers: Mapping[str, str] | list[tuple[str, str]]) -> None:
        """Status and headers as given."""
        self.handler.send_response(status)
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            self.handler.send_header(name, value)
        self.handler.end_headers()

    def write(self, data: bytes) -> None:
        self.handler.wfile.write(data)
        self.handler.wfile.flush()


Answer = Callable[[Exchange], None]


class Server:
    """Answers by path; records what it was asked and how many requests were under way at once."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[Request] = []
        self.connections = 0
        self.most = 0
        self.port = 0
        self.scheme = "http"
        self.stopping = threading.Event()
        self._now = 0
        self._lock = threading.Lock()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def files(self, content: Mapping[str, bytes]) -> None:
        """Serve files with ETags and conditional requests."""
        for path, body in content.items():
            self.answers[path] = file_answer(body)

    def paths(self) -> Counter[str]:
        return Counter(request.path for request in self.requests)

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.requests.append(Request(handler.path, dict(handler.headers.items())))
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            answer = self.answers.get(handler.path, lambda exchange: exchange.send(b"no", 404))
            answer(Exchange(handler))
        except OSError:
            handler.close_connection = True  # the client hung up
        finally:
            with self._lock:
                self._now -= 1


def file_answer(body: bytes, **headers: str) -> Answer:
    etag = f'"{sha256_hex(body)[:16]}"'

    def answer(exchange: Exchange) -> None:
        if exchange.headers.get("If-None-Match") == etag:
            exchange.raw(304, {"ETag": etag})
        else:
            exchange.send(body, 200, ETag=etag, **headers)

    return answer


def redirect(location: str, status: int = 302) -> Answer:
    return lambda exchange: exchange.send(b"elsewhere", status, Location=location)


def dripping(data: bytes, stop: threading.Event, head: bytes = b"") -> Answer:
    """Bytes one by one, slowly, for ten seconds at most: each of them within the read timeout."""

    def answer(exchange: Exchange) -> None:
        exchange.handler.close_connection = True
        exchange.write(head)
        for _ in range(500):
            exchange.write(data)
            if stop.wait(0.02):
                return

    return answer


@dataclass
class Web:
    """A server, a lake, and fetchers between them."""

    server: Server
    lake: Path
    clock: FakeClock = field(default_factory=FakeClock)
    names: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host not in self.names:
            raise OSError("unknown")
        return self.names[host]

    def fetcher(self, **options: Any) -> Fetcher:
        options = {"allow_private": ("127.0.0.0/8",), "ports": (self.server.port, 80, 443), "max_age_s": 0} | options
        return Fetcher(
            WebConfig(**options), Lake(STORAGE, str(self.lake)), resolve=self.resolve, clock=self.clock.clock
        )

    def fetch(self, path: str, max_bytes: int = LIMIT, **options: Any) -> bytes:
        """The content of a path of the server, by a fetcher of its own (a run)."""
        with self.fetcher(**options) as fetcher:
            return self.read(fetcher, self.server.url(path), max_bytes)

    def read(self, fetcher: Fetcher, url: str, max_bytes: int = LIMIT) -> bytes:
        content = fetcher.fetch(url, max_bytes)
        data = (self.lake / layout.content_path(content.sha256)).read_bytes()
        assert (sha256_hex(data), len(data)) == (content.sha256, content.size)
        assert content.version == f"sha256:{content.sha256}"
        return data

    def failure(self, path: str, max_bytes: int = LIMIT, **options: Any) -> tuple[str, str]:
        with pytest.raises(DownloadError) as caught:
            self.fetch(path, max_bytes, **options)
        return caught.value.reason, caught.value.detail


@contextmanager
def serving(certificate: Path | None = None, host: str = "127.0.0.1") -> Iterator[Server]:
    """A server on a free port of this machine."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            server.connections += 1

        def do_GET(self) -> None:
            server.handle(self)

        def log_message(self, *args: object) -> None:
            pass

    class Http(ThreadingHTTPServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        def handle_error(self, *args: object) -> None:
            pass

    httpd = Http((host, 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True, do_handshake_on_connect=False)
        server.scheme = "https"
    server.port = httpd.server_address[1]
    with serving_in_thread(httpd, server.stopping):
        yield server


@contextmanager
def listening(speak: Callable[[socket.socket], None]) -> Iterator[int]:
    """A bare TCP server, for what no HTTP server does; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def loop() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(line,), daemon=True).start()

        def talk(line: socket.socket) -> None:
            with line:
                try:
                    speak(line)
                except OSError:
                    return  # the client hung up

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(1)


def certificate(folder: Path, *names: str) -> Path:
    """A self-signed certificate with its key, in one PEM file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    found = [x509.IPAddress(ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
    now = datetime.fromtimestamp(time.time(), UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(found), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + signed.public_bytes(pem))
    return path
