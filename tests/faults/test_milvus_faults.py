"""Readers of a collection see old or new, and a disturbed load ends where an undisturbed one ends."""

from __future__ import annotations

import pytest

from tests.faults.milvus import Scene, corrupt_block, corrupt_staged, kill_client, kill_server, lose_reply, steps_of
from tests.index_builders.backends import milvus_manifest, place
from tests.index_builders.corpus import tables

WHOLE = ("old", "new")


def at(steps: list[str], *names: str) -> list[int]:
    """The first step of each of these names, counted from 1, and the last."""
    return [steps.index(name) + 1 for name in names]


def test_a_killed_client_of_milvus_lite_converges(tmp_path):
    scene = Scene.set(str(tmp_path), place(f"{tmp_path}/milvus.db", prefix="faults"))
    steps = steps_of(scene)
    for step in at(steps, "create_collection", "insert", "count", "alter_alias"):
        seen, after = kill_client(scene, step)
        assert (seen in WHOLE, after) == (True, "new"), steps[step - 1]
        scene.reset()


def test_a_damaged_import_file_is_never_loaded(tmp_path):
    lake = str(tmp_path)
    scene = Scene.set(lake, place(f"{tmp_path}/milvus.db", prefix="faults"))
    shards = tables(3, 40, 16)
    rebuild = lambda: milvus_manifest(lake, shards, [[name] for name in sorted(shards)], prefix="faults")  # noqa: E731
    assert corrupt_block(scene, rebuild) == ("old", "new")


@pytest.mark.server
@pytest.mark.xdist_group("milvus")
def test_disturbed_loads_of_a_server_converge(milvus_server, tmp_path):
    where = place(**milvus_server.project, prefix="faults")
    scene = Scene.set(str(tmp_path), where)
    steps = steps_of(scene)
    [polling], [asking] = at(steps, "get_bulk_insert_state"), at(steps, "do_bulk_insert")
    trials = (
        lambda: kill_client(scene, polling),
        lambda: lose_reply(scene, asking),
        lambda: corrupt_staged(scene, after_import=False),
    )
    for trial in trials:
        seen, after = trial()
        assert (seen in WHOLE, after) == (True, "new")
        scene.reset()


@pytest.mark.server
@pytest.mark.xdist_group("milvus")
def test_a_killed_server_converges(milvus_server, tmp_path):
    # the session's: embedded servers share etcd's fixed port, so a machine runs one at a time
    where = place(**milvus_server.project, prefix="killed")
    scene = Scene.set(str(tmp_path), where)
    [step] = at(steps_of(scene), "get_bulk_insert_state")
    seen, after = kill_server(scene, milvus_server, step)
    assert (seen in WHOLE, after) == (True, "new")
