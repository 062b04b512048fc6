"""Rollbacks go back one index each, and what somebody rolled back is held back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.infra.test_table import row
from trichord.infra.lake.publication import Publication
from trichord.pipelines.publish.history import find_held_back, find_previous
from trichord.pipelines.publish.pinned import choose_kept


def history(steps: str) -> list[Publication]:
    """`a b <a c` : publishes a and b, rolls back to a, publishes c; `!a` recovers to a, `!a-b` and gives b up."""
    rows = []
    for sequence, step in enumerate(steps.split(), 1):
        kind = {"<": "rollback", "!": "recover"}.get(step[0], "publish")
        name, _, lost = step.lstrip("<!").partition("-")
        rows.append(
            replace(row(sequence, kind=kind), manifest_digest=name, given_up=frozenset(lost))  # type: ignore[arg-type]
        )
    return rows


@pytest.mark.parametrize(
    ("steps", "previous", "held"),
    [
        ("a", None, ""),
        ("a b", "a", ""),
        ("a b c <b", "a", "c"),
        ("a b c <b <a", None, "bc"),
        ("a b c <b d", "b", "c"),
        ("a b c <b c", "b", ""),
        ("a b c <a", None, "c"),
        ("a b <a <b", "a", "a"),
        ("a b b", "a", ""),
        ("a b !a", None, ""),
        ("a b !a-b b", "a", ""),
        ("a b c !c-b", "a", ""),
    ],
)
def test_a_rollback_goes_to_the_index_before_and_never_forward(steps: str, previous: str | None, held: str) -> None:
    found = find_previous(history(steps))
    assert (found and found.manifest_digest) == previous
    assert "".join(sorted(find_held_back(history(steps)))) == held


@pytest.mark.parametrize(
    ("steps", "kept"), [("a b c", "cb"), ("a b c !c-b", "ca"), ("a b !a-b b", "ba"), ("a b a", "ab")]
)
def test_what_was_given_up_is_not_kept_until_it_is_published_again(steps: str, kept: str) -> None:
    assert "".join(one.manifest_digest for one in choose_kept(history(steps), 2)) == kept
