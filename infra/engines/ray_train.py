"""Process groups on a Ray cluster, by Ray Train: it places the workers, brings them together and ends them as one."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import ray.train
from ray.train import TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer

from trichord.infra.config import EngineConfig
from trichord.infra.engines.base import packed
from trichord.infra.engines.failure import Failure
from trichord.infra.engines.ray import RayEngine
from trichord.infra.scratch import scratch_folder


class _RankFailed(Exception):
    """Carries a `Failure` out of a worker: Ray Train pickles exceptions, and not every exception survives that."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


def run_on_ray_train(config: EngineConfig, run: Callable[[int, int], object], world_size: int) -> None:
    """Call `run(rank, world_size)` in every worker; the workers have met by gloo when it is called.

    Raises:
        TrichordError: the error of ours that a worker met; PartialRun for any other failure.
    """
    with RayEngine(config) as engine, scratch_folder("meet") as folder:
        engine.start()
        trainer = TorchTrainer(
            _run,
            train_loop_config={"run": packed(run)},
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ray.train.ScalingConfig(num_workers=world_size, use_gpu=False),
            run_config=ray.train.RunConfig(storage_path=folder),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            rank, failure = _first_failure(error)
            raise failure.error(f"Training failed in {rank}: {failure}\nRun the command again; it resumes.") from error


def _run(config: dict[str, bytes]) -> None:
    context = ray.train.get_context()
    try:
        pickle.loads(config["run"])(context.get_world_rank(), context.get_world_size())
    except Exception as error:
        raise _RankFailed(Failure.of(error)) from error


def _first_failure(error: TrainingFailedError) -> tuple[str, Failure]:
    """Return which rank failed, and how: an error of ours before others, which may only follow from it."""
    failures: list[tuple[str, Failure]] = []
    for rank, met in sorted(getattr(error, "worker_failures", {}).items()):
        raised = getattr(met, "_base_exc", met)
        if isinstance(raised, _RankFailed):
            failure = raised.failure
        else:
            failure = Failure(kind="died", message=_first_line(raised))
        failures.append((f"rank {rank}", failure))
    failures.sort(key=lambda found: found[1].ours is None)
    return failures[0] if failures else ("Ray Train", Failure(kind="died", message=_first_line(error)))


def _first_line(error: BaseException) -> str:
    """Return an error's class and the first line of its text: Ray's own texts go on with tracebacks."""
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
