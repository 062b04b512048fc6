"""Of every kind of file: nothing damaged goes live or is called whole, and following the advice works."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from tests.faults.damage import VERBS, WAYS, measure

SAMPLE = (
    "publications/<aa>/<address>.<sha256>.parquet",
    "publications/_delta_log/<version>.json",
    "index/<aa>/<address>.<sha256>.keys.parquet",
)


@pytest.mark.sweep
@pytest.mark.parametrize(("kinds", "ways"), [(SAMPLE, ("remove",)), (None, WAYS)], ids=["sample", "all"])
def test_damage_is_noticed_never_goes_live_and_is_healed_by_the_advice(kinds, ways):
    cells, missing = measure(kinds, ways)
    assert [asdict(cell) for cell in cells if cell.wrong] == []
    assert missing == []  # a kind that is added to the layout must be damaged here too
    assert {cell.verb for cell in cells} == set(VERBS)
    assert len({cell.kind for cell in cells}) >= (len(kinds) if kinds else 50)
