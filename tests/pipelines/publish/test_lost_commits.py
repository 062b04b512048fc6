"""A commit that is lost with its copy: written again where a seal proves it, and nothing rolled back goes live."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.damage import SETTINGS, Scene, copy_scene
from tests.pipelines.lakes import result_of, rows_of, trichord, workspace_of, write_project, write_rows
from trichord.infra.lake import layout
from trichord.infra.lake.publication import Publication
from trichord.pipelines.publish.recover import recover
from trichord.pipelines.publish.verify import verify


@pytest.fixture(scope="module")
def rolled_back(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A lake with three publications, of which the first was made live again."""
    folder = tmp_path_factory.mktemp("rolled-back")
    project = write_project(folder, records=48, settings=SETTINGS)
    rows = rows_of(folder / "corpus")
    for gone in range(3):
        write_rows(folder / "corpus", rows[4 * gone :])
        trichord("reindex", "--project", str(project))
    first = workspace_of(project).publications.rows()[0]
    trichord("rollback", first.id, "--project", str(project))
    return Scene(folder=folder)


def _lose(project: Path, table: str, versions: tuple[int, ...]) -> None:
    for version in versions:
        (project.parent / "lake" / layout.commit_path(table, version)).unlink()
        (project.parent / "lake" / layout.copy_path(table, version)).unlink()


def _recovered(project: Path) -> tuple[Publication, list[str]]:
    """Recover, and return what is live then, and the actions; everything is whole, and one recovery is enough."""
    workspace = workspace_of(project)
    done = recover(workspace, yes=True)
    assert (done.next, done.searchable) == ("", True)
    assert not recover(workspace, yes=False).steps
    verify(workspace)
    return workspace.publications.require_live(), [step.action for step in done.steps]


@pytest.mark.parametrize(
    ("table", "versions"),
    [("records", (0,)), ("records", (1,)), ("rejects", (0, 1)), ("signatures", (2,)), ("vectors", (0, 1, 2))],
)
def test_a_lost_commit_that_a_publication_seals_is_written_again(rolled_back, tmp_path, table, versions):
    project = copy_scene(rolled_back, tmp_path / "copy")
    before = workspace_of(project)
    shards = [before.table(table).shards(version) for version in range(3)]
    history = before.publications.rows()
    _lose(project, table, versions)
    live, actions = _recovered(project)
    assert actions == ["written again, as a publication has sealed it"] * len(versions)
    workspace = workspace_of(project)
    assert [workspace.table(table).shards(version) for version in range(3)] == shards
    assert (workspace.publications.rows(), live) == (history, history[-1])


def test_what_no_seal_proves_is_given_up_and_what_was_rolled_back_stays_so(rolled_back, tmp_path):
    project = copy_scene(rolled_back, tmp_path / "copy")
    first, second, third, back = workspace_of(project).publications.rows()
    _lose(project, "agreement", (1,))
    live, actions = _recovered(project)
    assert "set aside, with the commits after it: the live publication needs none of them" in actions
    assert (live.manifest_digest, live.kind) == (first.manifest_digest, "recover")
    assert live.given_up == {second.manifest_digest, third.manifest_digest}
    assert (project.parent / "lake" / layout.damaged_path(layout.commit_path("agreement", 2))).exists()
    refused = trichord("reindex", "--project", str(project), check=3)  # as before the damage
    assert f"{third.id}) was rolled back" in refused.stderr
    assert result_of(trichord("verify", "--json", "--project", str(project)))["publications"] == 1
    assert back.manifest_digest == workspace_of(project).publications.require_live().manifest_digest


def test_a_log_of_which_nothing_is_left_is_written_again(rolled_back, tmp_path):
    project = copy_scene(rolled_back, tmp_path / "copy")
    for folder in (layout.log_folder("records"), f"records/{layout.COPIES}"):
        for path in (project.parent / "lake" / folder).iterdir():
            path.unlink()
    live, _ = _recovered(project)
    assert live.kind == "rollback"
