"""Dependencies: none has a copyleft licence but those that are explained, and their list is valid CycloneDX."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.supply_chain import COPYLEFT, EXCEPTIONS, SAID_ELSEWHERE, licence_of, shipped, write_sbom

REPOSITORY = Path(__file__).parents[1]


def test_no_dependency_is_copyleft_but_those_that_are_explained() -> None:
    found = {name: licence_of(one) for name, one in shipped().items()}
    assert len(found) > 150
    assert {name for name, licence in found.items() if COPYLEFT.search(licence)} == set(EXCEPTIONS)
    assert {name for name, licence in found.items() if not licence} <= set(SAID_ELSEWHERE)
    assert not any(COPYLEFT.search(licence) for licence in SAID_ELSEWHERE.values())


@pytest.mark.parametrize(
    ("licence", "copyleft"),
    [("GPL-3.0-only", True), ("LGPLv2+", True), ("License :: OSI Approved :: GNU General Public License v3", True),
     ("MPL-2.0 AND MIT", True), ("Apache-2.0 OR MIT", False), ("BSD 3-Clause", False)],
)  # fmt: skip
def test_copyleft_is_recognised(licence: str, copyleft: bool) -> None:
    assert bool(COPYLEFT.search(licence)) == copyleft


def test_every_locked_package_has_its_hashes() -> None:
    for name in ("requirements.lock", "requirements-annoy.lock"):
        text = (REPOSITORY / name).read_text(encoding="utf-8").replace("\\\n", " ")
        packages = [line for line in text.splitlines() if re.match(r"[A-Za-z0-9]", line)]
        assert packages
        assert [line for line in packages if "==" not in line or "--hash=sha256:" not in line] == []
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    installs = [line for line in makefile.splitlines() if "pip install" in line and "--requirement" in line]
    assert installs
    assert all("--require-hashes" in line for line in installs)


@pytest.mark.full
def test_the_list_of_dependencies_is_valid_and_names_what_is_shipped(tmp_path: Path) -> None:
    write_sbom(tmp_path / "sbom.json")  # which validates it
    listed = json.loads((tmp_path / "sbom.json").read_text())
    names = {one["name"].lower() for one in listed["components"]}
    assert names >= {"torch", "deltalake", "obstore", "ray", "boto3"}
    assert names.isdisjoint({"pytest", "mypy", "moto", "mkdocs"}), "the developers' tools"
    assert all(one["version"] for one in listed["components"])
