"""A queue in memory that speaks SQS's JSON protocol over HTTP, for boto3 in this process or another one.

It hides a message that was received for its visibility timeout, delivers it again after that, and counts everything.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}


@dataclass
class Stored:
    """A message of a queue."""

    body: str
    attributes: dict[str, Any] = field(default_factory=dict)
    visible_s: float = 0.0  # by `time.monotonic`
    receipt: str = ""
    receives: int = 0
    put_s: float = field(default_factory=time.monotonic)


class Queues:
    """Queues by name; each comes into being when it is named."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.stored: dict[str, dict[str, Stored]] = {}
        self.calls: dict[str, int] = {}
        self.failing: set[str] = set()  # actions that are answered by an error
        self.lags_s: dict[str, list[float]] = {}  # queue -> seconds from sending to deletion
        self._numbers, self._epoch = itertools.count(), 0

    def put(self, queue: str, *bodies: str, attributes: dict[str, Any] | None = None) -> None:
        """Send messages."""
        with self.changed:
            for body in bodies:
                self.stored.setdefault(queue, {})[str(next(self._numbers))] = Stored(body, dict(attributes or {}))
            self.changed.notify_all()

    def waiting(self, queue: str) -> list[Stored]:
        """All messages that were not deleted, hidden or not."""
        with self.changed:
            return list(self.stored.get(queue, {}).values())

    def expire(self, queue: str) -> None:
        """Let all messages be seen again, as if their time had passed; polls of clients that are gone get none."""
        with self.changed:
            self._epoch += 1
            for message in self.stored.get(queue, {}).values():
                message.visible_s = 0.0
            self.changed.notify_all()

    def answer(self, action: str, asked: dict[str, Any]) -> dict[str, Any]:
        """What SQS answers."""
        queue = asked["QueueUrl"].rsplit("/", 1)[-1]
        with self.changed:
            self.calls[action] = self.calls.get(action, 0) + 1
            messages = self.stored.setdefault(queue, {})
            match action:
                case "ReceiveMessage":
                    return {"Messages": self._receive(messages, asked)}
                case "DeleteMessageBatch":
                    lags_s = self.lags_s.setdefault(queue, [])
                    return self._each(
                        messages, asked, lambda name, _: lags_s.append(time.monotonic() - messages.pop(name).put_s)
                    )
                case "ChangeMessageVisibilityBatch":
                    found = self._each(messages, asked, lambda name, entry: self._hide(messages[name], entry))
                    self.changed.notify_all()
                    return found
                case "GetQueueAttributes":
                    return {"Attributes": {"VisibilityTimeout": "30"}}
                case "SendMessage":
                    number = str(next(self._numbers))
                    messages[number] = Stored(asked["MessageBody"], asked.get("MessageAttributes", {}))
                    return {"MessageId": number, "MD5OfMessageBody": _md5(asked["MessageBody"])}
        raise AssertionError(action)

    def _receive(self, messages: dict[str, Stored], asked: dict[str, Any]) -> list[dict[str, Any]]:
        until_s, epoch = time.monotonic() + asked.get("WaitTimeSeconds", 0), self._epoch
        while True:
            now_s = time.monotonic()
            ripe = [name for name, one in messages.items() if one.visible_s <= now_s]
            if ripe or now_s >= until_s:
                break
            self.changed.wait(min(until_s, *(one.visible_s for one in messages.values()), until_s) - now_s)
            if self._epoch != epoch:
                return []
        found = []
        for name in ripe[: asked.get("MaxNumberOfMessages", 1)]:
            one = messages[name]
            one.receives += 1
            one.receipt = f"{name}/{one.receives}"
            one.visible_s = time.monotonic() + asked.get("VisibilityTimeout", 30)
            found.append(
                {"MessageId": name, "ReceiptHandle": one.receipt, "Body": one.body, "MD5OfBody": _md5(one.body)}
            )
        return found

    @staticmethod
    def _hide(one: Stored, entry: dict[str, Any]) -> None:
        one.visible_s = time.monotonic() + entry["VisibilityTimeout"]

    @staticmethod
    def _each(messages: dict[str, Stored], asked: dict[str, Any], act: Any) -> dict[str, Any]:
        done: dict[str, Any] = {"Successful": [], "Failed": []}
        for entry in asked["Entries"]:
            name = entry["ReceiptHandle"].split("/")[0]
            if name in messages and messages[name].receipt == entry["ReceiptHandle"]:
                act(name, entry)
                done["Successful"].append({"Id": entry["Id"]})
            else:
                done["Failed"].append({"Id": entry["Id"], "SenderFault": True, "Code": "ReceiptHandleIsInvalid"})
        return done


class SqsServer:
    """The queues behind a port of the loopback interface."""

    def __init__(self) -> None:
        self.queues = Queues()
        self._server = _Server(("127.0.0.1", 0), _handler(self.queues))

    def url(self, queue: str) -> str:
        """URL of a queue."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/1/{queue}"

    def __enter__(self) -> SqsServer:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client was killed."""


def _handler(queues: Queues) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            action = self.headers["X-Amz-Target"].removeprefix("AmazonSQS.")
            if action in queues.failing:
                status, found = 403, {"__type": "com.amazon.coral.service#AccessDeniedException", "message": "no"}
            else:
                status, found = 200, queues.answer(action, json.loads(body))
            data = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            try:
                self.wfile.write(data)
                self.wfile.flush()
            except OSError:  # the watcher was killed
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
