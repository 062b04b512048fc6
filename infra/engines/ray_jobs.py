"""Ray's Jobs API: a command that runs on a cluster, under an id that can be used once.

The token of a cluster that asks for one comes from the file that RAY_AUTH_TOKEN_PATH names (RAY_AUTH_MODE=token).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from trichord.infra.errors import ConfigError, ServiceError
from trichord.infra.redaction import redact

ANSWER_S = 10.0
DEFAULT_PORT = 8265
_POLL_S = 1.0
_LOST_S = 120.0  # the log's connection, or the API's, may be away for this long
_NEXT = "Next: name the cluster's dashboard by --address http://HOST:8265 or RAY_API_SERVER_ADDRESS."
STOP_S = 30  # Ray kills 3 s after SIGTERM by itself; a run lets tasks finish for 25 s
RUNTIME_ENV = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S)}}
_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What the driver of a job reserves; its tasks ask for their own."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: int | None = None
    custom: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as the cluster knows it.

    Attributes:
        id: its submission id.
        status: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED.
        exit_code: of its command; None while it runs, or if the cluster lost it.
        message: what Ray says about its end.
        started_s: seconds since 1970; None before its start.
        ended_s: seconds since 1970; None before its end.
    """

    id: str
    status: str
    exit_code: int | None = None
    message: str = ""
    started_s: float | None = None
    ended_s: float | None = None

    @property
    def ended(self) -> bool:
        """Return True if the job is over, well or not."""
        return self.status in _ENDED


class JobIdTaken(ConfigError):
    """A job of this id was submitted meanwhile."""


class Jobs:
    """The jobs of a cluster.

    Args:
        address: http://HOST:PORT of the dashboard, or HOST:6379 of the head; by default RAY_API_SERVER_ADDRESS, then
            RAY_ADDRESS.

    Raises:
        ConfigError: no address is known, Ray is not installed, or the token is missing.
        ServiceError: nothing answers there.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = _address(address)
        try:
            from ray.job_submission import JobSubmissionClient
        except ImportError as error:
            raise ConfigError(f"Jobs need Ray: {error}\nNext: pip install 'trichord[ray]'") from error
        logging.getLogger("ray").setLevel(logging.ERROR)
        os.environ["RAY_API_SERVER_ADDRESS"] = self.address  # Ray takes it before what it is given
        _require_answer(self.address)
        with self._asking():
            self._client: Any = JobSubmissionClient(self.address)

    def submit(self, job_id: str, command: str, folder: str, resources: Resources, about: Mapping[str, str]) -> None:
        """Start a command in a copy of a folder.

        Raises:
            JobIdTaken: a job of this id exists.
            ServiceError: the cluster does not answer, or refuses.
        """
        try:
            self._client.submit_job(
                submission_id=job_id,
                entrypoint=command,
                runtime_env={"working_dir": folder, **RUNTIME_ENV},
                metadata=dict(about),
                entrypoint_num_cpus=resources.num_cpus,
                entrypoint_num_gpus=resources.num_gpus,
                entrypoint_memory=resources.memory,
                entrypoint_resources=dict(resources.custom) or None,
            )
        except Exception as error:
            if "already" in str(error) and job_id in str(error):
                raise JobIdTaken(f"A job {job_id} exists.") from error
            raise self._refused(error) from error

    def list(self, prefix: str) -> list[Job]:
        """Return the jobs whose id begins with this, newest first."""
        with self._asking():
            found = [_job(one) for one in self._client.list_jobs() if (one.submission_id or "").startswith(prefix)]
        return sorted(found, key=lambda job: (job.started_s or time.time(), job.id), reverse=True)

    def get(self, job_id: str) -> Job:
        """Return a job. Raises ConfigError where there is none of this id."""
        with self._asking(job_id):
            return _job(self._client.get_job_info(job_id))

    def log(self, job_id: str) -> str:
        """Return what a job has written. Raises ConfigError where there is none of this id."""
        with self._asking(job_id):
            return str(self._client.get_job_logs(job_id))

    def stop(self, job_id: str) -> Job:
        """Send SIGTERM to a job, and return how it is. Raises ConfigError where there is none of this id."""
        with self._asking(job_id):
            self._client.stop_job(job_id)
        return self.get(job_id)

    def follow(self, job_id: str, write: Callable[[str], None]) -> Job:
        """Write a job's log as it grows, and return the job when it is over.

        Raises:
            ServiceError: the cluster has not answered for minutes; the job may go on.
        """
        written = 0
        lost_at_s: float | None = None
        while True:
            try:
                written = asyncio.run(self._tail(job_id, written, write))
                job = self.get(job_id)
            except (ServiceError, OSError, RuntimeError) as error:
                lost_at_s = time.monotonic() if lost_at_s is None else lost_at_s
                if time.monotonic() - lost_at_s > _LOST_S:
                    raise ServiceError(
                        f"The Jobs API at {self.address} has not answered for {_LOST_S:g} s; the job may go on: "
                        f"{_said(error)}\nNext: `trichord jobs logs {job_id}`"
                    ) from error
            else:
                lost_at_s = None
                if job.ended:
                    return job
            time.sleep(_POLL_S)

    async def _tail(self, job_id: str, written: int, write: Callable[[str], None]) -> int:
        """Write what follows the first `written` characters of a job's log until it ends; return the new length."""
        seen = 0  # a new connection begins with the whole log
        lines = cast("AsyncIterator[str]", self._client.tail_job_logs(job_id))
        async for text in lines:
            if seen + len(text) > written:
                write(text[max(0, written - seen) :])
                written = seen + len(text)
            seen += len(text)
        return written

    @contextmanager
    def _asking(self, job_id: str = "") -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if job_id and "does not exist" in str(error):
                raise ConfigError(f"There is no job {job_id} on this cluster.\nNext: trichord jobs ls") from error
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> ServiceError | ConfigError:
        from ray.exceptions import AuthenticationError

        if isinstance(error, AuthenticationError):
            return ConfigError(
                f"The Jobs API at {self.address} asks for a token, and refused this process's.\n"
                "Next: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's token."
            )
        return ServiceError(f"The Jobs API at {self.address} failed: {_said(error)}\n{_NEXT}")


def _address(given: str | None) -> str:
    """Return the URL of the Jobs API."""
    found = given or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS")
    if not found:
        raise ConfigError(f"No Ray cluster is named.\n{_NEXT}")
    if found.startswith(("http://", "https://")):
        if redact(found) != found:
            raise ConfigError("The cluster's address holds credentials.\nNext: name a file by RAY_AUTH_TOKEN_PATH.")
        return found.rstrip("/")
    if "://" in found:
        raise ConfigError(f"{redact(found)} is not an address of Ray's Jobs API.\n{_NEXT}")
    from trichord.infra.engines.ray_cluster import require_answer

    require_answer(found, _NEXT)
    from ray.dashboard.utils import ray_address_to_api_server_url

    return str(ray_address_to_api_server_url(found))


def _require_answer(address: str) -> None:
    try:
        with urllib.request.urlopen(f"{address}/api/version", timeout=ANSWER_S):
            pass
    except urllib.error.HTTPError:
        pass  # it answers
    except (OSError, ValueError) as error:
        raise ServiceError(f"No Jobs API answers at {address}: {_said(error)}\n{_NEXT}") from error


def _job(details: Any) -> Job:
    return Job(
        id=details.submission_id or "",
        status=str(getattr(details.status, "value", details.status)),
        exit_code=details.driver_exit_code,
        message=redact(details.message or ""),
        started_s=None if details.start_time is None else details.start_time / 1000,
        ended_s=None if details.end_time is None else details.end_time / 1000,
    )


def _said(error: BaseException) -> str:
    return redact(next(iter(str(error).splitlines()), "") or type(error).__name__)[:300]


def resources_options(resources: Resources) -> list[str]:
    """Return the resources as options of `ray job submit`."""
    named = {
        "--entrypoint-num-cpus": resources.num_cpus,
        "--entrypoint-num-gpus": resources.num_gpus,
        "--entrypoint-memory": resources.memory,
        "--entrypoint-resources": json.dumps(dict(resources.custom)) if resources.custom else None,
    }
    return [f"{option}={value}" for option, value in named.items() if value is not None]
