"""Publication: what one row of the `publications` table says, typed; JSON only where the row is read and written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

JsonDict = dict[str, Any]  # a JSON object whose fields its readers know; `json_values.JsonObject` must be checked

_IN_RECIPE = ("seals", "given_up")  # kept in the column `recipe`: the table's columns are fixed


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCounts:
    """What became of all rows: rows_in + rows_added = rows_kept + rows_rejected + rows_duplicate + rows_disagreeing.

    Attributes:
        rows_in: rows that the sources hold.
        rows_added: further rows cut from them (segments, regions).
        rows_kept: records that are indexed, or have no view that is.
        rows_rejected: rows refused by an op.
        rows_duplicate: rows dropped for a survivor.
        rows_disagreeing: rows left out because their modalities disagree.
        disagreements: rows whose modalities disagree, left out or not.
        rows_without_view: of the kept rows, those with no indexed view.
    """

    rows_in: int = 0
    rows_added: int = 0
    rows_kept: int = 0
    rows_rejected: int = 0
    rows_duplicate: int = 0
    rows_disagreeing: int = 0
    disagreements: int = 0
    rows_without_view: int = 0

    @property
    def rows(self) -> int:
        """All rows that went through the ops: those of the sources, and those cut from them."""
        return self.rows_in + self.rows_added

    @property
    def rows_left_out(self) -> int:
        """Rows that are not in the index, for whatever reason."""
        return self.rows_rejected + self.rows_duplicate + self.rows_disagreeing

    @property
    def balanced(self) -> bool:
        """Return True where every row is accounted for."""
        return self.rows == self.rows_kept + self.rows_left_out

    def to_dict(self) -> dict[str, int]:
        """Return it JSON-ready, by the names of the fields."""
        return asdict(self)

    @classmethod
    def from_dict(cls, counts: Mapping[str, int]) -> Self:
        """Return the counts of a stored object; what it lacks is 0."""
        return cls(**{one.name: int(counts.get(one.name, 0)) for one in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceContents:
    """What a source's records are: how many, how many with each modality, and how many in each language."""

    records: int
    modalities: Mapping[str, int] = field(default_factory=dict)
    languages: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: SourceContents) -> SourceContents:
        """Add the records of another part of the source."""
        return SourceContents(
            records=self.records + other.records,
            modalities=dict(Counter(self.modalities) + Counter(other.modalities)),
            languages=dict(Counter(self.languages) + Counter(other.languages)),
        )

    def to_dict(self) -> JsonDict:
        """Return it JSON-ready."""
        return {"records": self.records, "modalities": dict(self.modalities), "languages": dict(self.languages)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One measured condition of the gate.

    Attributes:
        name: of the condition.
        passed: the value is within the threshold.
        value: as measured; None where it is unknown.
        threshold: what it is compared with.
        detail: what the value is, and why it is so, as far as that is known.
        evidence: what changed the figure: sources, then keys.
        accepted: it did not pass, and somebody published the index all the same.
    """

    name: str
    passed: bool
    value: float | int | str | None
    threshold: float | int | str
    detail: str = ""
    evidence: tuple[str, ...] = ()
    accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate said of a candidate.

    Attributes:
        against: id of the publication that was live then; None where nothing was.
        passed: every check passed or was accepted.
        checks: all of them, with their evidence.
        evaluation: the figures, as `trichord evaluate` prints them.
        contents: what the records are, by source; empty in publications of older versions.
        outcomes: lake-relative path of what each held-out record added to the figures; None where none was measured.
    """

    against: str | None
    passed: bool
    checks: tuple[Check, ...]
    evaluation: JsonDict
    contents: Mapping[str, SourceContents] = field(default_factory=dict)
    outcomes: str | None = None

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not pass and that nobody accepted."""
        return tuple(check for check in self.checks if not check.passed and not check.accepted)

    @property
    def accepted(self) -> tuple[Check, ...]:
        """The checks that did not pass and that somebody accepted."""
        return tuple(check for check in self.checks if check.accepted)

    def accept(self, names: Collection[str]) -> Verdict:
        """Return the verdict with these failed checks accepted."""
        checks = tuple(replace(one, accepted=one.accepted or (not one.passed and one.name in names))
                       for one in self.checks)  # fmt: skip
        settled = bool(self.failed) and all(one.passed or one.accepted for one in checks)
        return replace(self, checks=checks, passed=self.passed or settled)

    def to_dict(self) -> JsonDict:
        """Return it JSON-ready."""
        return {
            "against": self.against,
            "passed": self.passed,
            "checks": [asdict(check) | {"evidence": list(check.evidence)} for check in self.checks],
            "evaluation": self.evaluation,
            "contents": {source: one.to_dict() for source, one in self.contents.items()},
            "outcomes": self.outcomes,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return the verdict of a stored object."""
        checks = (Check(**check | {"evidence": tuple(check.get("evidence", ()))}) for check in stored["checks"])
        return cls(
            against=stored["against"],
            passed=stored["passed"],
            checks=tuple(checks),
            evaluation=dict(stored["evaluation"]),
            contents={source: SourceContents(**one) for source, one in stored.get("contents", {}).items()},
            outcomes=stored.get("outcomes"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """An index and all that it was made from: what a candidate and a publication have in common.

    Attributes:
        manifest: lake-relative path of the index manifest.
        manifest_digest: its digest; equal digests are equal indexes.
        inputs_digest: digest of everything that was wanted; equal means that there is nothing to do.
        model: lake-relative folder of the model.
        fingerprint: of the model, and so of the vectors' space.
        table_versions: table -> Delta version.
        counts: what became of all rows.
        recipe: digests of the settings: `prepare` and `model`.
        seals: what no name holds a digest of. Lake-relative path -> "<bytes>:<SHA-256>" of the model's
            files and the recipes, and "table:<name>" -> digest of the paths of the table's shards.
    """

    manifest: str
    manifest_digest: str
    inputs_digest: str
    model: str
    fingerprint: str
    table_versions: Mapping[str, int]
    counts: RowCounts
    recipe: Mapping[str, str]
    seals: Mapping[str, str] = field(default_factory=dict, repr=False)

    def to_dict(self) -> JsonDict:
        """Return it JSON-ready, by the names of the fields."""
        plain = {one.name: getattr(self, one.name) for one in fields(self)}
        for name in ("table_versions", "recipe", "seals"):
            plain[name] = dict(plain[name])
        return plain | {"counts": self.counts.to_dict()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Pinned):
    """A built index that is not published (yet)."""

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return the candidate of a stored object."""
        return cls(**{**stored, "counts": RowCounts.from_dict(stored["counts"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication(Pinned):
    """An index version that was made live.

    Attributes:
        id: the manifest digest's first 12 characters and the sequence number.
        sequence: counts publications of the lake from 1.
        kind: made live by a `publish`, or again by a `rollback` or a `recover`.
        verdict: what the gate said of it.
        created_at: ISO 8601, UTC.
        given_up: manifest digests of earlier publications that `trichord recover` found damaged beyond repair.
    """

    id: str
    sequence: int
    kind: Literal["publish", "rollback", "recover"]
    verdict: Verdict = field(repr=False)
    created_at: str
    given_up: frozenset[str] = frozenset()

    def to_dict(self) -> JsonDict:
        """Return it JSON-ready; the id is `publication`."""
        plain = Pinned.to_dict(self)
        plain |= {"verdict": self.verdict.to_dict(), "given_up": sorted(self.given_up)}
        return {"publication": plain.pop("id"), **plain}

    def to_row(self) -> JsonDict:
        """Return the row of the table: objects as JSON strings, the seals beside the digests of the recipe."""
        plain = self.to_dict()
        plain["recipe"] |= {name: plain.pop(name) for name in _IN_RECIPE}
        return {
            name: json.dumps(value, sort_keys=True) if isinstance(value, dict) else value
            for name, value in plain.items()
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the publication of a row of the table."""
        parsed = {name: json.loads(row[name]) for name in ("table_versions", "counts", "recipe", "verdict")}
        plain = {name: value for name, value in row.items() if name != "publication"} | parsed
        plain["seals"] = plain["recipe"].pop("seals", {})
        plain["given_up"] = frozenset(plain["recipe"].pop("given_up", ()))
        plain |= {"counts": RowCounts.from_dict(parsed["counts"]), "verdict": Verdict.from_dict(parsed["verdict"])}
        return cls(id=row["publication"], **plain)
