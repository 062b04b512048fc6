"""search: a query of text, picture, sound, or any of them together, against the published index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from encoders.base import AUDIO_RATE_HZ
from encoders.model import FusionModel
from index_builders.faiss_sharded import FaissSearcher, open_searcher
from index_builders.manifest import read_manifest
from infra.config import PrepareConfig
from infra.errors import ConfigError
from infra.lake.shard import read_shard
from pipelines.splits import read_splits
from pipelines.train import load_model
from pipelines.workspace import Workspace
from transforms.batch import Batch, Row
from transforms.chain import prepare_chain
from transforms.op import Threshold, run_chain
from transforms.record import batch_of, finish


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveIndex:
    """A publication opened for searching. It stays the one it was, whatever is published meanwhile."""

    publication: str
    manifest: str
    model: FusionModel
    searcher: FaissSearcher


def open_live(workspace: Workspace, model: Path | None = None) -> LiveIndex:
    """Open the live publication after verifying every file of it.

    Args:
        workspace: the project on its lake.
        model: folder of another model to encode queries with.

    Raises:
        ConfigError: nothing is published.
        FingerprintMismatch: `model` is of another space than the index.
        StorageError: a file is missing or damaged.
    """
    live = workspace.publications.live()
    if live is None:
        raise ConfigError("Nothing is published yet. Run `trichord reindex` first.")
    manifest = read_manifest(workspace.storage, workspace.lake, live["manifest"], live["manifest_digest"])
    if model is None:
        loaded = load_model(workspace.storage, workspace.path(live["model"]), live["fingerprint"])
    else:
        loaded = FusionModel.load(str(model))
    searcher = open_searcher(workspace.storage, workspace.lake, manifest, loaded.fingerprint)
    return LiveIndex(publication=live["publication"], manifest=live["manifest"], model=loaded, searcher=searcher)


def search(
    workspace: Workspace, *, text: str | None, image: Path | None, audio: Path | None, k: int, model: Path | None = None
) -> dict[str, Any]:
    """Find the k records nearest to a query; several parts are fused into one query.

    Returns:
        JSON-ready: `publication`, `fingerprint` and `hits`, each with `key`, `score`, `view`, `source`, `text`.

    Raises:
        ConfigError: there is no query, or a part of it cannot be read.
    """
    if text is None and image is None and audio is None:
        raise ConfigError("A query needs --text, --image or --audio (or several of them).")
    query = read_query(workspace.project.prepare, text, _bytes(image), _bytes(audio))
    index = open_live(workspace, model)
    vectors, _ = index.model.encode(query, "fused")
    hits = index.searcher.search(vectors, k).rows(0)
    for hit, words in zip(hits, record_texts(workspace, index, [hit["key"] for hit in hits]), strict=True):
        hit["text"] = words
    return {"publication": index.publication, "fingerprint": index.model.fingerprint, "hits": hits}


def read_query(config: PrepareConfig, text: str | None, image: bytes | None, audio: bytes | None) -> Batch:
    """Take a query the way a record goes: same decoding, same canonical form, but no threshold.

    Raises:
        ConfigError: a part of it cannot be decoded.
    """
    row = Row(key="query", source="query", text=text)
    raw = Batch(rows=(row,), raw_images=(image,), raw_audios=(audio,))
    batch, _ = run_chain(raw, [op for op in prepare_chain(config) if not isinstance(op, Threshold)])
    for reject in batch.rejects:
        raise ConfigError(f"The query cannot be used: {reject.reason} ({reject.detail}).")
    if not any((batch.rows[0].text, batch.images[0] is not None, batch.waves[0] is not None)):
        raise ConfigError("The query is empty: its text holds no visible character.")
    return batch_of(finish(batch, config), AUDIO_RATE_HZ)


def record_texts(workspace: Workspace, index: LiveIndex, keys: Sequence[str]) -> list[str | None]:
    """The texts of records in the index, in the order of `keys`."""
    splits = index.searcher.splits_of(keys)
    paths = read_splits(workspace, index.manifest)
    found: dict[str, str | None] = {}
    for split in set(splits.values()):
        rows = read_shard(workspace.storage, workspace.lake, paths[split], ["key", "text"])
        wanted = [key for key in keys if splits[key] == split]  # another source's row of this key is another record
        rows = rows.filter(pc.is_in(rows["key"], value_set=pa.array(wanted, pa.string())))
        found |= dict(zip(rows["key"].to_pylist(), rows["text"].to_pylist(), strict=True))
    return [found.get(key) for key in keys]


def _bytes(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"The query file {path} cannot be read: {error.strerror}.") from error
