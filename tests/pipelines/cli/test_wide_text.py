"""Tables of the terminal stay straight with characters that are two columns wide."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.cells import cell_len

from trichord.infra.terminal import CleanConsole
from trichord.pipelines.cli import render


@pytest.mark.parametrize("columns", [60, 81, 120])
def test_every_line_of_a_table_with_chinese_is_equally_wide(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    file = io.StringIO()
    monkeypatch.setattr(render, "console", CleanConsole(file=file, width=columns, highlight=False, emoji=False))
    texts = ["左上角的两个红色大圆形，背景是白色。", "two red circles", "圆" * 90, "（ＡＢＣ）１２３", None]
    hits: list[dict[str, Any]] = [
        {"score": 0.5, "key": f"图-{i}", "view": "fused", "source": "demo", "text": text}
        for i, text in enumerate(texts)
    ]
    render.hits({"publication": "p", "hits": hits})
    lines = [line for line in file.getvalue().splitlines() if line[:1] in "┏┡│└┃"]
    assert len(lines) >= 3 + len(texts)
    assert len({cell_len(line) for line in lines}) == 1
    assert cell_len(lines[0]) <= columns
    assert "左上角" in file.getvalue()
