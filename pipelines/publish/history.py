"""What the history of publications says: which one a rollback goes to, and which ones are held back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from trichord.infra.lake.publication import Publication


def find_previous(history: Sequence[Publication]) -> Publication | None:
    """Return the publication that a rollback goes to: the index that was live before the live one was published.

    A rollback takes the publications after its target off the stack, so two rollbacks go two back.
    """
    stack: list[Publication] = []
    for row in history:
        stack = [one for one in stack if one.manifest_digest not in row.given_up]
        below = [place for place, one in enumerate(stack) if one.manifest_digest == row.manifest_digest]
        if row.kind != "publish" and below:
            del stack[below[-1] + 1 :]
        elif not stack or stack[-1].manifest_digest != row.manifest_digest:
            stack.append(row)
    return stack[-2] if len(stack) > 1 else None


def find_held_back(history: Sequence[Publication]) -> dict[str, tuple[Publication, Publication]]:
    """Return the indexes that somebody rolled back and that were not live since.

    Returns:
        manifest digest -> (the publication, the rollback that left it).
    """
    held: dict[str, tuple[Publication, Publication]] = {}
    for before, row in pairwise(history):
        if row.kind == "rollback":
            held[before.manifest_digest] = before, row
        held.pop(row.manifest_digest, None)
    return held
