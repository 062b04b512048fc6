"""Rows with media on the web: planned once, read only from the lake, kept up to date by conditional requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra.web_server import FakeClock, Server, file_answer, serving
from tests.transforms.samples import picture, saved, sound, tone
from trichord.infra.config import ManifestSource, PrepareConfig, StorageConfig, WebConfig
from trichord.infra.digest import sha256_hex
from trichord.infra.errors import StorageError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.infra.web import Fetcher
from trichord.infra.web.throttle import Clock
from trichord.transforms.batch import Batch, join
from trichord.transforms.clean.image import image_ops
from trichord.transforms.collect.drafts import Draft, Lookup
from trichord.transforms.collect.manifest import read_manifest
from trichord.transforms.collect.media_root import MediaRoot
from trichord.transforms.collect.partitions import Partition
from trichord.transforms.collect.plan_parts import read_plan, write_plan
from trichord.transforms.collect.read import PartitionReader, find_needed_downloads, readings
from trichord.transforms.op import run_chain

STORAGE = Storage(StorageConfig())
AUDIO = sound(tone(0.2))
ROWS = 12


def image(seed: int) -> bytes:
    return saved(picture(), "JPEG") + b"%d" % seed


class House:
    """A manifest of rows whose pictures are on a server, and a lake."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder, self.lake = server, folder, str(folder / "lake")
        self.clock = FakeClock()
        server.files({f"/{i}.jpg": image(i) for i in range(ROWS)})
        server.files({"/0.wav": AUDIO})
        rows: list[dict[str, Any]] = [
            {"id": f"k{i}", "text": f"text {i}", "image": server.url(f"/{i}.jpg")} for i in range(ROWS)
        ]
        rows[0]["audio"] = server.url("/0.wav")
        (folder / "local.jpg").write_bytes(image(99))
        rows.append({"id": "local", "text": "a local one", "image": "local.jpg"})
        self.path = folder / "m.jsonl"
        self.path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.source = ManifestSource(kind="manifest", name="m", path=str(self.path))

    def fetcher(self, **options: Any) -> Fetcher:
        options = {"allow_private": ("127.0.0.1/32",), "ports": (self.server.port,), "max_age_s": 0} | options
        clock = Clock(self.clock.now, self.clock.now, self.clock.sleep)
        return Fetcher(WebConfig(**options), Lake(STORAGE, self.lake), clock=clock)

    def lookup(self, fetcher: Fetcher | None, **options: Any) -> Lookup:
        return Lookup(STORAGE, MediaRoot(str(self.folder)), "auto", None, fetcher, **options)

    def plan(self, **options: Any) -> list[Partition]:
        with self.fetcher(**options) as fetcher:
            rows = self.lookup(fetcher)(list(read_manifest(self.source, STORAGE)))
            return write_plan(rows, "m", Lake(STORAGE, self.lake), 4)

    def versions(self, partitions: list[Partition]) -> dict[str, dict[str, str]]:
        return {
            row.key: {name: medium.version for name, medium in row.media.items()}
            for partition in partitions
            for row in read_plan(partition, Lake(STORAGE, self.lake))
        }

    def read(self, partitions: list[Partition], config: PrepareConfig | None = None) -> Batch:
        root = MediaRoot(str(self.folder))
        readers = [
            PartitionReader(self.source, Lake(STORAGE, self.lake), root, config or PrepareConfig(), partition)
            for partition in partitions
        ]
        return join(part.batch for reader in readers for part in readings(reader))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with serving() as server:
        yield House(server, tmp_path)


def test_pictures_of_the_web_go_the_whole_way(house: House) -> None:
    partitions = house.plan()
    assert house.server.paths() == {**{f"/{i}.jpg": 1 for i in range(ROWS)}, "/0.wav": 1}
    house.server.answers.clear()  # reading needs no server
    batch = house.read(partitions)
    assert not batch.rejects
    raw = {row.key: data for row, data in zip(batch.rows, batch.raw_images, strict=True)}
    assert raw == {**{f"k{i}": image(i) for i in range(ROWS)}, "local": image(99)}
    assert [data for data in batch.raw_audios if data is not None] == [AUDIO]
    payloads = {row.key: json.loads(row.payload) for row in batch.rows}
    assert payloads["k3"] == {"image": house.server.url("/3.jpg"), "text": "text 3"}
    done, _ = run_chain(batch, image_ops(PrepareConfig().image))
    assert sorted(row.key for row in done.rows) == sorted(raw)
    assert all(pixels is not None for pixels in done.images)
    assert len(house.server.requests) == ROWS + 1


def test_a_second_planning_only_asks_whether_anything_changed(house: House) -> None:
    first = house.plan()
    house.server.requests.clear()
    assert house.plan() == first
    assert len(house.server.requests) == ROWS + 1
    assert all("If-None-Match" in request.headers for request in house.server.requests)
    house.server.requests.clear()
    assert house.plan(max_age_s=100) == first
    assert not house.server.requests


def test_a_changed_file_changes_its_row_and_no_other(house: House) -> None:
    first = house.plan()
    before = house.versions(first)
    house.server.files({"/5.jpg": image(55)})
    second = house.plan()
    after = house.versions(second)
    assert {key for key in before if before[key] != after[key]} == {"k5"}
    assert after["k5"]["image"] == f"sha256:{sha256_hex(image(55))}"
    changed = {partition.version for partition in second} - {partition.version for partition in first}
    assert len(changed) == 1
    old = house.read(first)
    assert image(5) in old.raw_images, "a plan reads what was planned, whatever the server holds now"


@pytest.mark.parametrize(
    ("named", "reason"),
    [("/none.jpg", "download_missing"), ("/noai.jpg", "download_noai"), ("/busy.jpg", "download_failed"),
     ("http://10.0.0.1/x.jpg", "download_refused"), ("http://127.0.0.1:22/x.jpg", "download_refused"),
     ("https://user:pw@a.example/x.jpg", "download_refused"), ("ftp://a.example/x.jpg", "media_scheme")],
)  # fmt: skip
def test_a_download_that_fails_is_a_reject_with_its_url_and_can_be_replayed(
    named: str, reason: str, house: House
) -> None:
    url = house.server.url(named) if named.startswith("/") else named
    house.server.answers |= {
        "/noai.jpg": file_answer(image(5), X_Robots_Tag="noai"),
        "/busy.jpg": lambda exchange: exchange.send(b"", 503),
    }
    house.path.write_text(house.path.read_text().replace(house.server.url("/5.jpg"), url))
    ports = (house.server.port, 80, 443)
    partitions = house.plan(ports=ports)
    batch = house.read(partitions)
    (reject,) = batch.rejects
    assert (reject.key, reject.op, reject.reason) == ("k5", "read", reason)
    assert json.loads(reject.payload)["image"] == url.replace("user:pw", "REDACTED")
    assert reject.detail.startswith("image: ")
    assert len(batch.rows) == ROWS
    asked = house.server.paths()[named]
    assert house.plan(ports=ports) == partitions, "a failure that stays the same changes no plan"
    assert house.server.paths()[named] == asked, "and is not asked for again at once"
    if named.startswith("/"):
        house.server.files({named: image(5)})
        with house.fetcher(ports=ports) as fetcher:
            assert fetcher.forget(reasons=(reason,)) == 1
        assert not house.read(house.plan(ports=ports)).rejects


def test_a_download_over_the_limit_of_its_modality_is_a_reject(house: House) -> None:
    config = PrepareConfig.model_validate({"image": {"max_bytes": len(image(5)) - 1}})
    with house.fetcher() as fetcher:
        drafts = list(read_manifest(house.source, STORAGE))
        rows = {row.key: row for row in house.lookup(fetcher, config=config)(drafts)}
    assert {row.reason for key, row in rows.items() if key != "local"} == {"download_too_large"}
    assert rows["k0"].media["audio"].size == len(AUDIO)


def test_subtitles_and_pictures_with_times_are_fetched_too(house: House) -> None:
    house.server.files({"/s.srt": b"1\n"})
    media = {"image:0": house.server.url("/1.jpg"), "segments": house.server.url("/s.srt")}
    draft = Draft(key="k", line={"text": "x", "captions": []}, media=media)
    with house.fetcher() as fetcher:
        rows = house.lookup(fetcher)([draft])
    (partition,) = write_plan(rows, "m", Lake(STORAGE, house.lake), 4)
    assert house.read([partition]).attachments == ({"image:0": image(1), "segments": b"1\n"},)


def test_without_a_fetcher_media_on_the_web_are_rejects(house: House) -> None:
    rows = house.lookup(None)(list(read_manifest(house.source, STORAGE)))
    assert {row.reason for row in rows if row.key != "local"} == {"media_scheme"}
    assert not house.server.requests


@pytest.mark.parametrize("damage", ["delete", "flip", "grow"])
def test_a_damaged_content_is_never_read_as_another(damage: str, house: House) -> None:
    partitions = house.plan()
    path = house.folder / "lake" / layout.content_path(sha256_hex(image(5)))
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes(image(6) if damage == "flip" else image(5) + b"x")
    with pytest.raises(StorageError, match=r"missing or damaged.*run the command again"):
        house.read(partitions)
    path.unlink(missing_ok=True)
    assert house.plan() == partitions
    assert image(5) in house.read(partitions).raw_images


def test_downloads_that_plans_or_receipts_name_are_needed(house: House) -> None:
    first = house.plan()
    kept = {layout.content_path(sha256_hex(image(i))) for i in range(ROWS)} | {layout.content_path(sha256_hex(AUDIO))}
    assert find_needed_downloads(Lake(STORAGE, house.lake)) == {*kept, layout.DOWNLOAD_RECEIPTS}
    house.server.files({"/5.jpg": image(55)})
    second = house.plan()
    new = layout.content_path(sha256_hex(image(55)))
    assert find_needed_downloads(Lake(STORAGE, house.lake)) == {*kept, new, layout.DOWNLOAD_RECEIPTS}, (
        "the old plan still names the old content"
    )
    STORAGE.delete(STORAGE.join(house.lake, first[0].locator))
    assert find_needed_downloads(Lake(STORAGE, house.lake)) == {*kept, new, layout.DOWNLOAD_RECEIPTS} - {
        layout.content_path(sha256_hex(image(5)))
    }
    STORAGE.delete(STORAGE.join(house.lake, layout.DOWNLOAD_RECEIPTS))
    assert find_needed_downloads(Lake(STORAGE, house.lake)) >= {new}
    assert house.versions(second)["k5"]["image"].endswith(sha256_hex(image(55)))
