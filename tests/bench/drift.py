"""How often `diff` would flag drift where there is none: random divisions of a published lake's groups.

`python -m tests.bench.drift PROJECT [--draws N] [KEY=VALUE ...]`: each draw divides the groups of the live
publication's records into two halves, one before and one after, and judges every score and the vectors of the first
indexed view as `diff` judges added records. Counts the draws in which any is flagged: with one record of each group, as
`diff` does, and with every record by itself.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping

import numpy as np

from trichord.infra.digest import generator
from trichord.infra.lake.shard import read_shard
from trichord.pipelines.api import open_workspace
from trichord.pipelines.evaluation.drift import LEAST_ROWS, ks_distance, ks_limit, separability, separability_limit
from trichord.pipelines.publish.diff_drift import LEAST_SHIFT, LEVEL
from trichord.pipelines.publish.diff_vectors import LEAST_AUC

Row = tuple[str, Mapping[str, float], np.ndarray]  # group, scores, vector


def read_rows(project: str, settings: list[str]) -> dict[str, Row]:
    """Return the live publication's records by row digest."""
    workspace = open_workspace(project, *settings)
    live = workspace.publications.require_live()
    vectors: dict[str, np.ndarray] = {}
    for ref in workspace.pinned_shards("vectors", live).values():
        rows = read_shard(workspace.lake, ref, ["row_digest", "vector"])
        for row_digest, vector in zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True):
            vectors.setdefault(row_digest, np.array(vector, np.float32))
    found: dict[str, Row] = {}
    for ref in workspace.pinned_shards("records", live).values():
        rows = read_shard(workspace.lake, ref, ["row_digest", "group", "scores"])
        for row_digest, group, scores in zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True):
            if row_digest in vectors:
                found[row_digest] = group, dict(scores), vectors[row_digest]
    return dict(sorted(found.items()))


def judge(before: list[Row], after: list[Row]) -> tuple[bool, bool]:
    """Return whether a score, and whether the vectors, would be flagged."""
    pairs = []
    for score in {score for _, scores, _ in before for score in scores}:
        sides = [np.array([scores[score] for _, scores, _ in side if score in scores]) for side in (before, after)]
        if min(map(len, sides)) >= LEAST_ROWS:
            pairs.append(sides)
    level = LEVEL / max(1, 2 * len(pairs))  # `diff` compares all records too
    flagged = any(
        ks_distance(one, other) > max(LEAST_SHIFT, ks_limit(len(one), len(other), level)) for one, other in pairs
    )
    was, now = (np.stack([vector for *_, vector in side]) for side in (before, after))
    auc = separability(now, was)
    limit = max(LEAST_AUC, separability_limit(len(now), len(was), LEVEL / 2)) if auc is not None else 1.0
    return flagged, (auc or 0.0) > limit


def one_a_group(rows: list[Row]) -> list[Row]:
    """Return one record of each group."""
    return list({row[0]: row for row in reversed(rows)}.values())


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project")
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("settings", nargs="*")
    given = parser.parse_args()
    rows = list(read_rows(given.project, given.settings).values())
    groups = sorted({group for group, *_ in rows})
    counts = dict.fromkeys(("scores", "vectors", "scores_without_groups", "vectors_without_groups"), 0)
    for draw in range(given.draws):
        half = set(generator("drift", draw).permutation(groups)[: len(groups) // 2].tolist())
        sides = [row for row in rows if row[0] in half], [row for row in rows if row[0] not in half]
        for ending, drawn in (("", [one_a_group(side) for side in sides]), ("_without_groups", sides)):
            for name, flagged in zip(("scores", "vectors"), judge(*drawn), strict=True):
                counts[name + ending] += flagged
    sys.stdout.write(json.dumps({"records": len(rows), "groups": len(groups), "draws": given.draws} | counts) + "\n")


if __name__ == "__main__":
    main()
