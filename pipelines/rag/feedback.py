"""What users think of answers: one row a rating in the table `feedback`, only ever appended to, and what it adds up to.

A row repeats question, publication and sources of its answer, so ratings can be joined with an index version, with a
record that was shown, and with the questions of an evaluation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from trichord.infra import digest
from trichord.infra.errors import CommitConflict
from trichord.infra.lake.schema import FEEDBACK
from trichord.infra.lake.shard import ShardWriter, read_shard
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.rag.answer import kept_answer

RATINGS = (-1, 0, 1)
_TRIES = 10  # of the commit, while others give feedback at the same moment

Row = Mapping[str, Any]


def give_feedback(workspace: Workspace, answer: str, rating: int, comment: str = "") -> dict[str, Any]:
    """Append a rating of an answer to the table.

    Args:
        workspace: the project on its lake.
        answer: id of the answer.
        rating: -1 bad, 0 neither, 1 good.
        comment: the user's words.

    Returns:
        The row, JSON-ready.

    Raises:
        ConfigError: no such answer was kept.
        CommitConflict: others were faster ten times in a row.
        ValueError: the rating is none of these.
    """
    if rating not in RATINGS:
        raise ValueError(f"a rating is one of {RATINGS}, not {rating}")
    kept = kept_answer(workspace, answer)
    row = {
        "answer": answer,
        "question": kept["question"],
        "question_digest": kept["question_digest"],
        "publication": kept["publication"],
        "sources": [{name: source[name] for name in ("key", "source")} for source in kept["sources"]],
        "cited": kept["cited"],
        "rating": rating,
        "comment": comment,
        "created_at": datetime.now(UTC).isoformat(timespec="microseconds"),
    }
    address = digest.address("feedback", row)
    with ShardWriter(workspace.lake, "feedback", address, FEEDBACK) as writer:
        writer.write(pa.Table.from_pylist([row], schema=FEEDBACK))
        ref = writer.finish({})
    for further in reversed(range(_TRIES)):
        try:
            workspace.table("feedback").add(ref, schema=FEEDBACK, run=address, recipe=answer)
            break
        except CommitConflict:
            if not further:
                raise
    return row


def feedback_rows(workspace: Workspace) -> list[dict[str, Any]]:
    """Every rating, in the order of time."""
    shards = workspace.table("feedback").shards().values()
    rows = [row for ref in shards for row in read_shard(workspace.lake, ref).to_pylist()]
    return sorted(rows, key=lambda row: (row["created_at"], row["answer"]))


def satisfaction(rows: Sequence[Row]) -> dict[str, Any]:
    """What ratings add up to: over all, by publication, and by record that stood among an answer's sources.

    Returns:
        JSON-ready: `overall`, `by_publication` and `by_record` (worst first; a rating counts for the records that the
        answer cited, or for all its sources where it cited none). Each has `ratings`, `mean` (-1 to 1) and `good` (the
        share of +1).
    """
    publications: dict[str, list[int]] = defaultdict(list)
    records: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in rows:
        publications[row["publication"]].append(row["rating"])
        for source in _blamed(row):
            records[source["source"], source["key"]].append(row["rating"])
    by_record = [{"source": source, "key": key} | _summary(given) for (source, key), given in records.items()]
    return {
        "overall": _summary([row["rating"] for row in rows]),
        "by_publication": {name: _summary(given) for name, given in sorted(publications.items())},
        "by_record": sorted(by_record, key=lambda item: (item["mean"], -item["ratings"], item["source"], item["key"])),
    }


def ratings_by_question(rows: Iterable[Row]) -> dict[str, list[int]]:
    """The ratings of the answers to each question, by its digest."""
    found: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        found[row["question_digest"]].append(row["rating"])
    return dict(found)


def _blamed(row: Row) -> list[Row]:
    cited = [row["sources"][number - 1] for number in row["cited"]]
    return cited or row["sources"]


def _summary(ratings: Sequence[int]) -> dict[str, Any]:
    if not ratings:
        return {"ratings": 0, "mean": None, "good": None}
    return {
        "ratings": len(ratings),
        "mean": sum(ratings) / len(ratings),
        "good": sum(rating > 0 for rating in ratings) / len(ratings),
    }
