"""The house plan as tests: layers and third-party walls (DESIGN section 4), file sizes and names (STYLE)."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PYPROJECT = REPOSITORY / "pyproject.toml"
ROOMS = ("pipelines", "encoders", "index_builders", "transforms", "infra")
MAX_LINES = 400
CONTRACTS = [contract["id"] for contract in tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]]


def lint(folder: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """Run import-linter under the committed contracts on the rooms in `folder`."""
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


def test_the_rooms_keep_every_contract() -> None:
    result = lint(REPOSITORY)

    assert result.returncode == 0, result.stdout + result.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in result.stdout


# One import that each contract exists to refuse: (contract, module, what it imports).
FORBIDDEN = [
    ("layers", "infra.digest", "transforms"),
    ("layers", "infra.lake.table", "pipelines"),
    ("layers", "transforms.clean.text", "encoders"),
    ("layers", "encoders.model", "index_builders"),
    ("layers", "index_builders.exact", "encoders"),
    ("ray", "pipelines.prepare", "ray"),
    ("ray", "infra.engines.local", "ray"),
    ("beam", "transforms.batch", "apache_beam"),
    ("torch", "transforms.clean.image", "torch"),
    ("torch", "pipelines.train", "torch"),
    ("torch", "index_builders.exact", "torchaudio"),
    ("faiss", "index_builders.exact", "faiss"),
    ("faiss", "pipelines.build", "faiss"),
    ("tests", "pipelines.cli", "tests"),
    ("tests", "infra.lake.storage", "moto"),
]


@pytest.mark.parametrize(("contract", "module", "imported"), FORBIDDEN)
def test_a_forbidden_import_breaks_its_contract(tmp_path: Path, contract: str, module: str, imported: str) -> None:
    allowed = ("infra.engines.ray", "infra.engines.beam", "transforms.media", "index_builders.faiss_sharded")
    for name in (*(f"{room}.x" for room in ROOMS), *allowed, module):
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        for folder in path.relative_to(tmp_path).parents[:-1]:
            (tmp_path / folder / "__init__.py").touch()
    walls = {
        "infra/engines/ray": "ray",
        "index_builders/faiss_sharded": "faiss",
        "transforms/media": "torch, torchaudio",
    }
    for name, library in walls.items():
        (tmp_path / f"{name}.py").write_text(f"import {library}\n")
    assert lint(tmp_path, contract).returncode == 0

    (tmp_path / f"{module.replace('.', '/')}.py").write_text(f"import {imported}\n")
    result = lint(tmp_path, contract)

    assert result.returncode == 1
    assert f"{module} -> {imported}" in result.stdout


def test_every_contract_is_tried() -> None:
    assert {contract for contract, _, _ in FORBIDDEN} == set(CONTRACTS)


def sources() -> list[Path]:
    return sorted(path for room in (*ROOMS, "tests") for path in (REPOSITORY / room).rglob("*.py"))


def test_no_file_is_long_or_named_after_nothing() -> None:
    assert sources()
    for path in sources():
        assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES, path
        assert path.stem not in {"utils", "util", "helpers", "helper", "manager", "misc", "common"}, path


def test_every_folder_with_code_is_a_package() -> None:
    for path in sources():
        assert (path.parent / "__init__.py").is_file(), path.parent
