"""The channel of a queue, with boto3 on a queue in memory that speaks SQS's protocol."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.infra.events.notices import in_sns, s3_notice
from tests.sqs_server import CREDENTIALS, SqsServer
from trichord.infra.errors import ConfigError, ServiceError
from trichord.infra.events.counts import Counts
from trichord.infra.events.dead_letters import DeadLetterFolder, DeadLetters
from trichord.infra.events.inbox import Inbox
from trichord.infra.events.sqs import DeadLetterQueue, SqsQueue, open_client

REGION = "us-east-1"
LONG_S = 30.0


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SqsServer]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with SqsServer() as running:
        yield running


class Scene:
    """A channel on the queue `photos`, and its inbox."""

    def __init__(self, server: SqsServer, dead: DeadLetters, *, limit: int = 100, visibility_s: int = 60) -> None:
        self.queues = server.queues
        self.inbox = Inbox(lambda event: event.uri.startswith("s3://lake/in/"), Counts(), limit)
        client = open_client(server.url("photos"), REGION)
        url = server.url("photos")
        self.channel = SqsQueue(url, client, self.inbox, dead, drain=True, visibility_s=visibility_s)

    def until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds, which the queue's next call decides."""
        done = threading.Event()
        for _ in range(int(LONG_S / 0.02)):
            if condition():
                return
            done.wait(0.02)
        raise AssertionError("it never came to be")


@pytest.fixture
def scene(server: SqsServer, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(server, DeadLetterFolder(str(tmp_path / "dead")))
    yield made
    made.channel.stop()


def test_messages_are_deleted_when_they_are_acknowledged_and_not_before(scene: Scene) -> None:
    scene.queues.put("photos", *(json.dumps(s3_notice(f"in/{i}.txt")) for i in range(25)))
    scene.queues.put("photos", json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}))
    scene.channel.start()
    assert scene.channel.drained.wait(LONG_S)
    assert scene.inbox.waiting == len(scene.queues.waiting("photos")) == 25, "only the test event is done with"
    scene.inbox.finish(scene.inbox.held())
    assert scene.queues.waiting("photos") == []
    assert scene.queues.calls["DeleteMessageBatch"] == 1 + 3


def test_a_message_stays_hidden_while_it_is_held_and_is_given_back_then(server: SqsServer, tmp_path: Path) -> None:
    scene = Scene(server, DeadLetterFolder(str(tmp_path)), visibility_s=1)
    scene.queues.put("photos", json.dumps(s3_notice("in/a.txt")))
    scene.channel.start()
    scene.until(lambda: scene.queues.calls.get("ChangeMessageVisibilityBatch", 0) >= 4)  # every third of a second
    (message,) = scene.queues.waiting("photos")
    assert message.receives == 1, "it was extended beyond its second"
    scene.channel.stop()
    assert scene.inbox.waiting == 1
    assert scene.queues.waiting("photos")[0].visible_s <= time.monotonic()


POISON = {
    "not json": "it is not JSON",
    json.dumps({"Records": [{}]}): "is not S3's",
    json.dumps(s3_notice("other/a.txt")): "no source of the project",
    json.dumps(in_sns(s3_notice("in/../a.txt"))): "as a folder",
    "[" * 300_000: "nested too deeply",
}


def test_poison_goes_to_the_folder_with_its_reason_and_good_messages_wait(scene: Scene, tmp_path: Path) -> None:
    scene.queues.put("photos", *POISON, json.dumps(s3_notice("in/a.txt")))
    scene.channel.start()
    assert scene.channel.drained.wait(LONG_S)
    assert [message.body for message in scene.queues.waiting("photos")] == [json.dumps(s3_notice("in/a.txt"))]
    letters = [json.loads(path.read_text()) for path in (tmp_path / "dead").iterdir()]
    assert len(letters) == len(POISON)
    for letter in letters:
        (reason,) = [reason for body, reason in POISON.items() if body[:1_000] == letter["body"][:1_000]]
        assert reason in letter["reason"]
    assert scene.inbox.counts.total("refused") == len(POISON)


def test_poison_goes_to_a_queue_with_its_reason_and_stays_where_it_is_if_that_fails(server: SqsServer) -> None:
    dead = DeadLetterQueue(server.url("dead"), open_client(server.url("dead"), REGION))
    scene = Scene(server, dead)
    server.queues.failing.add("SendMessage")
    scene.queues.put("photos", "poison")
    scene.channel.start()
    assert scene.channel.drained.wait(LONG_S)
    assert [message.body for message in scene.queues.waiting("photos")] == ["poison"]
    server.queues.failing.clear()
    scene.queues.put("photos", "more poison")
    scene.until(lambda: len(scene.queues.waiting("photos")) == 1)
    scene.channel.stop()
    (letter,) = server.queues.waiting("dead")
    assert letter.body == "more poison"
    assert letter.attributes["reason"]["StringValue"].startswith("it is not JSON")


def test_a_full_inbox_reads_no_further(server: SqsServer, tmp_path: Path) -> None:
    scene = Scene(server, DeadLetterFolder(str(tmp_path)), limit=10)
    scene.queues.put("photos", *(json.dumps(s3_notice(f"in/{i}.txt")) for i in range(30)))
    scene.channel.start()
    scene.until(lambda: scene.inbox.is_full)
    for left in (20, 10, 0):
        scene.until(lambda: scene.inbox.waiting == 10)
        assert sum(one.receives > 0 for one in scene.queues.waiting("photos")) <= 10
        scene.inbox.finish(scene.inbox.held())
        assert len(scene.queues.waiting("photos")) == left
    scene.channel.stop()


def test_a_queue_that_refuses_is_an_error_at_the_start_and_a_pause_later(scene: Scene, server: SqsServer) -> None:
    server.queues.failing |= {"GetQueueAttributes", "ReceiveMessage"}
    with pytest.raises(ServiceError, match="sqs:ReceiveMessage"):
        scene.channel.start()
    server.queues.failing.remove("GetQueueAttributes")
    scene.queues.put("photos", json.dumps(s3_notice("in/a.txt")))
    scene.channel.start()
    scene.until(lambda: scene.channel.problem() is not None)
    server.queues.failing.clear()
    scene.until(lambda: scene.inbox.waiting == 1)
    assert scene.channel.problem() is None


@pytest.mark.parametrize("url", ["photos", "s3://bucket/key", "https://", "https://sqs.eu-central-1.amazonaws.com"])
def test_what_is_no_url_of_a_queue_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"watch\.queues"):
        open_client(url, REGION)
