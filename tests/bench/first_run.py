"""A first run over demo records by stage, beside a plain script of the same work: `python -m tests.bench.first_run`.

Each is a process of its own, in turn, `--rounds` times: `trichord reindex` on a new lake with the demo's settings
(every detector on), and `tests/bench/plain_script.py`, which trains for as many epochs. Writing the corpus is outside.
CPU seconds are of the process and all that it started; `written_mb` is what reached the disk (/proc/self/io), and
`lake_mb` what the lake holds afterwards. Medians of the rounds, but the stages are those of the last.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.bench import plain_script
from trichord.infra.config import TrainConfig
from trichord.pipelines.demo.corpus import write_corpus
from trichord.pipelines.demo.run import write_project

# The plain script's threads do not wait by spinning, which on a busy machine costs more than its work.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
FIGURES = ("clock_s", "cpu_s", "written_mb")


def written_mb(pid: int | str = "self") -> float:
    """What a process and those that it has waited for wrote to the disk, without files that were removed before."""
    counters = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return (int(counters["write_bytes"]) - int(counters["cancelled_write_bytes"])) / 1e6


def so_far(pid: int) -> tuple[float, float]:
    """CPU seconds of a process and of all that it started, and what they wrote, in MB."""
    cpu_s = written = 0.0
    with suppress(psutil.Error):
        driver = psutil.Process(pid)
        for one in (driver, *driver.children(recursive=True)):
            with suppress(psutil.Error, OSError):
                cpu_s += sum(one.cpu_times()[:4])
                written += written_mb(one.pid)
    return cpu_s, written


def process(command: list[str]) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Run a command: its figures, its result, and its stages with seconds of clock and CPU."""
    before, started = written_mb(), time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=output, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
        assert child.stderr is not None
        stages, tail, before_s, before_mb = list[dict[str, Any]](), "", 0.0, 0.0
        for line in child.stderr:
            tail = (tail + line)[-2_000:]
            if '"stage_done"' in line:
                event, (cpu_s, mb) = json.loads(line), so_far(child.pid)
                cost = {"cpu_s": round(cpu_s - before_s, 2), "written_mb": round(mb - before_mb, 1)}
                stages.append({"stage": event["stage"], "clock_s": event["seconds"], **cost})
                before_s, before_mb = cpu_s, mb
        _, status, used = os.wait4(child.pid, 0)
        if status:
            raise RuntimeError(f"{command} ended with status {status}\n{tail}")
        figures = {
            "clock_s": time.perf_counter() - started,
            "cpu_s": used.ru_utime + used.ru_stime,
            "written_mb": written_mb() - before,
        }
        output.seek(0)
        return figures, json.loads(output.read().splitlines()[-1]), stages


def product(folder: Path, turn: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A first run on a new lake."""
    lake = folder / f"lake-{turn}"
    settings = ["--project", str(folder / "trichord.yaml"), "--set", f"lake={lake}"]
    figures, summary, stages = process(["trichord.pipelines", "reindex", *settings, "--json"])
    sizes = [path.stat().st_size for path in lake.rglob("*") if path.is_file() and not path.is_symlink()]
    model = next(lake.glob("models/*/training.json"))
    history = json.loads(model.read_text())["history"]
    seconds = {table: spent["wall_s"] for table, spent in summary["timings"].items()}
    return {
        **figures,
        "lake_mb": sum(sizes) / 1e6,
        "records": summary["rows_kept"],
        "epochs": history[-1]["epoch"],
        "recall_at_10": summary["evaluation"]["recall_at_10"]["text"]["image"],
        "encoding_wall_s": seconds,
    }, stages


def measure(records: int, rounds: int) -> dict[str, Any]:
    """Both in turn."""
    ours, theirs = list[dict[str, Any]](), list[dict[str, Any]]()
    stages, plain = list[dict[str, Any]](), dict[str, Any]()
    with tempfile.TemporaryDirectory(prefix="trichord-bench-") as temporary:
        folder = Path(temporary)
        write_corpus(folder / "corpus", records=records, seed=7)
        write_project(folder)
        for turn in range(rounds):
            made, stages = product(folder, turn)
            ours.append(made)
            arguments = ["--plain", str(folder / f"plain-{turn}"), "--epochs", str(made["epochs"])]
            figures, plain, _ = process(["tests.bench.first_run", *arguments])
            theirs.append(figures)
    result: dict[str, Any] = {"records": records, "rounds": rounds, "load": round(os.getloadavg()[0], 1)}
    for name in FIGURES:
        mine, other = (statistics.median(one[name] for one in all_of) for all_of in (ours, theirs))
        result |= {name: round(mine, 1), f"plain_{name}": round(other, 1), f"{name}_ratio": round(mine / other, 2)}
    last = ours[-1]
    result |= {name: last[name] for name in ("epochs", "recall_at_10", "encoding_wall_s")}
    result |= {"lake_mb": round(last["lake_mb"], 1), "kept": last["records"]}
    result["written_ratio"] = round(statistics.median(one["written_mb"] / one["lake_mb"] for one in ours), 2)
    return result | {"stages": stages, "plain": plain}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--plain", type=Path, help="run the plain script alone, into this folder beside the corpus")
    parser.add_argument("--epochs", type=int, default=30, help="of the plain script")
    parser.add_argument("--json", action="store_true", help="one JSON line")
    options = parser.parse_args()
    if options.plain is not None:
        corpus, threads = options.plain.parent / "corpus", TrainConfig().threads
        result = plain_script.run(corpus, options.plain, epochs=options.epochs, threads=threads)
    else:
        result = measure(options.records, options.rounds)
    lines = json.dumps(result) if options.json or options.plain else json.dumps(result, indent=1)
    sys.stdout.write(lines + "\n")


if __name__ == "__main__":
    main()
