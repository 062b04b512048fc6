"""The engine's workers, at the service of planning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from trichord.infra.engines.base import Engine, I, R
from trichord.pipelines.core.workspace import Workspace, run_all
from trichord.transforms.collect.workers import LEAST_BYTES, Workers

_SLOW_START = 8  # Ray and Beam take this many times longer to start than local workers


@contextmanager
def open_workers(workspace: Workspace) -> Iterator[Workers | None]:
    """Provide the engine's workers, which start when first asked; None where there is one."""
    config = workspace.project.engine
    if config.workers < 2:
        yield None
        return
    opened: list[Engine] = []
    with ExitStack() as stack:

        def engine() -> Engine:
            if not opened:
                from trichord.infra.engines import open_engine

                opened.append(stack.enter_context(open_engine(config)))
            return opened[0]

        def run(task: Callable[[I], R], items: Iterable[I]) -> Iterator[R]:
            return run_all(engine(), task, items, "Some rows could not be planned", actors=True)

        yield Workers(
            run=run,
            lazy=config.kind != "beam",
            least_bytes=LEAST_BYTES * (1 if config.kind == "local" else _SLOW_START),
        )
