"""`trichord demo`: from nothing to a published, searchable index, and what happened on the way."""

from __future__ import annotations

import json
import time
import webbrowser
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import yaml

from trichord.infra import log
from trichord.infra.lake.shard import read_shard
from trichord.infra.project import load_project
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.demo.corpus import read_labels, write_corpus
from trichord.pipelines.demo.defects import DEFECTS, expected
from trichord.pipelines.demo.settings import DEMO_REASONS, MENDED_BY, PREPARE
from trichord.pipelines.reindex import reindex
from trichord.pipelines.report.page import write_page
from trichord.pipelines.search.search import LiveIndex, open_live, read_query, record_texts


def run_demo(folder: Path, *, records: int, seed: int, open_page: bool, also: Sequence[str] = ()) -> dict[str, Any]:
    """Write a corpus, index it, and show what was cleaned out, how alignment helped, and a few queries.

    Args:
        folder: receives `corpus/`, `lake/`, `trichord.yaml` and `page.html`; a second run reuses what stands.
        records: size of the corpus.
        seed: of the corpus.
        open_page: open the page in a browser at the end.
        also: backends that hold the index beside FAISS; milvus is Milvus Lite in the lake.

    Returns:
        JSON-ready: `publication`, `defects`, `alignment`, `queries`, `page`, `project`, `seconds`, `reindex`.
    """
    started, folder = time.monotonic(), folder.resolve()
    corpus = folder / "corpus"
    with log.progress("demo"):
        written = write_corpus(corpus, records=records, seed=seed)
        log.event("corpus_written", records=records, defects=sum(written.counts.values()))
        project_file = write_project(folder, also)
        workspace = Workspace(load_project(project_file, []))
        summary = reindex(workspace)
        queries = list(sample_queries(workspace, corpus))
        result = {
            "publication": summary["publication"],
            "reindex": summary,
            "defects": defect_table(workspace, corpus),
            "alignment": alignment_table(workspace),
            "queries": queries,
            "project": str(project_file),
        }
        page = folder / "page.html"
        write_page(workspace, page, title="Trichord demo", queries=queries, defects=result["defects"])
    if open_page:
        webbrowser.open(page.resolve().as_uri())
    return result | {"page": str(page), "seconds": round(time.monotonic() - started, 1)}


def write_project(folder: Path, also: Sequence[str] = ()) -> Path:
    """Write the demo's project file, every detector turned on."""
    path = folder / "trichord.yaml"
    source = {"name": "demo", "kind": "manifest", "path": "corpus/manifest.jsonl"}
    project: dict[str, Any] = {"lake": "lake", "sources": [source], "prepare": PREPARE}
    if also:
        project["index"] = {"backends": ["faiss", *also]}
    path.write_text(yaml.safe_dump(project, sort_keys=False), encoding="utf-8")
    return path


def defect_table(workspace: Workspace, corpus: Path) -> list[dict[str, Any]]:
    """What was planted against what became of it, by defect."""
    labels = list(read_labels(corpus))
    truth = expected(labels, DEMO_REASONS)
    reasons = {row["key"]: row["reason"] for row in _rows(workspace, "rejects", "key", "reason")}
    dropped = {row["key"]: row["survivor_key"] for row in _rows(workspace, "duplicates", "key", "survivor_key")}
    twins = dropped | {survivor: key for key, survivor in dropped.items()}
    changed = {
        row["key"]: {change["op"] for change in row["changes"]}
        for row in _rows(workspace, "records", "key", "changes")
        if row["changes"]
    }
    planted, found, fates = Counter[str](), Counter[str](), {}
    for label in labels:
        for defect in label["defects"]:
            key = label["key"]
            planted[defect] += 1
            if key in truth.rejects:
                fates[defect] = f"reject: {truth.rejects[key]}"
                found[defect] += reasons.get(key) == truth.rejects[key]
            elif key in truth.duplicates:
                fates[defect] = "duplicate"
                found[defect] += key in twins
            elif defect in MENDED_BY:
                fates[defect] = f"mended: {MENDED_BY[defect]}"
                found[defect] += MENDED_BY[defect] in changed.get(key, ())
            else:
                fates[defect] = "kept"
                found[defect] += key not in reasons
    wrong = sum(not label["defects"] and label["key"] in reasons for label in labels)
    rows = [
        {"defect": name, "planted": planted[name], "found": found[name], "as": fates[name]}
        for name in DEFECTS
        if planted[name]
    ]
    return [*rows, {"defect": "(none)", "planted": 0, "found": wrong, "as": "rejected without a planted defect"}]


def _rows(workspace: Workspace, table: str, *columns: str) -> Iterator[dict[str, Any]]:
    for ref in workspace.table(table).shards().values():
        yield from read_shard(workspace.lake, ref, list(columns)).to_pylist()


def alignment_table(workspace: Workspace) -> list[dict[str, Any]]:
    """Held-out recall@10 by direction, of the untrained and of the trained model."""
    live = workspace.publications.live()
    assert live is not None
    story = json.loads(workspace.lake.read(live.model, "training.json"))
    before, after = story["before"], story["after"]
    rows = [
        {
            "direction": f"{query} → {gallery}",
            "chance": after["chance"][query][gallery],
            "before": before["recall_at_10"][query][gallery],
            "after": after["recall_at_10"][query][gallery],
        }
        for query in ("text", "image", "audio")
        for gallery in ("text", "image", "audio")
        if query != gallery
    ]
    mixed = {"direction": "mixed gallery", "chance": after["mixed"]["chance"]}
    return [*rows, mixed | {"before": before["mixed"]["recall_at_10"], "after": after["mixed"]["recall_at_10"]}]


def sample_queries(workspace: Workspace, corpus: Path) -> Iterator[dict[str, Any]]:
    """One query of each kind, made of an indexed record: another caption, its picture, its sound, picture and words."""
    index = open_live(workspace)
    label = next(label for label in read_labels(corpus) if _indexed(workspace, label))
    with open(corpus / "manifest.jsonl", encoding="utf-8") as lines:
        row = next(row for line in lines if (row := json.loads(line))["id"] == label["key"])
    image, audio = (corpus / row[name] for name in ("image", "audio"))
    words = row["captions"][0]
    asked = (
        ("text", words, None, None),
        ("image", None, image, None),
        ("audio", None, None, audio),
        ("image + text", words, image, None),
    )
    for by, text, picture, sound in asked:
        shown = " + ".join(
            str(part.name if isinstance(part, Path) else part) for part in (picture, sound, text) if part
        )
        yield {"by": by, "query": shown, "answer": row["id"]} | _ask(workspace, index, text, picture, sound)


def _ask(
    workspace: Workspace, index: LiveIndex, text: str | None, image: Path | None, audio: Path | None
) -> dict[str, Any]:
    query = read_query(
        workspace.project.prepare, text, image.read_bytes() if image else None, audio.read_bytes() if audio else None
    )
    vectors, _ = index.model.encode(query, "fused")
    hits = index.searcher.search(vectors, 5).rows(0)
    for hit, found in zip(hits, record_texts(workspace, index, [hit["key"] for hit in hits]), strict=True):
        hit["text"] = found
    media = {name: str(path) for name, path in (("image", image), ("audio", audio)) if path}
    return {"publication": index.publication, "hits": hits, **media}


def _indexed(workspace: Workspace, label: dict[str, Any]) -> bool:
    if label["defects"]:
        return False
    for ref in workspace.table("vectors").shards().values():
        keys = read_shard(workspace.lake, ref, ["key"])["key"]
        if pc.any(pc.equal(keys, label["key"])).as_py():
            return True
    return False
