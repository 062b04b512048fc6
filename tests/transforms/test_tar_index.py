"""New tars are indexed by workers where they lie, and the plan is that of one process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import TypeVar

import pytest

from tests.transforms.test_collect_webdataset import MEMBERS, STORAGE, plan, source_of, tar
from trichord.infra.lake import versions
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import VersionCache
from trichord.transforms.collect import Plan, plan_source, tar_index
from trichord.transforms.collect.workers import Workers

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")


def test_new_tars_are_indexed_by_workers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(6):
        (tmp_path / f"{i}.tar").write_bytes(tar([(f"{i}-{name}", data) for name, data in MEMBERS]))
        os.utime(tmp_path / f"{i}.tar", (1_600_000_000, 1_600_000_000))
    source, lake, sent = source_of(tmp_path), Lake(STORAGE, str(tmp_path / "lake")), list[object]()
    monkeypatch.setattr(versions, "SETTLED_NS", 0)
    alone = plan(source, tmp_path / "alone")

    def run(task: Callable[[I], R], items: Iterable[I]) -> Iterator[R]:
        for item in reversed(list(items)):
            sent.append(item)
            with monkeypatch.context() as inside:
                inside.setattr(tar_index, "_read_index", read_index)
                yield deepcopy(task)(item)

    def planned(cache: VersionCache, least_bytes: int = 0) -> Plan:
        workers = Workers(run=run, least_bytes=least_bytes)
        return plan_source(source, lake, rows_per_partition=8, cache=cache, workers=workers)

    read_index, cache = tar_index._read_index, VersionCache()
    with monkeypatch.context() as here:
        here.setattr(tar_index, "_read_index", None)  # whoever is no worker
        assert planned(cache) == alone
        assert len(sent) == 6
        assert planned(cache) == alone
        assert len(sent) == 6, "nothing is new"
        for i in (2, 4):
            (tmp_path / f"{i}.tar").write_bytes(tar([("other.txt", b"%d" % i)]))
        changed = planned(cache)
        assert len(sent) == 8
    assert changed == plan(source, tmp_path / "alone")
    (tmp_path / "1.tar").write_bytes(tar([("other.txt", b"again")]))
    assert planned(cache).rows == changed.rows - alone.partitions[1].rows + 1
    assert len(sent) == 8, "one tar is read here"
    (tmp_path / "3.tar").write_bytes(tar([("other.txt", b"3")]))
    (tmp_path / "5.tar").write_bytes(tar([("other.txt", b"5")]))
    planned(cache, 1 << 30)
    assert len(sent) == 8, "few bytes are read here"
