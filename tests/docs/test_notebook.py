"""The quickstart notebook runs from its first cell to its last, on a lake that it has run on before."""

from __future__ import annotations

import os

import nbformat
from nbclient import NotebookClient

from tests.docs.conftest import EXAMPLES

NAME = "quickstart.ipynb"


def test_the_quickstart_runs(examples, tmp_path, monkeypatch):
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    notebook = nbformat.read(examples / NAME, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(examples)}}).execute()
    outputs = ["".join(part.get("text", "") for part in cell.get("outputs", ())) for cell in notebook.cells]
    assert any("scene-" in text and "found by its" in text for text in outputs)


def test_the_notebook_is_committed_without_outputs():
    notebook = nbformat.read(EXAMPLES / NAME, as_version=4)
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in notebook.cells)
