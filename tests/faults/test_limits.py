"""Limits of readers that crafted files led to: each is an error or a reject that says so, and nothing else is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.crafted_files import IMAGE, TAR, one_value_again
from trichord.infra.config import CaptionsSource, ManifestSource, ParquetSource, PrepareConfig, Source, StorageConfig
from trichord.infra.errors import SourceError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.transforms.batch import Reject, Row
from trichord.transforms.collect import plan_source, read_partition
from trichord.transforms.collect.tars import ArchiveError, members
from trichord.transforms.media import MediaError, decode_image


class Unhashed(Storage):
    """Storage that hashes no file."""

    def chunks(self, uri: str) -> Iterator[bytes]:
        """Yield small files alone."""
        assert self.stat(uri).size < 1 << 20, f"{uri} is hashed or read whole"
        return super().chunks(uri)


def collected(source: Source, folder: Path) -> tuple[list[Row], list[Reject]]:
    """The rows of a source and what was rejected while they were read."""
    lake = Lake(Unhashed(StorageConfig()), str(folder / "lake"))
    plan = plan_source(source, lake, rows_per_partition=64, cache=None, config=PrepareConfig())
    batches = [batch for part in plan.partitions for batch in read_partition(source, lake, part)]
    return [row for batch in batches for row in batch.rows], [one for batch in batches for one in batch.rejects]


def test_a_medium_over_its_limit_is_a_reject_that_was_neither_hashed_nor_read(tmp_path):
    with (tmp_path / "a.jpg").open("wb") as sparse:
        sparse.truncate(20_000_000_000)
    (tmp_path / "m.jsonl").write_text('{"id": "a", "image": "a.jpg"}\n{"id": "b", "text": "b"}\n', encoding="utf-8")
    rows, rejects = collected(ManifestSource(kind="manifest", name="s", path=str(tmp_path / "m.jsonl")), tmp_path)
    assert [row.key for row in rows] == ["b"]
    assert [(one.key, one.reason) for one in rejects] == [("a", "media_too_large")]
    assert "20000000000 bytes" in rejects[0].detail


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a header of digits", "200 digits in a row"),
        ("a header of a number", "200 digits in a row"),
        ("a header of short records", "not 2 bytes long"),
        ("a global header", "more than 100 records"),
        ("a sparse file", "ValueError"),
    ],
)
def test_a_tar_with_headers_that_only_a_hostile_one_has_is_refused(tmp_path, name, said):
    (tmp_path / "t.tar").write_bytes(TAR[name](64 << 10))
    with pytest.raises(ArchiveError, match=said):
        list(members(str(tmp_path / "t.tar")))


def test_tars_with_long_names_and_a_plain_global_header_are_read_as_before(tmp_path):
    for name in ("a long header", "many headers", "texts of one key"):
        (tmp_path / "t.tar").write_bytes(TAR[name](64 << 10))
        assert [member.name for member in members(str(tmp_path / "t.tar"))], name


@pytest.mark.parametrize("name", ["gif blocks", "gif comments"])
def test_a_gif_of_comments_is_a_bomb_and_one_with_a_comment_is_a_picture(name):
    with pytest.raises(MediaError) as caught:
        decode_image(IMAGE[name](64 << 10), max_pixels=10**6, max_bytes=10**6)
    assert caught.value.reason == "image_bomb"
    data = IMAGE["gif frames"](64)
    commented = data[:19] + b"\x21\xfe\x02ab\x00" + data[19:]
    assert decode_image(commented, max_pixels=10**6, max_bytes=10**6).shape == (1, 1, 3)


def test_rows_that_share_a_long_value_are_refused_when_they_unpack_to_far_more_than_their_file(tmp_path):
    (tmp_path / "p.parquet").write_bytes(one_value_again(1 << 20, 64))
    with pytest.raises(SourceError, match="bytes that unpack to"):
        collected(ParquetSource(kind="parquet", name="s", path=str(tmp_path / "p.parquet")), tmp_path)
    (tmp_path / "p.parquet").write_bytes(one_value_again(1_000, 64))
    assert len(collected(ParquetSource(kind="parquet", name="s", path=str(tmp_path / "p.parquet")), tmp_path)[0]) == 64


def test_of_coco_images_that_share_an_id_one_has_the_captions_whatever_their_order(tmp_path):
    images = [{"id": 1, "file_name": name} for name in ("b.jpg", "a.jpg", "a.jpg", "c.jpg")]
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())
    found = []
    for order in (images, images[::-1]):
        file = {"images": order, "annotations": [{"id": 1, "image_id": 1, "caption": "one"}]}
        (tmp_path / "c.json").write_text(json.dumps(file), encoding="utf-8")
        rows, rejects = collected(CaptionsSource(kind="captions", name="s", path=str(tmp_path / "c.json")), tmp_path)
        assert [(one.key, one.reason) for one in rejects] == [("1", "key_repeated")] * 3
        found.append([(row.key, row.text, row.payload) for row in rows])
    assert found[0] == found[1] == [("1", "one", found[0][0][2])]
    assert "a.jpg" in found[0][0][2]
