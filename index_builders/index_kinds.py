"""The kinds of FAISS index there are, as values: what each stores, trains and searches. Knows no FAISS.

| kind | a row is stored as | filters |
|---|---|---|
| `flat` | float32 values: exact | by row |
| `flat_fp16` | float16 values | by row |
| `sq8`, `sq4` | one byte, half a byte a value, between the least and the largest of training | by row |
| `rabitq` | `bits` bits a value after a random rotation (RaBitQ, arXiv 2409.09913) | by row |
| `pq_fast` | `parts` product-quantiser codes of 4 bits, scanned 32 rows at a time in registers | over-fetched |
| `hnsw` | float32 values in a graph (arXiv 1603.09320) | by row |
| `ivf_...` | the same, in `nlist` cells of which a query visits `nprobe` | by row |
| `ivf_pq` | `parts` codes of 8 bits after OPQ, in cells | by row |

`refine` keeps a second, finer code of each row, by which the best `depth` times k candidates are ranked again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from trichord.infra.config import IndexKind, Refine
from trichord.infra.json_values import JsonObject

KINDS: tuple[IndexKind, ...] = get_args(IndexKind)
CODES = {"flat": "Flat", "flat_fp16": "SQfp16", "fp16": "SQfp16", "sq8": "SQ8", "sq4": "SQ4"}
REFINES = {"flat": "Flat", "fp16": "SQfp16", "sq8": "SQ8"}
HNSW_LINKS = 32
HNSW_COARSE_CELLS = 8_192  # from this many cells on, the cell of a row is found through a graph
SAMPLE_PER_CELL = 128
SPREAD = 8  # times the sample: rows of the vector shards that it is taken from
SAMPLE_ROWS = 16_384  # what scalar and product quantisers are trained on at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the cost model says of a plan: sizes in bytes, build in seconds, recall@10.

    `query_ms` are milliseconds of a query in a batch, `single_ms` of one that is asked alone.
    """

    index_bytes: int
    build_memory_bytes: int
    build_s: float
    query_ms: float
    single_ms: float
    recall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPlan:
    """The index to build; `reason` says why, for the report, and shapes no byte."""

    kind: IndexKind
    nlist: int | None = None
    bits: int | None = None
    parts: int | None = None
    refine: Refine | None = None
    device: Literal["cpu", "cuda"] = "cpu"  # where cells are trained and found
    reason: str = ""
    predicted: Prediction | None = None

    def __post_init__(self) -> None:
        code = self.code
        if self.device != "cpu" and self.nlist is None:
            raise ValueError(f"a {self.kind} index has no cells to find on a GPU")
        for name, needed in (
            ("nlist", self.kind.startswith("ivf_")),
            ("bits", code == "rabitq"),
            ("parts", code in ("pq", "pq_fast")),
        ):
            if (getattr(self, name) is not None) != needed:
                raise ValueError(f"a {self.kind} index {'lacks' if needed else 'takes no'} {name}")

    @property
    def code(self) -> str:
        """Return how a row is stored, without the cells."""
        return self.kind.removeprefix("ivf_")

    @property
    def params(self) -> dict[str, int | str]:
        """What shapes the index, JSON-ready: what a manifest states beside the kind."""
        values: dict[str, int | str | None] = {
            "nlist": self.nlist,
            "bits": self.bits,
            "parts": self.parts,
            "refine": self.refine,
        }
        if self.device != "cpu":
            values["device"] = self.device  # near ties fall otherwise there, so the bytes are others
        return {name: value for name, value in values.items() if value is not None}

    @property
    def trained(self) -> bool:
        """Return True if the shards start from an index that was trained on a sample."""
        return not (self.kind in ("flat", "flat_fp16", "hnsw") and self.refine != "sq8")

    @property
    def sample_rows(self) -> int:
        """Training rows wanted; 0 where nothing is trained."""
        return max(SAMPLE_PER_CELL * (self.nlist or 0), SAMPLE_ROWS) if self.trained else 0

    @property
    def read_rows(self) -> int:
        """Rows that are read, in whole vector shards, to take the training rows from."""
        return SPREAD * self.sample_rows

    @property
    def code_rows(self) -> int:
        """Most of the training rows that the codes of a product quantiser are learnt from; 0 where there is none.

        512 a value of a code of 4 bits: twice as many lower its error by 0.5% and recall@10 not at all (RESULTS.md).
        """
        return {"pq_fast": 512 * 16, "pq": 256 * 256}.get(self.code, 0)

    @property
    def tuned(self) -> bool:
        """Return True if a search can be made to look harder, so that a build measures how hard it must."""
        return bool(self.nlist or self.refine or self.kind == "hnsw")

    @property
    def exact_scores(self) -> bool:
        """Return True if hits carry true inner products, and not those of codes."""
        return self.refine == "flat" or self.code in ("flat", "hnsw")

    @property
    def selects(self) -> bool:
        """Return True if FAISS can leave rows out while it searches (its flat fast scan cannot)."""
        return self.kind != "pq_fast"

    @property
    def cached(self) -> bool:
        """Return True if encoding costs enough for the codes of each vector shard to be kept in the lake."""
        return self.kind not in ("flat", "flat_fp16", "hnsw")

    def is_no_finer(self, other: IndexPlan) -> bool:
        """Return True if its codes separate rows no better than the other's, cells and refining aside."""
        sizes = [plan.bits or plan.parts or 0 for plan in (self, other)]
        return self.code == other.code and sizes[0] <= sizes[1]

    def factory(self, dimension: int) -> str:
        """Return the FAISS factory string of the index that is trained and added to (fast scan comes at the end)."""
        code = CODES.get(self.code)
        before = ""
        if code is None:
            if self.code == "rabitq":
                before, code = f"RR{dimension},", f"RaBitQ{self.bits}"
            elif self.code == "pq_fast":
                code = f"PQ{self.parts}x4"
            elif self.code == "pq":
                before, code = f"OPQ{self.parts},", f"PQ{self.parts}x8"
            else:
                code = f"HNSW{HNSW_LINKS}"
        if self.nlist is not None:
            coarse = f"_HNSW{HNSW_LINKS}" if self.nlist >= HNSW_COARSE_CELLS else ""
            before += f"IVF{self.nlist}{coarse},"
        return f"{before}{code}" + (f",Refine({REFINES[self.refine]})" if self.refine else "")

    def to_json(self) -> JsonObject:
        """Return the plan, JSON-ready, as it is shown beforehand."""
        shown: JsonObject = {"kind": self.kind, **self.params, "reason": self.reason}
        return shown | ({"predicted": asdict(self.predicted)} if self.predicted else {})
