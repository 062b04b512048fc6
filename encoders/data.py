"""Training data in files, read row by row: the trainer's memory does not grow with the number of records."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np

from trichord.encoders.base import Modality
from trichord.encoders.disk_matrix import DiskMatrix
from trichord.encoders.heads import FeatureStats
from trichord.encoders.views import MODALITIES, Features, can_pair
from trichord.infra.json_values import parse_object

# Of each record: its first wording and how many there are, its picture and sound (-1: none), its first content id and
# how many there are, and its group (0: none).
_RECORD = np.dtype(
    [(name, np.int64) for name in ("wording", "wordings", "image", "audio", "content", "contents")]
    + [("group", np.uint64)]
)

_ENTRIES = 1_024  # read at a time


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Features of some training records, and what ties them to others.

    Attributes:
        features: of N rows.
        records: uint64 (N,), ids of the records that the rows represent; rows of one record, its variants, are never
            each other's negatives. None where every row is a record of its own.
        groups: uint64 (N,), ids of the rows' groups, 0 for none. None where there are no groups.
    """

    features: Features
    records: np.ndarray | None = None
    groups: np.ndarray | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """B records of a step: where their features are, and which of them are not negatives of each other.

    Attributes:
        places: modality -> int64 (B,), position of the record's features; -1 where it lacks the modality.
        rewording: int64 (B,), position of another wording of its text; `places["text"]` where it has one only.
        counts: int (B,), how many wordings it has.
        same: bool (B, B), records that share a wording, a picture or a sound: one is as good an answer as the other.
        groups: uint64 (B,), ids of their groups; 0: none.
    """

    places: Mapping[Modality, np.ndarray]
    rewording: np.ndarray
    counts: np.ndarray
    same: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def present(self) -> np.ndarray:
        """Which modalities each record has, bool (B, M)."""
        return np.stack([self.places[name] >= 0 for name in MODALITIES], axis=1)

    @property
    def same_group(self) -> np.ndarray:
        """Records of one group, bool (B, B)."""
        return (self.groups[:, None] == self.groups) & (self.groups > 0)


@dataclass(frozen=True)
class TrainingData:
    """Features of the training records in a folder of row files."""

    folder: str

    @classmethod
    def write(cls, folder: str, parts: Iterable[Part]) -> TrainingData:
        """Write the features of all records, part by part, and their statistics.

        Features are kept as float16. Contents are distinguished by the digest of their features, so what is the same
        to the encoders (words in other case, one picture used twice) is the same here.

        Raises:
            FileExistsError: the folder is there already.
            ValueError: there is no part.
        """
        os.makedirs(folder)
        data, state = cls(folder), hashlib.sha256()
        sums: dict[Modality, tuple[int, np.ndarray, np.ndarray]] = {}
        sizes = dict.fromkeys([*MODALITIES, "content"], 0)
        for given in parts:
            part = given.features
            if not sums:
                widths = {name: part.values[name].shape[1] for name in MODALITIES}
                sums = {name: (0, np.zeros(width), np.zeros(width)) for name, width in widths.items()}
                Path(folder, "widths.json").write_text(json.dumps(widths), encoding="utf-8")
            rows, records = _flatten(part), np.zeros(len(part), _RECORD)
            ids = {name: _content_ids(found) for name, found in rows.items()}
            counts = np.diff(part.offsets) + part.present[:, 0]
            records["wordings"], records["wording"] = counts, sizes["text"] + np.cumsum(counts) - counts
            for name in MODALITIES[1:]:
                has = part.present[:, MODALITIES.index(name)]
                records[name] = np.where(has, sizes[name] + np.cumsum(has) - 1, -1)
            owners = [np.repeat(np.arange(len(part)), counts), *(np.flatnonzero(part.present[:, m]) for m in (1, 2))]
            contents = [ids[name] for name in MODALITIES]
            if given.records is not None:
                owners, contents = [*owners, np.arange(len(part))], [*contents, given.records]
            owner, content = np.concatenate(owners), np.concatenate(contents)
            records["contents"] = np.bincount(owner, minlength=len(part))
            records["content"] = sizes["content"] + np.cumsum(records["contents"]) - records["contents"]
            records["group"] = 0 if given.groups is None else given.groups
            sizes["content"] += len(content)
            for name, found in rows.items():
                seen, total, squares = sums[name]
                exact = found.astype(np.float64)
                sums[name] = (seen + len(found), total + exact.sum(axis=0), squares + np.square(exact).sum(axis=0))
                data._features(name).append(found)
                sizes[name] += len(found)
                state.update(np.ascontiguousarray(found).data)
            data._contents.append(content[np.argsort(owner, kind="stable")])
            data._records.append(records)
            state.update(records.tobytes())
        if not sums:
            raise ValueError("there is nothing to train on: no part of features was given")
        stats = {name: FeatureStats.of_sums(*found) for name, found in sums.items()}
        arrays = {f"{name}.mean": found.mean for name, found in stats.items()}
        arrays |= {f"{name}.spread": found.spread for name, found in stats.items()}
        np.savez(os.path.join(folder, "stats.npz"), allow_pickle=False, **arrays)
        Path(folder, "digest").write_text(state.hexdigest(), encoding="ascii")
        return data

    def __len__(self) -> int:
        return len(self._records)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all features and of whose they are."""
        return Path(self.folder, "digest").read_text(encoding="ascii")

    @cached_property
    def stats(self) -> dict[Modality, FeatureStats]:
        """Statistics of each modality's features over all records (text: over all wordings)."""
        with np.load(os.path.join(self.folder, "stats.npz"), allow_pickle=False) as stored:
            return {name: FeatureStats(stored[f"{name}.mean"], stored[f"{name}.spread"]) for name in MODALITIES}

    def usable(self, *, across: bool) -> np.ndarray:
        """Return positions of the records that have two disjoint views, int64 (R,); `across`: of two modalities."""
        found = []
        for start in range(0, len(self), _ENTRIES):
            records = self._records.gather(np.arange(start, min(start + _ENTRIES, len(self))))[:, 0]
            present = np.stack([records["wordings"] > 0, records["image"] >= 0, records["audio"] >= 0], axis=1)
            able = can_pair(present, np.minimum(records["wordings"], 1) if across else records["wordings"])
            found.append(start + np.flatnonzero(able))
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def locate(self, positions: np.ndarray, rng: np.random.Generator) -> Rows:
        """Find the records at the positions, each with two of its wordings drawn by `rng`."""
        records = self._records.gather(positions)[:, 0]
        counts, starts = records["wordings"], records["wording"]
        first = np.floor(rng.random(len(records)) * counts).astype(np.int64)
        step = 1 + np.floor(rng.random(len(records)) * np.maximum(counts - 1, 1)).astype(np.int64)
        second = (first + step) % np.maximum(counts, 1)
        return Rows(
            places={
                "text": np.where(counts > 0, starts + first, -1),
                "image": records["image"],
                "audio": records["audio"],
            },
            rewording=np.where(counts > 0, starts + second, -1),
            counts=counts,
            same=self._same(records),
            groups=records["group"],
        )

    def read(self, name: Modality, places: np.ndarray) -> np.ndarray:
        """Return features of a modality at places that `locate` found, float16 (R, D_m)."""
        return self._features(name).gather(places)

    def _same(self, records: np.ndarray) -> np.ndarray:
        counts = records["contents"]
        owner = np.repeat(np.arange(len(records)), counts)
        ids = self._contents.runs(records["content"], counts)[:, 0]
        same = np.eye(len(records), dtype=bool)
        order = np.argsort(ids, kind="stable")
        starts = np.flatnonzero(np.diff(ids[order], prepend=~ids[order[:1]]))
        lengths = np.diff(starts, append=len(ids))
        for start, length in zip(starts[lengths > 1], lengths[lengths > 1], strict=True):
            shared = owner[order[start : start + length]]
            same[np.ix_(shared, shared)] = True
        return same

    @cached_property
    def _widths(self) -> dict[Modality, int]:
        return cast(dict[Modality, int], parse_object(Path(self.folder, "widths.json").read_bytes()))

    def _features(self, name: Modality) -> DiskMatrix:
        return DiskMatrix(os.path.join(self.folder, name), np.dtype(np.float16), self._widths[name])

    @property
    def _records(self) -> DiskMatrix:
        return DiskMatrix(os.path.join(self.folder, "records"), _RECORD, 1)

    @property
    def _contents(self) -> DiskMatrix:
        return DiskMatrix(os.path.join(self.folder, "contents"), np.dtype(np.uint64), 1)


def _flatten(part: Features) -> dict[Modality, np.ndarray]:
    """Return the features that are there, one row each; a record's text comes before its captions."""
    texts = np.flatnonzero(part.present[:, 0])
    rows = {name: part.values[name][part.present[:, m]] for m, name in enumerate(MODALITIES)}
    rows["text"] = np.insert(part.captions, part.offsets[texts], rows["text"], axis=0)
    limit = float(np.finfo(np.float16).max)
    return {name: np.clip(found, -limit, limit).astype(np.float16) for name, found in rows.items()}


def _content_ids(rows: np.ndarray) -> np.ndarray:
    digests = [hashlib.blake2b(row, digest_size=8).digest() for row in np.ascontiguousarray(rows)]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)
