"""What every op costs: `python -m tests.bench.ops --records 600` prints a Markdown table.

CPU seconds of the process, on demo records with text, picture and sound, in the batches that `prepare` makes. With
`--demo` under the settings of the demo, which turn more ops on; with `--sounds FOLDER` on its files, in turn. Reading,
encoding and signatures are listed too.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import cv2

from tests.pipelines.lakes import write_rows
from trichord.infra.config import ManifestSource, PrepareConfig, StorageConfig
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.pipelines.demo.corpus import write_corpus
from trichord.pipelines.demo.settings import prepare_settings
from trichord.transforms.batch import Batch
from trichord.transforms.chain import prepare_chain
from trichord.transforms.collect import plan_source, read_partition
from trichord.transforms.collect.read import ROWS_PER_BATCH
from trichord.transforms.dedup.signatures import signatures_table
from trichord.transforms.record import finish

WARM = 2  # batches that count for nothing: models are loaded in them


def measure(records: int, config: PrepareConfig, sounds: Path | None = None) -> dict[str, tuple[float, int]]:
    """CPU seconds and rows of every step."""
    cv2.setNumThreads(1)
    spent: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    with tempfile.TemporaryDirectory(prefix="trichord-bench-") as folder:
        corpus, rows = Path(folder) / "corpus", records + ROWS_PER_BATCH * WARM
        if sounds is None:
            write_corpus(corpus, records=rows, seed=9, defects=0.0)
        else:
            _write_sounds(corpus, sounds, rows)
        source = ManifestSource(kind="manifest", name="demo", path=str(corpus / "manifest.jsonl"))
        storage = Storage(StorageConfig())
        plan = plan_source(source, Lake(storage, folder), rows_per_partition=10**6, cache=None)
        chain = prepare_chain(config, source)
        started = time.process_time()
        for number, batch in enumerate(
            read_partition(source, Lake(storage, folder), plan.partitions[0], config=config)
        ):
            counted, rows = number >= WARM, len(batch)
            if counted:
                seconds, seen = spent["read"]
                spent["read"] = (seconds + time.process_time() - started, seen + rows)
            for op in chain:
                started = time.process_time()
                batch = op(batch)
                if counted:
                    seconds, seen = spent[op.name]
                    spent[op.name] = (seconds + time.process_time() - started, seen + rows)
            for name, step in _after(batch, config):
                if counted:
                    seconds, seen = spent[name]
                    spent[name] = (seconds + step, seen + rows)
            started = time.process_time()
    return spent


def _write_sounds(corpus: Path, sounds: Path, rows: int) -> None:
    """A corpus of a folder's files, in turn."""
    shutil.copytree(sounds, corpus / "audio")
    names = sorted(path.name for path in sounds.iterdir())
    chosen = [{"id": str(i), "audio": f"audio/{names[i % len(names)]}"} for i in range(rows)]
    write_rows(corpus, chosen)


def _after(batch: Batch, config: PrepareConfig) -> list[tuple[str, float]]:
    started = time.process_time()
    table = finish(batch, config)
    encoded = time.process_time()
    signatures_table(table, batch, config.dedup)
    return [("encode (JPEG, FLAC, digests)", encoded - started), ("signatures", time.process_time() - encoded)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=600)
    parser.add_argument("--demo", action="store_true", help="the settings of the demo")
    parser.add_argument("--sounds", type=Path, help="a folder of sounds instead of the demo corpus")
    options = parser.parse_args()
    config = PrepareConfig.model_validate(prepare_settings()) if options.demo else PrepareConfig()
    spent = measure(options.records, config, options.sounds)
    lines = ["| step | records/s per core | ms a record |", "|---|---|---|"]
    for name, (seconds, rows) in spent.items():
        if seconds / rows >= 1e-5:
            lines.append(f"| {name} | {rows / seconds:,.0f} | {1e3 * seconds / rows:.2f} |")
    whole = sum(seconds / rows for seconds, rows in spent.values())
    lines.append(f"| all | {1 / whole:,.0f} | {1e3 * whole:.2f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
