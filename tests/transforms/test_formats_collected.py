"""Subtitles, tables, names and archives as the world writes them: read right, refused with the reason, or counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.transforms.formats import Variant
from tests.transforms.formats.archives import archives
from tests.transforms.formats.collecting import judge
from tests.transforms.formats.subtitles import subtitles
from tests.transforms.formats.tables import tables

Make = Callable[[], Iterator[Variant]]


@pytest.mark.parametrize(("make", "least"), [(subtitles, 80), (tables, 200), (archives, 80)])
def test_every_variant_is_read_right_or_refused_with_the_reason_or_counted(
    make: Make, least: int, tmp_path: Path
) -> None:
    variants = list(make())
    names = [(one.format, one.variant) for one in variants]
    assert len(set(names)) == len(names) >= least
    wrong = {f"{one.format}, {one.variant}": judge(one, tmp_path / str(i)) for i, one in enumerate(variants)}
    assert not "\n".join(f"{name}: {why}" for name, why in wrong.items() if why)
