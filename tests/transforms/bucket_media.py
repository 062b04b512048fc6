"""Sources of each kind that name media in a test bucket or a folder, and how many requests a plan of them takes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.s3.models import s3_backends

from tests.transforms.inventories import listed, write_inventory
from trichord.infra import digest
from trichord.infra.config import (
    CaptionsSource,
    DeltaSource,
    FolderSource,
    InventorySource,
    ManifestSource,
    MediaFolderSource,
    ParquetSource,
    Source,
)
from trichord.infra.lake.storage import Storage

Write = Callable[[Storage, str, Sequence[str]], Source]


def put(place: str, names: Sequence[str], content: bytes | None = None) -> None:
    """Put objects with another content each below `s3://lake/…`, without asking the server, or below a folder."""
    if not place.startswith("s3://"):
        for name in names:
            path = Path(place, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        return
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for name in names:
        backend.put_object(
            "lake", f"{place.removeprefix('s3://lake/')}/{name}", name.encode() if content is None else content
        )


def shuffled(count: int, folders: Sequence[str]) -> list[str]:
    """Return so many paths in these folders, in no order."""
    names = [f"{folders[i % len(folders)]}/{i:06}.jpg" for i in range(count)]
    return [names[i] for i in digest.generator("media", count).permutation(count)]


@contextmanager
def requests(patch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """Provide the requests that the server gets meanwhile: method, and path with the query."""
    found: list[tuple[str, str]] = []
    serve = DomainDispatcherApplication.__call__

    def serving(self: Any, environ: Any, start_response: Any) -> Any:
        found.append((environ["REQUEST_METHOD"], f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}"))
        return serve(self, environ, start_response)

    with patch.context() as within:
        within.setattr(DomainDispatcherApplication, "__call__", serving)
        yield found


def of_media(found: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the listings, and the requests for single media."""
    return [one for one in found if "list-type" in one[1] or one[1].split("?")[0].endswith((".jpg", ".wav"))]


def _rows(names: Sequence[str]) -> list[dict[str, str]]:
    return [{"id": name, "text": f"a text of {name}", "image": name} for name in names]


def jsonl(storage: Storage, place: str, names: Sequence[str]) -> Source:
    """Write lines that name media."""
    storage.write(f"{place}/rows.jsonl", "\n".join(map(json.dumps, _rows(names))).encode())
    return ManifestSource(kind="manifest", name="m", path=f"{place}/rows.jsonl")


def csv(storage: Storage, place: str, names: Sequence[str]) -> Source:
    """Write a table that names media."""
    lines = ["id,text,image", *(",".join(row.values()) for row in _rows(names))]
    storage.write(f"{place}/rows.csv", "\n".join(lines).encode())
    return ManifestSource(kind="manifest", name="m", path=f"{place}/rows.csv")


def coco(storage: Storage, place: str, names: Sequence[str]) -> Source:
    """Write COCO's captions."""
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    captions = [{"id": i, "image_id": i, "caption": f"a text of {name}"} for i, name in enumerate(names)]
    storage.write(f"{place}/coco.json", json.dumps({"images": images, "annotations": captions}).encode())
    return CaptionsSource(kind="captions", name="m", path=f"{place}/coco.json")


def karpathy(storage: Storage, place: str, names: Sequence[str]) -> Source:
    """Write captions in Karpathy's form."""
    images = [{"filename": name, "cocoid": i, "sentences": [{"raw": f"of {name}"}]} for i, name in enumerate(names)]
    storage.write(f"{place}/karpathy.json", json.dumps({"images": images}).encode())
    return CaptionsSource(kind="captions", name="m", path=f"{place}/karpathy.json")


def flickr(storage: Storage, place: str, names: Sequence[str]) -> Source:
    """Write captions as Flickr8k has them."""
    storage.write(f"{place}/token.txt", "\n".join(f"{name}#0\ta text of {name}" for name in names).encode())
    return CaptionsSource(kind="captions", name="m", path=f"{place}/token.txt")


def parquet(storage: Storage, place: str, names: Sequence[str]) -> Source:
    """Write two Parquet files that name media."""
    for number in range(2):
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(_rows(names[number::2])), sink)
        storage.write(f"{place}/table/{number}.parquet", sink.getvalue())
    return ParquetSource(kind="parquet", name="m", path=f"{place}/table", media_root=place)


def delta(storage: Storage, place: str, names: Sequence[str]) -> Source:
    """Write a Delta table that names media."""
    options = storage.delta_options(place)
    deltalake.write_deltalake(f"{place}/delta", pa.Table.from_pylist(_rows(names)), storage_options=options)
    return DeltaSource(kind="delta", name="m", path=f"{place}/delta", media_root=place)


def imagefolder(storage: Storage, place: str, names: Sequence[str]) -> Source:
    """Write the metadata of an imagefolder, whose pictures have sounds beside them."""
    put(place, [name.replace(".jpg", ".wav") for name in names])
    rows = [{"file_name": name, "text": name, "audio": name.replace(".jpg", ".wav")} for name in names]
    storage.write(f"{place}/metadata.jsonl", "\n".join(map(json.dumps, rows)).encode())
    return MediaFolderSource(kind="imagefolder", name="m", path=place)


def folder(storage: Storage, place: str, names: Sequence[str]) -> Source:
    """Take the media as loose files."""
    return FolderSource(kind="folder", name="m", path=place)


def inventory(storage: Storage, place: str, names: Sequence[str]) -> Source:
    """Write an inventory of the media in two files."""
    rows = [listed(stat) for stat in storage.list(place)]
    write_inventory(storage, f"{place}-runs", [rows[::2], rows[1::2]])
    return InventorySource(kind="inventory", name="m", path=f"{place}-runs", media_root=place)


KINDS: dict[str, Write] = {
    one.__name__: one for one in (jsonl, csv, coco, karpathy, flickr, parquet, delta, imagefolder, folder, inventory)
}
