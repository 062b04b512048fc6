"""doctor: check the installation, and whether a project's sources, lake and live index can be reached."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from trichord.infra.bucket_uri import is_remote, split_remote
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.ops.check_lake import compare_clocks, measure_room, race_writers, write_probe
from trichord.pipelines.ops.check_services import DASHBOARD, STORES, ask_jobs, find_ports, inspect_tls, reach
from trichord.pipelines.ops.checks import Check, Probe, check, check_all
from trichord.pipelines.ops.try_models import model_probes
from trichord.pipelines.publish.lost_tables import check_stored

NEEDED = (
    "trichord",
    "numpy",
    "pyarrow",
    "pillow",
    "torch",
    "torchaudio",
    "transformers",
    "deltalake",
    "obstore",
    "soundfile",
)
OPTIONAL = {"ray": "ray", "apache-beam": "beam", "pymilvus": "milvus", "annoy": "annoy"}
_DRIVER = "/proc/driver/nvidia/version"
_LATE = "Check the address, the network, and that the server runs."


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis(Result):
    """Every check; `ok` if all passed."""

    ok: bool
    checks: Sequence[Check]

    @property
    def exit_code(self) -> int:
        """The exit code of the first check that failed; 0 if all passed."""
        return next((one.exit_code for one in self.checks if not one.ok), 0)


def doctor(workspace: Workspace | None) -> Diagnosis:
    """Run every check; with a workspace, also those of what the project uses.

    Servers are asked at the same time, for 5 s at most. Then, if they answer, the sources are planned and the live
    index is opened and Hugging Face models are tried, which takes as long as it takes.
    """
    checks = [check("python", platform.python_version)]
    checks += [check(name, partial(importlib.metadata.version, name)) for name in NEEDED]
    checks.append(check("faiss", _find_faiss))
    checks.append(check("device", _find_device))
    for name, extra in OPTIONAL.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = f"not installed (optional: pip install 'trichord[{extra}]')"
        checks.append(Check(name=name, ok=True, found=found))
    if workspace is not None:
        checks += _check_project(workspace)
    return Diagnosis(ok=all(one.ok for one in checks), checks=checks)


def _check_project(workspace: Workspace) -> list[Check]:
    project, lake = workspace.project, workspace.lake
    ports = find_ports(project, os.environ)
    checks = check_all([(name, partial(reach, place)) for name, place in ports.items()], _LATE)
    silent = {one.name for one in checks if not one.ok}
    if project.engine.kind == "ray" and "Ray" not in ports:
        checks.append(Check(name="Ray", ok=True, found="no address is given: a cluster on this machine"))
    probes: list[tuple[str, Probe]] = []
    if _store_of(lake.root) not in silent:
        probes.append(("lake", partial(write_probe, lake)))
    if DASHBOARD in ports and DASHBOARD not in silent:
        probes.append(("Ray's Jobs API", partial(ask_jobs, ports[DASHBOARD], _version("ray"), os.environ)))
    if "milvus" in project.index.backends and "milvus.uri" not in silent:
        probes.append(("milvus server", partial(_reach_milvus, workspace)))
        if "milvus.uri" in ports:
            probes.append(("milvus TLS", partial(inspect_tls, project.milvus)))
    asked = check_all(probes, _LATE)
    checks += asked
    checks += [check(name, probe) for name, probe in model_probes(project)]
    if not any(one.ok for one in asked if one.name == "lake"):
        return checks
    stored: list[tuple[str, Probe]] = [
        ("put-if-absent", partial(race_writers, lake)),
        ("clock", partial(compare_clocks, lake)),
        ("disk", partial(measure_room, lake)),
    ]
    remote = {one.path for one in project.sources if is_remote(one.path) and _store_of(one.path) not in silent}
    checks += check_all([*stored, *((path, partial(_look_at, workspace, path)) for path in sorted(remote))], _LATE)
    if not silent & set(STORES.values()) and all(one.ok for one in checks if one.name in remote):
        checks.append(check("sources", partial(_plan_sources, workspace)))
    checks.append(check("stored files", partial(check_stored, workspace)))
    checks.append(check("live index", partial(_open_live, workspace)))
    return checks


def _store_of(uri: str) -> str:
    return STORES.get(split_remote(uri)[0], "")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _look_at(workspace: Workspace, path: str) -> str:
    if not workspace.storage.exists(path):
        next(iter(workspace.storage.list(path)), None)
    return "the bucket answers"


def _find_faiss() -> str:
    installed = [name for name in ("faiss-cpu", "faiss-gpu") if _installed(name)]
    if len(installed) != 1:
        raise RuntimeError(
            f"{' and '.join(installed) or 'neither faiss-cpu nor faiss-gpu'} installed\n"
            "Exactly one must be: pip install 'trichord[cpu]' or 'trichord[gpu]'."
        )
    found = f"{installed[0]} {importlib.metadata.version(installed[0])}"
    if installed[0] == "faiss-gpu" and not os.path.exists(_DRIVER):
        return f"{found}, but this machine has no NVIDIA driver: the index is built on the CPU"
    return found


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _find_device() -> str:
    from trichord.encoders.device import compute_device, describe_device

    if os.path.exists(_DRIVER) and compute_device().type == "cpu":
        raise RuntimeError(
            f"{describe_device()}, though this machine has an NVIDIA driver\n"
            "Next: look at nvidia-smi and CUDA_VISIBLE_DEVICES; the driver may be too old for this torch."
        )
    return describe_device()


def _plan_sources(workspace: Workspace) -> str:
    from trichord.pipelines.ops.languages import find_language_warnings
    from trichord.pipelines.prepare.plan import find_warnings, plan_training

    plan = plan_training(workspace)
    found = f"{len(workspace.project.sources)} sources, {plan.rows} rows in {len(plan.shards)} partitions"
    return ". ".join([found, *find_warnings(plan, workspace.project), *find_language_warnings(workspace)])


def _reach_milvus(workspace: Workspace) -> str:
    from trichord.pipelines.index.open import place_of, require_place

    place = require_place(place_of(workspace))
    from trichord.index_builders.milvus.client import connected

    with connected(place) as milvus:
        version, names = milvus.version(), milvus.collections()
        return (
            f"{version} at {place.uri} (pymilvus {_version('pymilvus')}), {len(names)} collections, "
            f"{place.alias} → {milvus.alias_target() or 'nothing'}"
        )


def _open_live(workspace: Workspace) -> str:
    from trichord.pipelines.search.search import open_publication

    live = workspace.publications.live()
    if live is None:
        return "nothing published yet"
    open_publication(workspace, live)
    return f"{live.id} opens"
