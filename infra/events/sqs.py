"""SQS: S3's notifications by long polls. Messages are extended while a run goes on, and deleted after its commit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from trichord.infra import log
from trichord.infra.errors import ConfigError, ServiceError
from trichord.infra.events.dead_letters import MOST_CHARS, DeadLetters
from trichord.infra.events.event import Poison
from trichord.infra.events.inbox import Inbox
from trichord.infra.events.notices import parse_body, read_notice
from trichord.infra.redaction import redact

VISIBILITY_S = 120  # for this long nobody else sees a message; extended at a third of it
_BATCH = 10  # SQS allows no more
_POLL_S = 5  # a poll cannot be broken off, and a process that is asked to end waits for it
_DRAIN_S = 1
_LONGEST_PAUSE_S = 60.0
_GIVE_BACK_S = 5.0  # of the grace that a process has after SIGTERM


def open_client(queue: str, region: str) -> Any:
    """Return boto3's client for a queue's endpoint. Raises ConfigError if boto3 is not installed, or the URL is none.

    The endpoint is the URL's own, so servers that speak SQS's protocol need no further setting.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError as missing:
        raise ConfigError("watch.queues needs boto3.\nNext: pip install 'trichord[events]'") from missing
    parts = urlsplit(queue)
    if parts.scheme not in ("http", "https") or not parts.netloc or not parts.path.strip("/"):
        raise ConfigError("watch.queues: expected the URL of a queue, such as https://sqs.REGION.amazonaws.com/ID/NAME")
    patience = Config(connect_timeout=5, read_timeout=_POLL_S + 20, retries={"mode": "standard", "max_attempts": 3})
    endpoint = f"{parts.scheme}://{parts.netloc}"
    return boto3.client("sqs", endpoint_url=endpoint, region_name=region, config=patience)


class SqsQueue:
    """A channel from a queue.

    Args:
        queue: its URL.
        client: boto3's, or one that answers as it does.
        inbox: takes the messages.
        dead: takes those that mean nothing here.
        drain: note when the queue is empty, and poll shortly: for a run that ends then.
        visibility_s: see `VISIBILITY_S`.
    """

    def __init__(
        self,
        queue: str,
        client: Any,
        inbox: Inbox,
        dead: DeadLetters,
        *,
        drain: bool = False,
        visibility_s: int = VISIBILITY_S,
    ) -> None:
        self.name = f"sqs:{queue.rsplit('/', 1)[-1]}"
        self._queue, self._client, self._inbox, self._dead = queue, client, inbox, dead
        self._poll_s, self._visibility_s = _DRAIN_S if drain else _POLL_S, visibility_s
        self._lock = threading.Lock()
        self._held: dict[str, None] = {}  # receipts of messages that are neither deleted nor given back
        self._stopping, self.drained = threading.Event(), threading.Event()
        self._problem: str | None = None
        self._receiver: threading.Thread | None = None

    def start(self) -> None:
        """Look at the queue, and begin to receive.

        Raises:
            ServiceError: the queue does not answer, or refuses.
        """
        try:
            self._client.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["VisibilityTimeout"])
        except Exception as error:
            raise ServiceError(
                f"The queue {redact(self._queue)} cannot be read: {_first_line(error)}\n"
                "Next: check watch.queues, storage.region and the credentials (AWS_ACCESS_KEY_ID, …); the watcher "
                "needs sqs:ReceiveMessage, DeleteMessage, ChangeMessageVisibility and GetQueueAttributes."
            ) from error
        self._receiver = threading.Thread(target=self._receive, name=f"{self.name}-receive", daemon=True)
        self._receiver.start()
        threading.Thread(target=self._keep_hidden, name=f"{self.name}-extend", daemon=True).start()

    def problem(self) -> str | None:
        """Return why nothing is received at present."""
        return self._problem

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """Delete messages. One that cannot be deleted is delivered again, and looked at again."""
        self._forget(receipts)
        for batch in _batches(receipts):
            entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(batch)]
            self._try("delete", partial(self._client.delete_message_batch, QueueUrl=self._queue, Entries=entries))

    def stop(self) -> None:
        """Receive no more, and let others see at once what was not acknowledged."""
        self._stopping.set()
        if self._receiver is not None:
            self._receiver.join(self._poll_s + _GIVE_BACK_S)  # or its last poll would receive what is given back
        with self._lock:
            held = list(self._held)
        self._forget(held)
        until_s = time.monotonic() + _GIVE_BACK_S
        for batch in _batches(held):
            if time.monotonic() > until_s or not self._hide(batch, 0):
                return  # they are seen again when their time is over

    def _receive(self) -> None:
        pause_s = 1.0
        while not self._stopping.is_set():
            if not self._inbox.wait_for_room(1.0):
                continue
            try:
                found = self._client.receive_message(
                    QueueUrl=self._queue,
                    MaxNumberOfMessages=_BATCH,
                    WaitTimeSeconds=self._poll_s,
                    VisibilityTimeout=self._visibility_s,
                ).get("Messages", [])
            except Exception as error:  # noqa: BLE001 - whatever the library raises, the next try may be better
                self._problem = _first_line(error)
                log.event("queue_unreachable", queue=self.name, detail=self._problem, again_in_s=pause_s)
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            pause_s, self._problem = 1.0, None
            with self._lock:
                self._held |= dict.fromkeys(message["ReceiptHandle"] for message in found)
            done = [message["ReceiptHandle"] for message in found if self._is_done(message)]
            if done:
                self.acknowledge(done)
            if not found:
                self.drained.set()

    def _is_done(self, message: Mapping[str, Any]) -> bool:
        """Offer a message to the inbox; return True if it needs no run."""
        body, receipt = str(message.get("Body", "")), message["ReceiptHandle"]
        try:
            events = read_notice(parse_body(body))
        except Poison as poison:
            return self._bury(body, receipt, poison)
        while not self._stopping.is_set():
            try:
                fate = self._inbox.offer(self, receipt, events)
            except Poison as poison:
                return self._bury(body, receipt, poison)
            if fate != "full":
                return fate in ("ignored", "repeated")
            self._inbox.wait_for_room(1.0)
        return False

    def _bury(self, body: str, receipt: str, poison: Poison) -> bool:
        self._inbox.counts.see(self.name, "refused")
        kept = self._dead.put(self.name, body, str(poison))
        if not kept:
            self._forget([receipt])  # no longer extended: it comes again
        return kept

    def _keep_hidden(self) -> None:
        while not self._stopping.wait(self._visibility_s / 3):
            with self._lock:
                held = list(self._held)
            for batch in _batches(held):
                self._hide(batch, self._visibility_s)

    def _hide(self, receipts: Sequence[str], seconds: int) -> bool:
        entries = [
            {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
            for number, receipt in enumerate(receipts)
        ]
        call = partial(self._client.change_message_visibility_batch, QueueUrl=self._queue, Entries=entries)
        return self._try("extend", call)

    def _try(self, what: str, call: Callable[[], Any]) -> bool:
        try:
            refused = call().get("Failed", [])
        except Exception as error:  # noqa: BLE001 - the message comes again, which does no harm
            log.event("queue_refused", queue=self.name, call=what, detail=_first_line(error))
            return False
        if refused:
            log.event("queue_refused", queue=self.name, call=what, messages=len(refused))
        return True

    def _forget(self, receipts: Sequence[str]) -> None:
        with self._lock:
            for receipt in receipts:
                self._held.pop(receipt, None)


class DeadLetterQueue:
    """A queue for dead letters; the reason is an attribute of the message."""

    def __init__(self, queue: str, client: Any) -> None:
        self._queue, self._client = queue, client

    def put(self, channel: str, body: str, reason: str) -> bool:
        """Send a message with its reason."""
        log.event("event_refused", channel=channel, reason=reason)
        texts = {"reason": reason, "channel": channel}
        attributes = {name: {"DataType": "String", "StringValue": text[:1_000]} for name, text in texts.items()}
        try:
            self._client.send_message(
                QueueUrl=self._queue, MessageBody=body[:MOST_CHARS] or "-", MessageAttributes=attributes
            )
        except Exception as error:  # noqa: BLE001 - the message stays where it was
            log.event("dead_letter_not_kept", queue=self._queue.rsplit("/", 1)[-1], detail=_first_line(error))
            return False
        return True


def _batches(receipts: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(receipts)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _first_line(error: Exception) -> str:
    return redact(next(iter(str(error).splitlines()), type(error).__name__))[:300]
