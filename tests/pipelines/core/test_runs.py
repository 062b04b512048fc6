"""What runs note of themselves: however they end, in the order of their starts, and not for ever."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pipelines.lakes import copy_of, result_of, rows_of, trichord, workspace_of, write_rows
from trichord.infra import log
from trichord.infra.errors import GateFailed
from trichord.infra.json_values import parse_object
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.pipelines.core import runs
from trichord.pipelines.core.materialise import at_its_place
from trichord.pipelines.core.runs import STAGE_ORDER, last_runs, recorded
from trichord.pipelines.publish.examine import is_whole
from trichord.pipelines.stages.order import STAGES


@pytest.fixture
def lake(storage: Storage, tmp_path: Path) -> Lake:
    return Lake(storage, str(tmp_path))


def test_the_stages_are_those_of_a_run() -> None:
    assert tuple(stage.name for stage in STAGES) == STAGE_ORDER


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (GateFailed("It is worse.\nLook at it."), 3, "GateFailed: It is worse."),
        (GateFailed("s3://user:secret@bucket/x is worse"), 3, "secret"),
        (SystemExit(143), 143, "ended by a signal"),
        (KeyboardInterrupt(), 130, "ended by a signal"),
        (ZeroDivisionError("oh"), 1, "ZeroDivisionError: oh"),
    ],
)
def test_a_run_that_fails_is_noted_with_its_exit_code(lake: Lake, error: BaseException, code: int, said: str) -> None:
    with pytest.raises(type(error)), recorded(lake, "reindex"):
        raise error
    [note] = last_runs(lake)
    assert note.exit_code == code
    assert (said in note.error) == (said != "secret")


def test_old_notes_go_and_the_newest_come_first(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "KEPT", 3)
    numbers = itertools.count(100)
    monkeypatch.setattr("secrets.token_hex", lambda _: f"{next(numbers)}")
    for _ in range(5):
        with recorded(lake, "reindex"):
            pass
    assert len(last_runs(lake, 9)) == 3
    found = [note.id for note in last_runs(lake, 9)]
    assert found == sorted(found, reverse=True)


def test_a_note_with_a_turned_bit_is_damaged_and_passed_over(lake: Lake) -> None:
    with recorded(lake, "reindex"):
        pass
    [note] = last_runs(lake)
    path = layout.run_path(note.id)
    data = lake.read(path)
    assert is_whole(lake, path)
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        lake.write(path, bytes(damaged))
        assert not is_whole(lake, path), damaged[place - 5 : place + 5]
        assert last_runs(lake) == []


def test_a_note_of_an_earlier_version_has_no_check(lake: Lake) -> None:
    with recorded(lake, "reindex"):
        pass
    [note] = last_runs(lake)
    stored = parse_object(lake.read(layout.run_path(note.id)))
    lake.write(layout.run_path(note.id), json.dumps({key: stored[key] for key in stored if key != "check"}).encode())
    assert is_whole(lake, layout.run_path(note.id))
    assert last_runs(lake) == [note]


def test_runs_of_events_do_not_push_others_out(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "KEPT", 2)
    for trigger in ("nightly", "event", "event", "event", "event"):
        with recorded(lake, "reindex", trigger):
            pass
    assert sorted(note.trigger for note in last_runs(lake, 9)) == ["event", "event", "nightly"]
    assert [note.trigger for note in runs.iterate_runs(lake, events=False)] == ["nightly"]


def test_the_verb_lists_runs_and_shows_one(indexed: tuple[Path, dict], tmp_path: Path) -> None:
    project = ("--project", str(copy_of(indexed[0].parent, tmp_path / "copy")))
    trichord("reindex", *project)
    [again, first] = result_of(trichord("runs", *project, "--json"))["runs"]
    assert (again["unchanged"], first["unchanged"]) == (True, False)
    assert again["counts"] == first["counts"]
    assert first["publication"] == again["publication"] == indexed[1]["publication"]
    assert first["bytes_written"] > 10_000
    assert set(first["stages"]) == set(STAGE_ORDER)
    shown = trichord("runs", "show", first["id"][:14], *project).stdout
    assert "started by command" in shown
    assert shown.index("records") < shown.index("duplicates") < shown.index("gate")
    assert first["id"] in trichord("runs", *project).stdout
    assert result_of(trichord("runs", "--failed", *project, "--json"))["runs"] == []
    assert "no such run" in trichord("runs", "show", "x", *project, check=2).stderr


def test_every_line_of_a_run_says_of_which_and_lines_of_shards_say_of_which_partition(lake_copy: Path) -> None:
    corpus = lake_copy.parent / "corpus"
    rows = rows_of(corpus)
    rows[0]["text"] = f"{rows[0].get('text')} and more"
    write_rows(corpus, rows)
    lines = [
        json.loads(line) for line in trichord("reindex", "--project", str(lake_copy), "--json").stderr.splitlines()
    ]
    [note, _] = last_runs(workspace_of(lake_copy).lake)
    assert {(line.get("run"), line.get("job")) for line in lines} == {(note.id, "reindex")}
    of_shards = [line for line in lines if line["event"] in ("prepared", "encoded")]
    assert {line["stage"] for line in of_shards} >= {"records", "vectors"}
    for line in of_shards:
        assert line["partition"].startswith("demo/")
        assert re.fullmatch("[0-9a-f]{32}", line["address"])
        assert 0 < line["done"] <= line["of"]


@dataclass(frozen=True)
class Shard:
    partition: str
    address: str
    rows: int = 1


class Task:
    @at_its_place
    def __call__(self, item: Shard) -> dict[str, object]:
        return log.context()


def test_a_task_that_makes_a_shard_binds_its_partition_and_address() -> None:
    assert Task()(Shard("demo/0", "a")) == {"partition": "demo/0", "address": "a"}
    assert log.context() == {}


def test_the_line_of_the_error_that_ends_a_run_says_of_which_run(lake_copy: Path) -> None:
    gone = ("--set", f"sources.0.path={lake_copy.parent / 'gone.jsonl'}")
    said = trichord("reindex", "--project", str(lake_copy), *gone, "--json", check=7).stderr
    last = json.loads(said.splitlines()[-1])
    [note, _] = last_runs(workspace_of(lake_copy).lake)
    assert (last["event"], last["kind"], last["run"], last["job"]) == ("error", "SourceError", note.id, "reindex")
    at_once = trichord("reindex", "--project", str(lake_copy), "--source", "x", "--json", check=2).stderr
    assert json.loads(at_once.splitlines()[-1])["event"] == "error"
