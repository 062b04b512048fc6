"""Libraries that are imported at their first use."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trichord.infra.lazy import lazy


def test_a_stand_in_imports_its_module_at_the_first_use_and_prepares_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stood_for.py").write_text("THREADS = [8]\ndef double(value): return 2 * value\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    stand_in = lazy("stood_for", lambda module: module.THREADS.append(1))

    assert "stood_for" not in sys.modules
    assert stand_in.double(4) == 8
    assert stand_in.THREADS == [8, 1]
    assert stand_in.double(5) == 10
    assert stand_in.THREADS == [8, 1]
    with pytest.raises(AttributeError, match="triple"):
        stand_in.triple(1)
    monkeypatch.delitem(sys.modules, "stood_for")


def test_a_missing_library_is_missed_at_its_first_use() -> None:
    stand_in = lazy("no_such_library_here")
    with pytest.raises(ModuleNotFoundError, match="no_such_library_here"):
        stand_in.anything()
