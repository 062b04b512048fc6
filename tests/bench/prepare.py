"""Prepare against a bare decode-measure-resize-encode loop with as many workers, in one run.

`python -m tests.bench.prepare --json` prints one JSON line. `ratio_to_bare_loop` is the whole job's throughput
(reading, every op, Parquet, hashing, fsync) over the bare loop's on pictures with captions, the full image chain on;
`with_sound` the same where every record has a sound too, of which prepare also measures voice, noise floor, hum and
loudness, and the bare loop nothing. Worker start-up is outside both.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import soundfile
from PIL import Image

from tests.pipelines.lakes import rows_of, workspace_of, write_project, write_rows
from trichord.infra.config import EngineConfig, PrepareConfig
from trichord.infra.engines import open_engine
from trichord.pipelines.demo.corpus import write_corpus
from trichord.pipelines.prepare.plan import make_plan
from trichord.pipelines.prepare.records import prepare

CONFIG = PrepareConfig()


@cache
def resampler(rate_hz: int) -> Any:
    """torchaudio's resampler, its kernel made once."""
    import torchaudio.transforms

    return torchaudio.transforms.Resample(rate_hz, CONFIG.audio.rate_hz)


def bare(files: Sequence[tuple[str, str | None]]) -> int:
    """What any preparation must do to these pictures and sounds, and nothing else."""
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    done = 0
    for image, audio in files:
        rgb = np.asarray(Image.open(image).convert("RGB"))
        scale = CONFIG.image.side / max(rgb.shape[:2])
        if scale < 1:
            rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        cv2.meanStdDev(cv2.Laplacian(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.CV_16S))
        Image.fromarray(rgb).save(io.BytesIO(), "JPEG", quality=CONFIG.image.quality)
        if audio is not None:
            samples, rate = soundfile.read(audio, dtype="float32", always_2d=True)
            mono = samples.mean(axis=1)
            if rate != CONFIG.audio.rate_hz:
                mono = resampler(rate)(torch.from_numpy(mono)).numpy()
            np.abs(mono).max()
            soundfile.write(io.BytesIO(), mono, CONFIG.audio.rate_hz, format="FLAC", subtype="PCM_16")
        done += 1
    return done


def measure(records: int, workers: int, rounds: int, *, sound: bool) -> dict[str, float]:
    """Throughput of both, in turn; the median of the rounds' ratios."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="trichord-bench-") as name:
        folder = Path(name)
        project = write_project(folder, records=2, settings={})
        write_corpus(folder / "corpus", records=records, seed=3, defects=0.0)
        corpus = folder / "corpus"
        rows = [row if sound else {**row, "audio": None} for row in rows_of(corpus)]
        write_rows(corpus, rows)
        files = [(str(corpus / row["image"]), str(corpus / row["audio"]) if sound else None) for row in rows]
        parts = [files[start : start + 32] for start in range(0, len(files), 32)]
        warm = [parts[0]] * workers
        bare_s, prepare_s = [], []
        with (
            # sessions of their own, as the engine's workers have: Linux shares a busy machine out by session
            multiprocessing.get_context("spawn").Pool(workers, initializer=os.setsid) as pool,
            open_engine(EngineConfig(kind="local", workers=workers)) as engine,
        ):
            pool.map(bare, warm)
            for turn in range(rounds + 1):  # the first turn warms both up
                started = time.perf_counter()
                assert sum(pool.imap_unordered(bare, parts)) == records
                bare_s.append(time.perf_counter() - started)
                workspace = workspace_of(project, f"lake={folder / f'lake-{turn}'}")
                plan = make_plan(workspace)
                started = time.perf_counter()
                prepared = prepare(workspace, engine, plan.shards)
                prepare_s.append(time.perf_counter() - started)
                assert sum(item.records.counts["rows_in"] for item in prepared) == records
    ratios = [b / p for b, p in zip(bare_s[1:], prepare_s[1:], strict=True)]
    return {
        "ratio_to_bare_loop": round(statistics.median(ratios), 3),
        "prepare_records_per_s": round(records / statistics.median(prepare_s[1:]), 1),
        "bare_records_per_s": round(records / statistics.median(bare_s[1:]), 1),
        "records": records,
        "workers": workers,
        "rounds": rounds,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=3_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only-pictures", action="store_true", help="without the five times longer run with sound")
    parser.add_argument("--json", action="store_true", help="one JSON line (the only output there is)")
    options = parser.parse_args()
    found = [
        measure(options.records, options.workers, options.rounds, sound=sound)
        for sound in ((False,) if options.only_pictures else (False, True))
    ]
    figures = found[0] if options.only_pictures else {**found[0], "with_sound": found[1]}
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
