"""feedback: what users think of answers. The table `feedback` has one row a rating, and rows are only ever appended.

A row repeats question, publication and sources of its answer. So ratings join with an index version, with a record that
was shown, and with the questions of an evaluation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from trichord.infra import digest
from trichord.infra.errors import CommitConflict
from trichord.infra.lake.schema import FEEDBACK
from trichord.infra.lake.shard import ShardWriter, read_shard
from trichord.infra.redaction import redact
from trichord.pipelines.core.result import Result
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.rag.stored_answer import read_answer

RATINGS = (-1, 0, 1)
_TRIES = 10  # of the commit, while others give feedback at the same moment


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedSource:
    """A record that was among an answer's sources."""

    key: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback(Result):
    """One rating of an answer: a row of the table."""

    answer: str
    question: str
    question_digest: str
    publication: str
    sources: Sequence[RatedSource]
    cited: Sequence[int]
    rating: int
    comment: str
    created_at: str

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Feedback:
        """Read a row of the table."""
        return cls(**{**row, "sources": [RatedSource(**source) for source in row["sources"]]})

    @property
    def blamed(self) -> Sequence[RatedSource]:
        """The records that the rating counts for: those the answer cited, or all its sources if it cited none."""
        return [self.sources[number - 1] for number in self.cited] or self.sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratings:
    """A summary of ratings: `mean` is -1 to 1, `good` the share of +1; both None without ratings."""

    ratings: int
    mean: float | None
    good: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRatings(Ratings):
    """The ratings that count for one record."""

    source: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Satisfaction(Result):
    """Ratings over all, by publication, and by record (worst first)."""

    overall: Ratings
    by_publication: Mapping[str, Ratings]
    by_record: Sequence[RecordRatings]


def give_feedback(workspace: Workspace, answer: str, rating: int, comment: str = "") -> Feedback:
    """Append a rating of an answer to the table.

    Args:
        workspace: the project on its lake.
        answer: id of the answer.
        rating: -1 bad, 0 neither, 1 good.
        comment: the user's words.

    Raises:
        ConfigError: no such answer was kept.
        CommitConflict: others were faster ten times in a row.
        ValueError: the rating is none of these.
    """
    if rating not in RATINGS:
        raise ValueError(f"a rating is one of {RATINGS}, not {rating}")
    kept = read_answer(workspace.lake, answer)
    feedback = Feedback(
        answer=answer,
        question=kept.question,
        question_digest=kept.question_digest,
        publication=kept.publication,
        sources=[RatedSource(key=source.key, source=source.source) for source in kept.sources],
        cited=kept.cited,
        rating=rating,
        comment=redact(comment),
        created_at=datetime.now(UTC).isoformat(timespec="microseconds"),
    )
    row = feedback.to_dict()
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
    return feedback


def read_feedback(workspace: Workspace) -> list[Feedback]:
    """Read every rating, oldest first."""
    shards = workspace.table("feedback").shards().values()
    rows = [Feedback.of_row(row) for ref in shards for row in read_shard(workspace.lake, ref).to_pylist()]
    return sorted(rows, key=lambda row: (row.created_at, row.answer))


def summarise(rows: Sequence[Feedback]) -> Satisfaction:
    """Add up ratings over all, by publication, and by record (see `Feedback.blamed`)."""
    publications: dict[str, list[int]] = defaultdict(list)
    records: dict[RatedSource, list[int]] = defaultdict(list)
    for row in rows:
        publications[row.publication].append(row.rating)
        for record in row.blamed:
            records[record].append(row.rating)
    by_record = [
        RecordRatings(source=record.source, key=record.key, ratings=len(given), mean=_mean(given), good=_share(given))
        for record, given in records.items()
    ]
    return Satisfaction(
        overall=_rate([row.rating for row in rows]),
        by_publication={name: _rate(given) for name, given in sorted(publications.items())},
        by_record=sorted(by_record, key=lambda item: (item.mean or 0.0, -item.ratings, item.source, item.key)),
    )


def group_by_question(rows: Iterable[Feedback]) -> dict[str, list[int]]:
    """Group ratings by the digest of their question."""
    found: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        found[row.question_digest].append(row.rating)
    return dict(found)


def _rate(given: Sequence[int]) -> Ratings:
    if not given:
        return Ratings(ratings=0, mean=None, good=None)
    return Ratings(ratings=len(given), mean=_mean(given), good=_share(given))


def _mean(given: Sequence[int]) -> float:
    return sum(given) / len(given)


def _share(given: Sequence[int]) -> float:
    return sum(rating > 0 for rating in given) / len(given)
