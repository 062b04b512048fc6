"""What is sent to a cluster whose workers lack our code: the package's sources and the project's plug-in modules.

Only what a list names is sent, never a folder as it is: no tests, no lake, no `.env`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterable

from trichord.infra.engines.versions import PACKAGE, SUFFIXES, package_files, package_folder
from trichord.infra.errors import ConfigError

MOST_BYTES = 32 << 20  # Ray refuses packages above 500 MiB and keeps them in the head's memory
_INSTALLED = ("site-packages", "dist-packages")


def is_installed(module: str) -> bool:
    """Return True if a top-level module lies among installed packages: a worker has those, or has other versions."""
    found = importlib.util.find_spec(module)
    return found is not None and any(part in _INSTALLED for part in (found.origin or "").split(os.sep))


def stage(folder: str, modules: Iterable[str] = ()) -> list[str]:
    """Copy the package and the project's top-level modules into a folder; return the place of each.

    Raises:
        ConfigError: a module is not found, or it is larger than a worker's code may be.
    """
    root = package_folder()
    assert root is not None  # this module is in it
    staged = [_copy(root, package_files(root), os.path.join(folder, PACKAGE))]
    for name in modules:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            raise ConfigError(
                f"The project names the module {name!r}, which is not found.\n"
                "Install it, or put its folder on PYTHONPATH."
            )
        if found.submodule_search_locations:
            root = os.path.dirname(found.origin)
            staged.append(_copy(root, _sources(root), os.path.join(folder, name)))
        else:
            staged.append(os.path.join(folder, f"{name}.py"))
            shutil.copyfile(found.origin, staged[-1])
    size = sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names)
    if size > MOST_BYTES:
        raise ConfigError(
            f"The code for the cluster's workers is {size / 1e6:,.0f} MB; at most {MOST_BYTES / 1e6:,.0f} MB are "
            "sent.\n"
            "Install it in the cluster's image instead."
        )
    return staged


def _sources(root: str) -> Iterable[str]:
    """Yield the files of a plug-in's package that are code, relative to its folder."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith((".", "__")) and name not in ("tests", "docs")]
        for name in names:
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield os.path.relpath(os.path.join(folder, name), root)


def _copy(root: str, names: Iterable[str], target: str) -> str:
    for name in names:
        place = os.path.join(target, name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        shutil.copyfile(os.path.join(root, name), place)
    return target
