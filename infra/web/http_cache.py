"""Receipts: what is known of every URL that was ever asked for, kept in one file of the lake."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection
from dataclasses import astuple, dataclass, fields, replace

import pyarrow as pa
import pyarrow.parquet as pq

from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.seal import require_seal, seal_bytes
from trichord.infra.lake.storage import Storage

_WEB = re.compile(r"https?://", re.IGNORECASE)
_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}


def is_web(named: str) -> bool:
    """Return True if a row names a medium by an http(s) URI."""
    return _WEB.match(named) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What is known of a URL: the content it last gave, and how it last failed. Times in seconds since 1970."""

    url: str  # without its credentials, as `name_content` writes it
    final_url: str = ""  # the same of where redirects led: the validators below belong to this
    etag: str = ""
    last_modified: str = ""
    sha256: str = ""  # '' where there is no content
    size: int = 0
    fetched_at: float = 0.0  # when the content was last known to be the server's
    noai: bool = False  # the content was taken although the server said noai
    reason: str = ""  # of the last failure; '' where the last try went well
    detail: str = ""
    permanent: bool = False
    policy: str = ""  # digest of the settings under which it failed: others are tried at once
    failed_at: float = 0.0


_SCHEMA = pa.schema([(field.name, _TYPES[str(field.type)]) for field in fields(Receipt)])


class Receipts:
    """Receipts by URL; thread-safe."""

    def __init__(self) -> None:
        self._known: dict[str, Receipt] = {}
        self._used: set[str] = set()
        self._made: set[str] = set()
        self._stored: list[Receipt] | None = None  # in the order of their URLs; None without a file
        self._lock = threading.Lock()

    @classmethod
    def load(cls, storage: Storage, uri: str) -> Receipts:
        """Return the receipts at `uri`; none if it is missing, damaged or of another form (all is asked for then)."""
        receipts = cls()
        try:
            data = storage.read(uri)
            require_seal(data)
            with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
                if not file.schema_arrow.equals(_SCHEMA):
                    return receipts
                found = [Receipt(**row) for row in file.read(use_threads=False).to_pylist()]
        except (FileNotFoundError, pa.ArrowException, OSError):
            return receipts
        receipts._known = {receipt.url: receipt for receipt in found}
        receipts._stored = found
        return receipts

    def get(self, url: str) -> Receipt | None:
        """Return what is known of a URL, and mark the URL as used."""
        with self._lock:
            self._used.add(url)
            return self._known.get(url)

    def put(self, receipt: Receipt) -> None:
        """Replace what is known of a URL."""
        with self._lock:
            self._known[receipt.url] = receipt
            self._used.add(receipt.url)
            self._made.add(receipt.url)

    def is_new(self, url: str) -> bool:
        """Return True if the URL's receipt was made in this run."""
        with self._lock:
            return url in self._made

    def forget(self, reasons: Collection[str], urls: Collection[str]) -> int:
        """Forget failures that have one of these reasons or URLs; how many there were."""
        with self._lock:
            failed = [
                receipt
                for receipt in self._known.values()
                if receipt.reason and (receipt.reason in reasons or receipt.url in urls)
            ]
            for receipt in failed:
                self._known[receipt.url] = replace(receipt, policy="", failed_at=0.0)
                self._made.discard(receipt.url)
            return len(failed)

    def save(self, storage: Storage, uri: str, oldest: float) -> None:
        """Keep all but those unused in this run and older than `oldest`; an equal file is not written again."""
        with self._lock:
            kept = [
                receipt
                for url, receipt in sorted(self._known.items())
                if url in self._used or max(receipt.fetched_at, receipt.failed_at) >= oldest
            ]
        if kept == (self._stored or []):
            return
        columns = list(zip(*map(astuple, kept), strict=True)) or [()] * len(_SCHEMA)
        table = pa.table([pa.array(c, f.type) for c, f in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        storage.write(uri, seal_bytes(sink.getvalue().to_pybytes()))
        self._stored = kept


def receipt_contents(lake: Lake) -> set[str]:
    """Return lake-relative paths of all contents that receipts name, and of the receipts themselves: for `gc`.

    Of receipts that are damaged nobody knows what they named: all of `_downloads/` is returned then.
    """
    receipts = Receipts.load(lake.storage, lake.uri(layout.DOWNLOAD_RECEIPTS))
    if receipts._stored is None and lake.exists(layout.DOWNLOAD_RECEIPTS):
        return {lake.relative(stat.uri) for stat in lake.list(layout.DOWNLOADS)}
    known = receipts._known.values()
    return {layout.DOWNLOAD_RECEIPTS, *(layout.content_path(receipt.sha256) for receipt in known if receipt.sha256)}
