"""doctor: check the installation, and whether a project's sources, lake and live index can be reached."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from trichord.infra.errors import TrichordError
from trichord.infra.lake import layout
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace

NEEDED = ("numpy", "pyarrow", "pillow", "torch", "torchaudio", "transformers", "deltalake", "soundfile")
OPTIONAL = {"ray": "ray", "apache-beam": "beam", "pymilvus": "milvus", "annoy": "annoy"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: what was found, and if it failed, what to do and the exit code that a run would end with."""

    name: str
    ok: bool
    found: str
    advice: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis(Result):
    """Every check; `ok` if all passed."""

    ok: bool
    checks: Sequence[Check]

    @property
    def exit_code(self) -> int:
        """The exit code of the first check that failed; 0 if all passed."""
        return next((check.exit_code for check in self.checks if not check.ok), 0)


def doctor(workspace: Workspace | None) -> Diagnosis:
    """Run every check; with a workspace, also those of the project."""
    checks = [_check("python", platform.python_version)]
    checks += [_check(name, partial(importlib.metadata.version, name)) for name in NEEDED]
    checks.append(_check("faiss", _find_faiss))
    checks.append(_check("device", _find_device))
    for name, extra in OPTIONAL.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = f"not installed (optional: pip install 'trichord[{extra}]')"
        checks.append(Check(name=name, ok=True, found=found))
    if workspace is not None:
        checks.append(_check("lake", lambda: _probe_lake(workspace)))
        checks.append(_check("sources", lambda: _plan_sources(workspace)))
        if "milvus" in workspace.project.index.backends:
            checks.append(_check("milvus server", lambda: _reach_milvus(workspace)))
        checks.append(_check("live index", lambda: _open_live(workspace)))
    return Diagnosis(ok=all(check.ok for check in checks), checks=checks)


def _check(name: str, probe: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, found=probe())
    except importlib.metadata.PackageNotFoundError:
        return Check(name=name, ok=False, found="not installed", advice=f"pip install {name}", exit_code=1)
    except (TrichordError, ImportError, OSError, RuntimeError) as error:
        first, *rest = str(error).splitlines() or [type(error).__name__]
        code = error.exit_code if isinstance(error, TrichordError) else 1
        return Check(name=name, ok=False, found=first, advice=" ".join(rest), exit_code=code)


def _find_faiss() -> str:
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


def _find_device() -> str:
    from trichord.encoders.device import describe_device

    return describe_device()


def _probe_lake(workspace: Workspace) -> str:
    probe = workspace.lake.uri(layout.PROBE)
    workspace.storage.write(probe, b"probe")
    workspace.storage.delete(probe)
    return f"{workspace.lake.root} can be written"


def _plan_sources(workspace: Workspace) -> str:
    from trichord.pipelines.prepare.plan import find_warnings, plan_training

    plan = plan_training(workspace)
    found = f"{len(workspace.project.sources)} sources, {plan.rows} rows in {len(plan.shards)} partitions"
    return ". ".join([found, *find_warnings(plan, workspace.project)])


def _reach_milvus(workspace: Workspace) -> str:
    from trichord.pipelines.index.open import place_of, require_place

    place = require_place(place_of(workspace))
    from trichord.index_builders.milvus.client import connected

    with connected(place) as milvus:
        version, names = milvus.version(), milvus.collections()
        return (
            f"{version} at {place.uri}, {len(names)} collections, {place.alias} → {milvus.alias_target() or 'nothing'}"
        )


def _open_live(workspace: Workspace) -> str:
    from trichord.pipelines.search.search import open_publication

    live = workspace.publications.live()
    if live is None:
        return "nothing published yet"
    open_publication(workspace, live)
    return f"{live.id} opens"
