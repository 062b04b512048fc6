"""The engine's workers, at the service of planning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from trichord.infra.engines.base import Engine
from trichord.pipelines.core.workspace import Workspace, run_all
from trichord.transforms.collect.manifest import Portion
from trichord.transforms.collect.plan_parts import PartRows, WritePart
from trichord.transforms.collect.scan import LEAST_BYTES, Scanned, Workers

_SLOW_START = 8  # Ray and Beam take so many times longer to start than local workers


@contextmanager
def open_workers(workspace: Workspace) -> Iterator[Workers | None]:
    """Provide the engine's workers, which start when first asked; None where there is one."""
    config, failed = workspace.project.engine, "Some rows could not be planned"
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

        def scan(task: Callable[[Portion], Scanned], items: Iterable[Portion]) -> Iterator[Scanned]:
            return run_all(engine(), task, items, failed, actors=True)

        def write(task: WritePart, items: Iterable[PartRows]) -> Iterator[None]:
            return run_all(engine(), task, items, failed, actors=True)

        yield Workers(
            scan=scan,
            write=None if config.kind == "beam" else write,  # which takes all items before it starts
            least_bytes=LEAST_BYTES * (1 if config.kind == "local" else _SLOW_START),
        )
