"""What the tests of events start and change: a watcher in a process, a bucket that tells of itself, and its changes."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import yaml

from tests.command import COMMAND
from tests.infra.events.notices import in_sns, s3_notice
from tests.pipelines.lakes import trichord
from tests.pipelines.watch.small import SETTINGS, files_of, text_of
from trichord.infra.digest import generator

PREFIX = "in/"
LONG_S = 900.0
_QUIET_S = 8.0


class Watching:
    """A watcher in a process of its own, and the events that it logs."""

    def __init__(self, project: Path, *settings: str) -> None:
        words = [word for setting in settings for word in ("--set", setting)]
        self.process = subprocess.Popen(
            [*COMMAND, "watch", "--project", str(project), "--json", *words], stderr=subprocess.PIPE, text=True
        )
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.events.extend(json.loads(line) for line in self.process.stderr if line.startswith("{"))

    def wait_for(self, name: str, count: int = 1) -> dict[str, Any]:
        """The event of this name, once there are so many."""
        until_s = time.monotonic() + LONG_S
        while time.monotonic() < until_s and self.process.poll() is None:
            found = [event for event in list(self.events) if event["event"] == name]
            if len(found) >= count:
                return found[count - 1]
            time.sleep(0.02)
        raise AssertionError(f"no {name}: {self.events[-3:]}")

    def wait_for_events(self, count: int) -> None:
        """Return when so many events are logged, or none comes any more."""
        quiet_s = time.monotonic() + _QUIET_S
        seen = 0
        while len(self.events) < count and time.monotonic() < quiet_s:
            if len(self.events) > seen:
                seen, quiet_s = len(self.events), time.monotonic() + _QUIET_S
            time.sleep(0.005)

    def wait_done(self) -> dict[str, Any]:
        """What the watcher said at its end."""
        return next(event for event in reversed(self.events) if event["event"] == "watch_ended")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(60)
        self._reader.join(10)
        return code


class Bucket:
    """An S3 server (moto) with a bucket, whose objects below `in/` are a source."""

    def __init__(self) -> None:
        import boto3
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        self.s3, self.sqs = (
            boto3.client(name, endpoint_url=self.endpoint, region_name="us-east-1") for name in ("s3", "sqs")
        )
        self.s3.create_bucket(Bucket="lake")

    def notify(self, name: str) -> str:
        """Let the bucket tell a new queue of the server what happens; the queue's URL."""
        url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        told = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
                "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": PREFIX}]}}}  # fmt: skip
        self.s3.put_bucket_notification_configuration(
            Bucket="lake", NotificationConfiguration={"QueueConfigurations": [told]}
        )
        return str(url)

    def left(self, queue: str) -> int:
        """Messages of a queue that were not deleted."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def __enter__(self) -> Bucket:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def put(self, name: str, data: bytes) -> None:
        """Write an object of the source."""
        self.s3.put_object(Bucket="lake", Key=PREFIX + name, Body=data)

    def message(self, name: str, event: str, count: int) -> str:
        """The message that S3 would send: every third goes by SNS."""
        notice = s3_notice(PREFIX + name, event=event, sequencer=f"{count:016X}")
        return json.dumps(in_sns(notice) if count % 3 == 0 else notice)

    def delete(self, name: str) -> None:
        """Delete an object of the source."""
        self.s3.delete_object(Bucket="lake", Key=PREFIX + name)

    def project(self, folder: Path, records: int) -> Path:
        """A project on the bucket with so many records, reindexed once."""
        for number in range(records):
            for name, data in files_of(number).items():
                self.put(name, data)
        folder.mkdir()
        settings = {**SETTINGS, "prepare": {"rows_per_partition": 32}, "engine": {"workers": 2},
                    "storage": {"endpoint": self.endpoint, "allow_http": True}}  # fmt: skip
        source = {"name": "photos", "kind": "folder", "path": f"s3://lake/{PREFIX.rstrip('/')}"}
        project = folder / "trichord.yaml"
        project.write_text(yaml.safe_dump({"lake": "lake", "sources": [source], **settings}))
        trichord("reindex", "--project", str(project))
        return project


class Folder:
    """A local folder that is a source."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, data: bytes) -> None:
        """Write a file as uploads do: nobody sees a part of it."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = self._folder.parent / "upload"
        new.write_bytes(data)
        new.replace(path)

    def delete(self, name: str) -> None:
        """Delete a file."""
        (self._folder / name).unlink()

    def message(self, name: str, event: str, count: int) -> str:
        """The message that its sender would send: every third goes by SNS."""
        place = {"type": event, "data": {"uris": [str(self._folder / name)]}}
        return json.dumps(in_sns(place) if count % 3 == 0 else place)


class Changes:
    """Changes of a source's files, one after another, each with the message that tells of it."""

    def __init__(self, store: Bucket | Folder, records: int, seed: str) -> None:
        self._store, self._seed = store, seed
        self._versions: dict[str, int] = {}
        self._there = {name for number in range(records) for name in files_of(number)}
        self._records, self._count = records, 0

    def next(self) -> str:
        """Change, make or delete a file; the message."""
        self._count += 1
        random = generator(self._seed, self._count)
        number = int(random.integers(self._records + self._count // 50))  # now and then a new one
        names = sorted(files_of(number))
        name = names[int(random.integers(len(names)))]
        version = self._versions[name] = self._versions.get(name, 0) + 1
        if name in self._there and random.random() < 0.15:
            self._store.delete(name)
            self._there.discard(name)
            return self._store.message(name, "ObjectRemoved:Delete", self._count)
        self._store.put(name, files_of(number, version)[name])
        self._there.add(name)
        return self._store.message(name, "ObjectCreated:Put", self._count)

    def pass_by(self) -> tuple[str, str]:
        """Write a new file and delete it at once; both messages."""
        self._count += 1
        name = f"passing/n{self._count}.txt"
        self._store.put(name, text_of(self._count))
        self._store.delete(name)
        made, gone = ("ObjectCreated:Put", "ObjectRemoved:Delete")
        return self._store.message(name, made, self._count), self._store.message(name, gone, self._count)
