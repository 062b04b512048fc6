"""The joint rule: which rows may be the same record, which of them survives, and what the others share.

Rows come sorted by precedence (earliest source, then smallest key). A row is dropped only for a survivor that it equals
itself: if A is like B and B like C, but A not like C, then A and C both survive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from trichord.infra.config import DedupConfig
from trichord.transforms.dedup import spectrum
from trichord.transforms.dedup.candidates import Members, alike_rows, clusters, labels_of, present
from trichord.transforms.dedup.crowds import halve
from trichord.transforms.dedup.near import LEADS, Ints, Modality, Signatures, pack

MOST_AUDIO_MATCH = 8 / 256  # bit error rate of two sounds that may be the same: candidates may differ more
OTHER_WORDS, OTHER_MODALITIES = "other words", "other modalities"
NOT_COMPARED = frozenset(("", OTHER_WORDS, OTHER_MODALITIES))  # `Match.why` where the media were not compared
EXACT = 4_096  # rows that may be the same record, of which all pairs are compared
MOST_UNCERTAIN = 8  # pairs of a row that were compared and nearly agree: this many are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Same:
    """Row `dropped` is the same record as `survivor`."""

    dropped: int
    survivor: int
    distances: Mapping[Modality, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A row whose text, picture or sound is near that of an earlier row, directly or through other rows."""

    modality: Modality
    row: int
    other: int
    distance: float
    direct: bool
    why: str = ""  # it is not the same record, if known

    def evidence(self) -> str:
        """For example `image 0/256`."""
        return format_distance(self.modality, self.distance) + ("" if self.direct else ", chain")


def format_evidence(distances: Mapping[Modality, float], *, compared: bool) -> str:
    """Return for example `near: image 3/256, audio 0.04, text 0.93`, or `near: image 0.12` of media that were compared.

    That is the difference of the most different place of the pictures, or 1 - correlation of the sounds; 0 is equal.
    """
    parts = [f"{name} {distance:.2f}" if compared else format_distance(name, distance)
             for name, distance in distances.items()]  # fmt: skip
    return "near: " + ", ".join(parts)


def format_distance(modality: Modality, distance: float) -> str:
    """Format a distance: bits of a picture, bit error rate of a sound, Jaccard similarity of a text."""
    match modality:
        case "image":
            return f"image {round(distance * 8 * spectrum.FINE_BYTES)}/{8 * spectrum.FINE_BYTES}"
        case "audio":
            return f"audio {distance:.2f}"
        case "text":
            return f"text {1 - distance:.2f}"


def settle(size: int, pairs: Ints) -> Ints:
    """Return the survivor of each of `size` rows, itself if it is one, by the pairs (P, 2) that are the same record.

    In order, a row that no earlier survivor equals survives, and the later rows that equal it are dropped.
    """
    return _settle(size, iter([(pairs[:, 0], pairs[:, 1])]))


def _settle(size: int, blocks: Iterator[tuple[Ints, Ints]]) -> Ints:
    """Settle by pairs i < j that come in blocks of rising i."""
    survivor = np.arange(size)
    for i, j in blocks:
        if not len(i):
            continue
        order = np.argsort(i, kind="stable")
        i, j = i[order], j[order]
        firsts, starts = np.unique(i, return_index=True)
        for first, later in zip(firsts.tolist(), np.split(j, starts[1:]), strict=True):
            if survivor[first] == first:
                survivor[later[survivor[later] == later]] = first
    return survivor


def find_same_records(members: Members, edges: Mapping[str, Ints], config: DedupConfig) -> list[Same]:
    """Return the rows that repeat an earlier record as far as their signatures show, in row order.

    `edges` (E, 2) connect rows that are near in a leading modality. Each pair of a component with the same modalities
    is checked in all of them. More rows than `EXACT` are compared with the earliest one; what is left is halved by the
    distance from it, and so on.
    """
    found: list[Same] = []
    for names, alike in alike_rows(members, edges, config):
        parts = [alike]
        while parts:
            rows = parts.pop()
            rule = _Rule.of(members, names, rows, config)
            if len(rule) <= EXACT:
                found += rule.find()
                continue
            same, left = rule.find_of_first()
            found += same
            parts += [rows[part] for part in left if len(part) > 1]
    return sorted(found, key=lambda same: same.dropped)


def find_matches(
    members: Members, edges: Mapping[str, Ints], dropped: npt.ArrayLike, config: DedupConfig
) -> list[Match]:
    """Return what each kept row shares with an earlier row: in each modality the earliest of its component.

    A picture and a sound are shared by edges of `close/<modality>`, whose hashes alone say so; proposals reach further.
    """
    kept = np.ones(len(members), bool)
    kept[np.asarray(dropped, np.int64)] = False
    found: list[Match] = []
    for modality in LEADS:
        joined = edges.get(modality if modality == "text" else f"close/{modality}")
        for component in clusters(labels_of(len(members), joined)):
            rows = component[kept[component]]
            if len(rows) < 2:
                continue
            packed = pack(modality, [present(members.signatures[modality][row]) for row in rows], config)
            i, j = np.zeros(len(rows) - 1, np.int64), np.arange(1, len(rows))
            near, far = packed.distance(i, j), packed.without_limits().distance(i, j)
            found.extend(
                Match(modality=modality, row=int(row), other=int(rows[0]), distance=float(far[at]),
                      direct=bool(np.isfinite(near[at])), why=_why(members, int(row), int(rows[0])))
                for at, row in enumerate(rows[1:])
            )  # fmt: skip
    return found


def most_match(modality: Modality, config: DedupConfig) -> float:
    """Return the share of the bits up to which two hashes say by themselves that the medium is the same, perhaps."""
    return config.image_bits / (8 * spectrum.FINE_BYTES) if modality == "image" else MOST_AUDIO_MATCH


def explain_matches(
    members: Members,
    found: Sequence[Match],
    unlike: Mapping[tuple[int, int], tuple[Modality, str]],
    config: DedupConfig,
) -> list[Match]:
    """Return the matches with the pairs whose media were compared and nearly agree: (row, other) -> where, and why.

    Of these at most `MOST_UNCERTAIN` a row, with the earliest others.
    """
    left = dict(unlike)
    explained = []
    for match in found:
        where = left.pop((match.row, match.other), None) if match.modality in ("image", "audio") else None
        explained.append(match if where is None else replace(match, why=where[1]))
    listed: Counter[int] = Counter()
    for (row, other), (modality, why) in sorted(left.items()):
        listed[row] += 1
        if listed[row] > MOST_UNCERTAIN:
            continue
        both = [present(members.signatures[modality][at]) for at in (other, row)]
        packed = pack(modality, both, config).without_limits()
        distance = float(packed.distance(np.array([0]), np.array([1]))[0])
        explained.append(Match(modality=modality, row=row, other=other, distance=distance, direct=True, why=why))
    return explained


def _why(members: Members, row: int, other: int) -> str:
    if members.modalities[row] != members.modalities[other]:
        return OTHER_MODALITIES
    forms = (members.forms[row], members.forms[other]) if members.forms else (None, None)
    return OTHER_WORDS if forms[0] != forms[1] else ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rule:
    """The joint rule on rows with the same modalities; equal rows are compared once."""

    rows: Ints  # in order of precedence
    content_N: Ints  # which of the distinct contents a row has
    packed: Mapping[Modality, Signatures]  # of the distinct contents; the leading modality first

    @classmethod
    def of(cls, members: Members, names: Sequence[Modality], rows: Ints, config: DedupConfig) -> _Rule:
        """Make the rule on `rows`, which have all of `names`, the leading one first."""
        first: dict[tuple[bytes, ...], int] = {}
        contents = [tuple(present(members.signatures[name][row]) for name in names) for row in rows]
        content_N = np.array([first.setdefault(content, len(first)) for content in contents], np.int64)
        packed = {
            name: pack(name, [content[at] for content in first], config, beside=at > 0) for at, name in enumerate(names)
        }
        return cls(rows=rows, content_N=content_N, packed=packed)

    def __len__(self) -> int:
        return int(self.content_N.max()) + 1

    def find(self) -> list[Same]:
        """Return each row that repeats an earlier record."""
        first = np.full(len(self), len(self.rows))
        np.minimum.at(first, self.content_N, np.arange(len(self.rows)))
        return self._drop(first[_settle(len(self), self._pairs())[self.content_N]])

    def find_of_first(self) -> tuple[list[Same], tuple[Ints, Ints]]:
        """Return each row that repeats the first, and the places of the others: those nearer to it, and the rest."""
        first, others = np.zeros(len(self) - 1, np.int64), np.arange(1, len(self))
        same = np.ones(len(others), bool)
        for signatures in self.packed.values():
            same &= np.isfinite(signatures.distance(first, others))
        repeats = np.concatenate([[True], same])[self.content_N]
        found = self._drop(np.where(repeats, 0, np.arange(len(self.rows))))
        lead = next(iter(self.packed.values())).without_limits()
        nearer, farther = halve(lead.distance(first[~same], others[~same]), others[~same])
        return found, (self._places(nearer), self._places(farther))

    def _places(self, contents: Ints) -> Ints:
        return np.flatnonzero(np.isin(self.content_N, contents)).astype(np.int64)

    def _drop(self, survivor: Ints) -> list[Same]:
        dropped = np.flatnonzero(survivor != np.arange(len(self.rows)))
        a, b = self.content_N[dropped], self.content_N[survivor[dropped]]
        distances = {name: signatures.distance(a, b) for name, signatures in self.packed.items()}
        return [
            Same(dropped=int(self.rows[row]), survivor=int(self.rows[survivor[row]]),
                 distances={name: float(values[at]) for name, values in distances.items()})
            for at, row in enumerate(dropped)
        ]  # fmt: skip

    def _pairs(self) -> Iterator[tuple[Ints, Ints]]:
        """Yield the pairs of contents that match in every modality; texts first, which have the fewest pairs."""
        by: Modality = "text" if "text" in self.packed else next(iter(self.packed))
        for i, j in self.packed[by].pairs():
            for name, signatures in self.packed.items():
                if name != by:
                    near = np.isfinite(signatures.distance(i, j))
                    i, j = i[near], j[near]
            yield i, j
