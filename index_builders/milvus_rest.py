"""The import jobs of Milvus 2.4 and later, by REST: create with an idempotency key, stage, commit.

Servers of 2.6.24, 3.0.2 and later answer a repeated `Idempotency-Key` with the first job, and hold back rows of a job
that was made with `auto_commit` false until it is committed. Older ones ignore both: their jobs complete by themselves.
Reference: milvus.io, "Idempotent Bulk Import" and the API reference of /v2/vectordb/jobs/import.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import urllib3

from index_builders.milvus_client import MilvusPlace
from infra.errors import ServiceError

STATES = ("Pending", "PreImporting", "Importing", "Sorting", "IndexBuilding", "Uncommitted", "Committing", "Completed",
          "Failed")  # fmt: skip
TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """How an import job stands; rows are those imported so far."""

    state: str
    rows: int
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
        told = self._post("create", body, {"Idempotency-Key": key})
        return str(told["jobId"])

    def describe(self, job: str) -> Job:
        """How a job stands."""
        told = self._post("describe", {"jobId": job, "dbName": self._database}, {})
        return Job(
            state=str(told["state"]),
            rows=int(told.get("importedRows") or 0),
            progress=int(told.get("progress") or 0),
            reason=str(told.get("reason") or ""),
        )

    def commit(self, job: str) -> None:
        """Make a staged job's rows visible; may be repeated."""
        self._post("commit", {"jobId": job, "dbName": self._database}, {})

    def abort(self, job: str) -> None:
        """Throw a staged job's rows away."""
        self._post("abort", {"jobId": job, "dbName": self._database}, {})

    def _post(self, verb: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
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
            told = json.loads(answer.data)
            code = told["code"]
        except (ValueError, KeyError, TypeError) as error:
            raise ServiceError(f"{url} answered {answer.status}, which is no answer of Milvus.") from error
        if answer.status != 200 or code not in (0, 200):
            raise ServiceError(f"{url} refused: {str(told.get('message', code))[:300]}\nRun `trichord doctor`.")
        data: dict[str, Any] = told.get("data") or {}
        return data
