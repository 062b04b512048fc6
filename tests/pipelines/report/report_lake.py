"""A lake written by hand, with everything that a page can tell and records that mean it ill."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from tests.conftest import Place
from tests.pipelines.evaluation.test_retrieval import held_out_of
from trichord.index_builders.hashed_files import put_hashed
from trichord.index_builders.manifest import IndexManifest, IndexShard, write_manifest
from trichord.index_builders.row_labels import KEYS, write_keys
from trichord.infra import digest
from trichord.infra.config import EvaluateConfig, ManifestSource, Project
from trichord.infra.lake import layout, schema
from trichord.infra.lake.publication import Check, Publication, RowCounts, Verdict
from trichord.infra.lake.shard import ShardRef, ShardWriter
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.evaluation.whole import measure
from trichord.pipelines.index.partition_map import partitions_bytes
from trichord.pipelines.publish.evaluate import nothing_held_out
from trichord.transforms.batch import Waveform
from trichord.transforms.media import encode_audio, encode_image

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><style>*{}</style>\u202etxt\x00{{ 7*7 }}"


class SmallLake:
    """A lake written by hand: one partition of records, with whatever rejects and duplicates a test wants."""

    def __init__(self, place: Place, sources: Path) -> None:
        source = ManifestSource(kind="manifest", name="demo", path=str(sources / "manifest.jsonl"))
        self.workspace = Workspace(Project(lake=place.uri, sources=(source,), storage=place.storage.config))
        self.sources = sources
        self._versions: dict[str, int] = {}

    def shard(
        self,
        table: str,
        rows: Sequence[Mapping[str, Any]],
        table_schema: pa.Schema,
        counts: Mapping[str, int] = MappingProxyType({}),
    ) -> ShardRef:
        address = digest.address(table, len(rows))
        with ShardWriter(self.workspace.lake, table, address, table_schema) as writer:
            writer.write(pa.Table.from_pylist(list(rows), schema=table_schema))
            ref = writer.finish(counts)
        self._versions[table] = self.workspace.table(table).reconcile([ref], schema=table_schema, run="r", recipe="r")
        return ref

    def prepare(
        self,
        records: Sequence[Mapping[str, Any]],
        *,
        rejects: Sequence[Mapping[str, Any]] = (),
        duplicates: Sequence[Mapping[str, Any]] = (),
        matches: Sequence[Mapping[str, Any]] = (),
        added: int = 0,
        by_op: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Leave what a preparation leaves, and publish nothing."""
        counts = {"rows_in": len(records) + len(rejects) - added, "fan_out": added, "rows_kept": len(records)}
        counts |= {"rows_rejected": len(rejects)}
        self.shard("records", records, schema.RECORDS, counts | dict(by_op))
        self.shard("rejects", rejects, schema.REJECTS, counts)
        self.shard("duplicates", duplicates, schema.DUPLICATES)
        self.shard("matches", matches, schema.MATCHES)

    def publish(
        self,
        records: Sequence[Mapping[str, Any]],
        *,
        rejects: Sequence[Mapping[str, Any]] = (),
        duplicates: Sequence[Mapping[str, Any]] = (),
        evaluation: Mapping[str, Any] | None = None,
        story: Mapping[str, Any] | None = None,
    ) -> Publication:
        lake = self.workspace.lake
        partitions = {"demo/0": self.shard("records", records, schema.RECORDS).path}
        self.shard("rejects", rejects, schema.REJECTS)
        self.shard("duplicates", duplicates, schema.DUPLICATES)
        dropped = {row["key"] for row in duplicates}
        kept = [{name: row.get(name, "fused") for name in KEYS.names} for row in records if row["key"] not in dropped]
        address = digest.address("index", len(kept))
        shard = IndexShard(
            address=address,
            index=put_hashed(lake, address, "faiss", lambda write: write(b"vectors")),
            keys=write_keys(lake, address, pa.Table.from_pylist(kept, schema=KEYS)),
            rows=len(kept),
            inputs=(),
            counts={"view:fused": len(kept)},
        )
        manifest = IndexManifest(
            kind="flat", params={}, dimension=8, fingerprint="f" * 32, views=("fused",), shards=(shard,)
        )
        path = write_manifest(lake, manifest)
        lake.write(layout.partitions_path(path), partitions_bytes(partitions))
        if story is not None:
            lake.write("models/m/training.json", digest.canonical_json(story))
        counts = RowCounts(
            rows_in=len(records) + len(rejects),
            rows_kept=len(kept),
            rows_rejected=len(rejects),
            rows_duplicate=len(duplicates),
        )
        checks = (
            Check(name="keys_unique", passed=True, value=0, threshold=0, detail=HOSTILE),
            Check(name="records_of:books", passed=False, accepted=True, value=4, threshold=9, evidence=(HOSTILE,)),
        )
        measured = dict(evaluation) if evaluation is not None else nothing_held_out()
        sequence = len(self.workspace.publications.rows()) + 1
        publication = Publication(
            id=f"{manifest.digest[:12]}-{sequence}",
            sequence=sequence,
            kind="publish",
            manifest=path,
            manifest_digest=manifest.digest,
            inputs_digest="i",
            fingerprint="f" * 32,
            model="models/m",
            table_versions=self._versions,
            counts=counts,
            verdict=Verdict(against=None, passed=True, checks=checks, evaluation=measured),
            recipe={},
            created_at="2025-01-02T03:04:05+00:00",
        )
        self.workspace.publications.append(publication)
        return publication


def picture(seed: int, side: int = 64) -> bytes:
    return encode_image(digest.generator("picture", seed).integers(0, 255, (side, side, 3), dtype=np.uint8), 90)


def sound(seconds: float = 0.5) -> bytes:
    samples = np.sin(np.arange(int(16_000 * seconds)) / 9).astype(np.float32)
    return encode_audio(Waveform(samples=samples, rate_hz=16_000))


def record(number: int, *, text: str = "two red circles", media: bool = True) -> dict[str, Any]:
    row = {name: f"{name}-{number}" for name in ("key", "group", "content_digest", "row_digest")}
    scores = {"image_sharpness": 25.0 * (number + 1), "audio_peak_db": -3.0, "text_chars": float(len(text))}
    return {
        **row, "source": "demo", "partition": "demo/0", "subset": "", "captions": [], "meta": "{}", "text": text,
        "scores": sorted(scores.items()),
        "labels": [],
        "changes": [],
        "segments": [],
        "parent": "",
        "image": picture(number) if media else None, "audio": sound() if media else None,
    }  # fmt: skip


def reject(key: str, op: str, reason: str, **payload: str) -> dict[str, Any]:
    return {"key": key, "source": "demo", "partition": "demo/0", "op": op, "reason": reason, "detail": HOSTILE,
            "payload": json.dumps(payload), "input_digest": ""}  # fmt: skip


def duplicate(number: int, survivor: int) -> dict[str, Any]:
    row = {name: f"{name}-{number}" for name in ("key", "row_digest")}
    return {**row, "partition": "demo/0", "source": "demo", "survivor_key": f"key-{survivor}",
            "survivor_source": "demo", "evidence": "exact_content"}  # fmt: skip


def match(number: int, other: int, evidence: str = "image 40/256") -> dict[str, Any]:
    row = {"modality": "image", "key": f"key-{number}", "source": "demo", "partition": "demo/0"}
    return row | {"other_key": f"key-{other}", "other_source": "demo", "distance": 0.1, "evidence": evidence, "why": ""}


def hostile(number: int) -> dict[str, Any]:
    """A record whose every field means it ill."""
    change = {"op": HOSTILE, "field": HOSTILE, "before": f"a {HOSTILE}", "after": f"b {HOSTILE}"}
    segments = [{"start_s": at / 10, "end_s": at / 10 + 0.4, "text": HOSTILE, "score": 0.3 * at} for at in range(3)]
    return record(number, text=HOSTILE) | {
        "key": f"{HOSTILE}{number}",
        "subset": HOSTILE,
        "captions": [HOSTILE],
        "meta": json.dumps({"license": HOSTILE}),
        "labels": [("image_blur_map", "2x2:01.0"), ("text_language", HOSTILE)],
        "changes": [change],
        "segments": segments,
        "parent": HOSTILE,
        "span": [0.0, 0.5],
    }


def full(lake: SmallLake) -> dict[str, Any]:
    """Publish a lake that has everything; answers with what `write_page` takes besides."""
    measured = measure(held_out_of(1, 40, captions=20), 10, 0, EvaluateConfig()).to_dict()
    history = [{"epoch": i, "loss": 5.0 - i / 3, "score": 0.2 + 0.05 * i - 0.004 * i**2} for i in range(10)]
    story = {"history": history, "validation": 40, "before": measured, "after": measured}
    records = [record(number, text=HOSTILE if number == 0 else "two red circles") for number in range(8)]
    rejects = [
        reject("blurred", "threshold:image_blurred", "image_blurred", image="blurred.jpg", text=HOSTILE),
        reject("cut", "image_decode", "image_truncated", image="cut.jpg"),
        reject("clipped", "threshold:audio_clipped", "audio_clipped", audio="clipped.flac"),
        reject(HOSTILE, "read", "row_invalid", raw=HOSTILE),
    ]
    lake.publish(records[:6], story=story)
    lake.publish(records, rejects=rejects, duplicates=[duplicate(7, 1)], evaluation=measured, story=story)
    hits = [
        {"key": f"key-{number}", "score": 0.9, "view": "fused", "source": "demo", "text": HOSTILE} for number in (0, 3)
    ]
    asked = {
        "by": "image",
        "query": HOSTILE,
        "image": str(lake.sources / "blurred.jpg"),
        "answer": "key-3",
        "hits": hits,
    }
    defects = [{"defect": HOSTILE, "planted": 4, "found": 3, "as": "reject: image_blurred"}]
    return {"title": HOSTILE, "queries": [asked], "defects": defects}
