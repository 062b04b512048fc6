"""Self-supervised views on real pictures: `python -m tests.bench.adapt_books --sample FOLDER [--json]`.

A ViT with drawn weights learns from the pictures of the sample's training books and photos, by two crops of one
picture that must agree; no label is seen. Then every picture of the books that are held out asks for its nearest among
the others of these books: `precision_at_5` is the share of the five nearest that are of its own book, `r_precision` of
as many nearest as its book has others. Pictures that are the same file count once. Beside it stand chance, and the
weight-free encoder that a project has by default. Each seed draws other weights, crops and batches.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from tests.bench.adapt import vit
from trichord.encoders.base import AUDIO_RATE_HZ
from trichord.encoders.frozen import load_encoders
from trichord.infra.config import ModelConfig
from trichord.infra.engines import open_engine
from trichord.infra.lake.shard import find_finished, iter_shard
from trichord.infra.project import load_project
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.parts import TRAIN, parts_of
from trichord.pipelines.model.finetune import adapt
from trichord.pipelines.prepare.job import prepare_lake
from trichord.pipelines.prepare.plan import make_plan
from trichord.transforms.record import batch_of

CROPS = {"crop": {"p": 1.0, "min_keep": 0.2}, "colour": {"p": 0.0}, "rotate": {"p": 0.0}, "compression": {"p": 0.0}}
BOOK = "asp_"  # what the keys of pages begin with


def project_at(folder: Path, sample: Path, base: Path, epochs: int, rate: float, seed: int) -> Workspace:
    """The sample as a project whose pictures the encoder at `base` is to learn from."""
    objective = {"objective": "views", "layers": "all", "epochs": epochs, "batch_size": 64, "temperature": 0.1}
    settings = {
        "lake": str(folder / "lake"),
        "sources": [
            {"name": "sample", "kind": "manifest", "path": str(sample / "manifest.jsonl"), "media_root": str(sample)}
        ],
        "model": {
            "image": {
                "kind": "huggingface", "path": str(base),
                "adapt": objective | {"learning_rate": rate, "seed": seed},
            }
        },
        "augment": {"image": CROPS},
        "train": {"threads": 2},
        "engine": {"workers": 1},
    }  # fmt: skip
    (folder / "trichord.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return Workspace(load_project(folder / "trichord.yaml", []))


def held_out_pictures(workspace: Workspace) -> tuple[list[Any], np.ndarray]:
    """(Pictures of the held-out books, each once, their books)."""
    pictures, books, seen = [], [], set()
    records = find_finished(workspace.lake, "records", workspace.table("records").shards())
    parts = parts_of(workspace, records.values(), ())
    for ref in records.values():
        for part in iter_shard(workspace.lake, ref, batch_rows=64):
            rows = pa.Table.from_batches([part])
            wanted = parts.of(rows) != TRAIN
            raw, batch = rows["image"].to_pylist(), batch_of(rows, AUDIO_RATE_HZ)
            for i in np.flatnonzero(wanted):
                if raw[i] and raw[i] not in seen and batch.rows[i].key.startswith(BOOK):
                    seen.add(raw[i])
                    pictures.append(batch.images[i])
                    books.append(rows["group"][int(i)].as_py())
    return pictures, np.array(books)


def precision(model: ModelConfig, pictures: list[Any], books: np.ndarray) -> dict[str, float]:
    """Of the nearest by this encoder's features, the share that is of the asking picture's book."""
    vectors = load_encoders(model).by_modality["image"].encode(pictures)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    near = books[np.argsort(-scores, axis=1)] == books[:, None]
    others = [int((books == book).sum()) - 1 for book in books]
    return {
        "precision_at_5": float(near[:, :5].mean()),
        "r_precision": statistics.fmean(row[:n].mean() for row, n in zip(near, others, strict=True) if n),
    }


def measure(sample: Path, epochs: int, rate: float, seeds: int) -> dict[str, Any]:
    """Figures by encoder: mean over seeds and every seed's own."""
    runs: list[dict[str, dict[str, float]]] = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory(prefix="trichord-books-") as name:
            folder = Path(name)
            vit(folder / "base", [], seed)
            workspace = project_at(folder, sample, folder / "base", epochs, rate, seed)
            with open_engine(workspace.project.engine) as engine:
                prepare_lake(workspace, engine, make_plan(workspace))
            pictures, books = held_out_pictures(workspace)
            story = adapt(workspace, "image", folder / "adapted").to_dict()
            drawn = workspace.project.model
            adapted = drawn.model_copy(
                update={"image": drawn.image.model_copy(update={"path": str(folder / "adapted")})}
            )
            runs.append(
                {
                    "weight_free": precision(ModelConfig(), pictures, books),
                    "before": precision(drawn, pictures, books),
                    "after": precision(adapted, pictures, books),
                    "held_out_loss": {when: story[f"held_out_{when}"] for when in ("before", "after")},
                }
            )
    _, sizes = np.unique(books, return_counts=True)
    names = ("precision_at_5", "r_precision")
    return {
        "pictures": len(books),
        "books": len(sizes),
        "chance": round(float((sizes * (sizes - 1)).sum() / (len(books) * (len(books) - 1))), 3),
        "mean": {
            of: {name: round(statistics.fmean(run[of][name] for run in runs), 3) for name in names}
            for of in ("weight_free", "before", "after")
        },
        "seeds": [{of: {k: round(v, 3) for k, v in each.items()} for of, each in run.items()} for run in runs],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=Path, required=True, help="folder of the real data")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON line (the only output there is)")
    options = parser.parse_args()
    result = measure(options.sample, options.epochs, options.rate, options.seeds)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
