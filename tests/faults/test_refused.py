"""What the operating system refuses ends a run with the documented code and one message, and a rerun resumes."""

from __future__ import annotations

import pytest

from tests.faults.refused import STAGES, VERBS, is_possible, run_in_namespace

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.skipif(not is_possible(), reason="this user may not mount a file system in a namespace"),
]


def judge(found: dict, advice: str, *, note_stays: bool = False) -> None:
    """`note_stays`: what forbids to write forbids to remove the note that a run is at work, which then goes stale."""
    if note_stays:
        found["left"] = [name for name in found["left"] if not name.startswith("run-")]
    assert advice in found["says"]
    assert {name: found[name] for name in ("code", "clean", "left", "again")} == {
        "code": 6,
        "clean": True,
        "left": [],
        "again": 0,
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_lake(stage):
    judge(run_in_namespace("lake", stage, "40"), "The disk is full")


@pytest.mark.parametrize("stage", ["", "features"])
def test_no_room_for_temporary_files(stage):
    judge(run_in_namespace("temporary", stage, "40"), "TMPDIR")


@pytest.mark.parametrize("stage", STAGES)
def test_a_lake_that_becomes_read_only(stage):
    judge(run_in_namespace("read-only", stage, "40"), "Mount it for writing", note_stays=True)


@pytest.mark.parametrize("stage", STAGES)
def test_a_lake_without_permission(stage):
    judge(run_in_namespace("mode", stage, "40", mounting=False), "permission", note_stays=True)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("kind", "advice"), [("lake", "The disk is full"), ("read-only", "Mount it for writing"), ("mode", "permission")]
)
def test_every_verb_that_writes(verb, kind, advice):
    judge(run_in_namespace(f"verb:{kind}", verb, "40", mounting=kind != "mode"), advice)
