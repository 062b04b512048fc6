"""How `trichord watch` learns that something has changed."""

from __future__ import annotations

from pydantic import Field

from trichord.infra.config.base import Strict


class WatchConfig(Strict):
    """How `trichord watch` learns that something has changed."""

    queues: tuple[str, ...] = Field(
        (),
        description="URLs of SQS queues that get S3's notifications, for example "
        "`[https://sqs.eu-central-1.amazonaws.com/123456789012/photos]`. Credentials come from the usual AWS "
        "environment variables, the region from `storage.region`.",
    )
    listen: str | None = Field(
        None,
        pattern=r"^(\d{1,3}(\.\d{1,3}){3}|localhost|\[[0-9a-fA-F:]+\]):\d{1,5}$",
        description="Address that takes events over HTTP, for example 127.0.0.1:8787; needs `watch.token_file` or "
        "`watch.hook_keys`.",
    )
    token_file: str | None = Field(
        None, description="File with the bearer token that CloudEvents and Pub/Sub messages must carry."
    )
    hook_keys: str | None = Field(
        None,
        description="File with the keys (`whsec_…`) that sign Standard Webhooks, one a line; two while one replaces "
        "the other.",
    )
    folders: bool = Field(True, description="Watch the local folders and files of sources.")
    delta_poll_s: float = Field(30.0, gt=0, description="Seconds between looks for a new version of a Delta source.")
    quiet_s: float = Field(5.0, ge=0, description="A run begins when no event has come for this long.")
    most_s: float = Field(60.0, ge=0, description="A run begins this long after the first event in any case.")
    sweep_every_s: float = Field(3_600.0, gt=0, description="Seconds between whole runs, which find lost events.")
    max_pending: int = Field(
        10_000,
        ge=1,
        description="Most events that wait for a run; beyond that, queues are not read, and HTTP answers 429.",
    )
    dead_letters: str | None = Field(
        None,
        description="Folder, or URL of an SQS queue, for messages that cannot be used, each with its reason; "
        "`dead-letters` in the working folder if unset.",
    )
