"""The threat model: each test that it names exists, and each of its threats names one."""

from __future__ import annotations

import re

from tests.docs.pages import REPOSITORY

PAGE = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`((?:tests/)?[\w/]*\btest_\w+(?:\.py)?)`")


def test_every_test_that_the_threat_model_names_exists() -> None:
    texts = {path.relative_to(REPOSITORY).as_posix(): path.read_text(encoding="utf-8")
             for path in (REPOSITORY / "tests").rglob("test_*.py")}  # fmt: skip
    defined = set(re.findall(r"^def (test_\w+)\(", "\n".join(texts.values()), re.MULTILINE))
    files = {*texts, *(path.rsplit("/", 1)[-1] for path in texts)}
    named = NAMED.findall(PAGE)
    assert len(named) > 40
    assert [name for name in named if name not in (files if name.endswith(".py") else defined)] == []


def test_every_threat_names_a_test() -> None:
    section = PAGE[PAGE.index("## Threats") : PAGE.index("## Nothing that a data file says is run")]
    threats = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| threat")]
    assert len(threats) > 20
    assert [line for line in threats if not NAMED.search(line.rsplit("|", 2)[1])] == []
