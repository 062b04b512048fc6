"""Tasks of the engine tests; workers import them from here."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from trichord.infra import log
from trichord.infra.errors import ConfigError, TrichordError
from trichord.infra.scratch import scratch_folder


class SettingError(ConfigError):
    """A subclass of a subclass, with an exit code of its own."""

    exit_code = 42


class TwoArguments(SettingError):
    """Pickling an instance works, unpickling it does not: the constructor wants two arguments."""

    def __init__(self, setting: str, why: str) -> None:
        super().__init__(f"{setting}: {why}")


class Unpicklable(Exception):
    """An error of a library: with two arguments, its message in `__str__`, and holding what does not pickle."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(first)
        self.held = lambda: second

    def __str__(self) -> str:
        return f"first: {self.args[0]}\nsecond: {self.held()}"


def error_of_a_local_class(message: str) -> TrichordError:
    class Local(SettingError):
        pass

    return Local(message)


def square(item: int) -> int:
    return item * item


@dataclass(frozen=True)
class Trouble:
    """Squares, except for the items that raise, die or never end; notes every attempt in a folder."""

    folder: str
    kinds: dict[int, str]
    cured_after: int | None = None

    def __call__(self, item: int) -> int:
        attempts = sorted(Path(self.folder).glob(f"{item}.*"))
        Path(self.folder, f"{item}.{len(attempts)}").touch()
        if self.cured_after is not None and len(attempts) >= self.cured_after:
            return square(item)
        match self.kinds.get(item):
            case "ours":
                raise TwoArguments("model.dimension", "a: b\nNext: c: d")
            case "local":
                raise error_of_a_local_class("said: here\nand there")
            case "foreign":
                raise Unpicklable(1, 2)
            case "raise":
                raise KeyError(f"item {item}")
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "segfault":
                ctypes.string_at(0)
            case "exit":
                os._exit(3)
            case "hang":
                select.select([], [], [])
        return square(item)

    def attempts(self, item: int) -> int:
        return len(list(Path(self.folder).glob(f"{item}.*")))


@dataclass
class Counting:
    """A task with state: how many items this instance has seen."""

    maker: str
    seen: int = 0

    def __call__(self, item: int) -> tuple[str, int]:
        self.seen += 1
        return self.maker, self.seen


@dataclass(frozen=True)
class MakeCounting:
    """A factory that notes each call."""

    folder: str

    def __call__(self) -> Counting:
        Path(self.folder, str(os.getpid())).touch(exist_ok=False)
        return Counting(str(os.getpid()))


def raising_factory() -> Counting:
    raise OSError("the model is not there")


def refusing_factory() -> Counting:
    raise TwoArguments("model.path", "there is: none")


def dying_factory() -> Counting:
    os._exit(9)


def make_square() -> object:
    return square


def process_id(item: int) -> int:
    return os.getpid()


def loaded_modules(item: int) -> set[str]:
    return {name for name in ("torch", "ray", "faiss", "deltalake") if name in sys.modules}


def thread_setting(item: int) -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


def blas_threads(item: int) -> set[int]:
    import numpy  # noqa: F401  # whose library it is
    from threadpoolctl import threadpool_info

    return {library["num_threads"] for library in threadpool_info()}


def talk(item: int) -> int:
    sys.stdout.write(f"said {item}\n")
    sys.stdout.flush()
    return item


def never_ends(item: int) -> None:
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    select.select([], [], [])


def dies_with_scratch(item: int) -> None:
    """Is killed while it has a scratch folder."""
    with scratch_folder("test"):
        os.kill(os.getpid(), signal.SIGKILL)


def greedy(item: int) -> int:
    return len(bytearray(item))


def unpicklable_result(item: int) -> object:
    return lambda: item


def emit_words(document: tuple[str, str]) -> pa.Table:
    name, text = document
    words = text.split()
    return pa.table(
        {"document": [name] * len(words), "group_key": pa.array(words, pa.string()), "at": list(range(len(words)))}
    )


def emit_nothing_of_x(document: tuple[str, str]) -> pa.Table:
    if document[0] == "x":
        raise ValueError("x cannot be emitted")
    return emit_words(document)


def emit_refused(document: tuple[str, str]) -> pa.Table:
    raise TwoArguments("emit", document[0])


def refusing_reduce(bucket: pa.Table) -> int:
    raise TwoArguments("reduce", "no: never")


def emit_without_key(document: tuple[str, str]) -> pa.Table:
    return pa.table({"other": [document[0]]})


def rows_of(bucket: pa.Table) -> list[tuple[str, str, int]]:
    return [(row["group_key"], row["document"], row["at"]) for row in bucket.to_pylist()]


def failing_reduce(bucket: pa.Table) -> int:
    raise ValueError("no reduce")


@dataclass(frozen=True)
class MakeTrouble:
    """A factory of Trouble."""

    folder: str
    kinds: dict[int, str]

    def __call__(self) -> Trouble:
        return Trouble(self.folder, self.kinds)


def emit_or_hang(document: tuple[str, str]) -> pa.Table:
    """The item named x fails, the one named slow is still under way then."""
    if document[0] == "slow":
        select.select([], [], [])
    return emit_nothing_of_x(document)


def visible_gpus(item: int) -> tuple[str | None, int]:
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()


def make_visible_gpus() -> Callable[[int], tuple[str | None, int]]:
    return visible_gpus


def say(text: str) -> None:
    """Write an event, and what a library would write."""
    os.write(2, b"noise of a worker\n")
    log.event(text)


@dataclass(frozen=True)
class Made:
    """A shard to make."""

    partition: str
    address: str


def make_shard(item: Made) -> None:
    """Say that a shard was made, as the task of a job does."""
    with log.bound(partition=item.partition, address=item.address):
        log.event("made")


def shard_factory() -> Callable[[Made], None]:
    return make_shard
