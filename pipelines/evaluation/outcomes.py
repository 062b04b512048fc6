"""Outcomes: what each held-out record adds to a figure, so that two models are compared record by record.

A figure is the sum of one part over the sum of another, over all records: a mean's second part counts its queries.
Shape letters: N queries, R records, D draws of forms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trichord.pipelines.evaluation.intervals import Sums

_ABOVE, _BELOW, _ABOUT = "above ", "below ", b"trichord"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcomes:
    """What each of R records adds to each figure.

    Attributes:
        keys: the records' keys, sorted.
        sources: source of each record; empty where it is not known.
        seed: of the drawn forms. Models that were measured with one seed saw the same galleries.
        parts: path of a figure -> float64 (2, R): what the record adds above and below the fraction's line.
        drawn: path of a figure of the mixed gallery -> float64 (D,), the figure in each draw alone; NaN where unknown.
    """

    keys: tuple[str, ...]
    sources: tuple[str, ...] = ()
    seed: int = 0
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)
    drawn: Mapping[str, np.ndarray] = field(default_factory=dict)

    def of(self, keys: Sequence[str], path: str) -> np.ndarray:
        """Return a figure's parts (2, R) for some of the keys, in their order."""
        place = {key: number for number, key in enumerate(self.keys)}
        return np.asarray(self.parts[path][:, [place[key] for key in keys]])

    def to_bytes(self) -> bytes:
        """Return a Parquet file: one row a record. Equal outcomes are equal bytes."""
        columns = {"key": pa.array(self.keys, pa.string()), "source": pa.array(self.sources, pa.string())}
        for path, (above, below) in sorted(self.parts.items()):
            columns[_ABOVE + path] = pa.array(above.astype(np.float32))
            columns[_BELOW + path] = pa.array(below.astype(np.float32))
        drawn = {path: [None if np.isnan(value) else round(float(value), 6) for value in values]
                 for path, values in sorted(self.drawn.items())}  # fmt: skip
        about = {_ABOUT: json.dumps({"seed": self.seed, "drawn": drawn})}
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns).replace_schema_metadata(about), sink, compression="zstd")
        return bytes(sink.getvalue())

    @classmethod
    def from_bytes(cls, stored: bytes) -> Outcomes:
        """Read what `to_bytes` gave. The caller has compared the digest."""
        with pq.ParquetFile(pa.BufferReader(stored)) as file:
            table = file.read(use_threads=False)
        about = json.loads(table.schema.metadata[_ABOUT])
        names = [name.removeprefix(_ABOVE) for name in table.column_names if name.startswith(_ABOVE)]
        return cls(
            keys=tuple(table["key"].to_pylist()),
            sources=tuple(table["source"].to_pylist()),
            seed=about["seed"],
            parts={
                path: np.stack([table[side + path].to_numpy().astype(np.float64) for side in (_ABOVE, _BELOW)])
                for path in names
            },
            drawn={path: np.array(values, dtype=np.float64) for path, values in about["drawn"].items()},
        )


class Gathering:
    """Gathers outcomes while an evaluation is made."""

    def __init__(self, records: int) -> None:
        """`records` is R."""
        self._records = records
        self.parts: dict[str, np.ndarray] = {}

    def add(self, prefix: str, sums: Sums, places_N: np.ndarray) -> None:
        """Add figures `prefix.name`: their parts by query (N,), and the record of each query, by its key's place."""
        for name, pair in sums.items():
            self.parts[f"{prefix}.{name}"] = np.stack(
                [np.bincount(places_N, weights=part, minlength=self._records) for part in pair]
            )
