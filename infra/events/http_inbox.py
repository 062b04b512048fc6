"""The HTTP inbox: a small server that takes CloudEvents, Pub/Sub messages and webhooks, and answers probes.

Whatever a client does, a request costs at most 16 KiB of headers, 1 MiB of body and ten seconds, and 32 are answered at
a time. TLS and load balancing are a proxy's work.
"""

from __future__ import annotations

import hmac
import io
import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any, cast

from trichord.infra import log
from trichord.infra.errors import ConfigError
from trichord.infra.events.cloud_events import is_cloud_event, read_cloud_event, require_library
from trichord.infra.events.event import MAX_BODY_BYTES, Event, Poison
from trichord.infra.events.hooks import Forged, HookGate
from trichord.infra.events.inbox import Inbox
from trichord.infra.events.notices import parse_body, read_notice
from trichord.infra.events.secret_file import SecretFile

MAX_HEADER_BYTES = 16 << 10
MAX_CONNECTIONS = 32
REQUEST_S = 10.0
_IDLE_S = 5.0
_POLL_S = 0.1
_RETRY_AFTER_S = 10
_LEAST_TOKEN_CHARS = 16

Page = Callable[[], tuple[HTTPStatus, str, bytes]]  # status, content type, body


class HttpInbox:
    """A channel from HTTP requests.

    Args:
        address: host and port, such as 127.0.0.1:8787; port 0 takes a free one.
        inbox: takes the events.
        token: the bearer token of `/events`; None: that is not served.
        hooks: checks `/hooks`; None: that is not served.
        pages: path -> what GET answers, beside `/healthz` and `/readyz`.
        ready: returns what keeps the watcher from its work at present.
    """

    name = "http"

    def __init__(
        self,
        address: str,
        inbox: Inbox,
        *,
        token: SecretFile | None,
        hooks: HookGate | None,
        ready: Callable[[], Sequence[str]],
        pages: Mapping[str, Page] | None = None,
    ) -> None:
        host, _, port = address.rpartition(":")
        self._place = (host.strip("[]"), int(port))
        self.inbox, self.token, self.hooks = inbox, token, hooks
        self.pages: dict[str, Page] = {"/healthz": _alive, "/readyz": lambda: _ready(ready()), **(pages or {})}
        self._server: _Server | None = None

    def start(self) -> None:
        """Look at the secrets, and begin to listen.

        Raises:
            ConfigError: a secret or a library is missing, or the address cannot be bound.
        """
        if self.token is None and self.hooks is None:
            raise ConfigError(
                "watch.listen needs watch.token_file or watch.hook_keys: nobody may send without a secret."
            )
        if self.token is not None:
            require_library()
            if any(len(one) < _LEAST_TOKEN_CHARS for one in self.token.lines()):
                raise ConfigError(f"watch.token_file: a token has at least {_LEAST_TOKEN_CHARS} characters.")
        if self.hooks is not None:
            self.hooks.require_keys()
        try:
            self._server = _Server(self._place, self)
        except (OSError, OverflowError) as error:
            raise ConfigError(f"watch.listen: {self._place[0]}:{self._place[1]} cannot be bound: {error}.") from error
        threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), name="http-inbox", daemon=True).start()
        log.event("listening", host=self._place[0], port=self.port)

    @property
    def port(self) -> int:
        """The port that is bound."""
        return self._server.server_address[1] if self._server is not None else self._place[1]

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """Do nothing: the sender has its answer. What a killed watcher knew of, its first sweep finds."""

    def problem(self) -> str | None:
        """Return None: it listens."""
        return None

    def take_events(self, headers: Mapping[str, str], body: bytes) -> HTTPStatus:
        """Take what a holder of the token sent."""
        events = read_cloud_event(headers, body) if is_cloud_event(headers) else read_notice(parse_body(body))
        return self._offer(events)

    def take_hook(self, headers: Mapping[str, str], body: bytes) -> HTTPStatus:
        """Take what a holder of a key signed. An id that was taken before is answered, and not looked at again.

        Raises:
            Forged: it is not signed, or too old.
            Poison: it names no place.
        """
        assert self.hooks is not None
        name = self.hooks.check(headers, body)
        events = read_notice(parse_body(body))
        if not self.hooks.take(name):
            self.inbox.counts.see(self.name, "repeated")
            return HTTPStatus.OK
        status = HTTPStatus.TOO_MANY_REQUESTS
        try:
            status = self._offer(events)
        finally:
            if status is HTTPStatus.TOO_MANY_REQUESTS:  # or it names no source
                self.hooks.give_back(name)
        return status

    def is_token(self, header: str) -> bool:
        """Return True if an Authorization header carries a token of the file."""
        assert self.token is not None
        kind, _, given = header.partition(" ")
        sent = given.strip().encode("latin-1", "replace")
        same = [hmac.compare_digest(sent, one.encode()) for one in self.token.lines()]  # each is compared
        return kind.lower() == "bearer" and any(same)

    def _offer(self, events: Sequence[Event]) -> HTTPStatus:
        fate = self.inbox.offer(self, "", events)
        if fate == "full":
            return HTTPStatus.TOO_MANY_REQUESTS
        return HTTPStatus.ACCEPTED if fate == "accepted" else HTTPStatus.OK


class _Server(ThreadingHTTPServer):
    daemon_threads, block_on_close, request_queue_size = True, False, 64

    def __init__(self, place: tuple[str, int], channel: HttpInbox) -> None:
        self.channel = channel
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        super().__init__(place, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, or close the connection if too many are open."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and cut the connection if that takes too long: one byte a second is an attack."""
        timer = threading.Timer(REQUEST_S, _cut, (request,))
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that went away is not an event."""


class _Handler(BaseHTTPRequestHandler):
    """One request and its answer; the connection is closed after it."""

    server: _Server
    timeout = _IDLE_S
    server_version, sys_version = "trichord", ""

    def setup(self) -> None:
        super().setup()
        self._head = _Head(self.rfile)
        self.rfile = cast(BufferedIOBase, self._head)  # it has what the base class reads with

    def do_GET(self) -> None:
        page = self.server.channel.pages.get(self.path)
        if page is None:
            self._answer(HTTPStatus.NOT_FOUND)
        else:
            self._answer(*page())

    def do_POST(self) -> None:
        channel = self.server.channel
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            if self.path == "/events" and channel.token is not None:
                if not channel.is_token(headers.get("authorization", "")):
                    raise Forged
                body = self._body(headers)
                status = None if body is None else channel.take_events(headers, body)
            elif self.path == "/hooks" and channel.hooks is not None:
                body = self._body(headers)
                status = None if body is None else channel.take_hook(headers, body)
            else:
                status = HTTPStatus.NOT_FOUND
        except Forged:
            channel.inbox.counts.see(channel.name, "refused")
            self._answer(HTTPStatus.UNAUTHORIZED)
        except Poison as poison:
            channel.inbox.counts.see(channel.name, "refused")
            self._answer(HTTPStatus.UNPROCESSABLE_ENTITY, "application/json", _json({"reason": str(poison)}))
        except ConfigError as error:  # a secret's file is gone
            log.event("http_refuses_all", detail=str(error))
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            if status is not None:
                self._answer(status)

    def _body(self, headers: Mapping[str, str]) -> bytes | None:
        """Return the body; None if the request was answered, because its length is missing or too large."""
        told = headers.get("content-length", "")
        if "transfer-encoding" in headers or not (told.isascii() and told.isdigit() and len(told) < 20):
            self._answer(HTTPStatus.LENGTH_REQUIRED)
            return None
        if int(told) > MAX_BODY_BYTES:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return None
        body = self._head.read_body(int(told))
        return body if len(body) == int(told) else None

    def _answer(self, status: HTTPStatus, kind: str = "text/plain", body: bytes = b"") -> None:
        self.send_response(status)
        if status is HTTPStatus.TOO_MANY_REQUESTS:
            self.send_header("Retry-After", str(_RETRY_AFTER_S))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: counts say how many, and a stranger's words reach no log."""


class _Head:
    """A request's stream: of its first lines, as many bytes as headers may have."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._left = stream, MAX_HEADER_BYTES
        self.closed = False

    def readline(self, size: int = -1) -> bytes:
        line: bytes = self._stream.readline(min(self._left, size) if size >= 0 else self._left)
        self._left -= len(line)
        if self._left <= 0:
            raise io.UnsupportedOperation("the headers are too large")
        return line

    def read_body(self, size: int) -> bytes:
        found: bytes = self._stream.read(size)
        return found

    def close(self) -> None:
        self.closed = True
        self._stream.close()


def _cut(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:  # it has ended
        return


def _alive() -> tuple[HTTPStatus, str, bytes]:
    return HTTPStatus.OK, "text/plain", b"ok\n"


def _ready(problems: Sequence[str]) -> tuple[HTTPStatus, str, bytes]:
    status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
    return status, "application/json", _json({"ready": not problems, "problems": list(problems)})


def _json(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"
