"""Precision and recall of every detector against the defects planted in the demo corpus.

`python -m tests.bench.detectors --records 5000` writes a corpus, prepares and deduplicates it with every detector on,
and prints a table; `--json` prints one JSON line instead, `--out FILE` saves the keys of misses and false alarms,
`--language zh` measures on texts in Chinese, whose spelling nothing corrects.

A detector is asked about the defects named for it. It misses a planted record that it does not fire on, unless the
record was rejected for a reason listed as `instead` (a blank picture is not sharp either: whichever is asked first
rejects it). It gives a false alarm where it fires on a record without a defect, or with one that it does not cover;
`may` lists defects on which firing is as right as not firing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from trichord.infra.engines import open_engine
from trichord.infra.lake.shard import ShardRef, read_shard
from trichord.infra.project import load_project
from trichord.pipelines.core.exclusions import Exclusions
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.demo.corpus import read_labels, write_corpus
from trichord.pipelines.demo.languages import ENGLISH, LANGUAGES, Language
from trichord.pipelines.demo.run import write_project
from trichord.pipelines.demo.settings import fixed_by
from trichord.pipelines.evaluation.parts import parts_of
from trichord.pipelines.model.encode import featurise
from trichord.pipelines.model.pair_agreement import judge as judge_agreement
from trichord.pipelines.prepare.exact_duplicates import deduplicate
from trichord.pipelines.prepare.plan import make_plan
from trichord.pipelines.prepare.prepared import Prepared
from trichord.pipelines.prepare.records import prepare

PRECISION, RECALL = 0.95, 0.90
NOT_RUN = "not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the pipeline made of a corpus, by key."""

    labels: Mapping[str, Mapping[str, Any]]
    rejects: Mapping[str, tuple[str, str]]  # reason and detail
    records: Mapping[str, Mapping[str, Any]]  # text, scores, labels, changes
    duplicates: Sequence[Mapping[str, str]]  # rows of the duplicates table
    disagrees: Mapping[str, bool] | None = None  # of the records that the agreement check was asked about
    stages: Mapping[str, float] = field(default_factory=dict)  # seconds

    def planted(self, defects: Collection[str]) -> list[str]:
        """Keys with one of these defects."""
        return [key for key, label in self.labels.items() if set(label["defects"]) & set(defects)]


# Only pictures are exchanged in this corpus, so only pictures are judged.
AGREEMENT = (
    "agreement.check=flag",
    "agreement.modalities=[image]",
    "agreement.folds=5",
    "agreement.false_accept_rate=0.03",
)

Verdict = Callable[[Evidence], set[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """What must find which defects, and how its verdict is read."""

    name: str
    finds: tuple[str, ...]
    verdict: Verdict
    may: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()  # reject reasons that are as good
    restores: bool = False  # whether the text should be as it was before the defect


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table; None where the detector was not run."""

    detector: str
    defect: str
    planted: int
    found: int | None = None
    false_alarms: int | None = None
    precision: float | None = None
    recall: float | None = None
    restored: int | None = None  # of those found, how many texts are as they were before the defect
    verdict: str = NOT_RUN
    misses: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()


def rejected(*reasons: str) -> Verdict:
    """Fires by rejecting."""
    return lambda evidence: {key for key, (reason, _) in evidence.rejects.items() if reason in reasons}


def changed(op: str) -> Verdict:
    """Fires by changing a record."""
    return lambda evidence: {
        key for key, row in evidence.records.items() if any(change["op"] == op for change in row["changes"])
    }


def labelled(name: str, wrong: Callable[[str], bool]) -> Verdict:
    """Fires by what it calls a record."""
    return lambda evidence: {
        key for key, row in evidence.records.items() if name in row["labels"] and wrong(row["labels"][name])
    }


def missing(field_name: str) -> Verdict:
    """Fires where a record is kept without this modality."""
    return lambda evidence: {key for key, row in evidence.records.items() if row[field_name] is None}


def duplicate(exact: bool) -> Verdict:
    """Fires by dropping a record for another: a drop counts for whichever of the two was planted as the copy.

    Where records of two different groups were taken for one, the dropped one is the false alarm.
    """

    def verdict(evidence: Evidence) -> set[str]:
        fired = set()
        for row in evidence.duplicates:
            if (row["evidence"] == "exact_content") is not exact:
                continue
            key, survivor = row["key"], row["survivor_key"]
            dropped, kept = evidence.labels[key], evidence.labels[survivor]
            fired.add(key if dropped["twin"] or dropped["group"] != kept["group"] else survivor)
        return fired

    return verdict


def scored(name: str, *, below: float) -> Verdict:
    """Fires by a score."""
    return lambda evidence: {key for key, row in evidence.records.items() if row["scores"].get(name, below) < below}


def either(*verdicts: Verdict) -> Verdict:
    """Fires where one of them does."""
    return lambda evidence: {key for verdict in verdicts for key in verdict(evidence)}


DETECTORS = (
    Detector(name="change text_spelling", finds=("typos",), verdict=changed("text_spelling"), restores=True),
    Detector(name="change text_encoding", finds=("mojibake",), verdict=changed("text_encoding")),
    Detector(
        name="change text_normalize",
        finds=("control_characters", "bidi_controls"),
        verdict=changed("text_normalize"),
        restores=True,
        may=("html_markup", "empty_text", "mojibake"),  # white space that is left over
    ),
    Detector(name="text is None", finds=("empty_text",), verdict=missing("text")),
    Detector(name="change text_markup", finds=("html_markup",), verdict=changed("text_markup"), restores=True),
    Detector(name="change text_pii", finds=("pii",), verdict=changed("text_pii")),
    Detector(name="reject text_language", finds=("foreign_language",), verdict=rejected("text_language")),
    Detector(name="reject text_repetitive", finds=("repeated_text",), verdict=rejected("text_repetitive")),
    Detector(name="reject text_symbols", finds=("symbol_noise",), verdict=rejected("text_symbols")),
    Detector(name="reject image_blurred", finds=("image_blur",), verdict=rejected("image_blurred"),
             may=("image_partial_blur",), instead=("image_partly_blurred",)),
    Detector(name="reject image_noisy", finds=("image_noise",), verdict=rejected("image_noisy")),
    Detector(name="reject image_truncated", finds=("image_truncated",), verdict=rejected("image_truncated")),
    Detector(name="reject image_too_small", finds=("image_too_small",), verdict=rejected("image_too_small")),
    Detector(name="reject image_aspect", finds=("image_extreme_aspect",), verdict=rejected("image_aspect")),
    Detector(name="reject image_format", finds=("image_wrong_type",), verdict=rejected("image_format")),
    Detector(name="reject image_blank", finds=("image_blank",), verdict=rejected("image_blank")),
    Detector(name="reject image_dark", finds=("image_dark",), verdict=rejected("image_dark"),
             instead=("image_blank",)),
    Detector(name="reject image_bright", finds=("image_bright",), verdict=rejected("image_bright"),
             instead=("image_blank",)),
    Detector(
        name="change image_sharp_region or reject image_partly_blurred",
        finds=("image_partial_blur",),
        verdict=either(changed("image_sharp_region"), rejected("image_partly_blurred")),
        may=("image_blur",),
        instead=("image_blurred",),  # nothing but its blurred part has edges
    ),
    Detector(name="change image_measure (frame)", finds=("image_border",), verdict=changed("image_measure"),
             may=("image_partial_blur", "image_blur")),  # a blurred ground has no grain, and is as plain as a frame
    Detector(name="reject audio_noise", finds=("audio_noise",), verdict=rejected("audio_noise")),
    Detector(name="reject audio_clipped", finds=("audio_clipped",), verdict=rejected("audio_clipped")),
    Detector(name="reject audio_truncated", finds=("audio_truncated",), verdict=rejected("audio_truncated")),
    Detector(name="reject audio_too_short", finds=("audio_too_short",), verdict=rejected("audio_too_short")),
    Detector(name="reject audio_format", finds=("audio_wrong_type",), verdict=rejected("audio_format")),
    Detector(name="reject audio_silent", finds=("audio_silent",), verdict=rejected("audio_silent")),
    Detector(name="change audio_dc_removal", finds=("audio_dc",), verdict=changed("audio_dc_removal")),
    Detector(name="change audio_hum_removal", finds=("audio_hum",), verdict=changed("audio_hum_removal")),
    Detector(name="score audio_loudness_lufs < -40", finds=("audio_quiet",),
             verdict=scored("audio_loudness_lufs", below=-40)),
    Detector(name="change audio_trim", finds=("audio_padded",), verdict=changed("audio_trim"),
             may=("audio_quiet",)),  # so quiet that parts of it count as silence
    Detector(name="duplicates exact_content", finds=("exact_duplicate",), verdict=duplicate(exact=True)),
    Detector(name="duplicates near", finds=("near_duplicate",), verdict=duplicate(exact=False),
             may=("exact_duplicate",)),
)  # fmt: skip


def judge(detector: Detector, evidence: Evidence, language: Language = ENGLISH) -> Line:
    """Precision and recall of one detector; that of typos is run where the language's project turns it on."""
    planted = evidence.planted(detector.finds)
    if detector.finds == ("typos",) and "typos" not in fixed_by(language):
        return Line(detector=detector.name, defect="typos", planted=len(planted))
    fair = {*planted, *evidence.planted(detector.may)}
    fired = detector.verdict(evidence)
    instead = {key for key in planted if evidence.rejects.get(key, ("", ""))[0] in detector.instead}
    hits = [key for key in planted if key in fired or key in instead]
    line = _line(detector.name, detector.finds, planted, hits=hits, alarms=sorted(fired - fair))
    if not detector.restores:
        return line
    same = [key in fired and evidence.records[key]["text"] == evidence.labels[key]["clean_text"] for key in hits]
    return replace(line, restored=sum(same))


def agreement_row(labels: Mapping[str, Mapping[str, Any]], verdicts: Mapping[str, bool] | None) -> Line:
    """The line of the check that the modalities of a record agree.

    Args:
        labels: of the corpus, by key.
        verdicts: key -> whether the check says that the record's modalities do not belong together, for the records
            that it was asked about; None where it was not run.
    """
    name, finds = "agreement", ("swapped_pair",)
    planted = [key for key, label in labels.items() if "swapped_pair" in label["defects"]]
    # a picture of which the blurred half was cut away shows half of what its caption says
    halved = {key for key, label in labels.items() if "image_partial_blur" in label["defects"]}
    if verdicts is None:
        return Line(detector=name, defect=finds[0], planted=len(planted))
    asked = [key for key in planted if key in verdicts]
    alarms = sorted(key for key, bad in verdicts.items() if bad and key not in planted and key not in halved)
    return _line(name, finds, asked, hits=[key for key in asked if verdicts[key]], alarms=alarms)


def _line(
    name: str, finds: tuple[str, ...], planted: Sequence[str], *, hits: Sequence[str], alarms: Sequence[str]
) -> Line:
    precision = len(hits) / (len(hits) + len(alarms)) if hits or alarms else 0.0
    recall = len(hits) / len(planted) if planted else 0.0
    return Line(
        detector=name,
        defect=", ".join(finds),
        planted=len(planted),
        found=len(hits),
        false_alarms=len(alarms),
        precision=round(precision, 4),
        recall=round(recall, 4),
        verdict="pass" if precision >= PRECISION and recall >= RECALL else "fail",
        misses=tuple(sorted(set(planted) - set(hits))),
        alarms=tuple(alarms),
    )


def collect(folder: Path, records: int, seed: int, workers: int, language: Language = ENGLISH) -> Evidence:
    """Write a corpus into `folder`, prepare, deduplicate and judge it by the demo's project."""
    stages: dict[str, float] = {}
    watch = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal watch
        now = time.perf_counter()
        stages[name], watch = round(now - watch, 1), now

    write_corpus(folder / "corpus", records=records, seed=seed, language=language)
    lap("corpus")
    overrides = [f"engine.workers={workers}", "engine.kind=local", *AGREEMENT]
    workspace = Workspace(load_project(write_project(folder, language=language), overrides))
    with open_engine(workspace.project.engine) as engine:
        plan = make_plan(workspace)
        lap("plan")
        prepared = prepare(workspace, engine, plan.shards)
        lap("prepare")
        duplicates = list(deduplicate(workspace, engine, prepared).duplicates)
        lap("dedup")
        exclusions = Exclusions.gather(workspace.lake, duplicates)
        features = featurise(workspace, engine, prepared)
        parts = parts_of(workspace, [item.records for item in prepared], ())
        _, found = judge_agreement(workspace, engine, features, exclusions, parts)
        lap("agreement")
    evidence = read_evidence(workspace, folder / "corpus", prepared, duplicates, stages)
    gone = {row["key"] for row in evidence.duplicates}
    wrong = {row.key for row in found}
    return replace(evidence, disagrees={key: key in wrong for key in evidence.records if key not in gone})


def read_evidence(
    workspace: Workspace,
    corpus: Path,
    prepared: Sequence[Prepared],
    duplicates: Sequence[ShardRef],
    stages: Mapping[str, float],
) -> Evidence:
    """Read what was made of a corpus, without its media."""

    def rows(refs: Sequence[ShardRef | None], columns: Sequence[str]) -> list[dict[str, Any]]:
        tables = (read_shard(workspace.lake, ref, list(columns)) for ref in refs if ref)
        return [row for table in tables for row in table.to_pylist()]

    columns = ("key", "text", "captions", "scores", "labels", "changes")
    records = {row["key"]: row for row in rows([item.records for item in prepared], columns)}
    for row in records.values():
        row["scores"], row["labels"] = dict(row["scores"]), dict(row["labels"])
    rejects = rows([item.rejects for item in prepared], ("key", "reason", "detail"))
    return Evidence(
        labels={label["key"]: label for label in read_labels(corpus)},
        rejects={row["key"]: (row["reason"], row["detail"]) for row in rejects},
        records=records,
        duplicates=rows(duplicates, ("key", "survivor_key", "evidence")),
        stages=stages,
    )


def table_of(lines: Sequence[Line]) -> str:
    """The lines as a Markdown table."""
    head = ("detector", "must find", "planted", "found", "false alarms", "precision", "recall", "as it was", "")
    cells = [head, ("---",) * len(head)]
    for line in lines:
        ratios = ("" if value is None else f"{value:.3f}" for value in (line.precision, line.recall))
        found, alarms, restored = (
            "" if value is None else str(value) for value in (line.found, line.false_alarms, line.restored)
        )
        cells.append((line.detector, line.defect, str(line.planted), found, alarms, *ratios, restored, line.verdict))
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def looked_at(lines: Sequence[Line], evidence: Evidence) -> list[dict[str, Any]]:
    """Every miss and false alarm with what is known about it."""
    return [
        {
            "detector": line.detector,
            "kind": kind,
            "key": key,
            "defects": evidence.labels[key]["defects"],
            "clean_text": evidence.labels[key]["clean_text"],
            "reject": evidence.rejects.get(key),
            "record": evidence.records.get(key),
            "duplicates": [row for row in evidence.duplicates if key in (row["key"], row["survivor_key"])],
        }
        for line in lines
        for kind, keys in (("miss", line.misses), ("false alarm", line.alarms))
        for key in keys
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--language", choices=list(LANGUAGES), default=ENGLISH.code)
    parser.add_argument("--folder", type=Path, help="keep corpus and lake here, and use what stands")
    parser.add_argument("--out", type=Path, help="save misses and false alarms with their evidence, as JSON lines")
    parser.add_argument("--json", action="store_true", help="one JSON line")
    options = parser.parse_args()
    language = LANGUAGES[options.language]
    with tempfile.TemporaryDirectory(prefix="trichord-detectors-") as name:
        evidence = collect(options.folder or Path(name), options.records, options.seed, options.workers, language)
    lines = [
        *(judge(detector, evidence, language) for detector in DETECTORS),
        agreement_row(evidence.labels, evidence.disagrees),
    ]
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in looked_at(lines, evidence))
    clean = sum(not label["defects"] for label in evidence.labels.values())
    reasons = Counter(reason for reason, _ in evidence.rejects.values())
    if options.json:
        result = {"records": len(evidence.labels), "without_defect": clean, "stages_s": dict(evidence.stages)}
        rows = [asdict(line) | {"misses": len(line.misses), "alarms": len(line.alarms)} for line in lines]
        text = json.dumps(result | {"reasons": dict(reasons), "detectors": rows})
    else:
        seconds = ", ".join(f"{stage} {value:.1f} s" for stage, value in evidence.stages.items())
        text = f"{len(evidence.labels)} records, {clean} of them without a defect; {seconds}\n\n{table_of(lines)}"
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
