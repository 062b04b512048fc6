"""Libraries that are imported at their first use: a command pays only for what it does."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any


class _Lazy(ModuleType):
    """Stands for a module until something of it is used."""

    def __init__(self, name: str, prepare: Callable[[Any], None] | None) -> None:
        super().__init__(name)
        self._prepare = prepare
        _made.append(self)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wake(), name)
        self.__dict__[name] = found  # so this is called once a name
        return found

    def _wake(self) -> ModuleType:
        module = importlib.import_module(self.__name__)
        prepare, self._prepare = self._prepare, None
        if prepare is not None:
            prepare(module)
        return module


_made: list[_Lazy] = []


def wake() -> None:
    """Import every module that something stands for, if it is installed."""
    for stand_in in _made:
        with suppress(ImportError):
            stand_in._wake()


def lazy(name: str, prepare: Callable[[Any], None] | None = None) -> Any:
    """Return a stand-in for a module. Its first use imports the module, and calls `prepare` with it once.

    What the module changes of itself later is not seen: use it for functions, classes and constants.
    """
    return _Lazy(name, prepare)


arrow_compute: Any = lazy("pyarrow.compute")  # defines hundreds of functions and their documentation
