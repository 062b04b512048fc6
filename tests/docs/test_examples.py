"""Every file under examples/ runs on a fresh clone, with the data that it brings."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys

import pytest

from tests.docs.conftest import EXAMPLES
from tests.docs.run import run_page
from tests.pipelines.lakes import result_of, trichord

MAX_BYTES = 3_000_000


@pytest.fixture
def quote_server(fresh_examples):
    """The stand-in for a model of the example, on a free port: its URL."""
    command = [sys.executable, str(fresh_examples / "image_text_rag" / "quote_server.py"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def test_the_examples_are_small_and_say_what_may_be_done_with_their_data():
    files = [
        path
        for path in EXAMPLES.rglob("*")
        if path.is_file() and not {"lake", "held_out", "__pycache__"} & set(path.relative_to(EXAMPLES).parts)
    ]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    assert "CC0 1.0" in (EXAMPLES / "data" / "LICENSE.txt").read_text(encoding="utf-8")


def test_the_data_are_what_their_script_makes(tmp_path, monkeypatch):
    import shutil

    script = shutil.copy(EXAMPLES / "data" / "make.py", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)  # the recordings are of one version of eSpeak NG
    runpy.run_path(str(script), run_name="__main__")
    made = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    there = {path.relative_to(EXAMPLES / "data") for path in (EXAMPLES / "data").rglob("*") if path.is_file()}
    recordings = {path for path in there if path.match("pages/*.ogg")}
    assert set(made) == there - recordings - {path for path in there if path.name == "LICENSE.txt"}
    for path in made:
        assert (tmp_path / path).read_bytes() == (EXAMPLES / "data" / path).read_bytes(), path


@pytest.mark.parametrize(
    ("recipe", "rows", "kept"),
    [("image_captions", 100, 98), ("sound_events", 24, 24), ("read_speech", 6, 6), ("sample", 100, 100)],
)
def test_a_recipe_prepares_the_data_that_come_with_it(fresh_examples, monkeypatch, recipe, rows, kept):
    monkeypatch.delenv("TRICHORD_SAMPLE", raising=False)
    summary = result_of(trichord("prepare", "--project", f"{recipe}.yaml", "--json", cwd=fresh_examples))
    assert (summary["rows_in"], summary["rows_kept"]) == (rows, kept)


def test_the_page_about_answers_runs_and_questions_are_answered_from_the_captions(
    fresh_examples, quote_server, monkeypatch
):
    monkeypatch.setenv("RAG_URL", quote_server)
    folder = fresh_examples / "image_text_rag"
    run_page(EXAMPLES / "image_text_rag" / "README.md", folder)
    result = result_of(trichord("rag-eval", "held_out/questions.jsonl", "--json", cwd=folder))
    assert (result["questions"], result["failed"]) == (10, 0)
    assert result["retrieval"]["recall_at_k"] >= 0.5, "5 of 100 by chance"
    case = json.loads((folder / "held_out" / "questions.jsonl").read_text(encoding="utf-8").splitlines()[0])
    answer = result_of(trichord("ask", case["question"], "--json", cwd=folder))
    assert re.search(r"\[\d\]$", answer["answer"])
    assert answer["cited_unknown"] == []
    rated = result_of(trichord("feedback", answer["id"], "--rating", "1", "--json", cwd=folder))
    assert rated["publication"] == answer["publication"]
