"""Mixed-gallery InfoNCE against plain InfoNCE on the demo corpus, rankings too.

`python -m tests.bench.losses --difficulty D` prints the means over seeds and in how many of them mixed-gallery InfoNCE
is ahead; `--json` one JSON line. Queries are captions that are not the text in the gallery. One corpus, one lake, one
partition: records and features are made once, each loss and seed trains its own model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.pipelines.lakes import workspace_of, write_project
from trichord.infra.lake.shard import find_finished
from trichord.pipelines.core.exclusions import Exclusions
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.demo.corpus import write_corpus
from trichord.pipelines.evaluation.parts import parts_of
from trichord.pipelines.model.compare import Grid, compare
from trichord.pipelines.publish.evaluate import EvaluateTask

PLAIN, MIXED = LOSSES = ("infonce", "mixed_gallery_infonce")
MODALITIES = ("text", "image", "audio")
DIRECTIONS = [(q, g) for q in MODALITIES for g in MODALITIES if q != g]
RANKINGS = ("calibrated", "rank_fusion", "quota")
Evaluation = Mapping[str, Any]


def table(evaluation: Evaluation) -> dict[str, float | None]:
    """The rows of section 7, sound beside the picture."""
    recall, ndcg, mixed = evaluation["recall_at_10"]["text"], evaluation["ndcg_at_10"]["text"], evaluation["mixed"]
    by_text, items = mixed["by_query"]["text"], evaluation["all_views"]["text"]["recall_at_10"]
    among = {form: by_text["retention"][form] for form in ("image", "audio")}
    return {
        "images only, R@10": recall["image"],
        "sounds only, R@10": recall["audio"],
        "other captions only, NDCG@10": ndcg["text"],
        "all of a record fused, NDCG@10": ndcg["fused"],
        "each record once in some form, NDCG@10": by_text["ndcg_at_10"],
        "... retention of records that are images only": among["image"],
        "... retention of records that are sounds only": among["audio"],
        "every item by itself, R@10 of the image": items["image"],
        "every item by itself, R@10 of the sound": items["audio"],
    }


def others(evaluation: Evaluation) -> dict[str, float | None]:
    """What the gain must not cost, and what rankings add."""
    found = {f"{q} -> {g}, R@10": evaluation["recall_at_10"][q][g] for q, g in DIRECTIONS}
    found["mixed gallery, all queries, NDCG@10"] = evaluation["mixed"]["ndcg_at_10"]
    found |= {f"retention of {form}": evaluation["mixed"]["retention"][form] for form in MODALITIES}
    for ranking in ("plain", *RANKINGS):
        if ranking in evaluation["rankings"]:
            report = evaluation["rankings"][ranking]["all_views"]
            found[f"every item by itself, {ranking}: R@10"] = report["recall_at_10"]
            found[f"every item by itself, {ranking}: retention"] = report["retention_overall"]
    return found


def measure(records: int, seeds: int, held_out: float, difficulty: float) -> dict[str, Any]:
    """Every row by loss: its value for each seed."""
    with tempfile.TemporaryDirectory(prefix="trichord-losses-") as name:
        project = write_project(Path(name), records=2, settings={"train": {"test": held_out, "threads": 1}})
        write_corpus(Path(name) / "corpus", records=records, seed=7, difficulty=difficulty, defects=0.0)
        workspace = workspace_of(project)
        result = compare(workspace, Grid(fusions=("gated_attention",), losses=LOSSES, seeds=seeds)).to_dict()
        runs = {loss: [_after(workspace, run) for run in result["runs"] if run["loss"] == loss] for loss in LOSSES}
    return {
        "records": records,
        "held_out": runs[PLAIN][0]["records"],
        "seeds": seeds,
        "difficulty": difficulty,
        "chance": runs[PLAIN][0]["chance"]["text"]["image"],
        "table": _rows({loss: [table(run) for run in found] for loss, found in runs.items()}),
        "others": _rows({loss: [others(run) for run in found] for loss, found in runs.items()}),
    }


def _after(workspace: Workspace, run: Mapping[str, Any]) -> Evaluation:
    """Measure a model of the comparison on all test records."""
    records = find_finished(workspace.lake, "records", workspace.table("records").shards())
    task = EvaluateTask(
        lake=workspace.lake,
        project=workspace.project,
        parts=parts_of(workspace, records.values(), ()),
        model=run["model"],
        fingerprint=json.loads(workspace.lake.read(run["model"], "model.json"))["fingerprint"],
        limit=None,
    )
    measured = task((records, Exclusions(lake=workspace.lake)))
    assert measured is not None
    return measured.evaluation


def _rows(runs: Mapping[str, Sequence[Mapping[str, float | None]]]) -> list[dict[str, Any]]:
    rows = []
    for name in runs[PLAIN][0]:
        values = {loss: [run[name] for run in found] for loss, found in runs.items()}
        means = {loss: round(statistics.fmean(v for v in known if v is not None), 4) for loss, known in values.items()}
        ahead = sum((m or 0) > (p or 0) for p, m in zip(values[PLAIN], values[MIXED], strict=True))
        rows.append({"row": name, **means, "ahead": ahead, "values": values})
    return rows


def markdown(result: Mapping[str, Any]) -> str:
    """Both tables for people."""
    head = ["gallery, query = a caption", "InfoNCE", "mixed-gallery InfoNCE", f"ahead, of {result['seeds']} seeds"]
    lines = [head, ["---"] * 4]
    for part in ("table", "others"):
        lines += [[row["row"], f"{row[PLAIN]:.3f}", f"{row[MIXED]:.3f}", str(row["ahead"])] for row in result[part]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=3_200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--held-out", type=float, default=0.2)
    parser.add_argument("--difficulty", type=float, default=1.0, help="of the scenes, in [0, 1]")
    parser.add_argument("--json", action="store_true", help="one JSON line")
    options = parser.parse_args()
    result = measure(options.records, options.seeds, options.held_out, options.difficulty)
    sys.stdout.write((json.dumps(result) if options.json else markdown(result)) + "\n")


if __name__ == "__main__":
    main()
