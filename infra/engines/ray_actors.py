"""Actors that stay: each keeps what its factory made, and all of them answer a question together.

For what is opened once and asked often, as an index is; the engines' verbs run work to its end.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any, Generic

import ray
import ray.exceptions

from trichord.infra.config import EngineConfig
from trichord.infra.engines.base import LONG_S, I, R, packed
from trichord.infra.engines.failure import Failure
from trichord.infra.engines.ray import Answer, Limits, RayEngine, answered
from trichord.infra.errors import PartialRun


class StandingActors(Generic[I, R]):
    """One actor a factory, on a Ray cluster or a private one. One that dies is started again and asked again."""

    def __init__(self, config: EngineConfig, factories: Sequence[Callable[[], Callable[[I], R]]]) -> None:
        self._limits = (config.task_timeout_s, config.worker_memory_bytes)
        RayEngine(config).start()
        self._actors: list[Any] = [_Standing.remote(packed(factory)) for factory in factories]  # type: ignore[attr-defined]

    def ask(self, question: I) -> list[R]:
        """Return the answer of every actor, in the order of the factories; an actor's first question runs its factory.

        Raises:
            TrichordError: the error of ours that an actor met; PartialRun for any other failure, or one that died
                whenever it was asked.
        """
        asked = packed(question)
        try:
            answers = ray.get([actor.answer.remote(asked, self._limits) for actor in self._actors])
        except ray.exceptions.RayError as error:
            raise PartialRun(f"An actor that holds a part died again and again: {error}\nRun it again.") from error
        for answer in answers:
            if isinstance(answer, Failure):
                raise answer.error(f"An actor that holds a part failed: {answer}\nRun it again.")
        return [pickle.loads(answer) for answer in answers]

    def close(self) -> None:
        """End the actors. A cluster that was started for them stays for others, until this process ends."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []


@ray.remote(max_restarts=-1, max_task_retries=2, scheduling_strategy="SPREAD")
class _Standing:
    def __init__(self, factory: bytes) -> None:
        self._factory = factory
        self._made: Callable[[object], object] | None = None

    def answer(self, question: bytes, limits: Limits) -> Answer:
        if self._made is None:
            opened = answered(self._open, (LONG_S, limits[1]))  # of another length than a question's
            if isinstance(opened, Failure):
                return opened
        return answered(lambda: self._made(pickle.loads(question)), limits)  # type: ignore[misc]

    def _open(self) -> None:
        self._made = pickle.loads(self._factory)()
