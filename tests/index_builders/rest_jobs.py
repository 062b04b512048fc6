"""An HTTP server that speaks the import API of Milvus 2.6 and 3.0 as its documentation has it, strictly.

No server of these versions can run here. This one keeps jobs as they do: a key gives back the first job of a
collection, rows of a job with `auto_commit` false stay staged until it is committed, committing twice is not an error,
and anything that the documentation does not know is refused. It reads the Parquet files that it is told of.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

TOKEN = "root:Milvus"
PATHS = {
    "/v2/vectordb/jobs/import/create": {"collectionName", "dbName", "files", "options"},
    "/v2/vectordb/jobs/import/describe": {"jobId", "dbName"},
    "/v2/vectordb/jobs/import/commit": {"jobId", "dbName"},
    "/v2/vectordb/jobs/import/abort": {"jobId", "dbName"},
}
WAY = ("Pending", "PreImporting", "Importing", "Sorting", "IndexBuilding", "Uncommitted")


@dataclass(slots=True)
class Job:
    """One import job; it goes one state on each time it is described."""

    collection: str
    table: pa.Table | None
    reason: str
    auto_commit: bool
    place: int = 0
    state: str = "Pending"


@dataclass(slots=True)
class Jobs:
    """What the server knows. The first answer to `drop_answer_of` is lost on the way."""

    honours_keys: bool = True
    auto_commit_known: bool = True
    drop_answer_of: str | None = None
    jobs: list[Job] = field(default_factory=list)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def rows(self, collection: str) -> list[dict[str, Any]]:
        """Rows of a collection that a reader sees."""
        tables = [job.table for job in self.jobs if job.collection == collection and job.state == "Completed"]
        return [row for table in tables if table is not None for row in table.to_pylist()]

    def answer(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        """The answer to a request, as the server's JSON."""
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return {"code": 1800, "message": "user hasn't authenticated"}
        if path not in PATHS or not set(body) <= PATHS[path]:
            return {"code": 1100, "message": f"invalid parameter: {path} {sorted(body)}"}
        verb = path.rsplit("/", 1)[1]
        self.seen.append(verb)
        if verb == "create":
            return self._create(body, headers.get("idempotency-key"))
        if not str(body["jobId"]).isdigit() or int(body["jobId"]) >= len(self.jobs):
            return {"code": 1100, "message": f"import job {body['jobId']} does not exist"}
        job = self.jobs[int(body["jobId"])]
        return getattr(self, f"_{verb}")(job)

    def _create(self, body: dict[str, Any], key: str | None) -> dict[str, Any]:
        wrong = [value for value in body["options"].values() if not isinstance(value, str)]
        if wrong or not all(isinstance(group, list) and len(group) == 1 for group in body["files"]):
            return {"code": 1100, "message": "options are strings, files are lists of one file"}
        if key is not None and self.honours_keys:
            if not (key.isascii() and key.isprintable() and len(key) <= 256):
                return {"code": 1100, "message": "bad idempotency key"}
            if (known := self.keys.get((body["collectionName"], key))) is not None:
                return {"code": 0, "data": {"jobId": known}}
        try:
            table, reason = pa.concat_tables(pq.ParquetFile(group[0]).read() for group in body["files"]), ""
        except (OSError, pa.ArrowInvalid) as error:
            table, reason = None, str(error)
        automatic = body["options"].get("auto_commit", "true").lower() != "false" or not self.auto_commit_known
        self.jobs.append(Job(collection=body["collectionName"], table=table, reason=reason, auto_commit=automatic))
        number = str(len(self.jobs) - 1)
        self.keys[body["collectionName"], key or ""] = number
        return {"code": 0, "data": {"jobId": number}}

    def _describe(self, job: Job) -> dict[str, Any]:
        if job.state in WAY[:-1]:
            job.place += 1
            job.state = "Failed" if job.table is None else WAY[job.place]
        elif job.state == "Committing" or (job.state == "Uncommitted" and job.auto_commit):
            job.state = "Completed"
        rows = job.table.num_rows if job.table is not None and job.place >= 3 else 0
        return {
            "code": 0,
            "data": {
                "jobId": "0", "state": job.state, "progress": min(99, job.place * 20), "importedRows": rows,
                "reason": job.reason,
            },
        }  # fmt: skip

    def _commit(self, job: Job) -> dict[str, Any]:
        if job.state not in ("Uncommitted", "Committing", "Completed"):
            return {"code": 2100, "message": f"job is {job.state}, expected Uncommitted"}
        job.state = "Committing" if job.state == "Uncommitted" else job.state
        return {"code": 0, "data": {}}

    def _abort(self, job: Job) -> dict[str, Any]:
        if job.state in ("Committing", "Completed"):
            return {"code": 2100, "message": "committed data cannot be rolled back"}
        job.state = "Failed"
        return {"code": 0, "data": {}}


class RestServer:
    """The server on a port of its own."""

    def __init__(self, jobs: Jobs) -> None:
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    answer = jobs.answer(self.path, body, {k.lower(): v for k, v in self.headers.items()})
                    if jobs.drop_answer_of is not None and self.path.endswith(jobs.drop_answer_of):
                        jobs.drop_answer_of = None
                        self.close_connection = True
                        return
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
