"""Recipes in the lake: how shards were made, so that a later run knows what has changed since."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from trichord.infra import digest
from trichord.infra.config import Source
from trichord.infra.json_values import parse_json
from trichord.infra.lake import layout
from trichord.infra.lake.storage import TooLarge
from trichord.pipelines.core.workspace import Workspace
from trichord.transforms.align.words import Aligner
from trichord.transforms.collect.partitions import Partition
from trichord.transforms.record import record_recipe

RECORD_FORMAT = 4  # raise it when a records shard's bytes change for a reason that no op's version covers
Recipe = Sequence[Mapping[str, Any]]

_MAX_BYTES = 4 << 20
_LIMITS = {"score", "reason", "least", "most"}


def current_recipe(workspace: Workspace, source: Source, aligner: Aligner | None) -> tuple[str, Recipe]:
    """Return the digest and the steps of a source's current recipe."""
    recipe = record_recipe(workspace.project.prepare, source, aligner)
    return digest.address("recipe", RECORD_FORMAT, recipe), json.loads(digest.canonical_json(recipe))  # as it is kept


def shard_address(partition: Partition, recipe: str) -> str:
    """Return the address of a partition's shards under the recipe with this digest, as `make_plan` does."""
    return digest.address("records", partition.id, partition.version, recipe)


def remember_recipes(workspace: Workspace, aligner: Aligner | None) -> None:
    """Store the recipes of all sources in the lake, under their digests; a damaged one is replaced."""
    known = known_recipes(workspace)
    for source in workspace.project.sources:
        name, recipe = current_recipe(workspace, source, aligner)
        if name not in known:
            workspace.lake.write(layout.recipe_path(name), digest.canonical_json(recipe))


def known_recipes(workspace: Workspace) -> dict[str, Recipe]:
    """Return the recipes in the lake, by digest, without damaged ones and those of another record format."""
    known: dict[str, Recipe] = {}
    for stat in workspace.lake.list(layout.RECIPES):
        name = stat.uri.rsplit("/", 1)[-1].removesuffix(".json")
        try:
            recipe = parse_recipe(name, workspace.storage.read(stat.uri, max_bytes=_MAX_BYTES))
        except (FileNotFoundError, TooLarge):
            continue
        if recipe is not None:
            known[name] = recipe
    return dict(sorted(known.items()))


def parse_recipe(name: str, data: bytes) -> Recipe | None:
    """Return the recipe with this digest; None where the bytes are damaged or of another record format."""
    return _recipe(name, data, (RECORD_FORMAT,))


def is_whole_recipe(name: str, data: bytes) -> bool:
    """Return True if the bytes have this digest, in the present record format or an earlier one."""
    return _recipe(name, data, range(RECORD_FORMAT + 1)) is not None


def _recipe(name: str, data: bytes, formats: Iterable[int]) -> Recipe | None:
    try:
        recipe = parse_json(data)
        mine = any(digest.address("recipe", one, recipe) == name for one in formats)
    except (ValueError, RecursionError):
        return None
    return cast(Recipe, recipe) if mine and _is_recipe(recipe) else None


def _is_recipe(value: object) -> bool:
    """Return whether a file's JSON has the form of a recipe. Its names are compared, never looked up."""
    return isinstance(value, list) and all(
        isinstance(step, dict) and isinstance(step.get("op"), str) and isinstance(step.get("settings"), dict)
        and "version" in step for step in value
    )  # fmt: skip


def find_loosened(old: Recipe, new: Recipe) -> frozenset[str] | None:
    """Return the names of the thresholds that `new` loosens; None if anything else differs from `old`.

    If only thresholds were loosened, `new` keeps every row that `old` kept, with the same bytes.
    """
    wider: set[str] = set()
    left = list(new)
    for step in old:
        after = left[0] if left and left[0]["op"] == step["op"] else None
        if after is not None:
            left.pop(0)
            if after == step:
                continue
            if not _is_wider(step, after):
                return None
        elif not _is_threshold(step):
            return None
        wider.add(step["op"])
    return None if left else frozenset(wider)


def _is_threshold(step: Mapping[str, Any]) -> bool:
    return step["op"].startswith("threshold:") and set(step["settings"]) == _LIMITS


def _is_wider(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    if not (_is_threshold(old) and _is_threshold(new)) or old["version"] != new["version"]:
        return False
    before, after = old["settings"], new["settings"]
    return bool(
        before["score"] == after["score"]
        and before["reason"] == after["reason"]
        and (after["least"] is None or (before["least"] is not None and after["least"] <= before["least"]))
        and (after["most"] is None or (before["most"] is not None and after["most"] >= before["most"]))
    )
