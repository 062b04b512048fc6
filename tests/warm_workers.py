"""Worker processes of the local engine that tests of the jobs share: one that has imported its libraries is kept.

A worker that loads models spends seconds of CPU on imports, more than most tests spend on their work. The engine's own
tests (`tests/infra`) and the tests that kill processes (`tests/faults`) start theirs as the product does.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import pytest

from trichord.infra.config import EngineConfig
from trichord.infra.engines.local import LocalEngine, _Worker
from trichord.infra.engines.warm import Template

KEPT = 3  # idle workers; the longest unused ends first
Likeness = tuple[object, ...]

_template = Template()
_lock = threading.Lock()  # Beam's workers are taken by its threads
_idle: list[_Worker] = []
_started: WeakKeyDictionary[_Worker, Likeness] = WeakKeyDictionary()


def _likeness(config: EngineConfig) -> Likeness:
    """All that a worker inherits when it starts: only workers alike stand for one another."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return (tuple(sorted(environment.items())), tuple(sys.path), os.getcwd(), config.worker_memory_bytes, config.device)


def _take(engine: LocalEngine, gpus: tuple[str, ...], task: bytes) -> _Worker:
    if gpus or engine._idle:
        return _fresh(engine, gpus, task)
    wanted = _likeness(engine._config)
    with _lock:
        fit = next((worker for worker in _idle if _started[worker] == wanted and worker._process.poll() is None), None)
        if fit is not None:
            _idle.remove(fit)
    engine._template = _template
    worker = fit or _fresh(engine, gpus, task)
    _started[worker] = wanted
    worker._forget = engine._end
    engine._all.add(worker)
    return worker


def _close(engine: LocalEngine) -> None:
    with _lock:
        _idle.extend(engine._idle)
        over, _idle[:] = _idle[:-KEPT], _idle[-KEPT:]
    engine._all.difference_update(engine._idle)
    engine._idle.clear()
    for worker in over:
        worker.end()
    engine._template = Template()  # the shared one goes on
    _finish(engine)


_fresh, _finish = LocalEngine._take, LocalEngine.close


@contextmanager
def warm_workers() -> Iterator[None]:
    """Until the end, engines of this process leave their idle workers to the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalEngine, "_take", _take)
        patch.setattr(LocalEngine, "close", _close)
        yield
