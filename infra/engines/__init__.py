"""Engines: where tasks run. Three verbs, one contract; nothing else differs between local processes, Ray and Beam."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from trichord.infra.config import EngineConfig
from trichord.infra.engines.base import Done, Engine, Failed
from trichord.infra.scratch import remove_abandoned

__all__ = ["Done", "Engine", "Failed", "open_engine"]


def open_engine(config: EngineConfig, imports: Sequence[str] = (), modules: Sequence[str] = ()) -> Engine:
    """Return the engine a project asks for; a context manager that starts nothing before its first item.

    Args:
        config: section `engine` of the project file.
        imports: modules that tasks will import; local workers start with them.
        modules: top-level modules of the project's own, such as plug-ins; a Ray cluster gets them, if it lacks them.
    """
    remove_abandoned()
    if config.kind == "ray":
        from trichord.infra.engines.ray import RayEngine  # importing Ray takes seconds

        return RayEngine(config, modules)
    if config.kind == "beam":
        logging.disable(logging.WARNING)  # Beam warns of every cloud library that is not installed
        try:
            from trichord.infra.engines.beam import BeamEngine  # as does importing Beam
        finally:
            logging.disable(logging.NOTSET)
        return BeamEngine(config)
    from trichord.infra.engines.local import LocalEngine

    return LocalEngine(config, imports)
