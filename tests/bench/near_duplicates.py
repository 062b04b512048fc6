"""Near duplicates that must go and look-alikes that must stay: `python -m tests.bench.near_duplicates --json`.

`tests.bench.lookalikes` makes items of several families, variants that differ in a detail that matters, and planted
copies; `prepare` runs over all of them with default settings. `--held` uses the families and changes that no limit was
chosen by; `--sheets FOLDER` writes contact sheets of what was wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image as Pillow
from PIL import ImageDraw

from tests.bench.lookalikes.corpus import Labelled, families, write_corpus
from trichord.infra.lake.shard import read_shard
from trichord.infra.project import load_project
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.prepare.job import prepare_only

PROJECT = """lake: lake
engine: {{workers: {workers}}}
gate: {{max_reject_ratio: 1.0}}
sources:
  - {{name: items, kind: manifest, path: manifest.jsonl, fields: {{key: key{fields}}}}}
"""
CELL = 220


def prepare(
    folder: Path, labelled: Sequence[Labelled], workers: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Prepare the corpus; return the rows of `duplicates` and of `matches`."""
    columns = sorted({name for one in labelled for name in one.row if name != "key"})
    fields = "".join(f", {name}: {name}" for name in columns)
    (folder / "trichord.yaml").write_text(PROJECT.format(workers=workers, fields=fields), encoding="utf-8")
    workspace = Workspace(load_project(folder / "trichord.yaml"))
    prepare_only(workspace)
    return _rows(workspace, "duplicates"), _rows(workspace, "matches")


def _rows(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    refs = workspace.table(name).shards(None).values()
    return [row for ref in refs for row in read_shard(workspace.lake, ref).to_pylist()]


def measure(
    labelled: Sequence[Labelled], duplicates: Sequence[Mapping[str, Any]], matches: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return precision and recall, overall and by family and way, and what was wrong."""
    of_key = {one.row["key"]: one for one in labelled}
    dropped = {row["key"]: row["survivor_key"] for row in duplicates}
    items = {key: one.item for key, one in of_key.items()}
    false = [(key, other) for key, other in dropped.items() if items[key] != items[other]]
    wrong = {key for key, _ in false}
    listed = {row["key"] for row in matches} | {row["other_key"] for row in matches}

    def recall(copies: Sequence[Labelled]) -> str:
        found = sum(one.row["key"] in dropped and one.row["key"] not in wrong for one in copies)
        return f"{found}/{len(copies)}"

    planted = [one for one in labelled if one.role == "copy"]
    missed = [one.row["key"] for one in planted if one.row["key"] not in dropped]
    negatives = [one for one in labelled if one.role == "variant"]
    right = len(dropped) - len(false)
    return {
        "records": len(labelled),
        "hard_negatives": len(negatives),
        "planted": len(planted),
        "precision": round(right / max(1, len(dropped)), 5),
        "recall": round(1 - len(missed) / max(1, len(planted)), 4),
        "false_merges": len(false),
        "by_family": {
            name: {
                "hard_negatives": sum(one.family == name for one in negatives),
                "false_merges": sum(of_key[key].family == name for key, _ in false),
                "recall": recall([one for one in planted if one.family == name]),
            }
            for name in dict.fromkeys(one.family for one in labelled)
        },
        "recall_by_way": {
            way: recall([one for one in planted if one.way.split("+")[0] == way])
            for way in sorted({one.way.split("+")[0] for one in planted})
        },
        "missed_but_in_matches": sum(key in listed for key in missed),
        "false": [[*pair, next(row["evidence"] for row in duplicates if row["key"] == pair[0])] for pair in false[:20]],
        "missed": [[key, of_key[key].way] for key in missed[:60]],
        "why_missed": Counter(row["why"] for row in matches if row["key"] in missed).most_common(8),
    }


def write_sheet(folder: Path, pairs: Sequence[tuple[str, str, str]], path: Path) -> None:
    """Write pairs of pictures (key, key, caption) beside each other."""
    sheet = Pillow.new("RGB", (4 * (CELL + 8) * 2, max(1, -(-len(pairs) // 4)) * (CELL + 24)), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for at, (one, other, caption) in enumerate(pairs):
        x, y = at % 4 * 2 * (CELL + 8), at // 4 * (CELL + 24)
        for side, key in enumerate((one, other)):
            file = folder / "media" / key.replace("/", "-")
            if file.exists():
                with Pillow.open(file) as picture:
                    picture.thumbnail((CELL, CELL))
                    sheet.paste(picture.convert("RGB"), (x + side * CELL, y))
        draw.text((x, y + CELL + 2), caption[:70], fill=(0, 0, 0))
    sheet.save(path)


def run(
    folder: Path,
    bases: int,
    *,
    held: bool,
    workers: int,
    seed: int,
    only: Sequence[str] = (),
    sheets: Path | None = None,
) -> dict[str, Any]:
    """Make the corpus, prepare it and measure."""
    labelled = write_corpus(folder, only or families(held=held), bases, held=held, seed=seed)
    started = time.monotonic()
    duplicates, matches = prepare(folder, labelled, workers)
    found = measure(labelled, duplicates, matches) | {"prepare_seconds": round(time.monotonic() - started, 1)}
    if sheets is not None:
        sheets.mkdir(parents=True, exist_ok=True)
        pictures = {one.row["key"] for one in labelled if "image" in one.row}
        write_sheet(folder, [(a, b, f"{a} {e}") for a, b, e in found["false"] if a in pictures], sheets / "false.png")
        of_copy = [
            (key.split("/copy")[0] + "/base/0", key, f"{key} {way}") for key, way in found["missed"] if key in pictures
        ]
        write_sheet(folder, of_copy, sheets / "missed.png")
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bases", type=int, default=45, help="items of each family; each has 5 variants and 4 copies")
    parser.add_argument("--held", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trichord-lookalikes-") as name:
        found = run(Path(name), options.bases, held=options.held, workers=options.workers, seed=options.seed,
                    only=options.only, sheets=options.sheets)  # fmt: skip
    sys.stdout.write(json.dumps(found, indent=None if options.json else 2) + "\n")


if __name__ == "__main__":
    main()
