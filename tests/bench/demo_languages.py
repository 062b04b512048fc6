"""The demo in every language that it speaks, beside English on the same seed: retrieval and detectors.

`python -m tests.bench.demo_languages --seeds 3` prints, for each figure and language, the mean over seeds and the
largest distance from English on one seed. `--json` prints one JSON line. Retrieval is of the index's test records.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trichord.pipelines.demo.languages import ENGLISH, LANGUAGES, Language
from trichord.pipelines.demo.run import Demo, run_demo

MODALITIES = ("text", "image", "audio")


def figures(demo: Demo) -> dict[str, float]:
    """Recall@10 of every direction, the figures of the mixed gallery, and how much of what was planted was found."""
    evaluation = demo.reindex.to_dict()["evaluation"]
    recall, mixed = evaluation["recall_at_10"], evaluation["mixed"]
    found = {f"{query} -> {gallery}, R@10": recall[query][gallery] for query, gallery in directions()}
    found |= {f"mixed gallery, {name}": mixed[name] for name in ("recall_at_10", "ndcg_at_10", "retention_overall")}
    *planted, wrong = demo.defects
    found["defects: recall, worst kind"] = min(row.found / row.planted for row in planted)
    found["defects: recall, all kinds"] = sum(row.found for row in planted) / sum(row.planted for row in planted)
    clean = demo.reindex.to_dict()["rows_in"] - sum(row.planted for row in planted)
    return found | {"defects: records without one that were rejected": wrong.found / clean}


def directions() -> list[tuple[str, str]]:
    """Return (query, gallery) of two modalities, then of texts by their other captions."""
    return [*((query, gallery) for query in MODALITIES for gallery in MODALITIES if query != gallery), ("text", "text")]


def measure(language: Language, records: int, seed: int) -> dict[str, float]:
    """Run the demo once in a folder that is removed."""
    with tempfile.TemporaryDirectory(prefix="trichord-demo-") as folder:
        return figures(run_demo(Path(folder), records=records, seed=seed, open_page=False, language=language))


def compare(found: Mapping[str, Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    """Return a row for each figure: its mean by language, and how far each language is from English at most."""
    english = found[ENGLISH.code]
    rows = []
    for name in english[0]:
        row: dict[str, Any] = {"figure": name}
        for code, runs in found.items():
            row[code] = statistics.fmean(run[name] for run in runs)
            away = (run[name] - base[name] for run, base in zip(runs, english, strict=True))
            row[f"{code} away"] = max(away, key=abs)
        rows.append(row)
    return rows


def table_of(rows: Sequence[Mapping[str, Any]], codes: Sequence[str]) -> str:
    """The rows as a Markdown table."""
    others = [code for code in codes if code != ENGLISH.code]
    cells = [["figure", ENGLISH.code, *(name for code in others for name in (code, "farthest from English"))]]
    cells.append(["---"] * len(cells[0]))
    for row in rows:
        values = [f"{row[ENGLISH.code]:.3f}"]
        values += [text for code in others for text in (f"{row[code]:.3f}", f"{row[f'{code} away']:+.3f}")]
        cells.append([row["figure"], *values])
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=2_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON line")
    options = parser.parse_args()
    found = {
        code: [measure(language, options.records, seed) for seed in range(options.seeds)]
        for code, language in LANGUAGES.items()
    }
    rows = compare(found)
    sys.stdout.write((json.dumps(rows) if options.json else table_of(rows, list(found))) + "\n")


if __name__ == "__main__":
    main()
