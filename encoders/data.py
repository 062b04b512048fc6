"""Training data in files, read row by row: the trainer's memory does not grow with the number of records.

Rows are read by `pread`, not through a memory map, whose touched pages would count as the process's own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from encoders.base import Modality
from encoders.fusion import FeatureStats
from encoders.views import MODALITIES, Features, can_pair

# Of each record: its first wording and how many there are, its picture and sound (-1: none), its first content id and
# how many there are.
_RECORD = np.dtype([(name, np.int64) for name in ("wording", "wordings", "image", "audio", "content", "contents")])

_ENTRIES = 4_096  # read at a time


@dataclass(frozen=True, slots=True)
class RowFile:
    """A matrix in a file: rows of `width` values of one dtype, fetched by position."""

    path: str
    dtype: np.dtype
    width: int

    def __len__(self) -> int:
        return os.path.getsize(self.path) // (self.dtype.itemsize * self.width)

    def append(self, rows: np.ndarray) -> None:
        """Add rows, (R, width) or (R,) where width is 1, cast to the file's dtype."""
        with open(self.path, "ab") as file:
            file.write(np.ascontiguousarray(rows, dtype=self.dtype).data)

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """The rows at the given positions, (R, width).

        Raises:
            IndexError: a position lies outside the file.
        """
        found = np.empty((len(rows), self.width), self.dtype)
        size = self.dtype.itemsize * self.width
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            for row, into in zip(rows.tolist(), found.view(np.uint8).reshape(len(rows), size), strict=True):
                if row < 0 or os.preadv(descriptor, [into.data], row * size) != size:
                    raise IndexError(f"{self.path} has no row {row}")
        finally:
            os.close(descriptor)
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """B records fetched for a step. Absent features are zeros.

    Attributes:
        wordings: two different wordings of each record's text, float32 (2, B, D_text); equal where it has one only.
        features: 'image' and 'audio', float32 (B, D_m).
        present: bool (B, M).
        counts: int (B,), how many wordings each record has.
        same: bool (B, B), records that share a wording, a picture or a sound: one is as good an answer as the other.
    """

    wordings: np.ndarray
    features: Mapping[Modality, np.ndarray]
    present: np.ndarray
    counts: np.ndarray
    same: np.ndarray


@dataclass(frozen=True)
class TrainingData:
    """Features of the training records in a folder of row files."""

    folder: str

    @classmethod
    def write(cls, folder: str, parts: Iterable[tuple[Features, np.ndarray | None]]) -> TrainingData:
        """Write the features of all records, part by part, and their statistics.

        With a part come the ids (uint64) of the records that its rows stand for: rows of one record, its variants, are
        never each other's negatives. None where every row is a record of its own.

        Features are kept as float16. Contents are told apart by the digest of their features, so that what is the same
        to the encoders (words in other case, one picture used twice) is the same here.

        Raises:
            FileExistsError: the folder is there already.
            ValueError: there is no part.
        """
        os.makedirs(folder)
        data, state = cls(folder), hashlib.sha256()
        sums: dict[Modality, tuple[int, np.ndarray, np.ndarray]] = {}
        sizes = dict.fromkeys([*MODALITIES, "content"], 0)
        for part, stand_for in parts:
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
            if stand_for is not None:
                owners, contents = [*owners, np.arange(len(part))], [*contents, stand_for]
            owner, content = np.concatenate(owners), np.concatenate(contents)
            records["contents"] = np.bincount(owner, minlength=len(part))
            records["content"] = sizes["content"] + np.cumsum(records["contents"]) - records["contents"]
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
        """Positions of the records that have two disjoint views, int64 (R,); `across`: of two modalities."""
        found = []
        for start in range(0, len(self), _ENTRIES):
            records = self._records.gather(np.arange(start, min(start + _ENTRIES, len(self))))[:, 0]
            able = can_pair(_present(records), np.minimum(records["wordings"], 1) if across else records["wordings"])
            found.append(start + np.flatnonzero(able))
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def fetch(self, positions: np.ndarray, rng: np.random.Generator) -> Rows:
        """Read the records at the positions, each with two of its wordings drawn by `rng`."""
        records = self._records.gather(positions)[:, 0]
        present, counts = _present(records), records["wordings"]
        first = np.floor(rng.random(len(records)) * counts).astype(np.int64)
        step = 1 + np.floor(rng.random(len(records)) * np.maximum(counts - 1, 1)).astype(np.int64)
        second = (first + step) % np.maximum(counts, 1)
        starts, has = records["wording"], present[:, 0]
        wordings = [self._read("text", np.where(has, starts + drawn, -1)) for drawn in (first, second)]
        return Rows(
            wordings=np.stack(wordings),
            features={name: self._read(name, records[name]) for name in MODALITIES[1:]},
            present=present,
            counts=counts,
            same=self._same(records),
        )

    def _read(self, name: Modality, rows: np.ndarray) -> np.ndarray:
        file = self._features(name)
        found = np.zeros((len(rows), file.width), np.float32)
        found[rows >= 0] = file.gather(rows[rows >= 0])
        return found

    def _same(self, records: np.ndarray) -> np.ndarray:
        counts = records["contents"]
        owner = np.repeat(np.arange(len(records)), counts)
        shifts = np.repeat(records["content"] - (np.cumsum(counts) - counts), counts)
        ids = self._contents.gather(shifts + np.arange(len(owner)))[:, 0]
        order = np.argsort(ids, kind="stable")
        same = np.eye(len(records), dtype=bool)
        for shared in np.split(owner[order], np.flatnonzero(np.diff(ids[order])) + 1):
            if len(shared) > 1:
                same[np.ix_(shared, shared)] = True
        return same

    @cached_property
    def _widths(self) -> dict[Modality, int]:
        widths: dict[Modality, int] = json.loads(Path(self.folder, "widths.json").read_bytes())
        return widths

    def _features(self, name: Modality) -> RowFile:
        return RowFile(os.path.join(self.folder, name), np.dtype(np.float16), self._widths[name])

    @property
    def _records(self) -> RowFile:
        return RowFile(os.path.join(self.folder, "records"), _RECORD, 1)

    @property
    def _contents(self) -> RowFile:
        return RowFile(os.path.join(self.folder, "contents"), np.dtype(np.uint64), 1)


def _present(records: np.ndarray) -> np.ndarray:
    return np.stack([records["wordings"] > 0, records["image"] >= 0, records["audio"] >= 0], axis=1)


def _flatten(part: Features) -> dict[Modality, np.ndarray]:
    """The features that are there, one row each; a record's text stands before its captions."""
    texts = np.flatnonzero(part.present[:, 0])
    rows = {name: part.values[name][part.present[:, m]] for m, name in enumerate(MODALITIES)}
    rows["text"] = np.insert(part.captions, part.offsets[texts], rows["text"], axis=0)
    limit = float(np.finfo(np.float16).max)
    return {name: np.clip(found, -limit, limit).astype(np.float16) for name, found in rows.items()}


def _content_ids(rows: np.ndarray) -> np.ndarray:
    digests = [hashlib.blake2b(row, digest_size=8).digest() for row in np.ascontiguousarray(rows)]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)
