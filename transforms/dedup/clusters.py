"""The joint rule: which rows may be the same record, which of them survives, and what the others share.

Rows come sorted by precedence (earliest source, then smallest key). A row is dropped only for a survivor that it equals
itself: if A is like B and B like C, but A not like C, then A and C both survive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from trichord.infra.config import DedupConfig
from trichord.transforms.dedup import spectrum
from trichord.transforms.dedup.near import LEADS, Ints, Modality, Signatures, label_components, nearest, pack

MOST_AUDIO_MATCH = 8 / 256  # bit error rate of two sounds that may be the same: candidates may differ more
OTHER_WORDS, OTHER_MODALITIES = "other words", "other modalities"
NOT_COMPARED = frozenset(("", OTHER_WORDS, OTHER_MODALITIES))  # `Match.why` where the media were not compared
NEIGHBOURS: Mapping[Modality, int] = {"image": 4, "audio": 6}  # nearest to a row by each of its signatures: compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """N rows with a near row in some modality: their modalities, and the signatures of these."""

    modalities: Sequence[str]  # as in the table `signatures`
    signatures: Mapping[Modality, Sequence[bytes | None]]
    forms: Sequence[bytes | None] = ()  # digests of what their texts say (`same_text`)
    inner: Sequence[bytes | None] = ()  # hashes of drawn pictures without their ground
    maps: Sequence[bytes | None] = ()  # of drawn pictures (`detail`)

    def __len__(self) -> int:
        return len(self.modalities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Pairs of rows that may be the same record, (P, 2) each, the earlier row first."""

    compared: Ints  # their media must be compared
    equal: Ints  # texts alone, which say the same


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


def find_candidates(members: Members, edges: Mapping[Modality, Ints], config: DedupConfig) -> Candidates:
    """Return the pairs whose media decide whether they are the same record.

    `edges` (E, 2) connect rows that are near in a leading modality. Only rows with the same modalities whose texts say
    the same are paired, each with the nearest of them (`NEIGHBOURS`).
    """
    compared, equal = [np.zeros((0, 2), np.int64)], [np.zeros((0, 2), np.int64)]
    for names, rows in _alike(members, edges, config):
        if names == ("text",):
            equal.append(np.stack([np.full(len(rows) - 1, rows[0]), rows[1:]], axis=1))
            continue
        lead = names[0]
        most = NEIGHBOURS[lead]
        compared.append(_nearest(lead, members.signatures[lead], rows, most, config))
        if lead == "image":
            compared += [_nearest("image", members.inner, rows, most, config), _nearest_maps(members, rows)]
    return Candidates(compared=np.unique(np.concatenate(compared), axis=0), equal=np.concatenate(equal))


def _nearest(
    modality: Modality, signatures: Sequence[bytes | None], rows: Ints, most: int, config: DedupConfig
) -> Ints:
    """Return each of `rows` that has a signature with those whose signatures are nearest, (P, 2)."""
    given = np.array([row for row in rows if signatures[row] is not None], np.int64)
    if len(given) < 2:
        return np.zeros((0, 2), np.int64)
    i, j = nearest(pack(modality, [_present(signatures[row]) for row in given], config), most)
    return np.stack([given[i], given[j]], axis=1)


def _nearest_maps(members: Members, rows: Ints) -> Ints:
    """Return each drawn picture with those whose maps are nearest, (P, 2)."""
    drawn = np.array([row for row in rows if members.maps[row] is not None], np.int64)
    if len(drawn) < 2:
        return np.zeros((0, 2), np.int64)
    maps = np.stack([np.frombuffer(members.maps[row] or b"", np.uint8) for row in drawn]).astype(np.float32)
    squares = np.square(maps).sum(axis=1)
    pairs = []
    for start in range(0, len(drawn), 256):
        part = slice(start, start + 256)
        far = squares[part, None] + squares[None] - 2 * (maps[part] @ maps.T)  # whole numbers, so any order is one sum
        far[np.arange(len(far)), np.arange(start, start + len(far))] = np.inf
        order = np.argsort(far, axis=1, kind="stable")[:, : NEIGHBOURS["image"]]
        own = np.repeat(np.arange(start, start + len(far)), order.shape[1])
        pairs.append(np.sort(np.stack([own, order.ravel()], axis=1), axis=1))
    return drawn[np.concatenate(pairs)]


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


def find_same_records(members: Members, edges: Mapping[Modality, Ints], config: DedupConfig) -> list[Same]:
    """Return the rows that repeat an earlier record as far as their signatures show, in row order.

    `edges` (E, 2) connect rows that are near in a leading modality. Each pair of a component with the same modalities
    is checked in all of them.
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
        for component in _clusters(_labels(len(members), _close(members, modality, edges, config))):
            rows = component[kept[component]]
            if len(rows) < 2:
                continue
            packed = pack(modality, [_present(members.signatures[modality][row]) for row in rows], config)
            i, j = np.zeros(len(rows) - 1, np.int64), np.arange(1, len(rows))
            near, far = packed.distance(i, j), packed.without_limits().distance(i, j)
            found.extend(
                Match(modality=modality, row=int(row), other=int(rows[0]), distance=float(far[at]),
                      direct=bool(np.isfinite(near[at])), why=_why(members, int(row), int(rows[0])))
                for at, row in enumerate(rows[1:])
            )  # fmt: skip
    return found


def _close(members: Members, modality: Modality, edges: Mapping[Modality, Ints], config: DedupConfig) -> Ints | None:
    """Return the edges that say by themselves that two rows share a medium: proposals for comparing reach further."""
    pairs = edges.get(modality)
    if pairs is None or modality == "text" or not len(pairs):
        return pairs
    most = MOST_AUDIO_MATCH if modality == "audio" else config.image_bits / (8 * spectrum.FINE_BYTES)
    rows = np.unique(pairs)
    packed = pack(modality, [_present(members.signatures[modality][row]) for row in rows.tolist()], config)
    at = np.searchsorted(rows, pairs)
    return np.asarray(pairs[packed.without_limits().distance(at[:, 0], at[:, 1]) <= most])


def explain_matches(
    members: Members,
    found: Sequence[Match],
    unlike: Mapping[tuple[int, int], tuple[Modality, str]],
    config: DedupConfig,
) -> list[Match]:
    """Return the matches with the pairs whose media were compared and nearly agree: (row, other) -> where, and why."""
    left = dict(unlike)
    explained = []
    for match in found:
        where = left.pop((match.row, match.other), None) if match.modality in ("image", "audio") else None
        explained.append(match if where is None else replace(match, why=where[1]))
    for (row, other), (modality, why) in sorted(left.items()):
        both = [_present(members.signatures[modality][at]) for at in (other, row)]
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
        contents = [tuple(_present(members.signatures[name][row]) for name in names) for row in rows]
        content_N = np.array([first.setdefault(content, len(first)) for content in contents], np.int64)
        packed = {
            name: pack(name, [content[at] for content in first], config, beside=at > 0) for at, name in enumerate(names)
        }
        return cls(rows=rows, content_N=content_N, packed=packed)

    def find(self) -> Iterator[Same]:
        """Yield each row that repeats an earlier record."""
        size = int(self.content_N.max()) + 1
        first = np.full(size, len(self.rows))
        np.minimum.at(first, self.content_N, np.arange(len(self.rows)))
        survivor = first[_settle(size, self._pairs())[self.content_N]]
        dropped = np.flatnonzero(survivor != np.arange(len(self.rows)))
        a, b = self.content_N[dropped], self.content_N[survivor[dropped]]
        distances = {name: signatures.distance(a, b) for name, signatures in self.packed.items()}
        for at, row in enumerate(dropped):
            yield Same(dropped=int(self.rows[row]), survivor=int(self.rows[survivor[row]]),
                       distances={name: float(values[at]) for name, values in distances.items()})  # fmt: skip

    def _pairs(self) -> Iterator[tuple[Ints, Ints]]:
        """Yield the pairs of contents that match in every modality; texts first, which have the fewest pairs."""
        by: Modality = "text" if "text" in self.packed else next(iter(self.packed))
        for i, j in self.packed[by].pairs():
            for name, signatures in self.packed.items():
                if name != by:
                    near = np.isfinite(signatures.distance(i, j))
                    i, j = i[near], j[near]
            yield i, j


def _rules(members: Members, edges: Mapping[Modality, Ints], config: DedupConfig) -> Iterator[_Rule]:
    for names, rows in _alike(members, edges, config):
        yield _Rule.of(members, names, rows, config)


def _alike(
    members: Members, edges: Mapping[Modality, Ints], config: DedupConfig
) -> Iterator[tuple[tuple[Modality, ...], Ints]]:
    """Yield the rows that may be the same record: one component of the leading modality, the same modalities.

    With `verify`, their texts also say the same.
    """
    considered = [_pick_modalities(given, config) for given in members.modalities]
    for lead in LEADS:
        for component in _clusters(_labels(len(members), edges.get(lead))):
            alike: dict[tuple[tuple[Modality, ...], bytes], list[int]] = {}
            for row in component:
                names = considered[row]
                if names[:1] == (lead,) and all(members.signatures[name][row] is not None for name in names):
                    form = members.forms[row] if config.verify and "text" in names else None
                    alike.setdefault((names, form or b""), []).append(int(row))
            for (names, _), rows in sorted(alike.items()):
                if len(rows) > 1:
                    yield names, np.array(rows, np.int64)


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
