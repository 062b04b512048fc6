"""Alerts by webhook, signed as Standard Webhooks (standardwebhooks.com): what somebody must look at."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import urllib3
from standardwebhooks.webhooks import Webhook

from trichord.infra.config import AlertsConfig
from trichord.infra.errors import ConfigError, GateFailed, ServiceError, SourceError
from trichord.infra.redaction import redact_values
from trichord.infra.regular_file import read_regular
from trichord.pipelines.core.runs import RunNote
from trichord.pipelines.observe.outbox import Outbox
from trichord.pipelines.observe.receiver import State
from trichord.pipelines.observe.state import LakeState

REFUSED, LOST, STALE = "trichord.gate.refused", "trichord.source.lost", "trichord.publication.stale"
_TRIES, _TIMEOUT_S, _BACKOFF_S = 3, 4.0, 1.0
_MOST_CHECKS, _MOST_KEY_BYTES, _LEAST_KEY_BYTES = 20, 4_096, 24


class AlertsReceiver:
    """Sends an alert where a run ends with something that somebody must look at.

    Raises:
        ConfigError: the key's file cannot be read, or holds no key.
    """

    def __init__(self, config: AlertsConfig, outbox: Outbox) -> None:
        assert config.url is not None
        assert config.key_file is not None
        self._url, self._stale_after_s, self._outbox = config.url, config.stale_after_s, outbox
        self._webhook = _read_key(config.key_file)

    def started(self, note: RunNote) -> None:
        """Do nothing."""

    def ended(self, note: RunNote, state: State) -> None:
        """Send what there is to alert to."""
        if not note.confirmed:  # else all is well, and the lake need not be read
            for kind, data in alerts_of(note, state(), self._stale_after_s):
                self.send(kind, data)

    def send(self, kind: str, data: dict[str, Any]) -> None:
        """Put an alert into the outbox."""
        body = {"type": kind, "timestamp": datetime.now(UTC).isoformat(timespec="seconds"), "data": data}
        text = json.dumps(redact_values(body), sort_keys=True)
        self._outbox.send(lambda: self._post(f"msg_{secrets.token_hex(12)}", text))

    def _post(self, message: str, text: str) -> None:
        """Post a message until it is received, under one id. Raises ServiceError if it is not."""
        why = ""
        with urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(total=_TIMEOUT_S)) as pool:
            for tried in range(_TRIES):
                if tried:
                    time.sleep(_BACKOFF_S * 2 ** (tried - 1))
                now = datetime.now(UTC)
                headers = {
                    "content-type": "application/json",
                    "user-agent": "trichord",
                    "webhook-id": message,
                    "webhook-timestamp": str(int(now.timestamp())),
                    "webhook-signature": self._webhook.sign(message, now, text),
                }
                try:
                    answer = pool.request(
                        "POST", self._url, body=text.encode(), headers=headers, redirect=False, preload_content=False
                    )
                    answer.close()  # unread: it may be endless
                except urllib3.exceptions.HTTPError as error:
                    why = type(error).__name__  # its text may hold the URL, which may hold a token
                    continue
                if 200 <= answer.status < 300:
                    return
                why = f"status {answer.status}"
                if answer.status < 500 and answer.status != 429:
                    break
        raise ServiceError(f"the alert was not received: {why}")


def alerts_of(note: RunNote, state: LakeState, stale_after_s: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the type and the data of each alert that the end of a run is worth."""
    about = {
        "lake": state.lake,
        "run": note.id,
        "verb": note.verb,
        "trigger": note.trigger,
        "host": note.host,
        "exit_code": note.exit_code,
        "error": note.error,
        "stage": note.stage,
        "publication": state.live.id if state.live is not None else None,
        "next": f"trichord runs show {note.id}",
    }
    if note.exit_code == GateFailed.exit_code:
        failed = state.verdict.failed if state.verdict is not None else ()
        checks = [{"name": one.name, "value": one.value, "threshold": one.threshold} for one in failed[:_MOST_CHECKS]]
        yield REFUSED, about | {"checks": checks, "next": "trichord status"}
    if note.exit_code == SourceError.exit_code:
        yield LOST, about | {"next": "trichord plan"}
    confirmed_s = state.confirmed_s
    if confirmed_s is None and state.live is not None:
        confirmed_s = datetime.fromisoformat(state.live.created_at).timestamp()
    if confirmed_s is not None and (age_s := time.time() - confirmed_s) > stale_after_s:
        yield STALE, about | {"age_s": round(age_s), "stale_after_s": stale_after_s}


def _read_key(path: str) -> Webhook:
    try:
        text = read_regular(path, _MOST_KEY_BYTES).decode("ascii").strip()
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
        if len(key) < _LEAST_KEY_BYTES:
            raise ValueError("too short")
    except OSError as error:
        raise ConfigError(f"The key of alerts.url cannot be read from {path}: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigError(
            f"{path} (alerts.key_file) holds no key: `whsec_` and the base64 of 24 to 64 random bytes.\n"
            f'Next: echo "whsec_$(openssl rand -base64 32)" > {path}'
        ) from error
    return Webhook(key)
