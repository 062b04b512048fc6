"""Which pairs of rows are compared themselves: each row with a few, the nearest by each of its signatures.

Rows come sorted by precedence (earliest source, then smallest key).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trichord.infra.config import DedupConfig
from trichord.transforms.dedup.components import label_components
from trichord.transforms.dedup.crowds import halve
from trichord.transforms.dedup.near import LEADS, Ints, Modality, Signatures, pack

NEIGHBOURS: Mapping[Modality, int] = {"image": 4, "audio": 6}  # nearest to a row by each of its signatures: compared
PIVOTS = 16  # of rows that may be the same record
MOST_PIVOT = 16 / 256  # of the bits: within it, a row is compared with the pivot first
MAPPED = 2_048  # drawn pictures of which each is compared with all others by its map


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """N rows with a near row in some modality: their modalities, and the signatures of these."""

    modalities: Sequence[str]  # as in the table `signatures`
    signatures: Mapping[Modality, Sequence[bytes | None]]
    forms: Sequence[bytes | None] = ()  # digests of what their texts say (`same_text`)
    inner: Sequence[bytes | None] = ()  # hashes of drawn pictures without their ground

    def __len__(self) -> int:
        return len(self.modalities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Pairs of rows that may be the same record, (P, 2) each, the earlier row first, and rows that have more."""

    equal: Ints  # texts alone, which say the same
    pivots: Ints  # media to compare first: most of what is dropped is dropped by these
    nearest: Ints  # media to compare then, as far as neither row is dropped
    drawn: tuple[Ints, ...] = field(default=())  # drawn pictures to be paired by their maps


def find_candidates(
    members: Members, edges: Mapping[str, Ints], nearest: Mapping[str, Ints], config: DedupConfig
) -> Candidates:
    """Return the pairs whose media decide whether they are the same record.

    `edges` (E, 2) connect rows that are near in a leading modality, and `words` texts alone that say the same;
    `nearest` (P, 2) are rows with equal modalities and words that are nearest by a hash, of equal hashes one.
    """
    kin = _kin(members, config)
    pivots = [np.zeros((0, 2), np.int64)]
    drawn: list[Ints] = []
    for names, rows in alike_rows(members, edges, config):
        if names[0] != "text":
            pivots += _pivots(names[0], members, rows, config)
        if names[0] == "image":
            drawn += _drawn_parts(members, rows, config)
    found = [np.zeros((0, 2), np.int64)]
    kinds: tuple[tuple[str, Modality, Sequence[bytes | None]], ...] = (
        ("image", "image", members.signatures["image"]), ("inner", "image", members.inner),
        ("audio", "audio", members.signatures["audio"]),
    )  # fmt: skip
    for kind, lead, signatures in kinds:
        rows = np.array([row for row, (names, _) in enumerate(kin) if names[:1] == (lead,) and signatures
                         and signatures[row] is not None], np.int64)  # fmt: skip
        found.append(_nearest_rows(rows, kin, lead, signatures, nearest.get(kind), config))
    equal = [np.stack([np.full(len(one) - 1, one[0]), one[1:]], axis=1)
             for one in clusters(labels_of(len(members), edges.get("words")))]  # fmt: skip
    return Candidates(
        equal=np.concatenate([np.zeros((0, 2), np.int64), *equal]), pivots=np.concatenate(pivots),
        nearest=np.unique(np.concatenate(found), axis=0), drawn=tuple(drawn),
    )  # fmt: skip


def alike_rows(
    members: Members, edges: Mapping[str, Ints], config: DedupConfig
) -> Iterator[tuple[tuple[Modality, ...], Ints]]:
    """Yield the rows that may be the same record: one component of the leading modality, the same modalities.

    With `verify`, their texts also say the same.
    """
    kin = _kin(members, config)
    for lead in LEADS:
        for component in clusters(labels_of(len(members), edges.get(lead))):
            alike: dict[tuple[tuple[Modality, ...], bytes], list[int]] = {}
            for row in component.tolist():
                if kin[row][0][:1] == (lead,):
                    alike.setdefault(kin[row], []).append(row)
            for (names, _), rows in sorted(alike.items()):
                if len(rows) > 1:
                    yield names, np.array(rows, np.int64)


def pick_modalities(given: str, config: DedupConfig) -> tuple[Modality, ...]:
    """Return the modalities of a record that must match, the leading one first."""
    return tuple(name for name in LEADS if name in given.split(",") and name not in config.ignore)


def rank_maps(maps: Sequence[bytes | None]) -> Ints:
    """Return each drawn picture with those whose maps (`detail`) are nearest, (P, 2); the other pictures have None."""
    drawn = np.array([row for row, one in enumerate(maps) if one is not None], np.int64)
    if len(drawn) < 2:
        return np.zeros((0, 2), np.int64)
    values = np.stack([np.frombuffer(maps[row] or b"", np.uint8) for row in drawn]).astype(np.float32)
    squares = np.square(values).sum(axis=1)
    pairs = []
    for start in range(0, len(drawn), 256):
        part = slice(start, start + 256)
        far = squares[part, None] + squares[None] - 2 * (values[part] @ values.T)  # whole numbers: any order is one sum
        far[np.arange(len(far)), np.arange(start, start + len(far))] = np.inf
        order = np.argsort(far, axis=1, kind="stable")[:, : NEIGHBOURS["image"]]
        own = np.repeat(np.arange(start, start + len(far)), order.shape[1])
        pairs.append(np.sort(np.stack([own, order.ravel()], axis=1), axis=1))
    found: Ints = drawn[np.unique(np.concatenate(pairs), axis=0)]
    return found[found[:, 0] < found[:, 1]]


def labels_of(size: int, edges: Ints | None) -> Ints:
    """Return the component of each row."""
    blocks = [] if edges is None or not len(edges) else [(edges[:, 0], edges[:, 1])]
    return label_components(size, iter(blocks))


def clusters(labels: Ints) -> Iterator[Ints]:
    """Yield the indices that share a label, ascending, if there are at least two."""
    order = np.argsort(labels, kind="stable")
    bounds = np.flatnonzero(np.diff(labels[order])) + 1
    yield from (cluster for cluster in np.split(order, bounds) if len(cluster) > 1)


def present(signature: bytes | None) -> bytes:
    """Return a signature that is there."""
    assert signature is not None, "only rows with a signature are compared"
    return signature


def _kin(members: Members, config: DedupConfig) -> list[tuple[tuple[Modality, ...], bytes]]:
    """Return what rows must share to be the same record: modalities and words; none of a row that lacks a signature."""
    found: list[tuple[tuple[Modality, ...], bytes]] = []
    for row, given in enumerate(members.modalities):
        names = pick_modalities(given, config)
        whole = all(members.signatures[name][row] is not None for name in names)
        form = members.forms[row] if config.verify and members.forms and "text" in names else None
        found.append((names, form or b"") if whole else ((), b""))
    return found


def _pivots(lead: Modality, members: Members, rows: Ints, config: DedupConfig) -> Iterator[Ints]:
    """Yield pairs of the earliest row with those very near to it, then of the earliest row that is left, and so on."""
    packed = pack(lead, [present(members.signatures[lead][row]) for row in rows], config)
    left = np.arange(len(rows))
    for _ in range(PIVOTS):
        if len(left) < 2:
            return
        distance = packed.distance(np.full(len(left) - 1, left[0]), left[1:])
        taken = left[1:][distance <= MOST_PIVOT]
        yield np.stack([np.full(len(taken), rows[left[0]]), rows[taken]], axis=1)
        left = left[1:][distance > MOST_PIVOT]


def _drawn_parts(members: Members, rows: Ints, config: DedupConfig) -> Iterator[Ints]:
    """Yield the drawn pictures among rows that are alike, in parts of at most `MAPPED`, alike ones together."""
    drawn = np.array([row for row in rows if members.inner and members.inner[row] is not None], np.int64)
    if len(drawn) < 2:
        return
    whole: Signatures = pack("image", [present(members.inner[row]) for row in drawn], config).without_limits()
    parts = [np.arange(len(drawn))]
    while parts:
        part = parts.pop()
        if len(part) <= MAPPED:
            yield drawn[part]
        else:
            nearer, farther = halve(whole.distance(np.full(len(part) - 1, part[0]), part[1:]), part[1:])
            parts += [np.concatenate([part[:1], nearer]), farther]


def _nearest_rows(
    rows: Ints, kin: Sequence[object], lead: Modality, signatures: Sequence[bytes | None], pairs: Ints | None,
    config: DedupConfig,
) -> Ints:  # fmt: skip
    """Return each row with the nearest few, (P, 2): rows of equal signatures, and of those that `pairs` name."""
    known: dict[tuple[object, bytes], list[int]] = {}
    for row in rows.tolist():
        known.setdefault((kin[row], present(signatures[row])), []).append(row)
    if not known:
        return np.zeros((0, 2), np.int64)
    number = np.full(len(kin), -1, np.int64)
    for one, equal in enumerate(known.values()):
        number[equal] = one
    own, far, near = np.arange(len(known)), np.zeros(len(known)), np.arange(len(known))  # each class is near itself
    if pairs is not None and len(pairs):
        of_kin: dict[object, int] = {}
        kin_N = np.array([of_kin.setdefault(alike, len(of_kin)) for alike, _ in known])
        a, b = number[pairs].T
        kept = (a >= 0) & (b >= 0) & (a != b) & (kin_N[a] == kin_N[b])
        a, b = a[kept], b[kept]
        distance = pack(lead, [signature for _, signature in known], config).distance(a, b)
        own, far, near = (
            np.concatenate([own, a, b]),
            np.concatenate([far, distance, distance]),
            np.concatenate([near, b, a]),
        )
    most = NEIGHBOURS[lead]
    classes = _Lists.of([equal[: most + 1] for equal in known.values()])
    at, others = classes.expand(near)
    own, far = own[at], far[at]
    order = np.lexsort((others, far, own))
    order = order[_place(own[order]) <= most]
    pool = _Lists(others[order], np.bincount(own[order], minlength=len(known)))
    members = np.concatenate([np.array(equal, np.int64) for equal in known.values()])
    at, others = pool.expand(number[members])
    row = members[at]
    row, others = row[row != others], others[row != others]
    first = _place(row) < most
    return np.sort(np.stack([row[first], others[first]], axis=1), axis=1)


@dataclass(frozen=True, slots=True)
class _Lists:
    """Lists of numbers, one after the other in `values`, and how long each is."""

    values: Ints
    sizes: Ints

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> _Lists:
        values = [value for one in lists for value in one]
        return cls(np.array(values, np.int64), np.array([len(one) for one in lists], np.int64))

    def expand(self, chosen: Ints) -> tuple[Ints, Ints]:
        """Return all values of the lists `chosen`, each with the place in `chosen` of its list."""
        starts, counts = np.cumsum(self.sizes) - self.sizes, self.sizes[chosen]
        at = np.repeat(np.arange(len(chosen)), counts)
        return at, self.values[np.repeat(starts[chosen] - np.cumsum(counts) + counts, counts) + np.arange(len(at))]


def _place(groups: Ints) -> Ints:
    """Return the place of each row among those of its group, which lie together."""
    changes = np.flatnonzero(np.diff(groups, prepend=groups[:1] - 1))
    return np.arange(len(groups)) - np.repeat(changes, np.diff(changes, append=len(groups)))
