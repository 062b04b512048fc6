"""Places that hear of runs, as a test needs them: one that records, one that never answers, one that is not there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.serving import serving_in_thread


@dataclass
class Posted:
    """One request as it came in."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Recorder:
    """A server that records what it is sent, and answers with the next status, at last with 200."""

    statuses: list[int] = field(default_factory=list)
    posted: list[Posted] = field(default_factory=list)
    url: str = ""


@contextmanager
def recording(*statuses: int) -> Iterator[Recorder]:
    """Serve a recorder on this machine."""
    recorder = Recorder(list(statuses))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            recorder.posted.append(Posted(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(recorder.statuses.pop(0) if recorder.statuses else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        do_PUT = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd, serving_in_thread(httpd, threading.Event()):
        recorder.url = f"http://127.0.0.1:{httpd.server_address[1]}"
        yield recorder


@contextmanager
def hanging() -> Iterator[str]:
    """Accept connections and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def refusing() -> Iterator[str]:
    """Refuse connections: the port is held, and nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
