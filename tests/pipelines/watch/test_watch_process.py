"""The watcher as a process and with S3's own notifications: files, hooks and queues to a searchable index."""

from __future__ import annotations

import http.client
import json
import signal
import time
from pathlib import Path

import pytest

from tests.faults.event_feed import PREFIX, Bucket, Watching
from tests.infra.events.forged import KEYS, signed
from tests.pipelines.lakes import workspace_of
from tests.pipelines.watch.small import put
from tests.sqs_server import CREDENTIALS, SqsServer
from trichord.pipelines.reindex import reindex
from trichord.pipelines.search.search import search
from trichord.pipelines.watch.loop import watch

ZEBRA, LION = "a zebra crosses the quiet road", "a lion sleeps beneath the old bridge"


def found(project: Path, text: str) -> str:
    """Key of the best hit."""
    key: str = search(workspace_of(project), text=text, image=None, audio=None, k=1)["hits"][0]["key"]
    return key


@pytest.mark.full
def test_files_and_hooks_are_indexed_until_a_signal_ends_the_watcher_in_order(
    project: Path, server: SqsServer, tmp_path: Path
) -> None:
    keys, data, queue = tmp_path / "keys", project.parent / "data", f"watch.queues=[{server.url('photos')}]"
    keys.write_text(KEYS[0])
    watching = Watching(project, "watch.listen=127.0.0.1:0", f"watch.hook_keys={keys}", "watch.quiet_s=0.2", queue)
    port = watching.wait_for("listening")["port"]
    watching.wait_for("unchanged")  # the first sweep
    (data / "zebra.txt").write_text(ZEBRA)
    watching.wait_for("acknowledged")
    assert found(project, ZEBRA) == "zebra"
    body = json.dumps({"data": {"source": "photos", "paths": ["zebra.txt"]}}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/hooks", body, signed(body))
    assert connection.getresponse().status == 202
    watching.wait_for("acknowledged", 2)
    (told,) = put(data, 6, version=3)
    server.queues.put("photos", json.dumps({"uris": [told]}))
    watching.wait_for("looking", 3)
    assert watching.end(signal.SIGTERM) == 143
    names = [event["event"] for event in watching.events]
    assert names[-1] == "interrupted"
    assert not {"error", "run_failed"} & set(names)
    for message in server.queues.waiting("photos"):  # unless the run was faster than the signal
        assert message.visible_s <= time.monotonic(), "it was given back"
    watch(workspace_of(project, queue), once=True)
    assert server.queues.waiting("photos") == []
    assert reindex(workspace_of(project)).unchanged


@pytest.mark.full
def test_s3_tells_sqs_and_the_watcher_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with Bucket() as bucket:
        project = bucket.project(tmp_path / "watched", 24)
        queue = bucket.notify("photos")
        bucket.put("a b+c%/ü (1).txt", ZEBRA.encode())
        bucket.put("3/n3.txt", LION.encode())
        bucket.delete("4/n4.txt")
        bucket.delete("4/n4.png")
        bucket.s3.put_object(Bucket="lake", Key=f"{PREFIX}notes.md", Body=b"no row")
        bucket.s3.put_object(Bucket="lake", Key="elsewhere/a.txt", Body=b"no event")
        workspace = workspace_of(project, f"watch.queues=[{queue}]")
        done = watch(workspace, once=True)
        assert done.messages == {"sqs:photos": {"accepted": 5, "done": 5, "ignored": 1}}, "the sixth is a test event"
        assert done.runs == {"committed": 1}
        assert bucket.left(queue) == 0
        changes = workspace.publications.rows()
        assert len(changes) == 2
        assert (found(project, ZEBRA), found(project, LION)) == ("a b+c%/ü (1)", "3/n3")
        assert reindex(workspace).unchanged
