"""How fast a collection of Milvus is filled: `python -m tests.bench.milvus --json`.

Bulk is the product's way: import files written from vector shards, imported, complete, searchable, every count and the
canary queries right. Insert is what stands in Milvus's own introduction: `MilvusClient.insert` in batches, flush, load,
counted. Both fill an equal collection on one server, a fresh one each time, in turn; the medians are compared. Bare is
the least that a bulk load can take there: a ready file of ids and vectors alone, imported, loaded, nothing checked. The
server is set as docs/milvus.md advises; `--plain` leaves it as it comes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pymilvus import DataType, MilvusClient

from tests.index_builders.backends import place
from tests.index_builders.corpus import SPACE, STORAGE, unit, vector_table
from tests.milvus_server import MilvusServer, nightly_settings
from trichord.index_builders.milvus.builder import SIZES, MilvusBuilder, row_id
from trichord.index_builders.milvus.client import FAILED, MilvusPlace, connected
from trichord.index_builders.milvus.load import Loader
from trichord.infra.digest import address
from trichord.infra.errors import ServiceError
from trichord.infra.lake.lake import Lake

SHARD_ROWS = 10_000


def corpus(rows: int, dimension: int) -> dict[str, pa.Table]:
    """Vector shards by address."""
    made = {}
    for number in range(-(-rows // SHARD_ROWS)):
        size = min(SHARD_ROWS, rows - number * SHARD_ROWS)
        name = f"source{number % 2}/{number}"
        made[address(name)] = vector_table(unit(size, dimension, number), name)
    return made


def bulk(folder: Path, where: MilvusPlace, shards: Mapping[str, pa.Table], per_file: int) -> dict[str, float]:
    """Write import files and import them. Returns seconds by part."""
    dimension = len(next(iter(shards.values()))["vector"][0])
    builder = MilvusBuilder(
        dimension=dimension, fingerprint=SPACE, views=("fused",), index_type="FLAT", index_params={},
        prefix=where.config.prefix,
    )  # fmt: skip
    names, lake = sorted(shards), str(folder)
    step = max(1, per_file // SHARD_ROWS)
    started = time.perf_counter()
    groups = [names[first : first + step] for first in range(0, len(names), step)]
    made = [builder.build(Lake(STORAGE, lake), group, (shards[name] for name in group)) for group in groups]
    written = time.perf_counter()
    manifest = builder.manifest(made)
    with connected(where) as milvus:
        Loader(Lake(STORAGE, lake), milvus, manifest).ensure()
        ended = time.perf_counter()
        milvus.drop(str(manifest.params["collection"]))
    return {"write_s": written - started, "load_s": ended - written, "total_s": ended - started}


def insert(where: MilvusPlace, shards: Mapping[str, pa.Table], batch: int) -> dict[str, float]:
    """Insert the same rows in batches. Returns seconds by part."""
    rows = sum(table.num_rows for table in shards.values())
    dimension = len(next(iter(shards.values()))["vector"][0])
    name = f"{where.config.prefix}_inserted"
    with connected(where) as milvus:
        milvus.drop(name)
        started = time.perf_counter()
        milvus.create(name, dimension, "")
        for table in shards.values():
            for first in range(0, table.num_rows, batch):
                milvus.insert(name, _entities(table.slice(first, batch)))
        inserted = time.perf_counter()
        milvus.flush(name)
        flushed = time.perf_counter()
        milvus.index(name, "FLAT", {})
        milvus.load(name)
        found = milvus.count(name)
        ended = time.perf_counter()
        if found != rows:
            raise ServiceError(f"{found} of {rows} rows were inserted.")
        milvus.drop(name)
    return {"insert_s": inserted - started, "flush_s": flushed - inserted, "total_s": ended - started}


def bare(where: MilvusPlace, folder: Path, rows: int, dimension: int) -> dict[str, float]:
    """What the server itself takes for as many ids and vectors and nothing else. Returns seconds by part."""
    name, file = f"{where.config.prefix}_bare", folder / "bare.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    flat = pa.array(unit(rows, dimension, "bare").ravel())
    vectors = pa.ListArray.from_arrays(np.arange(0, len(flat) + 1, dimension, dtype=np.int32), flat)
    ids = [f"{number:032x}" for number in range(rows)]
    pq.write_table(pa.table({"id": ids, "vector": vectors}), file, compression="none", use_dictionary=False)
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    client = MilvusClient(where.uri, token=where.token())
    client.create_collection(name, schema=schema, num_shards=1)
    with connected(where) as milvus:
        started = time.perf_counter()
        milvus.index(name, "FLAT", {})
        job = milvus.import_file(name, str(file))
        while (told := milvus.import_of(job)).state != "Completed":
            if told.state in FAILED:
                raise ServiceError(told.reason)
            time.sleep(0.05)
        imported = time.perf_counter()
        milvus.load(name)
        ended = time.perf_counter()
        milvus.drop(name)
    client.close()
    return {"import_s": imported - started, "load_s": ended - imported, "total_s": ended - started}


def _entities(table: pa.Table) -> list[Any]:
    vectors = np.asarray(table["vector"].combine_chunks().flatten(), np.float32).reshape(table.num_rows, -1)
    labels = table.select([*SIZES, "meta"]).to_pylist()
    return [
        {"id": row_id(row["view"], row["key"]), **row, "meta": json.loads(row["meta"]), "vector": vector}
        for row, vector in zip(labels, vectors, strict=True)
    ]


def measure(rows: int, dimension: int, *, batch: int, per_file: int, rounds: int, plain: bool) -> dict[str, Any]:
    """Fill by both ways in turn. JSON-ready; `bulk_speedup` is the ratio of the median whole times."""
    shards, settings = corpus(rows, dimension), {} if plain else nightly_settings()
    with (
        tempfile.TemporaryDirectory(prefix="trichord-milvus-") as folder,
        MilvusServer(Path(folder) / "server", settings=settings) as server,
    ):
        where = place(**server.project, prefix="bench")
        # The first of anything on a server is slow: warm both ways up.
        few = dict(list(shards.items())[:1])
        insert(where, few, batch)
        bulk(Path(folder) / "warm", where, few, per_file)
        bulks, inserts, bares = [], [], []
        for number in range(rounds):
            bulks.append(bulk(Path(folder) / f"lake{number}", where, shards, per_file))
            inserts.append(insert(where, shards, batch))
            bares.append(bare(where, Path(server.bulk_folder) / f"bare{number}", rows, dimension))
    by_part = {
        name: {part: round(statistics.median(run[part] for run in runs), 2) for part in runs[0]}
        for name, runs in (("bulk", bulks), ("insert", inserts), ("bare", bares))
    }
    speedup, most = (by_part["insert"]["total_s"] / by_part[name]["total_s"] for name in ("bulk", "bare"))
    return {
        "rows": rows, "dimension": dimension, "batch": batch, "rows_per_file": per_file, "rounds": rounds,
        "server": settings or "plain", **by_part, "bulk_speedup": round(speedup, 2), "bare_speedup": round(most, 2),
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--batch", type=int, default=1_000, help="rows of one insert")
    parser.add_argument("--per-file", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain", action="store_true", help="a server as it comes")
    options = parser.parse_args()
    result = measure(
        options.rows, options.dimension, batch=options.batch, per_file=options.per_file, rounds=options.rounds,
        plain=options.plain,
    )  # fmt: skip
    sys.stdout.write(json.dumps(result) + "\n")
