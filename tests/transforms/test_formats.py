"""Every kind of a picture's file is read rightly, refused by name, or counted: none is read wrongly in silence."""

from __future__ import annotations

import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.transforms.formats import Counted, Read, Variant
from tests.transforms.formats.matrix import judge
from tests.transforms.formats.pictures import pictures
from tests.transforms.formats.pngs import png
from tests.transforms.formats.scene import RGB
from tests.transforms.formats.tiffs import tiff
from trichord.infra.config import FolderSource, StorageConfig
from trichord.infra.lake.storage import Storage
from trichord.transforms.collect.folder import MODALITY_OF_ENDING, FolderReader
from trichord.transforms.media import MediaError, decode_image
from trichord.transforms.picture_kinds import MAX_COMMENTS, without_comments

VARIANTS = list(pictures())


def _decode(data: bytes) -> np.ndarray:
    return decode_image(data, max_pixels=1 << 20, max_bytes=1 << 24)


def _named(variant: Variant) -> str:
    return f"{variant.format}: {variant.variant}"


def test_every_variant_has_a_name_of_its_own() -> None:
    assert len({_named(variant) for variant in VARIANTS}) == len(VARIANTS) > 300


@pytest.mark.parametrize("form", sorted({variant.format for variant in VARIANTS}))
def test_a_picture_is_read_rightly_or_what_is_not_read_is_said(form: str, tmp_path: Path) -> None:
    mine = [variant for variant in VARIANTS if variant.format == form]
    assert not {one.variant: wrong for n, one in enumerate(mine) if (wrong := judge(one, tmp_path / str(n)))}


def test_files_of_other_endings_are_counted_where_they_are_collected(tmp_path: Path) -> None:
    counted = [variant for variant in VARIANTS if isinstance(variant.expected, Counted)]
    for n, variant in enumerate(counted):
        for name, data in variant.files.items():
            (tmp_path / f"{n}-{name}").write_bytes(data)
    (tmp_path / "read.png").write_bytes(png(RGB, 2))
    source = FolderSource(kind="folder", name="s", path=str(tmp_path))
    reader = FolderReader(source, Storage(StorageConfig()))
    assert [draft.key for draft in reader] == ["read"]
    assert reader.counts.ignored == len(counted) >= 15


def test_every_ending_of_a_picture_that_is_read_is_collected() -> None:
    endings = {
        f".{name.rpartition('.')[2].lower()}" for v in VARIANTS if isinstance(v.expected, Read) for name in v.files
    }
    assert endings <= {ending for ending, modality in MODALITY_OF_ENDING.items() if modality == "image"}


def test_a_png_without_long_comments_is_not_copied() -> None:
    plain = png(RGB, 2, before=[(b"tEXt", b"Comment\0words"), (b"gAMA", bytes(4))])
    assert without_comments(plain) is plain
    assert without_comments(plain[:40]) == plain[:40]


def test_what_is_kept_of_comments_is_bounded() -> None:
    bomb = zlib.compress(bytes(2 * MAX_COMMENTS))
    kinds = [b"Raw profile type exif\0\0" + bomb, b"Raw profile type exif\0\0" + b"w" * (2 * MAX_COMMENTS)]
    for comment in kinds:
        assert without_comments(png(RGB, 2, before=[(b"zTXt", comment)])) == png(RGB, 2)
    many = png(RGB, 2, before=[(b"tEXt", b"Raw profile type exif\0" + b"w" * 60_000)] * 30)
    assert len(without_comments(many)) < MAX_COMMENTS + len(png(RGB, 2)) + 100


def test_a_damaged_directory_of_a_tiff_raises_media_errors_only() -> None:
    whole = tiff(RGB, 2, compression=8)
    for at in range(260):  # its head and tags
        with suppress(MediaError):
            assert _decode(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]).dtype == np.uint8
