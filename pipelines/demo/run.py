"""demo: from nothing to a published, searchable index, and what happened on the way."""

from __future__ import annotations

import time
import webbrowser
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from trichord.infra import log
from trichord.infra.errors import ConfigError
from trichord.infra.lake.shard import read_shard
from trichord.infra.lazy import arrow_compute as pc
from trichord.infra.project import load_project
from trichord.infra.regular_file import read_regular
from trichord.pipelines.core.json_objects import parse_object, read_object
from trichord.pipelines.core.result import Result, plain
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.demo.corpus import read_labels, write_corpus
from trichord.pipelines.demo.defects import DEFECTS, expected
from trichord.pipelines.demo.languages import ENGLISH, Language
from trichord.pipelines.demo.settings import DEMO_REASONS, fixed_by, prepare_settings
from trichord.pipelines.evaluation.report import Evaluation
from trichord.pipelines.reindex import RunSummary, reindex
from trichord.pipelines.report.page import write_page
from trichord.pipelines.search.search import LiveIndex, open_live, read_query, record_texts

_SOURCE = {"name": "demo", "kind": "manifest", "path": "corpus/manifest.jsonl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DefectRow(Result):
    """How often one defect was planted and found, and its `fate` (`as` in JSON)."""

    defect: str
    planted: int
    found: int
    fate: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {"defect": self.defect, "planted": self.planted, "found": self.found, "as": self.fate}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentRow:
    """Recall@10 of one direction, by chance and before and after training."""

    direction: str
    chance: float | None
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoQuery(Result):
    """A query made of the record `answer`, with its hits; `image` and `audio` are its own files."""

    by: str
    query: str
    answer: str
    publication: str
    hits: Sequence[Mapping[str, Any]]
    image: Path | None
    audio: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values; media that the query lacks are left out."""
        values = {field.name: plain(getattr(self, field.name)) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo(Result):
    """What the demo did; `reindex` is that verb's result."""

    publication: str | None
    reindex: RunSummary
    defects: Sequence[DefectRow]
    alignment: Sequence[AlignmentRow]
    queries: Sequence[DemoQuery]
    example: str
    project: Path
    page: Path
    seconds: float


def run_demo(
    folder: Path,
    *,
    records: int,
    seed: int,
    open_page: bool,
    also: Sequence[str] = (),
    language: Language = ENGLISH,
) -> Demo:
    """Write a corpus, index it, and show what was cleaned out, how alignment helped, and a few queries.

    Args:
        folder: receives `corpus/`, `lake/`, `trichord.yaml` and `page.html`; a second run reuses what exists.
        records: size of the corpus.
        seed: of the corpus.
        open_page: open the page in a browser at the end.
        also: backends that hold the index beside FAISS; milvus is Milvus Lite in the lake.
        language: of the captions; pictures and sounds (tones, nobody speaks) are the same in all of them.
    """
    started, folder = time.monotonic(), folder.resolve()
    _require_demo(folder / "trichord.yaml")
    corpus, page = folder / "corpus", folder / "page.html"
    with log.progress("demo"):
        written = write_corpus(corpus, records=records, seed=seed, language=language)
        log.event("corpus_written", records=records, defects=sum(written.counts.values()))
        project_file = write_project(folder, also, language)
        workspace = Workspace(load_project(project_file, []))
        summary = reindex(workspace)
        queries, defects = list(ask_samples(workspace, corpus)), compare_defects(workspace, corpus, fixed_by(language))
        write_page(workspace, page, title="Trichord demo", queries=plain(queries), defects=plain(defects))
        alignment = compare_alignment(workspace)
    if open_page:
        webbrowser.open(page.resolve().as_uri())
    return Demo(
        publication=summary.publication,
        reindex=summary,
        defects=defects,
        alignment=alignment,
        queries=queries,
        example=language.example,
        project=project_file,
        page=page,
        seconds=round(time.monotonic() - started, 1),
    )


def _require_demo(project: Path) -> None:
    """Raise ConfigError if another project than a demo's is there."""
    try:
        found = yaml.safe_load(read_regular(project, 1 << 20))
    except FileNotFoundError:
        return
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.get("sources") != [_SOURCE]:
        raise ConfigError(
            f"{project} is not a demo's project; nothing was touched.\nNext: name another folder by --out."
        )


def write_project(folder: Path, also: Sequence[str] = (), language: Language = ENGLISH) -> Path:
    """Write the demo's project file, which turns every detector on."""
    path = folder / "trichord.yaml"
    backends = {"index": {"backends": ["faiss", *also]}} if also else {}
    project = {"lake": "lake", "sources": [_SOURCE], "prepare": prepare_settings(language), **backends}
    path.write_text(yaml.safe_dump(project, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def compare_defects(workspace: Workspace, corpus: Path, fixed: Mapping[str, str]) -> list[DefectRow]:
    """Compare what was planted with what became of it, by defect; `fixed` names the op that must have fixed one."""
    labels = list(read_labels(corpus))
    truth = expected(labels, DEMO_REASONS)
    reasons = {row["key"]: row["reason"] for row in _read_rows(workspace, "rejects", "key", "reason")}
    dropped = {row["key"]: row["survivor_key"] for row in _read_rows(workspace, "duplicates", "key", "survivor_key")}
    twins = dropped | {survivor: key for key, survivor in dropped.items()}
    changed = {
        row["key"]: {change["op"] for change in row["changes"]}
        for row in _read_rows(workspace, "records", "key", "changes")
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
            elif defect in fixed:
                fates[defect] = f"fixed: {fixed[defect]}"
                found[defect] += fixed[defect] in changed.get(key, ())
            else:
                fates[defect] = "kept"
                found[defect] += key not in reasons
    wrong = sum(not label["defects"] and label["key"] in reasons for label in labels)
    rows = [
        DefectRow(defect=name, planted=planted[name], found=found[name], fate=fates[name])
        for name in DEFECTS
        if planted[name]
    ]
    return [*rows, DefectRow(defect="(none)", planted=0, found=wrong, fate="rejected without a planted defect")]


def _read_rows(workspace: Workspace, table: str, *columns: str) -> Iterator[Mapping[str, Any]]:
    for ref in workspace.table(table).shards().values():
        yield from read_shard(workspace.lake, ref, list(columns)).to_pylist()


def compare_alignment(workspace: Workspace) -> list[AlignmentRow]:
    """Compare recall@10 of the untrained and the trained model on validation records, by direction."""
    live = workspace.publications.live()
    assert live is not None
    story = read_object(workspace.lake, live.model, "training.json")
    before, after = (Evaluation.from_dict(story[name]) for name in ("before", "after"))
    rows = [
        AlignmentRow(
            direction=f"{query} → {gallery}",
            chance=after.cells[query][gallery].chance,
            before=before.cells[query][gallery].measures["recall_at_10"],
            after=after.cells[query][gallery].measures["recall_at_10"],
        )
        for query in ("text", "image", "audio")
        for gallery in ("text", "image", "audio")
        if query != gallery
    ]
    mixed = AlignmentRow(
        direction="mixed gallery",
        chance=after.mixed.chance,
        before=before.mixed.measures["recall_at_10"],
        after=after.mixed.measures["recall_at_10"],
    )
    return [*rows, mixed]


def ask_samples(workspace: Workspace, corpus: Path) -> Iterator[DemoQuery]:
    """Ask one query of each kind about an indexed record: by another caption, picture, sound, picture and words."""
    index = open_live(workspace)
    label = next(label for label in read_labels(corpus) if _is_indexed(workspace, label))
    with open(corpus / "manifest.jsonl", encoding="utf-8") as lines:
        row = next(row for line in lines if (row := parse_object(line))["id"] == label["key"])
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
        yield DemoQuery(
            by=by,
            query=shown,
            answer=row["id"],
            publication=index.publication,
            hits=_search(workspace, index, text, picture, sound),
            image=picture,
            audio=sound,
        )


def _search(
    workspace: Workspace, index: LiveIndex, text: str | None, image: Path | None, audio: Path | None
) -> Sequence[Mapping[str, Any]]:
    query = read_query(
        workspace.project.prepare, text, image.read_bytes() if image else None, audio.read_bytes() if audio else None
    )
    vectors, _ = index.model.encode(query, "fused")
    hits = index.searcher.search(vectors, 5).rows(0)
    texts = record_texts(workspace, index, [hit["key"] for hit in hits])
    return [hit | {"text": text} for hit, text in zip(hits, texts, strict=True)]


def _is_indexed(workspace: Workspace, label: Mapping[str, Any]) -> bool:
    if label["defects"]:
        return False
    for ref in workspace.table("vectors").shards().values():
        keys = read_shard(workspace.lake, ref, ["key"])["key"]
        if pc.any(pc.equal(keys, label["key"])).as_py():
            return True
    return False
