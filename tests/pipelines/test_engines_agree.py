"""Same bytes from every engine, any number of workers, any order of the sources."""

from __future__ import annotations

import shutil

import pytest

from tests.pipelines.lakes import addresses, copy_of, rows_of, workspace_of, write_rows
from trichord.infra.digest import generator
from trichord.pipelines.reindex import reindex


@pytest.mark.parametrize(
    ("engine", "workers"), [("local", 3), pytest.param("ray", 2, marks=pytest.mark.xdist_group("ray")), ("beam", 2)]
)
def test_every_engine_gives_the_same_addresses_and_bytes(indexed, tmp_path, request, engine, workers):
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    project = copy_of(indexed[0].parent, tmp_path / "other")
    shutil.rmtree(project.parent / "lake")
    corpus = project.parent / "corpus"
    rows = rows_of(corpus)
    generator("shuffle", engine).shuffle(rows)
    write_rows(corpus, rows)
    workspace = workspace_of(project, f"engine.kind={engine}", f"engine.workers={workers}")
    summary = reindex(workspace)
    assert summary.manifest_digest == indexed[1]["manifest_digest"]
    assert summary.fingerprint == indexed[1]["fingerprint"]
    assert addresses(workspace) == addresses(workspace_of(indexed[0]))
