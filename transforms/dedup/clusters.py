"""The joint rule: which rows are the same record, which of them survives, and why the others do not.

Rows come sorted by precedence (earliest source, then smallest key), so the smallest index of a cluster survives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trichord.infra.config import DedupConfig
from trichord.transforms.dedup import spectrum
from trichord.transforms.dedup.near import LEADS, Ints, Modality, Signatures, label_components, pack


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """N rows with a near row in some modality: their modalities, and the signatures of these."""

    modalities: Sequence[str]  # as in the table `signatures`
    signatures: Mapping[Modality, Sequence[bytes | None]]

    def __len__(self) -> int:
        return len(self.modalities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Same:
    """Row `dropped` is the same record as `survivor`: it matched `via`, which is the survivor or leads to it."""

    dropped: int
    survivor: int
    via: int
    distances: Mapping[Modality, float]

    def evidence(self, keys: Sequence[str]) -> str:
        """For example `near: image 3/256, text 0.93, audio 0.04 via k2`."""
        distances = ", ".join(format_distance(name, distance) for name, distance in self.distances.items())
        return f"near: {distances}" + ("" if self.via == self.survivor else f" via {keys[self.via]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A row whose text, picture or sound is near that of the earliest such row, directly or through other rows."""

    modality: Modality
    row: int
    other: int
    distance: float
    direct: bool

    def evidence(self) -> str:
        """For example `image 0/256`."""
        return format_distance(self.modality, self.distance) + ("" if self.direct else ", chain")


def format_distance(modality: Modality, distance: float) -> str:
    """Format a distance: bits of a picture, bit error rate of a sound, Jaccard similarity of a text."""
    match modality:
        case "image":
            return f"image {round(distance * 8 * spectrum.FINE_BYTES)}/{8 * spectrum.FINE_BYTES}"
        case "audio":
            return f"audio {distance:.2f}"
        case "text":
            return f"text {1 - distance:.2f}"


def find_same_records(members: Members, edges: Mapping[Modality, Ints], config: DedupConfig) -> list[Same]:
    """Return the rows that repeat an earlier record, in row order.

    `edges` (E, 2) connect rows that are near in a leading modality. Each pair of a component with the same modalities
    is checked in all of them; the pairs that match connect the clusters.
    """
    found = [same for rule in _rules(members, edges, config) for same in rule.find()]
    return sorted(found, key=lambda same: same.dropped)


def find_matches(
    members: Members, edges: Mapping[Modality, Ints], dropped: npt.ArrayLike, config: DedupConfig
) -> list[Match]:
    """Return what each kept row shares with an earlier row, as edges to the earliest such row."""
    kept = np.ones(len(members), bool)
    kept[np.asarray(dropped, np.int64)] = False
    found: list[Match] = []
    for modality in LEADS:
        for component in _clusters(_labels(len(members), edges.get(modality))):
            rows = component[kept[component]]
            if len(rows) < 2:
                continue
            packed = pack(modality, [_present(members.signatures[modality][row]) for row in rows], config)
            i, j = np.zeros(len(rows) - 1, np.int64), np.arange(1, len(rows))
            near, far = packed.distance(i, j), packed.without_limits().distance(i, j)
            found.extend(
                Match(modality=modality, row=int(row), other=int(rows[0]), distance=float(far[at]),
                      direct=bool(np.isfinite(near[at])))
                for at, row in enumerate(rows[1:])
            )  # fmt: skip
    return found


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
        contents = [tuple(_present(members.signatures[name][row]) for name in names) for row in rows]
        content_N = np.array([first.setdefault(content, len(first)) for content in contents], np.int64)
        packed = {
            name: pack(name, [content[at] for content in first], config, beside=at > 0) for at, name in enumerate(names)
        }
        return cls(rows=rows, content_N=content_N, packed=packed)

    def find(self) -> Iterator[Same]:
        """Yield each row that repeats an earlier record."""
        labels = label_components(self.content_N.max() + 1, self._pairs())[self.content_N]
        for cluster in _clusters(labels):
            left, frontier = cluster[1:], cluster[:1]
            while len(left):  # ends, because every row is connected to the first
                via, frontier = frontier, frontier[:0]
                for row in via:
                    distances = self._distances(np.full(len(left), row), left)
                    near = np.isfinite(np.stack(list(distances.values()))).all(axis=0)
                    for at in np.flatnonzero(near):
                        yield Same(
                            dropped=int(self.rows[left[at]]), survivor=int(self.rows[cluster[0]]),
                            via=int(self.rows[row]),
                            distances={name: float(values[at]) for name, values in distances.items()},
                        )  # fmt: skip
                    frontier, left = np.concatenate([frontier, left[near]]), left[~near]
                frontier = np.sort(frontier)

    def _pairs(self) -> Iterator[tuple[Ints, Ints]]:
        """Yield the pairs of contents that match in every modality; texts first, which have the fewest pairs."""
        by: Modality = "text" if "text" in self.packed else next(iter(self.packed))
        for i, j in self.packed[by].pairs():
            for name, signatures in self.packed.items():
                if name != by:
                    near = np.isfinite(signatures.distance(i, j))
                    i, j = i[near], j[near]
            yield i, j

    def _distances(self, i: Ints, j: Ints) -> dict[Modality, npt.NDArray[np.float64]]:
        a, b = self.content_N[i], self.content_N[j]
        return {name: signatures.distance(a, b) for name, signatures in self.packed.items()}


def _rules(members: Members, edges: Mapping[Modality, Ints], config: DedupConfig) -> Iterator[_Rule]:
    """Yield the rows that may be the same record: one component of the leading modality, the same modalities."""
    considered = [_pick_modalities(given, config) for given in members.modalities]
    for lead in LEADS:
        for component in _clusters(_labels(len(members), edges.get(lead))):
            alike: dict[tuple[Modality, ...], list[int]] = {}
            for row in component:
                names = considered[row]
                if names[:1] == (lead,) and all(members.signatures[name][row] is not None for name in names):
                    alike.setdefault(names, []).append(int(row))
            for names, rows in sorted(alike.items()):
                if len(rows) > 1:
                    yield _Rule.of(members, names, np.array(rows, np.int64), config)


def _pick_modalities(given: str, config: DedupConfig) -> tuple[Modality, ...]:
    return tuple(name for name in LEADS if name in given.split(",") and name not in config.ignore)


def _labels(size: int, edges: Ints | None) -> Ints:
    blocks = [] if edges is None or not len(edges) else [(edges[:, 0], edges[:, 1])]
    return label_components(size, iter(blocks))


def _clusters(labels: Ints) -> Iterator[Ints]:
    """Yield the indices that share a label, ascending, if there are at least two."""
    order = np.argsort(labels, kind="stable")
    bounds = np.flatnonzero(np.diff(labels[order])) + 1
    yield from (cluster for cluster in np.split(order, bounds) if len(cluster) > 1)


def _present(signature: bytes | None) -> bytes:
    assert signature is not None, "only rows with a signature are compared"
    return signature
