"""How dedup grows with rows: `python -m tests.bench.dedup_growth --json` (one JSON line).

Four growths at 20,000, 60,000 and 200,000 rows: distinct records (text, picture and sound), the same where every fifth
text is a boilerplate with other words in it, one numbered template of a text, and one picture with noise. Texts get
their signatures as `prepare` makes them; pictures and sounds are made up as hashes, and records hold no media, so the
time is that of finding candidates and settling them. Of the comparison of the media themselves the number of pairs is
printed. Each size runs in a process of its own, whose processor time and peak memory are those of dedup alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trichord.infra import digest
from trichord.infra.digest import generator
from trichord.infra.engines.base import Done, I, R
from trichord.infra.engines.grouping import merge, partition
from trichord.infra.lake import schema
from trichord.infra.lake.shard import ShardRef, ShardWriter
from trichord.infra.project import load_project
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.exact_duplicates import deduplicate
from trichord.pipelines.prepare.near_duplicates_compare import Compared, ComparePairs
from trichord.pipelines.prepare.prepared import Prepared
from trichord.transforms.dedup.same_text import form_digest
from trichord.transforms.dedup.shingles import bands_of, text_sketches

# words of letters: those of digits alone share most of their shingles, so that every text would be near many
SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou"]
WORDS = ["".join(SYLLABLES[n // 90**place % 90] for place in range(3)) for n in range(17, 650_017, 13)]
PER_SHARD = 2_000
BOILERPLATE = (
    "This page uses cookies to improve your experience. By continuing to browse you agree to our terms of service and "
    "privacy policy. Subscribe to our newsletter for offers. All rights reserved. Contact us by mail or telephone. "
)
TEMPLATE = "Invoice number {} for one glass bottle of craft beer from the mountains, payable within thirty days"
OWN_WORDS = 5  # of a text that is boilerplate otherwise: some are near each other, most are not
NOISE_BITS = 6  # of 320 that noise turns in a hash, two rows differ in up to twice as many
GROWTHS = ("distinct", "boilerplate", "numbered", "noise")


class Here:
    """An engine in this process, which counts pairs of media instead of comparing them."""

    name = "here"

    def __init__(self) -> None:
        self.pairs = 0
        self.seconds: dict[str, float] = {}

    def map(self, task: Callable[[I], R], items: Iterable[I], **_: Any) -> Iterator[Done[I, R]]:
        """See `Engine.map`."""
        for item in items:
            yield Done(item, self._timed(task, item))

    def group(
        self, items: Sequence[I], emit: Callable[[I], pa.Table], reduce: Callable[[pa.Table], R], *, buckets: int
    ) -> Iterator[R]:
        """See `Engine.group`."""
        parts: dict[int, list[pa.Table]] = {}
        for item in items:
            for bucket, rows in partition(self._timed(emit, item), buckets).items():
                parts.setdefault(bucket, []).append(rows)
        for bucket in sorted(parts):
            yield self._timed(reduce, merge(parts.pop(bucket)))

    def _timed(self, task: Callable[[I], R], item: I) -> R:
        started = time.process_time()
        found: Any = self._count(item) if isinstance(task, ComparePairs) else task(item)
        name = type(task).__name__
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - started
        return found

    def _count(self, item: Any) -> tuple[int, list[Compared]]:
        """Return that every pair is the same picture: what noise leaves."""
        number, pairs = item
        self.pairs += len(pairs)
        return number, [Compared(same=True, distances={"image": 0.1}, modality="image", why="", uncertain=False)] * len(
            pairs
        )


def texts_of(growth: str, first: int, rows: int) -> list[str | None]:
    """Return the texts of rows from `first`."""
    words = generator("dedup-growth", "words", first).integers(0, 50_000, (rows, 14)).tolist()
    found: list[str | None] = []
    for row, chosen in zip(range(first, first + rows), words, strict=True):
        text = " ".join(WORDS[word] for word in chosen)
        match growth:
            case "noise":
                found.append(None)
            case "numbered":
                found.append(TEMPLATE.format(row))
            case "boilerplate" if row % 5 == 0:
                found.append(BOILERPLATE + text[: 6 * OWN_WORDS])
            case _:
                found.append(text)
    return found


def shard_of(workspace: Workspace, growth: str, number: int, rows: int) -> Prepared:
    """Make the signatures of one partition."""
    first = number * PER_SHARD
    texts = texts_of(growth, first, rows)
    sketches = text_sketches(texts)
    bands = bands_of(sketches)
    rng = generator("dedup-growth", "media", first)
    pictures, sounds = rng.integers(0, 256, (2, rows, 40), dtype=np.uint8)
    if growth == "noise":
        pictures[:] = generator("dedup-growth", "picture").integers(0, 256, 40, dtype=np.uint8)
        for picture, places in zip(pictures, rng.integers(0, 320, (rows, NOISE_BITS)).tolist(), strict=True):
            for place in places:
                picture[place // 8] ^= 1 << (place % 8)
    media = growth in ("distinct", "boilerplate")
    made = []
    for at in range(rows):
        row = digest.address(growth, first + at)
        made.append(
            {
                "key": f"k{first + at:08d}", "source": "made", "partition": f"made/{number:06d}", "row_digest": row,
                "content_digest": row, "input_digest": row, "text_sketch": sketches[at], "text_bands": bands[at],
                "modalities": "text,image,audio" if media else "image" if growth == "noise" else "text",
                "text_form": form_digest(texts[at]),
                "image_hash": pictures[at].tobytes() + bytes([128] * 32) if media or growth == "noise" else None,
                "audio_hash": sounds[at].tobytes() + (3_000).to_bytes(4, "little") if media else None,
            }
        )  # fmt: skip
    address = digest.address("dedup-growth", growth, number, rows)
    with ShardWriter(workspace.lake, "signatures", address, schema.SIGNATURES) as writer:
        writer.write(pa.Table.from_pylist(made, schema=schema.SIGNATURES))
        ref: ShardRef = writer.finish({"rows": rows})
    return Prepared(address=address, partition=f"made/{number:06d}", records=ref, signatures=ref, rejects=None)


def run(folder: Path, growth: str, rows: int) -> dict[str, Any]:
    """Make the signatures, and measure dedup."""
    (folder / "trichord.yaml").write_text(
        "lake: lake\nsources:\n  - {name: made, kind: folder, path: made}\n", encoding="utf-8"
    )
    workspace = Workspace(load_project(folder / "trichord.yaml"))
    starts = range(0, rows, PER_SHARD)
    prepared = [shard_of(workspace, growth, at, min(PER_SHARD, rows - start)) for at, start in enumerate(starts)]
    before = resource.getrusage(resource.RUSAGE_SELF)
    engine = Here()
    found = deduplicate(workspace, engine, prepared)  # type: ignore[arg-type] # it needs no more of an engine
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "growth": growth,
        "rows": rows,
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "peak_mib": round(after.ru_maxrss / 1024),
        "before_mib": round(before.ru_maxrss / 1024),
        "duplicates": sum(ref.rows for ref in found.duplicates),
        "matches": sum(ref.rows for ref in found.matches),
        "pairs_to_compare": engine.pairs,
        "by_task": {name: round(seconds, 2) for name, seconds in engine.seconds.items()},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 60_000, 200_000])
    parser.add_argument("--growth", nargs="+", choices=GROWTHS, default=list(GROWTHS))
    parser.add_argument("--here", action="store_true", help="in this process: one growth of one size")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.here:
        with tempfile.TemporaryDirectory(prefix="trichord-growth-") as name:
            sys.stdout.write(json.dumps(run(Path(name), options.growth[0], options.rows[0])) + "\n")
        return
    results = []
    for growth in options.growth:
        for rows in options.rows:
            command = [
                sys.executable,
                "-m",
                "tests.bench.dedup_growth",
                "--here",
                "--growth",
                growth,
                "--rows",
                str(rows),
            ]
            results.append(
                json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            )
            if not options.json:
                sys.stdout.write(json.dumps(results[-1]) + "\n")
    if options.json:
        sys.stdout.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
