"""A real OpenAI-compatible server on this machine: small models that read what stands in the prompt.

`extractive` answers with the line of the numbered sources that shares most words with the question, and cites it.
`judge` scores each source by the share of the question's words that it holds. Other models are what a test makes them.
"""

from __future__ import annotations

import html
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.serving import serving_in_thread

SOURCE = re.compile(r'<source id="(\d+)">\n(.*?)\n</source>', re.S)
_STOP = "a an and are at by does find has in is it of on one or see show shows the there to we what with"
STOP = frozenset(_STOP.split())
Model = Callable[[Mapping[str, Any]], str]


def words(text: str) -> set[str]:
    """Words that carry meaning."""
    return set(re.findall(r"[a-z0-9]+", text.lower())) - STOP


def read_prompt(body: Mapping[str, Any]) -> tuple[list[tuple[int, str]], str]:
    """The numbered sources and the question of the last message."""
    content = body["messages"][-1]["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    sources = [(int(number), html.unescape(words)) for number, words in SOURCE.findall(text)]
    return sources, text.rpartition("Question: ")[2]


def extractive(body: Mapping[str, Any]) -> str:
    """The best line of all sources with its number; of equal ones the first."""
    sources, question = read_prompt(body)
    asked = words(question)
    lines = [(line, number) for number, text in sources for line in text.splitlines()]
    if not lines:
        return "The sources do not hold the answer."
    line, number = max(lines, key=lambda pair: len(words(pair[0]) & asked) / (1 + len(words(pair[0]) | asked)))
    return f"{line} [{number}]"


def judge(body: Mapping[str, Any]) -> str:
    """A number from 0 to 10 for each source."""
    sources, question = read_prompt(body)
    asked = words(question)
    return json.dumps({"scores": [round(10 * len(words(text) & asked) / max(1, len(asked)), 2) for _, text in sources]})


def completion(body: Mapping[str, Any], text: str) -> bytes:
    """A chat completion as the API has it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": len(json.dumps(body["messages"])) // 4, "completion_tokens": len(text) // 4}
    return json.dumps(
        {"object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}
    ).encode()


@dataclass
class Exchange:
    """One request: its headers and body, and the handler to answer by."""

    handler: BaseHTTPRequestHandler
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    def send(self, data: bytes, status: int = 200, **headers: str) -> None:
        """A whole answer; underscores in header names become dashes."""
        self.handler.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.end_headers()
        self.handler.wfile.write(data)

    def answer(self, text: str) -> None:
        """A model's answer."""
        self.send(completion(self.body, text))


@dataclass
class ModelServer:
    """Models by name, what was asked, and answers that come before any model's (`queue`)."""

    models: dict[str, Model] = field(default_factory=lambda: {"extractive": extractive, "judge": judge})
    requests: list[Exchange] = field(default_factory=list)
    queue: list[Callable[[Exchange], None]] = field(default_factory=list)
    port: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def handle(self, exchange: Exchange) -> None:
        self.requests.append(exchange)
        if self.queue:
            self.queue.pop(0)(exchange)
        elif exchange.path != "/v1/chat/completions" or exchange.body.get("model") not in self.models:
            exchange.send(b'{"error": {"message": "there is no such model"}}', 404)
        else:
            exchange.answer(self.models[exchange.body["model"]](exchange.body))

    def drip(self, exchange: Exchange) -> None:
        """Byte by byte, each within any timeout of silence; two seconds at most."""
        exchange.handler.send_response(200)
        exchange.handler.end_headers()
        for _ in range(100):
            exchange.handler.wfile.write(b" ")
            if self.stopping.wait(0.02):
                return

    def silence(self, exchange: Exchange) -> None:
        """Nothing at all, until the server ends."""
        self.stopping.wait(5)


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """A server on a free port of this machine."""
    server = ModelServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                server.handle(Exchange(self, self.path, dict(self.headers.items()), json.loads(data)))
            except OSError:
                self.close_connection = True  # the client hung up

        def log_message(self, *args: object) -> None:
            pass

    class Http(ThreadingHTTPServer):
        daemon_threads = True

    httpd = Http(("127.0.0.1", 0), Handler)
    server.port = httpd.server_address[1]
    with serving_in_thread(httpd, server.stopping):
        yield server
