"""Every deployment file is valid, and the fault that is planted in it is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.infra.deploy.cases import BY_NAME, CASES, DATA, EXAMINED_BY_OTHERS, Case, Fault, planted
from tests.infra.deploy.rendered import PLACES, write_all
from tests.infra.deploy.validators import Validator

PAIRS = [(case.name, validator) for case in CASES for validator in case.validators]
FAULTS = [(case, fault) for case in CASES for fault in case.faults]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    return {name: write_all(tmp_path_factory.mktemp(name), place) for name, place in PLACES.items()}


def examine(validator: Validator, path: Path) -> list[str]:
    found = validator(path)
    if found is None:
        pytest.skip(f"{validator.__name__} needs a program or schemas (TRICHORD_SCHEMAS) that are not here")
    return found


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("name", "validator"), PAIRS, ids=[f"{name}-{one.__name__}" for name, one in PAIRS])
def test_a_rendered_file_is_valid(files, place, name, validator):
    if name == "kubernetes/base/storage.yaml" and place == "remote":
        assert name not in files[place]  # no volume where everything is in an object store
        return
    assert examine(validator, files[place][name]) == []


def test_every_rendered_file_has_a_validator(files):
    names = {one for written in files.values() for one in written if not one.startswith(EXAMINED_BY_OTHERS)}
    assert names == {*BY_NAME, *DATA}
    assert all(case.faults for case in CASES)


@pytest.mark.parametrize(
    ("case", "fault"), FAULTS, ids=[f"{case.name}-{fault.what.replace(' ', '_')}" for case, fault in FAULTS]
)
def test_a_planted_fault_is_found(files, case: Case, fault: Fault):
    with planted(fault, files["local"][case.name]) as path:
        assert examine(fault.validator, path) != []
