"""The import jobs of Milvus 2.4 and later, by REST: create with an idempotency key, stage, commit.

Servers of 2.6.24, 3.0.2 and later answer a repeated `Idempotency-Key` with the first job, and hold back rows of a job
that was made with `auto_commit` false until it is committed. Older ones ignore both: their jobs complete by themselves.
Reference: milvus.io, "Idempotent Bulk Import" and the API reference of /v2/vectordb/jobs/import.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict, cast

import urllib3

from trichord.index_builders.milvus.client import MilvusPlace
from trichord.index_builders.milvus.stage import Wrong
from trichord.infra import log
from trichord.infra.errors import PartialRun, ServiceError
from trichord.infra.json_values import parse_object

TRIES = 3
POLL_S = 0.2
KEYS_SINCE = ((2, 6, 24), (3, 0, 2))  # of the 2.6 line, of the 3.0 line and later


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The status of an import job; rows are those imported so far."""

    state: str
    rows: int
    progress: int
    reason: str


class _JobData(TypedDict, total=False):
    """The `data` of an answer, as far as it is read."""

    jobId: str | int
    state: str
    importedRows: int
    progress: int
    reason: str


class RestImports:
    """The import endpoints of one server."""

    def __init__(self, place: MilvusPlace) -> None:
        config = place.config
        self._uri, self._database = place.uri, config.database
        token = place.token()
        self._headers = {"Content-Type": "application/json", "DB-Name": config.database}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._pool = urllib3.PoolManager(
            ca_certs=config.ca_file,
            cert_file=config.cert_file,
            key_file=config.key_file,
            timeout=config.timeout_s,
            retries=False,
        )

    def create(self, collection: str, files: Sequence[str], key: str) -> str:
        """Ask for one job over these files; the same key never makes a second one where the server knows keys."""
        body = {
            "collectionName": collection,
            "dbName": self._database,
            "files": [[file] for file in files],
            "options": {"auto_commit": "false"},
        }
        reply = self._post("create", body, {"Idempotency-Key": key})
        return str(reply["jobId"])

    def describe(self, job: str) -> Job:
        """Return the status of a job."""
        reply = self._post("describe", {"jobId": job, "dbName": self._database}, {})
        return Job(
            state=str(reply["state"]),
            rows=int(reply.get("importedRows") or 0),
            progress=int(reply.get("progress") or 0),
            reason=str(reply.get("reason") or ""),
        )

    def commit(self, job: str) -> None:
        """Make a staged job's rows visible; may be repeated."""
        self._post("commit", {"jobId": job, "dbName": self._database}, {})

    def abort(self, job: str) -> None:
        """Throw a staged job's rows away."""
        self._post("abort", {"jobId": job, "dbName": self._database}, {})

    def _post(self, verb: str, body: Mapping[str, object], headers: dict[str, str]) -> _JobData:
        url = f"{self._uri}/v2/vectordb/jobs/import/{verb}"
        again = TRIES if verb != "create" else 1  # only an old server would make a second job of it: the caller resumes
        for left in reversed(range(again)):
            try:
                answer = self._pool.request("POST", url, body=json.dumps(body), headers=self._headers | headers)
                break
            except urllib3.exceptions.HTTPError as error:
                if not left:
                    raise ServiceError(f"{url} does not answer: {error}\nRun `trichord reindex` again.") from error
        try:
            reply = parse_object(answer.data)
            code = reply["code"]
        except (ValueError, KeyError, TypeError) as error:
            raise ServiceError(f"{url} answered {answer.status}, which is not an answer of Milvus.") from error
        if answer.status != 200 or code not in (0, 200):
            raise ServiceError(f"{url} refused: {str(reply.get('message', code))[:300]}\nRun `trichord doctor`.")
        return cast(_JobData, reply.get("data") or {})


def finish(rest: RestImports, job: str, rows: int, check: Callable[[], None], timeout_s: float) -> None:
    """Wait for a job, commit it when all rows are staged and the files are still what they were, and wait again.

    Args:
        rest: the server.
        job: from `create`.
        rows: that it must import.
        check: raises Wrong where a file was altered.
        timeout_s: without progress.

    Raises:
        Wrong: the job failed, imported another number of rows, or read other files.
        PartialRun: it is stuck.
    """
    seen, since, committed = None, time.monotonic(), False
    while True:
        reply = rest.describe(job)
        if reply.state == "Failed":
            raise Wrong(f"Milvus could not import: {reply.reason[:300]}")
        if reply.state in ("Uncommitted", "Completed"):
            try:
                check()
                if reply.rows != rows:
                    raise Wrong(f"Milvus imported {reply.rows} of {rows} rows.")
            except Wrong:
                if reply.state == "Uncommitted" and not committed:
                    rest.abort(job)
                raise
            if reply.state == "Completed":
                return
            if not committed:
                rest.commit(job)
                committed = True
        if reply != seen:
            seen, since = reply, time.monotonic()
            log.event("importing", job=job, progress=reply.progress, state=reply.state)
        if time.monotonic() - since > timeout_s:
            raise stuck(job, timeout_s)
        time.sleep(POLL_S)


def honours_keys(version: str) -> bool:
    """Return True if a server of this version honours an idempotency key."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    line = next((least for least in KEYS_SINCE if least[:2] == numbers[:2]), KEYS_SINCE[-1])
    return numbers >= line


def stuck(what: str, timeout_s: float) -> PartialRun:
    """Return the error of an import that makes no progress."""
    return PartialRun(
        f"The import {what} has made no progress for {timeout_s:g} s.\n"
        "Look at the server's log; `trichord reindex` waits for it again, or starts again where the server gave up."
    )
