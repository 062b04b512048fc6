"""What a first run over the demo does, as a plain script would: no lake, no checks, no resume, nothing for tomorrow.

Every row is read, cleaned, measured and encoded by the libraries themselves, features and loss are the product's,
and the vectors are written with a flat index. Two processes prepare and make features; the rest is one process.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import time
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.bench import bare_loops
from trichord.encoders.base import Modality
from trichord.encoders.features import HashedNgrams, ImageStatistics, LogMelStatistics
from trichord.encoders.views import MODALITIES, VIEWS, Features

HELD = 0.3  # of the records: validation and test, as the project's settings divide them
BATCH = 256
K = 10


def run(corpus: Path, out: Path, *, epochs: int, threads: int, workers: int = 2) -> dict[str, Any]:
    """Do it all; return seconds by the clock of each step, and recall@10 of pictures by held-out texts."""
    out.mkdir()
    clock, seconds = time.perf_counter(), dict[str, float]()

    def done(step: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[step], clock = round(now - clock, 2), now

    rows = [json.loads(line) for line in (corpus / "manifest.jsonl").read_text("utf-8").splitlines()]
    work = [(str(corpus), row) for row in rows if row["text"] and row["captions"]]
    with multiprocessing.get_context("spawn").Pool(workers, initializer=os.setsid) as pool:
        found = [one for one in pool.imap(record, work, chunksize=32) if one is not None]
    seen, kept = set[tuple[str, ...]](), []
    for one in found:
        if one["same"] not in seen:
            seen.add(one["same"])
            kept.append(one)
    for name in ("jpeg", "flac"):
        (out / f"media.{name}").write_bytes(b"".join(one[name] for one in kept))
    features = Features(
        values={name: np.stack([one[name] for one in kept]) for name in MODALITIES},
        present=np.ones((len(kept), len(MODALITIES)), dtype=bool),
        captions=np.stack([one["caption"] for one in kept]),
        offsets=np.arange(len(kept) + 1, dtype=np.int64),
    )
    np.savez(out / "features.npz", allow_pickle=False, **{str(k): v for k, v in features.values.items()})
    done("prepare and features")
    vectors = learn(features, epochs, threads)
    done("train and embed")
    recall = index(vectors, out, round(len(kept) * HELD))
    done("index and measure")
    return {"records": len(kept), "recall_at_10": recall, "seconds": seconds}


def record(given: tuple[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Clean, measure, encode and featurise one row; None where a medium cannot be read or a text is not English."""
    folder, row = given
    cv2.setNumThreads(1)
    words, caption = (clean(text) for text in (row["text"], row["captions"][0]))
    if words is None or caption is None:
        return None
    try:
        pixels, jpeg = bare_loops.picture(os.path.join(folder, row["image"]))
        samples, flac = bare_loops.sound(os.path.join(folder, row["audio"]), voice=False)
    except (AssertionError, OSError, RuntimeError, ValueError, cv2.error):
        return None
    if not len(samples):
        return None
    text, again = HashedNgrams().encode([words, caption])
    pixels = np.ascontiguousarray(pixels[:, :, ::-1])
    [image] = ImageStatistics().encode([pixels])
    [audio] = LogMelStatistics().encode([samples])
    content = (words.casefold().encode(), jpeg, flac)
    same = tuple(hashlib.sha256(part).hexdigest() for part in content)
    return {
        "text": text, "caption": again, "image": image, "audio": audio, "jpeg": jpeg, "flac": flac, "same": same,
        "hash": _hash(pixels),
    }  # fmt: skip


def clean(text: str) -> str | None:
    """Repair, tell the language, correct the spelling; None if it is not English."""
    import ftfy

    text = " ".join(ftfy.fix_text(text).split())
    if not text or _languages().classify(text)[0] != "en":
        return None
    return re.sub(r"[a-z]{4,}", lambda word: _corrected(word[0]), text)


def _corrected(word: str) -> str:
    from symspellpy import Verbosity

    if word in _speller().words:
        return word
    found = _speller().lookup(word, Verbosity.TOP, max_edit_distance=1)
    return str(found[0].term) if found else word


@cache
def _languages() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@cache
def _speller() -> Any:
    from importlib import resources

    from symspellpy import SymSpell

    speller = SymSpell(max_dictionary_edit_distance=1, prefix_length=7)
    path = resources.files("symspellpy") / "frequency_dictionary_en_82_765.txt"
    speller.load_dictionary(str(path), term_index=0, count_index=1, encoding="utf-8-sig")
    return speller


def _hash(pixels: np.ndarray) -> str:
    import imagehash
    from PIL import Image

    return str(imagehash.phash(Image.fromarray(pixels)))


def learn(features: Features, epochs: int, threads: int) -> dict[str, np.ndarray]:
    """Train on the first records; return unit vectors of all, by view."""
    import torch

    from tests.bench.train import standardised, steps

    torch.set_num_threads(threads)
    inputs = standardised(features)
    learned = len(features) - round(len(features) * HELD)
    network, _ = steps({name: given[:learned] for name, given in inputs.items()}, learned, epochs, BATCH)
    masks = {view: [view in ("fused", name) for name in MODALITIES] for view in VIEWS}
    with torch.inference_mode():
        states = []
        for name in MODALITIES:
            head = network.head(name)
            hidden, direct = head.inner(inputs[name]).tensor_split([head.hidden], dim=1)
            states.append((head.outer(torch.nn.functional.gelu(head.norm(hidden))) + direct)[:, None])
        views = torch.tensor([masks[view] for view in VIEWS]).expand(len(features), -1, -1)
        found = network.fuse(torch.cat(states, dim=1), views).numpy()
    return {view: np.ascontiguousarray(found[:, v]) for v, view in enumerate(VIEWS)}


def index(vectors: dict[str, np.ndarray], out: Path, held: int) -> float:
    """Write vectors and a flat index of each view; return recall@10 of pictures by texts of the last records."""
    import faiss

    names: tuple[Modality, Modality] = ("text", "image")
    for view, rows in vectors.items():
        np.save(out / f"{view}.npy", rows)
        flat = faiss.IndexFlatIP(rows.shape[1])
        flat.add(rows)
        faiss.write_index(flat, str(out / f"{view}.faiss"))
    gallery = faiss.IndexFlatIP(vectors[names[1]].shape[1])
    gallery.add(vectors[names[1]][-held:])
    _, nearest = gallery.search(vectors[names[0]][-held:], K)
    return round(float((nearest == np.arange(held)[:, None]).any(axis=1).mean()), 3)
