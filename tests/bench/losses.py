"""Held-out retrieval of mixed-gallery InfoNCE against plain InfoNCE, each also with the levers on the query's side.

`python -m tests.bench.losses` prints one JSON line.

One demo corpus, one lake: records and features are made once, each loss and seed trains its own model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipelines.demo.corpus import write_corpus
from pipelines.evaluation.levers import LEVERS
from tests.pipelines.lakes import result_of, trichord, write_project

LOSSES = ("infonce", "mixed_gallery_infonce")
DIRECTIONS = [(q, g) for q in ("text", "image", "audio") for g in ("text", "image", "audio") if q != g]


def measure(records: int, seeds: int, held_out: float, difficulty: float) -> dict[str, Any]:
    """By loss: the worst direction's recall over chance, and mixed recall, NDCG and retention; means over seeds."""
    with tempfile.TemporaryDirectory(prefix="trichord-losses-") as name:
        project = write_project(Path(name), records=2, settings={"train": {"held_out": held_out}})
        write_corpus(Path(name) / "corpus", records=records, seed=7, difficulty=difficulty)
        runs = {loss: [_train(project, loss, seed) for seed in range(seeds)] for loss in LOSSES}
    result: dict[str, Any] = {
        "records": records,
        "seeds": seeds,
        "difficulty": difficulty,
        "held_out": runs[LOSSES[0]][0]["records"],
    }
    for loss, found in runs.items():
        result[loss] = {
            "recall_at_10": {f"{q}->{g}": _mean([run["recall_at_10"][q][g] for run in found]) for q, g in DIRECTIONS},
            "chance": _mean([run["chance"]["text"]["image"] for run in found]),
            "worst_over_chance": round(
                min(run["recall_at_10"][q][g] / run["chance"][q][g] for run in found for q, g in DIRECTIONS), 1
            ),
            "mixed_recall_at_10": _mean([run["mixed"]["recall_at_10"] for run in found]),
            "mixed_ndcg_at_10": _mean([run["mixed"]["ndcg_at_10"] for run in found]),
            "retention_overall": _mean([run["mixed"]["retention_overall"] for run in found]),
            "all_views_retention": _mean([_all_views_retention(run) for run in found]),
            "retention": {
                form: _mean([run["mixed"]["retention"][form] for run in found]) for form in ("text", "image", "audio")
            },
            "levers": {lever: _levered([run["levers"][lever] for run in found]) for lever in LEVERS},
        }
    return result


def _levered(found: list[dict[str, Any]]) -> dict[str, Any]:
    """One lever's figures in both mixed galleries, over the records that no calibration saw; means over seeds."""
    galleries = ("mixed", "all_views")
    figures = ("recall_at_10", "ndcg_at_10", "retention_overall")
    return {
        gallery: {figure: _mean([run[gallery][figure] for run in found]) for figure in figures}
        | {
            f"retention_{form}": _mean([run[gallery]["retention"][form] for run in found])
            for form in ("text", "image", "audio")
        }
        for gallery in galleries
    }


def _train(project: Path, loss: str, seed: int) -> dict[str, Any]:
    overrides = [f"train.loss={loss}", f"train.seed={seed}", "gate.min_over_chance=0"]
    flags = [part for override in overrides for part in ("--set", override)]
    evaluation: dict[str, Any] = result_of(
        trichord("reindex", "--no-publish", "--project", str(project), "--json", *flags)
    )["evaluation"]
    return evaluation


def _all_views_retention(run: dict[str, Any]) -> float:
    """Recall of the other modality's item among all items, over recall in a gallery of its kind; mean of directions."""
    among_all = [run["all_views"][q]["recall_at_10"][g] for q, g in DIRECTIONS]
    alone = [run["recall_at_10"][q][g] for q, g in DIRECTIONS]
    return statistics.mean(a / b for a, b in zip(among_all, alone, strict=True))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.mean(known), 4) if known else None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=3_200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--held-out", type=float, default=0.2)
    parser.add_argument("--difficulty", type=float, default=1.0, help="of the scenes, in [0, 1]")
    options = parser.parse_args()
    sys.stdout.write(json.dumps(measure(options.records, options.seeds, options.held_out, options.difficulty)) + "\n")


if __name__ == "__main__":
    main()
