"""Same bytes from every engine, any number of workers, any order of the sources (law 1)."""

from __future__ import annotations

import shutil

import pytest

from infra.digest import generator
from tests.pipelines.lakes import addresses, copy_of, result_of, rows_of, trichord, workspace_of, write_rows


@pytest.mark.parametrize(("engine", "workers"), [("local", 1), ("ray", 2)])
def test_every_engine_gives_the_same_addresses_and_bytes(indexed, tmp_path, engine, workers):
    project = copy_of(indexed[0].parent, tmp_path / "other")
    shutil.rmtree(project.parent / "lake")
    corpus = project.parent / "corpus"
    rows = rows_of(corpus)
    generator("shuffle", engine).shuffle(rows)
    write_rows(corpus, rows)
    summary = result_of(
        trichord(
            "reindex", "--project", str(project), "--engine", engine, "--set", f"engine.workers={workers}", "--json"
        )
    )
    assert summary["manifest_digest"] == indexed[1]["manifest_digest"]
    assert summary["fingerprint"] == indexed[1]["fingerprint"]
    assert addresses(workspace_of(project)) == addresses(workspace_of(indexed[0]))
