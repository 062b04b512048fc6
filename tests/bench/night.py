"""What a night costs that changes few rows, against the full run over the same source, in CPU seconds.

`python -m tests.bench.night --json` prints one JSON line: for each kind of source and each change, the rows that went
through the ops, the rows that were copied, and the share of a full run's CPU that preparing (plan, records,
deduplication, commits) and encoding (features and vectors, by one model) took. Workers are warm before: starting them
is outside. Demo records with text, picture and sound; with `--check`, a full run in another lake has the same bytes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.bench.prepare import measured
from tests.pipelines.lakes import rows_of, workspace_of
from tests.pipelines.source_kinds import KINDS, Rows
from trichord.infra.config import EngineConfig
from trichord.infra.engines import open_engine
from trichord.infra.engines.base import Engine
from trichord.pipelines.core.exclusions import Exclusions
from trichord.pipelines.core.model_store import TrainedModel
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.demo.corpus import write_corpus
from trichord.pipelines.evaluation.parts import parts_of
from trichord.pipelines.model.encode import encode, featurise
from trichord.pipelines.model.train import train
from trichord.pipelines.prepare.job import Preparation, prepare_lake
from trichord.pipelines.prepare.plan import Plan, make_plan


def _edited(rows: Rows, every: int, turn: int) -> Rows:
    words = f"Words that were changed in turn {turn}, and nothing else."
    return [{**row, "text": f"{words} {n}"} if n % every == every // 2 else row for n, row in enumerate(rows)]


def _new(rows: Rows, turn: int) -> dict[str, Any]:
    return {**rows[7], "id": f"new-{turn}", "text": f"A row that came in turn {turn}."}


CHANGES: dict[str, Callable[[Rows, int], Rows]] = {
    "one row": lambda rows, turn: _edited(rows, len(rows), turn),
    "1 % scattered": lambda rows, turn: _edited(rows, 100, turn),
    "inserted first": lambda rows, turn: [_new(rows, turn), *rows],
    "appended": lambda rows, turn: [*rows, _new(rows, turn)],
    "deleted": lambda rows, turn: [*rows[:9], *rows[10:]],
}


class Nights:
    """One kind of source, prepared and encoded again and again."""

    def __init__(self, folder: Path, kind: str, rows: Rows, engine: Engine) -> None:
        self.folder, self.kind, self.rows, self.engine = folder, kind, rows, engine
        self.model: TrainedModel | None = None
        self._now: tuple[Workspace, Plan, Preparation] | None = None

    def write(self, rows: Rows) -> None:
        """Write the source and a project on it."""
        settings = {
            "lake": "lake",
            "sources": [{"name": "rows", **KINDS[self.kind](self.folder, rows)}],
            "engine": {"workers": 2},
            "train": {"epochs": 1},
        }
        (self.folder / "trichord.yaml").write_text(yaml.safe_dump(settings))

    def workspace(self, lake: str = "lake") -> Workspace:
        """The project on one of its lakes."""
        return workspace_of(self.folder / "trichord.yaml", f"lake={self.folder / lake}")

    def prepare(self, lake: str = "lake") -> Preparation:
        """Plan, records, duplicates, commits."""
        workspace = self.workspace(lake)
        plan = make_plan(workspace)
        done = prepare_lake(workspace, self.engine, plan)
        self._now = workspace, plan, done
        return done

    def encode(self) -> int:
        """Features and vectors of all that is prepared."""
        assert self._now is not None
        workspace, plan, done = self._now
        features = featurise(workspace, self.engine, done.prepared, partitions=plan.partitions)
        exclusions = Exclusions.gather(workspace.lake, done.duplicates)
        if self.model is None:
            parts = parts_of(workspace, [item.records for item in done.prepared], done.matches)
            self.model = train(workspace, self.engine, features, exclusions, parts)
        made = encode(
            workspace, self.engine, done.prepared, exclusions, features, self.model, partitions=plan.partitions
        )
        return sum(ref.rows for ref in made.values())

    def costs(self) -> tuple[float, float, Preparation]:
        """CPU seconds of preparing and of encoding."""
        found: list[Preparation] = []

        def prepare() -> int:
            found.append(self.prepare())
            return 0

        def encode() -> int:
            self.encode()
            return 0

        return measured(prepare, 0).cpu_s, measured(encode, 0).cpu_s, found[0]


def measure(kind: str, folder: Path, rows: Rows, engine: Engine, check: bool) -> dict[str, Any]:
    """All changes to a source of one kind, each on top of the one before."""
    nights = Nights(folder, kind, rows, engine)
    nights.write(rows[:40])
    nights.prepare("warm")
    nights.encode()  # trains the model, and warms all up
    shutil.copytree(folder / "warm" / "models", folder / "lake" / "models")
    nights.write(rows)
    prepared_s, encoded_s, _ = nights.costs()
    figures: dict[str, Any] = {"prepare_cpu_s": round(prepared_s, 2), "encode_cpu_s": round(encoded_s, 2)}
    prepare_s, encode_s, _ = nights.costs()
    figures["unchanged"] = {"prepare": round(prepare_s / prepared_s, 4), "encode": round(encode_s / encoded_s, 4)}
    for turn, (name, change) in enumerate(CHANGES.items()):
        rows = change(rows, turn)
        nights.write(rows)
        prepare_s, encode_s, done = nights.costs()
        figures[name] = {
            "ran": sum(item.ran for item in done.prepared),
            "copied": sum(item.copied for item in done.prepared),
            "prepare": round(prepare_s / prepared_s, 4),
            "encode": round(encode_s / encoded_s, 4),
        }
        if check:
            assert nights.prepare(f"whole-{turn}").digest == done.digest, (kind, name)
    return figures


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=2_000)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--check", action="store_true", help="also compare with full runs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="trichord-bench-") as temporary:
        corpus = Path(temporary) / "corpus"
        write_corpus(corpus, records=options.records, seed=3, defects=0.02)
        rows = [
            {"id": row["id"], "text": row["text"] or ""}
            | {name: (corpus / row[name]).read_bytes() for name in ("image", "audio")}
            for row in rows_of(corpus)
        ]
        with open_engine(EngineConfig(kind="local", workers=2)) as engine:
            for kind in options.kinds.split(","):
                folder = Path(temporary) / kind
                folder.mkdir()
                found[kind] = measure(kind, folder, rows, engine, options.check)
                sys.stderr.write(f"{kind} {json.dumps(found[kind])}\n")
    sys.stdout.write(json.dumps({"records": options.records, **found}) + "\n")


if __name__ == "__main__":
    main()
