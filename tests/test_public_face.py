"""`import trichord`: cheap, and every public name is there."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import trichord
from trichord.infra.errors import TrichordError

HEAVY = ("torch", "faiss", "pyarrow", "pydantic", "numpy", "PIL", "deltalake")
IMPORT = f"""
import sys, time
before = time.process_time()
import trichord
trichord.errors.ConfigError
assert time.process_time() - before < 0.3, time.process_time() - before
print([name for name in {HEAVY} if name in sys.modules])
"""


def test_importing_the_package_and_its_errors_is_cheap_and_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_every_public_name_exists_says_what_it_is_and_is_listed():
    assert set(trichord.__all__) == set(dir(trichord))
    for name in trichord.__all__:
        assert getattr(trichord, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        trichord.serach  # noqa: B018


def test_the_package_knows_its_version():
    assert trichord.__version__ == version("trichord")


def test_the_errors_are_named_by_their_consequence():
    for name in ("ConfigError", "GateFailed", "CommitConflict", "PartialRun", "StorageError", "SourceError",
                 "ServiceError", "FingerprintMismatch"):  # fmt: skip
        assert issubclass(getattr(trichord.errors, name), TrichordError)
