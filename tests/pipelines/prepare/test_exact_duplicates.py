"""dedup over shards: the result is a function of the signatures, whatever the order, the engine and the night."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from trichord.infra import digest
from trichord.infra.config import EngineConfig
from trichord.infra.digest import generator
from trichord.infra.engines import Engine, open_engine
from trichord.infra.lake import schema
from trichord.infra.lake.shard import ShardWriter, read_shard
from trichord.infra.project import load_project
from trichord.pipelines.core.exclusions import Exclusions
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.exact_duplicates import Deduplicated, deduplicate
from trichord.pipelines.prepare.prepared import Prepared
from trichord.pipelines.publish.explain import explain
from trichord.transforms.dedup.shingles import band_keys, text_sketch


def words(content: str) -> str:
    """A text of its own for each content."""
    return " ".join(f"{word:x}" for word in generator("test-words", content).integers(1 << 24, 1 << 28, 12))


def workspace_of(folder: Path, kinds: Sequence[str] = ("folder", "folder"), **dedup: Any) -> Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    sources = "".join(f"  - {{name: s{i}, kind: {kind}, path: s{i}}}\n" for i, kind in enumerate(kinds))
    settings = "".join(f"    {name}: {value}\n" for name, value in dedup.items())
    text = f"lake: lake\nsources:\n{sources}prepare:\n  dedup:\n    near: true\n    verify: false\n{settings}"
    (folder / "trichord.yaml").write_text(text)
    return Workspace(load_project(folder / "trichord.yaml"))


def row(key: str, content: str, flips: int = 0, *, source: str = "s0", text: str | None = None) -> dict[str, Any]:
    """A record with a picture; equal contents have equal pictures up to `flips` bits."""
    image = bytearray(generator("test-dedup", content).bytes(40))
    for bit in range(flips):
        image[39 - bit // 8] ^= 1 << (bit % 8)
    sketch = text_sketch(text or words(content)) or b""
    return {
        "key": key,
        "source": source,
        "row_digest": digest.address(source, key, content, flips, text),
        "content_digest": digest.address(content, flips, text),
        "input_digest": "",
        "modalities": "text,image",
        "text_sketch": sketch,
        "text_bands": band_keys(sketch),
        "image_hash": bytes(image) + bytes(32),
    }


def signed(workspace: Workspace, *partitions: Sequence[dict[str, Any]]) -> list[Prepared]:
    """One signatures shard a partition."""
    prepared = []
    for rows in partitions:
        address = digest.address("test", [one["row_digest"] for one in rows])
        table = pa.Table.from_pylist([{**one, "partition": address[:6]} for one in rows], schema=schema.SIGNATURES)
        with ShardWriter(workspace.lake, "signatures", address, schema.SIGNATURES) as writer:
            writer.write(table)
            ref = writer.finish({"rows": len(rows)})
        prepared.append(Prepared(address=address, partition=address[:6], records=ref, signatures=ref, rejects=None))
    return prepared


def rows_of(workspace: Workspace, found: Deduplicated, name: str = "duplicates") -> list[dict[str, Any]]:
    shards = getattr(found, name)
    rows = [one for ref in shards for one in read_shard(workspace.lake, ref).to_pylist()]
    return sorted(rows, key=lambda one: one["key"])


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with open_engine(EngineConfig(kind="local", workers=2)) as opened:
        yield opened


NIGHT_1 = [row("b", "x"), row("c", "x", 3), row("d", "y"), row("e", "x", text="another text under the same picture")]
NIGHT_2 = [row("f", "y", 5), row("g", "z"), row("h", "x", 9)]


def verdicts(workspace: Workspace, engine: Engine, *partitions: Sequence[dict[str, Any]]) -> dict[str, str]:
    found = deduplicate(workspace, engine, signed(workspace, *partitions))
    return {one["key"]: one["survivor_key"] for one in rows_of(workspace, found)}


def test_survivors_do_not_depend_on_order_or_on_the_cut_into_partitions(tmp_path: Path, engine: Engine) -> None:
    expected = {"c": "b", "h": "b", "f": "d"}
    everything = [*NIGHT_1, *NIGHT_2]
    cuts = ([NIGHT_1, NIGHT_2], [NIGHT_2, NIGHT_1], [everything], [[one] for one in reversed(everything)])
    for number, partitions in enumerate(cuts):
        assert verdicts(workspace_of(tmp_path / str(number)), engine, *partitions) == expected


def test_a_pair_that_comes_a_night_later_has_the_same_survivor(tmp_path: Path, engine: Engine) -> None:
    workspace = workspace_of(tmp_path)
    assert verdicts(workspace, engine, NIGHT_1) == {"c": "b"}
    assert verdicts(workspace, engine, NIGHT_1, NIGHT_2) == {"c": "b", "h": "b", "f": "d"}
    assert verdicts(workspace, engine, NIGHT_1, NIGHT_2, [row("a", "x", 2)]) == {
        "b": "a", "c": "a", "h": "a", "f": "d"
    }  # fmt: skip
    late = [row("z", "y", 1, source="s1")]
    assert verdicts(workspace, engine, NIGHT_1, late) == {"c": "b", "z": "d"}


def test_every_engine_gives_the_same_shards(tmp_path: Path, make_engine: Any, engine: Engine) -> None:
    here, there = workspace_of(tmp_path / "here"), workspace_of(tmp_path / "there")
    expected = deduplicate(here, engine, signed(here, NIGHT_1, NIGHT_2))
    found = deduplicate(there, make_engine(workers=2), signed(there, NIGHT_2, NIGHT_1))
    assert found == expected
    assert found.matches


def test_unchanged_signatures_start_no_task(tmp_path: Path, engine: Engine) -> None:
    class Idle:
        def group(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("nothing is to be done")

    workspace = workspace_of(tmp_path)
    prepared = signed(workspace, NIGHT_1, NIGHT_2)
    found = deduplicate(workspace, engine, prepared)
    assert deduplicate(workspace, Idle(), prepared[::-1]) == found  # type: ignore[arg-type]
    Path(workspace.lake.uri(found.duplicates[0].path)).unlink()
    assert deduplicate(workspace, engine, prepared) == found  # a lost shard is made again
    stricter = workspace_of(tmp_path, image_bits=2)
    assert verdicts(stricter, engine, NIGHT_1, NIGHT_2) == {}


def test_a_night_that_changes_no_duplicate_changes_no_shard(tmp_path: Path, engine: Engine) -> None:
    workspace = workspace_of(tmp_path)
    before = deduplicate(workspace, engine, signed(workspace, NIGHT_1))
    assert deduplicate(workspace, engine, signed(workspace, NIGHT_1, [row("n", "new")])) == before


def test_a_shared_picture_is_listed_and_drops_nothing(tmp_path: Path, engine: Engine) -> None:
    workspace = workspace_of(tmp_path)
    found = deduplicate(workspace, engine, signed(workspace, NIGHT_1))
    [match] = rows_of(workspace, found, "matches")
    told = {name: match[name] for name in ("modality", "key", "other_key", "other_source", "distance", "evidence")}
    assert told == {"modality": "image", "key": "e", "other_key": "b", "other_source": "s0", "distance": 0.0,
                    "evidence": "image 0/256"}  # fmt: skip


def test_exact_copies_go_first_and_each_row_is_dropped_once(tmp_path: Path, engine: Engine) -> None:
    workspace = workspace_of(tmp_path)
    prepared = signed(workspace, NIGHT_1, [row("c2", "x", 3), row("b", "q", source="s1"), row("y", "x", source="s1")])
    found = deduplicate(workspace, engine, prepared)
    evidence = {
        (one["source"], one["key"]): (one["survivor_key"], one["evidence"]) for one in rows_of(workspace, found)
    }
    assert evidence == {
        ("s0", "c2"): ("c", "exact_content"),
        ("s1", "b"): ("b", "same_key"),
        ("s1", "y"): ("b", "exact_content"),
        ("s0", "c"): ("b", "near: image 3/256, text 1.00"),
    }
    excluded = Exclusions.gather(workspace.lake, found.duplicates).by_partition.values()
    assert sum(one.rows for one in excluded) == 4


@pytest.mark.parametrize(("kind", "dropped"), [("parquet", ["b"]), ("webdataset", ["b"]), ("folder", [])])
def test_a_key_that_repeats_across_a_sources_partitions_is_dropped_where_it_can(
    tmp_path: Path, engine: Engine, kind: str, dropped: list[str]
) -> None:
    workspace = workspace_of(tmp_path, [kind])
    found = deduplicate(workspace, engine, signed(workspace, [row("b", "x")], [row("b", "other")]))
    assert [one["key"] for one in rows_of(workspace, found)] == dropped


def test_a_repeated_row_does_not_hide_its_survivor_from_later_passes(tmp_path: Path, engine: Engine) -> None:
    workspace = workspace_of(tmp_path, ["parquet"])
    copies = [row("b", "x"), row("zz", "zz")], [row("b", "x"), row("yy", "yy")]
    found = deduplicate(workspace, engine, signed(workspace, *copies, [row("c", "x", 4), row("d", "x")]))
    assert [(one["key"], one["survivor_key"], one["evidence"][:5]) for one in rows_of(workspace, found)] == [
        ("b", "b", "same_"), ("c", "b", "near:"), ("d", "b", "exact")
    ]  # fmt: skip


def test_explain_names_the_survivor_and_the_evidence(tmp_path: Path, engine: Engine) -> None:
    workspace = workspace_of(tmp_path)
    found = deduplicate(workspace, engine, signed(workspace, NIGHT_1, [row("i", "x", 70)], [row("j", "x", 40)]))
    workspace.table("duplicates").reconcile(list(found.duplicates), schema=schema.DUPLICATES, run="", recipe="")
    [step] = explain(workspace, "j").journey
    assert step["survivor_key"] == "b"
    assert step["evidence"].startswith("near: image ")


def test_near_can_be_switched_off(tmp_path: Path, engine: Engine) -> None:
    text = (tmp_path / "trichord.yaml", workspace_of(tmp_path))[0].read_text()
    (tmp_path / "trichord.yaml").write_text(text.replace("near: true", "near: false"))
    workspace = Workspace(load_project(tmp_path / "trichord.yaml"))
    assert verdicts(workspace, engine, NIGHT_1, NIGHT_2) == {}
