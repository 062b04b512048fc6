"""Prepare against Data-Juicer 1.6.1 on the same image-caption records: equal ops, as many processes, one run.

`python -m tests.bench.prepare_vs_datajuicer --json` prints one JSON line; quote `speedup_ops` first, at 4,000 and at
20,000 records (`--records 20000`). It compares what Data-Juicer reports as the time inside its ops with our whole
`prepare` and `dedup` (reading, ops, JPEG, Parquet, hashing, fsync) by workers that are warm. `speedup_process` compares
whole processes, the command line of each: most of Data-Juicer's is starting. Ours does more: it also measures sharpness
and exposure, stores canonical pictures, and finds near duplicates, not only equal hashes.

Data-Juicer lives in an environment of its own, which the first run makes under `.bench/` (about 3 GB).
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import yaml

from tests.pipelines.lakes import result_of, trichord, workspace_of
from trichord.infra.config import EngineConfig
from trichord.infra.digest import generator
from trichord.infra.engines import open_engine
from trichord.pipelines.demo.captions import write_captions
from trichord.pipelines.demo.render import encode_picture, render
from trichord.pipelines.demo.scenes import draw_scene
from trichord.pipelines.prepare.job import prepare_lake
from trichord.pipelines.prepare.plan import Plan, make_plan

VERSION = "1.6.1"
# what its image ops import besides its own requirements
NEEDED = (f"py-data-juicer=={VERSION}", "aiohttp", "imagededup", "ftfy", "opencv-python-headless", "torch==2.11.0")
HOME = Path(__file__).parents[2] / ".bench" / "data-juicer"
SIDE = 224
_OPS_DONE = re.compile(r"All OPs are done in ([0-9.]+)s")


def installed() -> Path:
    """Data-Juicer's command, from an environment of its own."""
    command = HOME / "bin" / "dj-process"
    uv = str(Path(sys.executable).parent / "uv")
    if not command.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(HOME)], check=True)
        python = str(HOME / "bin" / "python")
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *NEEDED], check=True)
    return command


def write_data(folder: Path, records: int) -> tuple[Path, Path]:
    """The same photos with captions for both: a project file, and a Data-Juicer recipe."""
    (folder / "images").mkdir(parents=True)
    ours, theirs = [], []
    for number in range(records):
        rng = generator(0, "bench", number)
        scene = draw_scene(rng, 0.5)
        picture = cv2.resize(render(scene, rng, 0.5), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        text = write_captions(scene, rng, 0.5)[0]
        path = folder / "images" / f"{number:05d}.jpg"
        path.write_bytes(encode_picture(picture, "jpg"))
        ours.append({"id": f"{number:05d}", "text": text, "image": f"images/{path.name}"})
        theirs.append({"text": f"<__dj__image> {text}", "images": [str(path)]})
    for name, rows in (("manifest.jsonl", ours), ("dj.jsonl", theirs)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "manifest.jsonl", folder / "dj.jsonl"


def run_datajuicer(command: Path, data: Path, out: Path, workers: int) -> tuple[float, float]:
    """(seconds of the whole process, seconds inside its ops)."""
    recipe = {
        "project_name": "bench",
        "dataset_path": str(data),
        "export_path": str(out / "out.jsonl"),
        "np": workers,
        "open_tracer": False,
        "use_cache": False,
        "process": [
            {"fix_unicode_mapper": None},
            {"whitespace_normalization_mapper": None},
            {"text_length_filter": {"min_len": 1, "max_len": 20_000}},
            {"image_shape_filter": {"min_width": 32, "min_height": 32}},
            {"image_aspect_ratio_filter": {"min_ratio": 1 / 6, "max_ratio": 6.0}},
            {"image_deduplicator": {"method": "phash"}},
        ],
    }
    out.mkdir()
    config = out / "recipe.yaml"
    config.write_text(yaml.safe_dump(recipe))
    started = time.perf_counter()
    done = subprocess.run([command, "--config", config], capture_output=True, text=True, cwd=out, check=False)
    seconds = time.perf_counter() - started
    found = _OPS_DONE.search(done.stdout + done.stderr)
    if done.returncode or found is None:
        raise RuntimeError(f"Data-Juicer ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3_000:]}")
    return seconds, float(found[1])


def run_ours(manifest: Path, out: Path, workers: int) -> tuple[float, float]:
    """(seconds of the whole process, seconds of prepare and dedup with warm workers)."""
    out.mkdir()
    source = {"name": "photos", "kind": "manifest", "path": str(manifest)}
    settings: dict[str, Any] = {"lake": str(out / "lake"), "sources": [source], "engine": {"workers": workers}}
    project = out / "trichord.yaml"
    project.write_text(yaml.safe_dump(settings))
    started = time.perf_counter()
    summary = result_of(trichord("prepare", "--project", str(project), "--json"))
    seconds = time.perf_counter() - started
    workspace = workspace_of(project, f"lake={out / 'warm'}")
    plan = make_plan(workspace)
    with open_engine(EngineConfig(workers=workers)) as engine:
        warming = workspace_of(project, f"lake={out / 'warm-up'}")
        prepare_lake(warming, engine, _first(make_plan(warming)))
        started = time.perf_counter()
        done = prepare_lake(workspace, engine, plan)
        ops = time.perf_counter() - started
    if done.counts.rows_in != summary["rows_in"]:
        raise RuntimeError("the two runs saw different rows")
    return seconds, ops


def _first(plan: Plan) -> Plan:
    return replace(plan, shards=plan.shards[:2])


def measure(records: int, workers: int, rounds: int) -> dict[str, Any]:
    """Both in turn; medians over the rounds."""
    command = installed()
    theirs, ours = [], []
    with tempfile.TemporaryDirectory(prefix="trichord-bench-") as name:
        folder = Path(name)
        manifest, data = write_data(folder / "data", records)
        for turn in range(rounds):
            theirs.append(run_datajuicer(command, data, folder / f"theirs-{turn}", workers))
            ours.append(run_ours(manifest, folder / f"ours-{turn}", workers))
    (their_process, their_ops), (our_process, our_ops) = (
        tuple(statistics.median(run[place] for run in runs) for place in (0, 1)) for runs in (theirs, ours)
    )
    return {
        "speedup_ops": round(their_ops / our_ops, 2),
        "speedup_process": round(their_process / our_process, 2),
        "datajuicer_process_s": round(their_process, 1),
        "datajuicer_ops_s": round(their_ops, 1),
        "trichord_process_s": round(our_process, 1),
        "trichord_ops_s": round(our_ops, 1),
        "records": records,
        "workers": workers,
        "rounds": rounds,
        "datajuicer": VERSION,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=4_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON line (the only output there is)")
    options = parser.parse_args()
    sys.stdout.write(json.dumps(measure(options.records, options.workers, options.rounds)) + "\n")


if __name__ == "__main__":
    main()
