"""doctor: is this installation whole, and can this project's sources, lake and live index be reached?"""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
from collections.abc import Callable
from functools import partial
from typing import Any

from trichord.infra.errors import TrichordError
from trichord.infra.lake import layout
from trichord.pipelines.core.workspace import Workspace

NEEDED = ("numpy", "pyarrow", "pillow", "torch", "torchaudio", "transformers", "deltalake", "soundfile")
OPTIONAL = {"ray": "ray", "apache-beam": "beam", "pymilvus": "milvus", "annoy": "annoy"}


def doctor(workspace: Workspace | None) -> dict[str, Any]:
    """Run every check; a failed one says what to do.

    Returns:
        JSON-ready: `ok` and `checks`, each with `name`, `ok`, `found` and `advice`.
    """
    checks = [_check("python", platform.python_version)]
    checks += [_check(name, partial(importlib.metadata.version, name)) for name in NEEDED]
    checks.append(_check("faiss", _faiss))
    checks.append(_check("device", _device))
    for name, extra in OPTIONAL.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = f"not installed (optional: pip install 'trichord[{extra}]')"
        checks.append({"name": name, "ok": True, "found": found, "advice": ""})
    if workspace is not None:
        checks.append(_check("lake", lambda: _lake(workspace)))
        checks.append(_check("sources", lambda: _sources(workspace)))
        if "milvus" in workspace.project.index.backends:
            checks.append(_check("milvus server", lambda: _milvus(workspace)))
        checks.append(_check("live index", lambda: _live(workspace)))
    return {"ok": all(check["ok"] for check in checks), "checks": checks}


def _check(name: str, probe: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"name": name, "ok": True, "found": probe(), "advice": ""}
    except importlib.metadata.PackageNotFoundError:
        return {"name": name, "ok": False, "found": "not installed", "advice": f"pip install {name}"}
    except (TrichordError, ImportError, OSError, RuntimeError) as error:
        first, *rest = str(error).splitlines() or [type(error).__name__]
        return {"name": name, "ok": False, "found": first, "advice": " ".join(rest)}


def _faiss() -> str:
    installed = [name for name in ("faiss-cpu", "faiss-gpu") if _installed(name)]
    if len(installed) != 1:
        raise RuntimeError(
            f"{' and '.join(installed) or 'neither faiss-cpu nor faiss-gpu'} installed\n"
            "Exactly one must be: pip install 'trichord[cpu]' or 'trichord[gpu]'."
        )
    return f"{installed[0]} {importlib.metadata.version(installed[0])}"


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _device() -> str:
    from trichord.encoders.device import describe_device

    return describe_device()


def _lake(workspace: Workspace) -> str:
    probe = workspace.lake.uri(layout.PROBE)
    workspace.storage.write(probe, b"probe")
    workspace.storage.delete(probe)
    return f"{workspace.lake.root} can be written"


def _sources(workspace: Workspace) -> str:
    from trichord.pipelines.prepare.plan import make_plan

    plan = make_plan(workspace)
    return f"{len(workspace.project.sources)} sources, {plan.rows} rows in {len(plan.shards)} partitions"


def _milvus(workspace: Workspace) -> str:
    from trichord.pipelines.index.open import needed, place_of

    place = needed(place_of(workspace))
    from trichord.index_builders.milvus.client import connected

    with connected(place) as milvus:
        version, names = milvus.version(), milvus.collections()
        return (
            f"{version} at {place.uri}, {len(names)} collections, {place.alias} → {milvus.alias_target() or 'nothing'}"
        )


def _live(workspace: Workspace) -> str:
    from trichord.pipelines.search.search import open_live

    live = workspace.publications.live()
    if live is None:
        return "nothing published yet"
    open_live(workspace)
    return f"{live.id} opens"
