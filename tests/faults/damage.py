"""Damage one file of a lake at a time, of every kind, and look at what each verb makes of it.

`python -m tests.faults.damage` prints a table, `--json` one line of counts. Every kind of `layout.PLACES` that a lake
without Milvus and downloads holds is damaged in four ways, each in its own copy (hard links) of a lake with two
publications. Then the advice of the messages is followed, command by command, until nothing is left to do.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.command import Finished, trichord
from tests.pipelines.lakes import rows_of, workspace_of, write_project, write_rows
from tests.warm_workers import warm_workers
from trichord.infra import digest
from trichord.infra.lake import layout
from trichord.infra.lake.layout import Kind, Place
from trichord.infra.lake.lease import leased
from trichord.infra.lake.publication import Publication
from trichord.pipelines.publish.maintain import shorten_logs
from trichord.pipelines.publish.pinned import pinned_files
from trichord.pipelines.rag.feedback import give_feedback
from trichord.pipelines.rag.stored_answer import Answer, Source, keep_answer

WAYS = ("flip", "cut", "remove", "empty")
VERBS = ("verify", "search", "rollback", "reindex", "recover")
QUERY = ("search", "--text", "three red circles", "-k", "5", "--json")
SETTINGS = {
    "prepare": {"rows_per_partition": 24},
    "model": {"dimension": 16, "hidden": 32},
    "train": {"epochs": 1, "batch_size": 32},
    "augment": {"copies": 1},
    "agreement": {"check": "flag", "folds": 0},
    "index": {"rows_per_shard": 40, "kind": "ivf_sq8", "nlist": 4, "backends": ["faiss", "annoy"]},
    "gate": {
        "min_over_chance": 0.0, "max_recall_drop": 1.0, "max_row_drop": 1.0, "min_ann_recall": 0.0,
        "max_reject_ratio": 1.0,
    },
}  # fmt: skip
# What a lake of this kind does not hold: Milvus and its imports, downloads, an unfinished training, what is left over.
ABSENT = re.compile(
    r".*import\.parquet|index/collections/.*|_checkpoints/.*|_downloads/.*|.*\.db.*|_doctor/.*|_damaged/.*"
    r"|_backfills/.*|_at_work/.*"
)
MAX_ADVICE = 4  # commands that may be needed until a lake is whole again


@dataclass(frozen=True)
class Cell:
    """What one verb made of one damaged file."""

    kind: str
    way: str
    verb: str
    outcome: str  # intact, refused, healed, served, unchanged, cache
    wrong: str = ""  # what must not happen


@dataclass
class Scene:
    """A project with two publications, and what a search of it finds."""

    folder: Path
    hits: str = ""
    victims: dict[str, str] = field(default_factory=dict)  # kind -> the file that is damaged, of the live publication
    pinned: set[str] = field(default_factory=set)  # by the live publication
    targets: dict[str, str] = field(default_factory=dict)  # the same of the publication that a rollback goes to
    live: str = ""

    @property
    def project(self) -> Path:
        """The project file."""
        return self.folder / "trichord.yaml"


def make_scene(folder: Path, records: int = 72) -> Scene:
    """Index a corpus, change it, index again, and go back and forth until the log of publications has a checkpoint."""
    project = write_project(folder, records=records, settings=SETTINGS)
    run = ("--project", str(project))
    trichord("reindex", *run)
    first = _publications(project)[-1].id
    rows = rows_of(folder / "corpus")
    write_rows(folder / "corpus", [*rows[4:], {**rows[9], "id": "match", "text": rows[12]["text"], "captions": []}])
    trichord("reindex", *run)
    second = _publications(project)[-1].id
    _answer(project, second)
    while len(_publications(project)) < 12:
        trichord("rollback", first, *run)
        trichord("rollback", second, *run)
    workspace = workspace_of(project)
    with leased(workspace.lake, "maintain") as lease:  # without `gc`, which would leave fewer kinds
        assert shorten_logs(workspace, lease, time.time_ns())
    scene = Scene(folder=folder, live=_publications(project)[-1].id)
    scene.hits = _hits(trichord(*QUERY, *run))
    first_row, *_, last_row = _publications(project)
    scene.pinned = {*pinned_files(workspace_of(project), last_row)}
    scene.victims = dict(_choose_victims(folder / "lake", project, last_row))
    scene.targets = dict(_choose_victims(folder / "lake", project, first_row))
    return scene


def _answer(project: Path, publication: str) -> None:
    """Keep an answer and a rating, as `ask` and `feedback` do."""
    workspace, name = workspace_of(project), digest.address("answer")
    passage = Source(number=1, key="a", source="demo", view="fused", score=1.0, rerank_score=None, text="words")
    answer = Answer(
        id=name, question="?", question_digest="0", answer="!", publication=publication, fingerprint="", model="m",
        finish_reason="stop", usage={}, sources=[passage], sources_left_out=0, order_kept="", cited=[1],
        cited_unknown=[],
    )  # fmt: skip
    keep_answer(workspace.lake, answer)
    give_feedback(workspace, name, 1)


def _choose_victims(lake: Path, project: Path, row: Publication) -> Iterator[tuple[str, str]]:
    """Choose the newest file of each kind that a publication pins, or else the newest of that kind."""
    pinned = {path for path, file in pinned_files(workspace_of(project), row).items() if not file.cached}
    pinned |= {layout.commit_path(name, version) for name, version in row.table_versions.items()}
    paths = [path.relative_to(lake).as_posix() for path in lake.rglob("*") if path.is_file()]
    for place in layout.PLACES:
        found = [path for path in paths if layout.place_of(path) == place]
        if found:
            newest = max(found, key=lambda path: (path in pinned, (lake / path).stat().st_mtime_ns, path))
            if "checkpoint" in place.holds:
                for path in found:
                    yield f"{place.pattern}: {'last' if path.endswith('_last_checkpoint') else 'checkpoint'}", path
            elif place.pattern.startswith(f"{layout.MODELS}/"):
                for name in ("model.json", "model.safetensors", "training.json"):
                    yield f"{layout.MODELS}/<address>/{name}", f"{row.model}/{name}"
            else:
                yield place.pattern, newest


def missing_kinds(scene: Scene) -> list[str]:
    """Return the kinds of the layout that the scene neither holds nor is known to lack."""
    held = {layout.place_of(path) for path in scene.victims.values()}
    return [one.pattern for one in layout.PLACES if one not in held and not _is_absent(one)]


def _is_absent(place: Place) -> bool:
    if ("checkpoint" in place.holds or place.pattern.endswith(".base")) and not place.pattern.startswith(
        "publications/"
    ):
        return True  # of a table with few commits
    return ABSENT.fullmatch(place.pattern) is not None


def copy_scene(scene: Scene, target: Path) -> Path:
    """Copy a scene by hard links; return its project file. What is damaged or written gets a file of its own."""
    shutil.copytree(scene.folder, target, copy_function=os.link)
    return target / "trichord.yaml"


def damage(path: Path, way: str) -> None:
    """Damage a file in one way, without touching other links to it."""
    data = bytearray(path.read_bytes())
    path.unlink()
    if way == "flip":
        data[len(data) // 2] ^= 1
    elif way == "cut":
        data = data[: len(data) // 2]
    elif way == "empty":
        data = bytearray()
    if way != "remove":
        path.write_bytes(data)


def try_cell(scene: Scene, folder: Path, kind: str, way: str) -> list[Cell]:
    """Damage one file in three copies of the scene: for reading verbs and recovery, for rollback, and for reindex."""
    path, cells = scene.victims[kind], list[Cell]()
    cache = layout.kind_of(path) is Kind.CACHE or "checkpoint" in kind

    def damaged(name: str, path: str = path) -> Path:
        project = copy_scene(scene, folder / name)
        damage(project.parent / "lake" / path, way)
        return project

    def cell(verb: str, outcome: str, wrong: str = "") -> None:
        cells.append(Cell(kind=kind, way=way, verb=verb, outcome=outcome, wrong=wrong))

    project = damaged("read")
    verified = _run(project, "verify", "--json")
    named = path in verified.stdout + verified.stderr
    unmissed = way == "remove" and (
        cache or path.startswith((layout.CANDIDATE, f"{layout.ANSWERS}/", f"{layout.RUNS}/"))
    )  # nothing names it
    called_whole = verified.returncode == 0 and not named and not unmissed
    cell("verify", "refused" if verified.returncode else "cache", "called whole" if called_whole else "")
    found = _run(project, *QUERY)
    served = found.returncode == 0 and _hits(found) == scene.hits
    wrong = "another answer" if found.returncode == 0 and not served else _wrong_advice(found)
    cell("search", "served" if served else "refused", wrong)
    outcome, wrong = follow_advice(scene, project)
    cell("recover", outcome, wrong)
    shutil.rmtree(project.parent)

    project = damaged("rollback", scene.targets.get(kind, path))
    done = _run(project, "rollback")
    wrong = _wrong_live(scene, project) if done.returncode == 0 else _wrong_advice(done)
    cell("rollback", "went back" if done.returncode == 0 else "refused", wrong)
    shutil.rmtree(project.parent)

    project = damaged("reindex")
    done = _run(project, "reindex", "--json")
    outcome, wrong = "refused", _wrong_advice(done)
    if done.returncode == 0:
        unchanged = json.loads(done.stdout.splitlines()[-1])["unchanged"]
        outcome = "unchanged" if unchanged else "healed"
        whole = _run(project, "verify").returncode == 0
        kept = unchanged and (way == "flip" or path not in scene.pinned)  # it looks at sizes of what is live
        wrong = "" if whole or cache or kept else "left damaged"
        wrong = wrong or (_wrong_live(scene, project) if not unchanged else "")
    cell("reindex", outcome, wrong)
    shutil.rmtree(project.parent)
    return cells


def follow_advice(scene: Scene, project: Path) -> tuple[str, str]:
    """Type the commands that messages name, starting with `verify`, until the lake is whole and searches are as before.

    Returns:
        (how it ended, what is wrong).
    """
    commands, typed = ["recover"], list[str]()
    while commands and len(typed) < MAX_ADVICE:
        command = commands.pop(0)
        typed.append(command)
        done = _run(project, *command.split(), *(["--json"] if command.startswith("recover") else []))
        if done.returncode == 3 and "--retrain" in done.stderr:
            commands = ["reindex --retrain"]  # a lost model is trained again on request only
            continue
        if done.returncode:
            return "stuck", f"{' → '.join(typed)} failed: {done.stderr[-300:]}"
        if command.startswith("recover"):
            advice = json.loads(done.stdout.splitlines()[-1])["next"]
            commands = [advice.removeprefix("trichord ")] if advice else []
    verified = _run(project, "verify")
    if verified.returncode:
        return "stuck", f"after {' → '.join(typed)}: {verified.stderr[-300:]}"
    again = _run(project, "recover", "--json")
    if again.returncode or json.loads(again.stdout.splitlines()[-1])["steps"]:
        return "stuck", f"recover still finds something: {again.stdout[-300:]}"
    found = _run(project, *QUERY)
    # a quantiser that is lost is trained again, on today's vectors: that index is another one, and so may its hits be
    same = _publications(project)[-1].manifest_digest == _publications(scene.project)[-1].manifest_digest
    if found.returncode or (same and _hits(found) != scene.hits):
        return "stuck", f"after {' → '.join(typed)}, search finds something else {found.stderr[-200:]}"
    return "whole by " + " → ".join(typed), _wrong_live(scene, project)


def _run(project: Path, *arguments: str) -> Finished:
    return trichord(*arguments, "--project", str(project), check=None)


def _hits(done: Finished) -> str:
    """Return what a search found, without the publication's id, which a recovery may change."""
    found = json.loads(done.stdout.splitlines()[-1])
    return json.dumps([found["fingerprint"], found["hits"]])


def _wrong_advice(done: Finished) -> str:
    """Return what is wrong with a message about damage: its exit code, or that it does not name `recover`."""
    if done.returncode == 0:
        return ""
    if "Traceback" in done.stderr or done.returncode == 1:
        return f"traceback: {done.stderr[-300:]}"
    advised = "trichord recover" in done.stderr or (done.returncode == 3 and "--retrain" in done.stderr)  # a lost model
    return "" if advised else f"no advice: {done.stderr[-300:]}"


def _wrong_live(scene: Scene, project: Path) -> str:
    """Return which file of the live publication differs from the same file of the undamaged lake; '' if none does."""
    workspace = workspace_of(project)
    for path, file in pinned_files(workspace, workspace.publications.require_live()).items():
        if file.cached:
            continue
        here, there = project.parent / "lake" / path, scene.folder / "lake" / path
        if not here.exists():
            return f"live without {path}"
        if there.exists() and here.read_bytes() != there.read_bytes():
            return f"live with damaged {path}"
    return ""


def _publications(project: Path) -> list[Publication]:
    return workspace_of(project).publications.rows()


def measure(kinds: Sequence[str] | None = None, ways: Sequence[str] = WAYS) -> tuple[list[Cell], list[str]]:
    """Try all cells of these kinds (all by default); return them, and the kinds that no file was found for."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trichord-damage-")))
        stack.enter_context(warm_workers())
        scene = make_scene(folder / "scene")
        cells = []
        for way in ways:
            for kind in kinds or scene.victims:
                tried = try_cell(scene, folder / "cell", kind, way)
                sys.stderr.write("".join(f"{json.dumps(asdict(one))}\n" for one in tried))  # a whole run takes an hour
                cells += tried
        return cells, missing_kinds(scene)


def table_of(cells: Sequence[Cell]) -> str:
    """Return the cells as a Markdown table: one row a kind, one column a verb, outcomes of the four ways counted."""
    lines = [f"| kind | {' | '.join(VERBS)} |", "|---" * (len(VERBS) + 1) + "|"]
    for kind in dict.fromkeys(cell.kind for cell in cells):
        row = []
        for verb in VERBS:
            counts = Counter(
                ("WRONG: " + one.wrong if one.wrong else one.outcome)
                for one in cells
                if (one.kind, one.verb) == (kind, verb)
            )
            row.append(", ".join(f"{n} {outcome}" if len(counts) > 1 else outcome for outcome, n in counts.items()))
        lines.append(f"| `{kind}` | {' | '.join(row)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, or counts and every cell as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--kind", action="append")
    parser.add_argument("--way", action="append", choices=WAYS)
    options = parser.parse_args()
    cells, missing = measure(options.kind, options.way or WAYS)
    wrong = [asdict(one) for one in cells if one.wrong]
    counts = {
        "kinds": len({one.kind for one in cells}),
        "cells": len(cells),
        "wrong": len(wrong),
        "missing_kinds": missing,
        "outcomes": {verb: dict(Counter(one.outcome for one in cells if one.verb == verb)) for verb in VERBS},
    }
    if options.json:
        sys.stdout.write(json.dumps(counts | {"wrong_cells": wrong}) + "\n")
    else:
        sys.stdout.write(table_of(cells) + "\n\n" + json.dumps(counts, indent=1) + "\n")
        for one in wrong:
            sys.stdout.write(json.dumps(one) + "\n")


if __name__ == "__main__":
    main()
