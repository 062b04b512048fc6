"""What every job uses: the project, its storage and the lake's tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic

from trichord.infra import digest
from trichord.infra.config import Project
from trichord.infra.engines import open_engine
from trichord.infra.engines.base import LONG_S, Done, Engine, I, R
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.publication import Pinned
from trichord.infra.lake.publications import Publications
from trichord.infra.lake.shard import ShardRef
from trichord.infra.lake.storage import Storage
from trichord.infra.lake.table import LakeTable
from trichord.infra.project import recipe


@dataclass(frozen=True, slots=True)
class Workspace:
    """A project opened on its lake. Cheap: nothing is read until a job asks."""

    project: Project
    lake: Lake = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lake", Lake(Storage(self.project.storage), self.project.lake))

    @property
    def storage(self) -> Storage:
        """Storage of the lake and of the sources."""
        return self.lake.storage

    def table(self, name: str) -> LakeTable:
        """Return one of the lake's Delta tables."""
        return LakeTable(self.lake, name)

    def pinned_shards(self, name: str, pinned: Pinned | None) -> dict[str, ShardRef]:
        """Return the shards of a table by address, in its order: the version that a publication pins, or the newest.

        Args:
            name: of the table.
            pinned: a publication or candidate; None for the newest version.

        Returns:
            The shards; none if the publication does not pin the table, or it was never committed to.

        Raises:
            StorageError: the log is damaged.
        """
        if pinned is not None and name not in pinned.table_versions:
            return {}
        version = None if pinned is None else pinned.table_versions[name]
        return dict(sorted(self.table(name).shards(version).items()))

    @property
    def publications(self) -> Publications:
        """The table whose last row is what readers see."""
        return Publications(self.lake)

    def open_engine(self, imports: Sequence[str] = ()) -> Engine:
        """Open the project's engine, which brings its plug-ins to a cluster; `imports` as in `open_engine`."""
        return open_engine(self.project.engine, imports, self.plugin_modules)

    @property
    def plugin_modules(self) -> tuple[str, ...]:
        """Top-level modules of the encoders that the project names as plug-ins."""
        model = self.project.model
        named = (encoder.plugin for encoder in (model.text, model.image, model.audio) if encoder.kind == "plugin")
        return tuple(sorted({name.partition(":")[0].partition(".")[0] for name in named if name}))

    def model_settings(self) -> str:
        """Digest of every setting that changes a model."""
        shaping = recipe(self.project)
        train = {name: value for name, value in shaping["train"].items() if name not in ("policy", "tensorboard")}
        variants = [shaping["augment"]] if self.project.augment.copies else []
        return digest.address("model-settings", shaping["model"], train, *variants)


def run_alone(engine: Engine, task: Callable[[I], R], item: I) -> R:
    """Run one task that may take hours, such as training or measuring.

    Raises:
        TrichordError: what the worker raised; PartialRun for any other failure.
    """
    [outcome] = engine.map(task, [item], timeout_s=LONG_S)
    if isinstance(outcome, Done):
        return outcome.result
    failure = outcome.failure
    raise failure.error(f"{type(task).__name__} failed ({failure.kind}): {failure}\nRun the command again; it resumes.")


@dataclass(frozen=True, slots=True)
class _Ready(Generic[I, R]):
    """The factory of an actor that exists already."""

    task: Callable[[I], R]

    def __call__(self) -> Callable[[I], R]:
        return self.task


def run_all(
    engine: Engine,
    task: Callable[[I], R],
    items: Iterable[I],
    failed: str,
    *,
    actors: bool = False,
    accelerator: bool = False,
) -> Iterator[R]:
    """Yield the task's results on workers, as they finish; `actors` keep the task, and `accelerator` gives them a GPU.

    Raises:
        TrichordError: what a worker raised; PartialRun, which begins with `failed`, for any other failure.
    """
    for outcome in (
        engine.map_actors(_Ready(task), items, accelerator=accelerator) if actors else engine.map(task, items)
    ):
        if not isinstance(outcome, Done):
            failure = outcome.failure
            raise failure.error(
                f"{failed} ({failure.kind}): {failure}\nFix the cause and run `trichord reindex` again; it resumes."
            )
        yield outcome.result
