"""Missing shards are made, the largest first, and each says how far the step is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from tests.pipelines.lakes import workspace_of, write_project
from trichord.infra import log
from trichord.infra.engines import Done, Engine
from trichord.infra.lake.shard import ShardRef
from trichord.pipelines.core.materialise import Singly, make_missing


@dataclass(frozen=True)
class Item:
    address: str
    partition: str
    rows: int


class Inline:
    """Runs actors in this process, in the order given."""

    def map_actors(self, factory, items, *, accelerator=False):
        run = factory()
        for item in items:
            yield Done(item, run(item))


def test_shards_are_made_largest_first_and_report_rate_and_time_left(tmp_path, monkeypatch):
    workspace = workspace_of(write_project(tmp_path, records=2, settings={}))
    made: list[str] = []

    def run(item: Item) -> ShardRef:
        made.append(item.partition)
        return ShardRef(
            address=item.address, table="_features", path=item.address, rows=item.rows, bytes=1, sha256="0" * 64
        )

    events: list[dict[str, Any]] = []
    monkeypatch.setattr(log, "event", lambda name, **fields: events.append({"event": name, **fields}))
    items = [Item(f"{rows:032x}", f"p{rows}", rows) for rows in (10, 70, 20)]
    make_missing(workspace, cast(Engine, Inline()), "_features", items, Singly(lambda: run), "failed")
    assert made == ["p70", "p20", "p10"]
    encoded = [event for event in events if event["event"] == "encoded"]
    assert [(event["done"], event["of"]) for event in encoded] == [(70, 100), (90, 100), (100, 100)]
    assert encoded[-1]["left_s"] == 0
    assert all(event["rows_per_s"] > 0 for event in encoded)
