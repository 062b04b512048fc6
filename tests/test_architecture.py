"""The architecture as tests (see docs/architecture.md): layers, third-party walls, file sizes and names."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
PYPROJECT = REPOSITORY / "pyproject.toml"
ROOMS = ("pipelines", "encoders", "index_builders", "transforms", "infra")
MAX_LINES = 400
# The weights of silero-vad are read as a file; the version of pyloudnorm, whose measure loudness is, is in addresses.
NOT_IMPORTED = {"pyloudnorm", "silero-vad"}
CONTRACTS = [contract["id"] for contract in tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]]


def lint(folder: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """Run import-linter under the committed contracts on the package `trichord` in `folder`."""
    chosen = [argument for contract in contracts for argument in ("--contract", contract)]
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--config", str(PYPROJECT), *chosen],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_rooms_keep_every_contract(tmp_path: Path) -> None:
    (tmp_path / "trichord").symlink_to(REPOSITORY)
    result = lint(tmp_path)

    assert result.returncode == 0, result.stdout + result.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in result.stdout


# One import that each contract exists to refuse: (contract, module, what it imports).
FORBIDDEN = [
    ("layers", "infra.digest", "trichord.transforms"),
    ("layers", "infra.lake.table", "trichord.pipelines"),
    ("layers", "transforms.clean.text", "trichord.encoders"),
    ("layers", "encoders.model", "trichord.index_builders"),
    ("layers", "index_builders.exact", "trichord.encoders"),
    ("pipelines", "pipelines.core.workspace", "trichord.pipelines.search"),
    ("pipelines", "pipelines.prepare.plan", "trichord.pipelines.model"),
    ("pipelines", "pipelines.publish.publish", "trichord.pipelines.cli"),
    ("ray", "pipelines.prepare.records", "ray"),
    ("ray", "infra.engines.local", "ray"),
    ("grpc", "infra.engines.ray", "grpc"),
    ("beam", "transforms.batch", "apache_beam"),
    ("torch", "transforms.clean.image", "torch"),
    ("torch", "pipelines.model.train", "torch"),
    ("torch", "index_builders.exact", "torchaudio"),
    ("faiss", "index_builders.exact", "faiss"),
    ("faiss", "pipelines.index.build_faiss", "faiss"),
    ("annoy", "pipelines.index.build_annoy", "annoy"),
    ("milvus", "pipelines.index.build_milvus", "pymilvus"),
    ("milvus", "index_builders.milvus.load", "milvus_lite"),
    ("observability", "pipelines.cli.app", "prometheus_client"),
    ("observability", "pipelines.observe.observers", "openlineage"),
    ("observability", "pipelines.observe.metrics", "opentelemetry"),
    ("boto3", "infra.lake.storage", "boto3"),
    ("boto3", "infra.events.inbox", "botocore"),
    ("cloudevents", "infra.events.hooks", "cloudevents"),
    ("standardwebhooks", "infra.events.http_inbox", "standardwebhooks"),
    ("watchfiles", "pipelines.watch.loop", "watchfiles"),
    ("tests", "pipelines.cli.app", "tests"),
    ("tests", "infra.lake.storage", "moto"),
    ("tests", "infra.lake.storage", "trichord.tests"),
]


# What each wall lets pass.
ALLOWED = {
    "encoders.x": "torch",
    "index_builders.annoy": "annoy",
    "index_builders.faiss_kinds": "faiss",
    "index_builders.faiss_read": "faiss",
    "index_builders.faiss_search": "faiss",
    "index_builders.faiss_sharded": "faiss",
    "index_builders.milvus.client": "pymilvus, milvus_lite",
    "infra.engines.beam": "apache_beam",
    "infra.events.cloud_events": "cloudevents",
    "infra.events.folder": "watchfiles",
    "infra.events.hooks": "standardwebhooks",
    "pipelines.observe.alerts": "standardwebhooks",
    "infra.events.sqs": "boto3, botocore",
    "infra.engines.ray": "ray",
    "infra.engines.ray_train": "ray",
    "infra.engines.ray_actors": "ray",
    "infra.engines.ray_cluster": "grpc, ray",
    "infra.engines.ray_jobs": "ray",
    "pipelines.observe.exposition": "prometheus_client",
    "pipelines.observe.lineage": "openlineage",
    "pipelines.observe.traces": "opentelemetry",
    "transforms.align.ctc": "torch, torchaudio",
    "transforms.augment.audio": "torch, torchaudio",
    "transforms.clean.voice": "safetensors",
}


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    """A repository of one empty module a room, and the modules that the walls let through."""
    inner = sorted(path.name for path in (REPOSITORY / "pipelines").iterdir() if (path / "__init__.py").is_file())
    inner += ["api", "backfill", "nightly", "reindex", "run_plan"]
    modules = (*(f"{room}.x" for room in ROOMS), *(f"pipelines.{room}.x" for room in inner), "tests.x")
    for module in (*modules, *ALLOWED):
        put_module(tmp_path, module, f"import {ALLOWED[module]}\n" if module in ALLOWED else "")
    return tmp_path


def put_module(folder: Path, module: str, text: str) -> None:
    path = folder / "trichord" / f"{module.replace('.', '/')}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    for parent in path.relative_to(folder).parents[:-1]:
        (folder / parent / "__init__.py").touch()


def test_the_walls_let_their_own_modules_pass(rooms: Path) -> None:
    result = lint(rooms)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("contract", "module", "imported"), FORBIDDEN)
def test_a_forbidden_import_breaks_its_contract(rooms: Path, contract: str, module: str, imported: str) -> None:
    put_module(rooms, module, f"import {imported}\n")
    result = lint(rooms, contract)

    assert result.returncode == 1
    assert f"trichord.{module} -> {imported}" in result.stdout


def test_every_contract_is_tried() -> None:
    assert {contract for contract, _, _ in FORBIDDEN} == set(CONTRACTS)


def sources(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (REPOSITORY / room).rglob("*.py"))


def third_party_imports(*rooms: str) -> dict[str, Path]:
    """Every top-level module from outside the repository that the rooms import, and one file that does."""
    found: dict[str, Path] = {}
    for path in sources(*rooms):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            found |= {name.partition(".")[0]: path for name in names}
    return {name: path for name, path in found.items() if name not in {*sys.stdlib_module_names, "trichord", "tests"}}


def declared() -> dict[str, set[str]]:
    """The distributions that setup.py names: `base` and each extra."""
    values: dict[str, Any] = {}
    for node in ast.parse((REPOSITORY / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id != "ROOMS":
            values[node.targets[0].id] = ast.literal_eval(node.value)
    groups = {"base": values["BASE"], **values["EXTRAS"]}
    return {group: {canonicalize_name(Requirement(line).name) for line in lines} for group, lines in groups.items()}


installed = cache(packages_distributions)


def distributions_of(module: str) -> set[str]:
    return {canonicalize_name(name) for name in installed().get(module, [])}


def test_every_import_is_declared() -> None:
    shipped = set().union(*(names for group, names in declared().items() if group != "dev"))
    for module, path in third_party_imports(*ROOMS).items():
        assert distributions_of(module) & shipped, f"{path} imports {module}, which setup.py does not name"
    for module, path in third_party_imports("tests").items():
        assert distributions_of(module) & (shipped | declared()["dev"]), f"{path} imports {module}: name it in [dev]"


def test_the_base_install_holds_nothing_unneeded() -> None:
    imported = set().union(*(distributions_of(module) for module in third_party_imports(*ROOMS)))

    assert declared()["base"] - imported == NOT_IMPORTED


def test_no_file_is_long_or_named_after_nothing() -> None:
    assert sources(*ROOMS)
    for path in sources(*ROOMS, "tests"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES, path
        assert path.stem not in {"utils", "util", "helpers", "helper", "manager", "misc", "common"}, path


def test_every_folder_with_code_is_a_package() -> None:
    for path in sources(*ROOMS, "tests"):
        assert (path.parent / "__init__.py").is_file(), path.parent


PARQUET_READS = {"read_table", "read_row_group", "read_row_groups", "iter_batches"}


def reads_parquet(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute):
        return False
    whole = call.func.attr == "read" and (
        {keyword.arg for keyword in call.keywords} & {"columns", "use_threads"} or "ParquetFile(" in ast.unparse(call)
    )
    return call.func.attr in PARQUET_READS or bool(whole)


def test_no_thread_of_arrow_reads_a_file_of_python() -> None:
    # A thread of Arrow that holds the last reference to a Python file when the interpreter ends aborts the process:
    # `plan` ended by "terminate called without an active exception" (exit -6) in one of three loaded runs.
    calls = [
        (path, node)
        for path in sources(*ROOMS)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and reads_parquet(node)
    ]
    assert len(calls) > 12
    for path, call in calls:
        threads = [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == "use_threads"]
        assert threads == ["False"], f"{path}:{call.lineno}: {ast.unparse(call)}"
