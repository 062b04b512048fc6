"""Where and how tasks run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trichord.infra.config.base import Strict


class EngineConfig(Strict):
    """Where and how tasks run."""

    kind: Literal["local", "ray", "beam"] = Field("local", description="Where tasks run.")
    workers: int = Field(2, ge=1, description="Worker processes (local, beam) or concurrent tasks (ray).")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where encoders run (local, ray). auto: on GPUs where there are some; cpu hides them."
    )
    actors_per_gpu: int = Field(
        1, ge=1, le=64, description="Encoding workers that share a GPU: several fill it when models are small."
    )
    address: str | None = Field(None, description="Ray cluster address; a private local cluster if unset.")
    runner: str = Field("DirectRunner", description="beam: DirectRunner, DataflowRunner, FlinkRunner, SparkRunner ...")
    options: tuple[str, ...] = Field((), description="beam: pipeline options, for example --setup_file=./setup.py.")
    task_timeout_s: float = Field(900.0, gt=0, description="A task that runs longer is ended and its rows bisected.")
    worker_memory_bytes: int | None = Field(
        None, ge=1 << 28, description="Memory a worker may take; one that needs more is ended like one that crashed."
    )
    retries: int = Field(
        2, ge=0, description="Times a task whose worker died is tried again before its rows are bisected."
    )
