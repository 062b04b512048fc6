"""Submit: run a verb as a job of a Ray cluster, once. What is asked for again is found again, whatever became of it."""

from __future__ import annotations

import datetime
import json
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trichord.infra import digest, log
from trichord.infra.engines.ray_jobs import RUNTIME_ENV, Job, JobIdTaken, Jobs, Resources, resources_options
from trichord.infra.errors import ConfigError, PartialRun
from trichord.infra.packages import version
from trichord.infra.project import absolute_places, load_project
from trichord.infra.redaction import redact
from trichord.infra.scratch import scratch_folder
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.ops.job_package import stage_job

PREFIX = "trichord-"
_STOPPED = 143  # Ray sends SIGTERM and keeps no exit code
_TRIES = 5  # of two who submit the same at once, one attaches


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted(Result):
    """What became of a submission.

    Attributes:
        id: of the job: verb, digest of what was asked for, and attempt.
        attempt: from 1.
        did: started, attached (it was running), done_before (it has ended well), or staged (nothing was submitted).
        status: of the job, by Ray: PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED; empty if it was only staged.
        exit_code: of the verb in the job; 143 if the job was stopped, None while it runs.
        command: the equal `ray job submit`.
        address: of the Jobs API.
    """

    id: str
    attempt: int
    did: str
    status: str
    exit_code: int | None
    command: str
    address: str


def submit(
    project: Path,
    verb: Sequence[str],
    arguments: Sequence[str] = (),
    *,
    overrides: Sequence[str] = (),
    address: str | None = None,
    key: str | None = None,
    again: bool = False,
    wait: bool = True,
    resources: Resources | None = None,
    stage: Path | None = None,
    write: Callable[[str], None] = lambda text: None,
) -> Submitted:
    """Run a verb as a job, unless one of the same project, verb, arguments and live publication runs or ended well.

    Args:
        project: the project file.
        verb: such as ("reindex",).
        arguments: of the verb, without `--project` and `--set`.
        overrides: settings, as by `--set`.
        address: of the Jobs API; by default RAY_API_SERVER_ADDRESS, then RAY_ADDRESS.
        key: a further part of what is asked for, such as a logical date. For `nightly` it is today (UTC) by default.
        again: start the next attempt though the last one ended well.
        wait: write the log and wait for the end.
        resources: what the driver reserves.
        stage: only prepare what would be sent, in this folder.
        write: takes the log's text.

    Raises:
        ConfigError: the project or an argument cannot be used, or what would be sent holds credentials.
        ServiceError: the cluster does not answer.
        PartialRun: the job was lost, without an exit code.
    """
    resources = resources or Resources()
    _refuse_secrets([*overrides, *arguments])
    loaded = load_project(project, overrides)
    workspace = Workspace(loaded)
    base = _base_id(workspace, verb, arguments, key, stage)
    with scratch_folder("job") as scratch:
        folder = stage if stage is not None else Path(scratch)
        _require_empty(folder)
        file, sent = stage_job(folder, project, arguments, workspace.plugin_modules)
        settings = [*overrides, *absolute_places(project, loaded)]
        options = [part for setting in settings for part in ("--set", setting)]
        command = shlex.join(["python", "-m", "trichord.pipelines", *verb, "--project", file, *options, *sent])

        def equal(job_id: str, at: str) -> str:
            where = [f"--address={at}", f"--submission-id={job_id}", f"--working-dir={folder}"]
            options = [*where, f"--runtime-env-json={json.dumps(RUNTIME_ENV)}", *resources_options(resources)]
            return f"{shlex.join(['ray', 'job', 'submit', *options, '--'])} {command}"

        if stage is not None:
            job_id, at = f"{base}-1", address or os.environ.get("RAY_API_SERVER_ADDRESS") or "http://HOST:8265"
            return Submitted(
                id=job_id, attempt=1, did="staged", status="", exit_code=None, command=equal(job_id, at), address=at
            )
        jobs = Jobs(address)
        about = {"verb": " ".join(verb), "trichord": version("trichord")}
        for _ in range(_TRIES):
            job, did = _started(jobs, base, command, os.fspath(folder), resources, about, again)
            if job is not None:
                break
        else:
            raise ConfigError(f"Others keep submitting {base}.\nNext: trichord jobs ls")
    log.event(f"job_{did}", job=job.id, status=job.status, equal=equal(job.id, jobs.address))
    if wait and not job.ended:
        job = jobs.follow(job.id, write)
    codes = {"SUCCEEDED": 0, "STOPPED": _STOPPED}
    if job.ended and job.exit_code is None and job.status not in codes:
        raise PartialRun(
            f"The job {job.id} ended as {job.status} without an exit code: {job.message or 'Ray does not say why'}\n"
            "Run the command again; it resumes."
        )
    return Submitted(
        id=job.id,
        attempt=_attempt(job.id),
        did=did,
        status=job.status,
        exit_code=codes.get(job.status, job.exit_code),
        command=equal(job.id, jobs.address),
        address=jobs.address,
    )


def choose(known: Sequence[Job], *, again: bool) -> tuple[Job | None, str, int]:
    """Return the job to report, what was done about it, and its attempt, by the jobs that are known of what is asked.

    The job is None where one is to be started.
    """
    last = max(known, key=lambda job: _attempt(job.id), default=None)
    if last is None:
        return None, "started", 1
    if not last.ended:
        return last, "attached", _attempt(last.id)
    if last.status == "SUCCEEDED" and not again:
        return last, "done_before", _attempt(last.id)
    return None, "started", _attempt(last.id) + 1


def _started(
    jobs: Jobs, base: str, command: str, folder: str, resources: Resources, about: dict[str, str], again: bool
) -> tuple[Job | None, str]:
    """Return the job, and what was done about it; None if another process was first."""
    job, did, attempt = choose(jobs.list(f"{base}-"), again=again)
    if job is not None:
        return job, did
    job_id = f"{base}-{attempt}"
    try:
        jobs.submit(job_id, command, folder, resources, about)
    except JobIdTaken:
        return None, ""
    return Job(id=job_id, status="PENDING"), did


def _base_id(
    workspace: Workspace, verb: Sequence[str], arguments: Sequence[str], key: str | None, stage: Path | None
) -> str:
    """Return the id of what is asked for, without the attempt."""
    if key is None and tuple(verb) == ("nightly",):
        key = datetime.datetime.now(datetime.UTC).date().isoformat()
    live = workspace.publications.live()
    lake_version = None if live is None else [live.id, dict(live.table_versions)]
    settings = workspace.project.model_dump(mode="json")
    asked = digest.address("submission", settings, list(verb), list(arguments), lake_version, key)
    return f"{PREFIX}{'-'.join(verb)}-{asked[:16]}"


def _attempt(job_id: str) -> int:
    number = job_id.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _refuse_secrets(arguments: Sequence[str]) -> None:
    for argument in arguments:
        if redact(f"?{argument}")[1:] != argument:
            raise ConfigError(
                "An argument holds credentials, which a cluster would show to everybody.\n"
                "Next: write ${NAME} into the project file, and set the variable on the cluster."
            )


def _require_empty(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"The folder {folder} is not empty.\nNext: name another one.")
    folder.mkdir(parents=True, exist_ok=True)
