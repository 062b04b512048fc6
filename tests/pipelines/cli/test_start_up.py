"""What each verb imports: a command pays only for what it does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import trichord
from trichord.infra.lake import versions

HEAVY = {
    "PIL", "apache_beam", "asyncio", "cv2", "deltalake", "faiss", "ftfy", "numpy", "numpy.random", "pandas",
    "py3langid", "pyarrow", "pyarrow.compute", "pyarrow.dataset", "pymilvus", "ray", "safetensors", "scipy",
    "soundfile", "symspellpy", "torch", "torchaudio", "transformers", "trichord.infra.config", "urllib3",
}  # fmt: skip
PROJECT = {"deltalake", "numpy", "pyarrow", "trichord.infra.config"}
LIST = """
import json, sys
from trichord.pipelines.cli.command import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
sys.stderr.write(json.dumps(sorted(sys.modules)))
"""


def heavy_imports(*arguments: str) -> set[str]:
    """Run a verb in a process of its own, and return what heavy modules it imported."""
    done = subprocess.run([sys.executable, "-c", LIST, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return HEAVY & set(json.loads(done.stderr.splitlines()[-1]))


def test_the_help_imports_no_library_but_its_own() -> None:
    assert heavy_imports("--help") == set()
    assert heavy_imports("compare", "--help") == set()


@pytest.mark.parametrize(
    ("verb", "more"),
    [
        ("status", set()),
        ("plan", {"soundfile"}),  # soundfile tells the version of libsndfile, which shapes what is decoded
        ("reindex", {"soundfile"}),
    ],
)
def test_a_verb_that_makes_nothing_imports_what_it_reads_with(
    verb: str, more: set[str], lake_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "SETTLED_NS", 0)  # or the copied files are young, and hashed again once they are not
    trichord("plan", "--project", str(lake_copy))
    assert heavy_imports(verb, "--project", str(lake_copy), "--json") == PROJECT | more


def test_a_query_in_words_needs_no_torch(indexed: tuple[Path, dict]) -> None:
    found = heavy_imports("search", "--project", str(indexed[0]), "--text", "two red circles", "--json")
    assert found == PROJECT | {"faiss", "pyarrow.compute", "safetensors"}
