"""Import by REST: one job whatever answer is lost, nothing visible before it is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.index_builders.backends import milvus_manifest, place
from tests.index_builders.corpus import tables
from tests.index_builders.rest_jobs import TOKEN, Jobs, RestServer
from trichord.index_builders.milvus import rest as rest_module
from trichord.index_builders.milvus.rest import RestImports, finish, honours_keys
from trichord.index_builders.milvus.stage import Wrong
from trichord.infra.errors import PartialRun, ServiceError

ROWS = 60


@pytest.fixture
def jobs(monkeypatch):
    monkeypatch.setenv("MILVUS_TOKEN", TOKEN)
    monkeypatch.setattr(rest_module, "POLL_S", 0.001)
    return Jobs()


@pytest.fixture
def rest(jobs):
    with RestServer(jobs) as server:
        yield RestImports(place(server.uri, token_env="MILVUS_TOKEN"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    lake = tmp_path_factory.mktemp("lake")
    shards = tables(2, ROWS // 2, 8)
    manifest = milvus_manifest(str(lake), shards, [[name] for name in sorted(shards)])
    return [str(lake / shard.index.path) for shard in manifest.shards]


def sound():
    return None


def test_rows_are_visible_when_all_are_staged_and_committed(rest, jobs, files):
    job = rest.create("c", files, "key")
    seen = []
    finish(rest, job, ROWS, lambda: seen.append(len(jobs.rows("c"))), 5)
    assert seen[0] == 0
    assert len({row["id"] for row in jobs.rows("c")}) == len(jobs.rows("c")) == ROWS
    assert jobs.seen.count("commit") == 1


@pytest.mark.parametrize("verb", ["create", "describe", "commit"])
def test_a_lost_answer_doubles_nothing(rest, jobs, files, verb):
    jobs.drop_answer_of = verb
    try:
        job = rest.create("c", files, "key")
    except ServiceError:
        job = rest.create("c", files, "key")  # the caller's next run
    finish(rest, job, ROWS, sound, 5)
    assert jobs.drop_answer_of is None
    assert len(jobs.jobs) == 1
    assert len(jobs.rows("c")) == ROWS


def test_an_older_server_completes_by_itself(rest, jobs, files):
    jobs.auto_commit_known = False
    finish(rest, rest.create("c", files, "key"), ROWS, sound, 5)
    assert len(jobs.rows("c")) == ROWS


@pytest.mark.parametrize("fault", ["unreadable", "altered", "rows"])
def test_what_is_not_whole_is_never_committed(rest, jobs, files, tmp_path, fault):
    def check():
        if fault == "altered":
            raise Wrong("altered")

    if fault == "unreadable":
        (tmp_path / "cut.parquet").write_bytes(Path(files[0]).read_bytes()[:200])
        files = [str(tmp_path / "cut.parquet")]
    with pytest.raises(Wrong):
        finish(rest, rest.create("c", files, "key"), ROWS + (fault == "rows"), check, 5)
    assert jobs.rows("c") == []
    assert jobs.jobs[0].state == "Failed"


def test_a_stuck_job_and_a_refused_token_are_told(rest, jobs, files, monkeypatch):
    job = rest.create("c", files, "key")
    monkeypatch.setattr(type(jobs), "_describe", lambda self, job: {"code": 0, "data": {"state": "Pending"}})
    with pytest.raises(PartialRun, match="no progress"):
        finish(rest, job, ROWS, sound, 0.05)
    rest._headers["Authorization"] = "Bearer other"
    with pytest.raises(ServiceError, match="authenticated"):
        rest.commit(job)


def test_keys_are_trusted_from_the_versions_that_heed_them():
    assert [honours_keys(version) for version in ("v2.6.23", "v2.6.24", "v3.0.1", "3.0.2", "v2.5.9", "v3.1.0")] == [
        False, True, False, True, False, True,
    ]  # fmt: skip
