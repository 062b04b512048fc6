"""Alerts: signed, for three causes and no other, tried again for a while, and without secrets."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from tests.pipelines.lakes import rows_of, trichord, workspace_of, write_rows
from tests.pipelines.observe.receivers import Recorder, recording
from trichord.infra.config import AlertsConfig
from trichord.infra.errors import ConfigError, ServiceError
from trichord.pipelines.core.runs import RunNote
from trichord.pipelines.observe import alerts
from trichord.pipelines.observe.alerts import LOST, REFUSED, STALE, AlertsReceiver, alerts_of
from trichord.pipelines.observe.outbox import Outbox, close
from trichord.pipelines.observe.state import LakeState, read_state

KEY = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    return path


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "_BACKOFF_S", 0.0)


def received(recorder: Recorder) -> list[dict]:
    """The alerts, each after its signature was verified as a receiver does."""
    return [Webhook(KEY).verify(one.body, dict(one.headers)) for one in recorder.posted]


def note(**given: object) -> RunNote:
    at: dict = {"started_at": "2026-01-02T03:04:05+00:00", "host": "h", "version": "1", "verb": "reindex"}
    return RunNote(**{"id": "1", "trigger": "nightly", **at, **given})


def test_a_refused_gate_and_a_lost_source_alert_and_a_good_run_does_not(lake_copy: Path, key_file: Path) -> None:
    with recording() as hook:
        project = ("--project", str(lake_copy), "--set", f"alerts.url={hook.url}/hook?token=t0ken", "--set",
                   f"alerts.key_file={key_file}")  # fmt: skip
        trichord("reindex", *project)
        assert not hook.posted
        rows = rows_of(lake_copy.parent / "corpus")
        write_rows(lake_copy.parent / "corpus", rows[: len(rows) // 2])
        trichord("reindex", *project, check=3)
        lost = trichord("reindex", *project, "--set", f"sources.0.path={key_file}.gone", check=7)
    refused, gone = received(hook)
    assert (refused["type"], gone["type"]) == (REFUSED, LOST)
    assert "rows_against_live" in {check["name"] for check in refused["data"]["checks"]}
    assert refused["data"]["next"] == "trichord status"
    assert gone["data"]["error"].startswith("SourceError: ")
    assert gone["data"]["exit_code"] == 7
    assert "t0ken" not in lost.stderr
    assert hook.posted[0].headers["webhook-id"] != hook.posted[1].headers["webhook-id"]


def test_a_stale_publication_alerts_at_the_end_of_any_run_that_does_not_confirm_it(lake_copy: Path) -> None:
    state = read_state(workspace_of(lake_copy))
    failed = note(exit_code=6, error="StorageError: full")
    assert [kind for kind, _ in alerts_of(failed, state, stale_after_s=0.001)] == [STALE]
    assert [kind for kind, _ in alerts_of(failed, state, stale_after_s=1e9)] == []
    assert [kind for kind, _ in alerts_of(failed, LakeState(lake="l"), stale_after_s=0.001)] == [], "nothing is live"


def test_an_alert_is_tried_again_under_one_id_but_not_where_it_is_refused(key_file: Path) -> None:
    for statuses, tries, fails in (((503, 429, 200), 3, False), ((500, 500, 500), 3, True), ((403,), 1, True)):
        with recording(*statuses) as hook:
            box = Outbox("alerts")
            receiver = AlertsReceiver(AlertsConfig(url=hook.url, key_file=str(key_file)), box)
            receiver.send(STALE, {"lake": "l"})
            close([box])
            assert len(hook.posted) == tries
            assert len({one.headers["webhook-id"] for one in hook.posted}) == 1
            assert len(received(hook)) == tries
            hook.statuses = list(statuses)
            if fails:
                with pytest.raises(ServiceError, match="not received: status"):
                    receiver._post("msg_1", "{}")


def test_an_alert_holds_no_credential_and_its_signature_covers_its_body(key_file: Path) -> None:
    with recording() as hook:
        box = Outbox("alerts")
        receiver = AlertsReceiver(AlertsConfig(url=hook.url, key_file=str(key_file)), box)
        receiver.send(LOST, {"error": "s3://user:s3cr3t@bucket/x?X-Amz-Signature=abc is gone"})
        close([box])
    [posted] = hook.posted
    assert b"s3cr3t" not in posted.body
    assert b"abc" not in posted.body
    assert KEY[6:].encode() not in posted.body
    assert json.loads(posted.body)["data"]["error"].endswith("is gone")
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(KEY).verify(posted.body + b" ", dict(posted.headers))


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_a2V5", "no key at all!", "whsec_" + "é" * 40])
def test_a_file_without_a_key_is_an_error_before_the_run(text: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(ConfigError, match="holds no key") as raised:
        AlertsReceiver(AlertsConfig(url="http://127.0.0.1:1", key_file=str(path)), Outbox("alerts"))
    assert "openssl rand" in str(raised.value)


def test_a_key_file_that_is_missing_and_a_url_without_one_are_errors(lake_copy: Path, tmp_path: Path) -> None:
    project = ("--project", str(lake_copy), "--set", "alerts.url=http://127.0.0.1:1")
    assert "are given together" in trichord("reindex", *project, check=2).stderr
    missing = trichord("reindex", *project, "--set", f"alerts.key_file={tmp_path / 'none'}", check=2)
    assert "cannot be read" in missing.stderr
