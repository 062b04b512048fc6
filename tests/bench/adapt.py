"""What adapting an encoder to the lake's own records is worth: `python -m tests.bench.adapt [--json]`.

Small models with drawn weights (nothing pre-trained is at hand) learn from the training records of a demo corpus
without any label: a BERT by hidden words, a ViT and a wav2vec 2.0 by two augmented views. Then the same heads are
trained on the encoder as it was and as it is now, the other modalities by the weight-free features, and measured on
held-out records: recall@10 of the modality's queries and galleries against the other two, mean over seeds. Unlabelled
records are plenty where pairs are few, so heads learn from a tenth of the pairs too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from tests.pipelines.lakes import write_project
from trichord.encoders.base import Modality
from trichord.encoders.views import MODALITIES
from trichord.infra.engines import open_engine
from trichord.infra.project import load_project
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.demo.corpus import write_corpus
from trichord.pipelines.model.compare import Grid, compare
from trichord.pipelines.model.finetune import adapt
from trichord.pipelines.prepare.job import prepare_lake
from trichord.pipelines.prepare.plan import make_plan

SIZE: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
SPEECH: dict[str, Any] = {
    **SIZE,
    "conv_dim": (32, 32, 32, 32),
    "conv_kernel": (10, 8, 8, 4),
    "conv_stride": (5, 4, 4, 4),
    "num_feat_extract_layers": 4,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def bert(folder: Path, words: list[str]) -> None:
    """A small BERT over the corpus's own words."""
    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    tokenizer = hf.BertTokenizer(vocab=str(folder / "vocab.txt"), model_max_length=64)
    _drawn(hf.BertModel, hf.BertConfig(**SIZE, vocab_size=len(vocabulary), max_position_embeddings=64), folder)
    tokenizer.save_pretrained(folder)


def vit(folder: Path, words: list[str], seed: int = 0) -> None:
    """A small ViT at 64 px."""
    _drawn(hf.ViTModel, hf.ViTConfig(**SIZE, image_size=64, patch_size=8), folder, seed)
    hf.ViTImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)


def wav2vec2(folder: Path, words: list[str]) -> None:
    """A small wav2vec 2.0."""
    _drawn(hf.Wav2Vec2Model, hf.Wav2Vec2Config(**SPEECH, feat_extract_norm="group"), folder)
    hf.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(folder)


def _drawn(model: Callable[[Any], Any], config: Any, folder: Path, seed: int = 0) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model(config).save_pretrained(folder)


CASES: Mapping[Modality, tuple[Callable[[Path, list[str]], None], str]] = {
    "text": (bert, "masked_language"),
    "image": (vit, "views"),
    "audio": (wav2vec2, "views"),
}


def measure(
    modalities: Sequence[Modality], records: int, epochs: int, shares: Sequence[float], seeds: int, workers: int
) -> list[dict[str, Any]]:
    """For every modality: the objective's held-out loss and retrieval, before and after."""
    found = []
    with tempfile.TemporaryDirectory(prefix="trichord-adapt-") as name:
        folder = Path(name)
        project = write_project(folder, records=2, settings={"train": {"threads": 2, "epochs": 15}})
        engine_of = f"engine.workers={workers}"
        write_corpus(folder / "corpus", records=records, seed=7, difficulty=0.5, defects=0.0)
        lines = (folder / "corpus" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        texts = [text for line in map(json.loads, lines) for text in (line["text"], *line["captions"])]
        words = sorted({word for text in texts for word in text.lower().replace(",", " ").replace(".", " ").split()})
        for modality in modalities:
            build, objective = CASES[modality]
            base, adapted = folder / "base" / modality, folder / "adapted" / modality
            build(base, words)
            settings = {"objective": objective, "layers": "all", "epochs": epochs, "learning_rate": 1e-3}
            encoder: dict[str, Any] = {"kind": "huggingface", "path": str(base), "adapt": settings}
            workspace = _workspace(project, modality, encoder, engine_of)
            with open_engine(workspace.project.engine) as engine:
                prepare_lake(workspace, engine, make_plan(workspace))
            learned = adapt(workspace, modality, adapted).to_dict()
            encoders: dict[str, dict[str, Any]] = {
                "before": {**encoder, "adapt": {}},
                "after": {"kind": "huggingface", "path": str(adapted)},
            }
            recalls = {
                when: _recalls(_workspace(project, modality, of, engine_of), modality, shares, seeds)
                for when, of in encoders.items()
            }
            loss = {"before": learned["held_out_before"], "after": learned["held_out_after"]}
            found.append({"modality": modality, "objective": objective, "held_out_loss": loss, "recall_at_10": recalls})
    return found


def _workspace(project: Path, modality: str, encoder: Mapping[str, Any], engine: str) -> Workspace:
    return Workspace(load_project(project, [f"model.{modality}={json.dumps(encoder)}", engine]))


def _recalls(
    workspace: Workspace, modality: str, shares: Sequence[float], seeds: int
) -> dict[float, tuple[float, float]]:
    """By share of the pairs that the heads learn from: mean recall@10 and its standard deviation over seeds."""
    loss = ("mixed_gallery_infonce",)
    grid = Grid(fusions=("gated_attention",), losses=loss, shares=tuple(shares), seeds=seeds)
    found: dict[float, list[float]] = {}
    for run in compare(workspace, grid).to_dict()["runs"]:
        story = json.loads(workspace.storage.read(workspace.lake.uri(run["model"], "training.json")))
        cells = story["after"]["recall_at_10"]
        others = [other for other in MODALITIES if other != modality]
        asked = [recall for other in others for recall in (cells[modality][other], cells[other][modality])]
        found.setdefault(run["share"], []).append(statistics.fmean(asked))
    return {
        share: (round(statistics.fmean(each), 4), round(statistics.stdev(each), 4) if len(each) > 1 else 0.0)
        for share, each in found.items()
    }


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"  # None: a head that was new had no loss worth telling


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_200)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--modality", choices=MODALITIES, action="append", help="one or several; all by default")
    parser.add_argument("--share", type=float, action="append", help="of the pairs that heads learn from; 0.1 and 1")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON line")
    options = parser.parse_args()
    modalities, shares = options.modality or MODALITIES, options.share or (0.1, 1.0)
    result = measure(modalities, options.records, options.epochs, shares, options.seeds, options.workers)
    if options.json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    lines = [
        "| encoder of | objective | its held-out loss | pairs | recall@10 with the other modalities (spread) |",
        "|---|---|---|---|---|",
    ]
    for row in result:
        loss = " → ".join(_figure(row["held_out_loss"][when]) for when in ("before", "after"))
        for share in row["recall_at_10"]["before"]:
            told = [row["recall_at_10"][when][share] for when in ("before", "after")]
            recalls = " → ".join(f"{mean:g} ({spread:g})" for mean, spread in told)
            lines.append(f"| {row['modality']} | {row['objective']} | {loss} | {share:.0%} | {recalls} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
