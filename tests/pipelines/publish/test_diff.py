"""diff and the lake's tables: exactly what an edit of the corpus added, changed and removed, and what is live."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pytest

import trichord
from tests.pipelines.lakes import copy_of, rows_of, write_rows
from trichord.infra.errors import ConfigError
from trichord.pipelines.demo.corpus import read_labels


@pytest.fixture(scope="module")
def edited(indexed, tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A copy that was reindexed after one clean row was added, one changed and one removed; and their keys."""
    project = copy_of(indexed[0].parent, tmp_path_factory.mktemp("edited") / "copy")
    corpus = project.parent / "corpus"
    spoilt = {label["key"] for label in read_labels(corpus) if label["defects"]}
    rows = rows_of(corpus)
    changed, removed, picture, sound = [row for row in rows if row["id"] not in spoilt][:4]
    added = {"id": "new-record", "text": "A lighthouse in the fog.", "image": picture["image"], "audio": sound["audio"]}
    kept = [
        row | {"text": "Seven grey geese on a pond."} if row is changed else row for row in rows if row is not removed
    ]
    write_rows(corpus, [*kept, added])
    trichord.open(project).reindex()
    return project, {"added": added["id"], "changed": changed["id"], "removed": removed["id"]}


def test_a_diff_names_what_was_added_changed_and_removed(edited):
    project, keys = edited
    workspace = trichord.open(project)
    first, second = workspace.publications.rows()
    found = workspace.diff()
    assert (found.before, found.after) == (first.id, second.id)
    for name, key in keys.items():
        changes = getattr(found, name)
        assert (changes.count, changes.first) == (1, (f"demo/{key}",)), name
    assert not found.model_changed
    assert found.counts == {}  # one came, one went
    assert found.to_dict()["added"] == {"count": 1, "first": [f"demo/{keys['added']}"]}


def test_a_diff_the_other_way_swaps_added_and_removed(edited):
    workspace = trichord.open(edited[0])
    first, second = (row.id for row in workspace.publications.rows())
    forth, back = workspace.diff(first, second), workspace.diff(second, first)
    assert (back.added, back.removed, back.changed) == (forth.removed, forth.added, forth.changed)
    assert back.figures == {name: (after, before) for name, (before, after) in forth.figures.items()}
    same = workspace.diff(second, second)
    assert (same.added.count, same.changed.count, same.removed.count, dict(same.figures)) == (0, 0, 0, {})


def test_a_diff_of_what_is_not_there_is_refused(edited, indexed):
    with pytest.raises(ConfigError, match=r"There is no publication none-1\. Known: "):
        trichord.open(edited[0]).diff("none-1")
    with pytest.raises(ConfigError, match="is the first publication"):
        trichord.open(indexed[0]).diff()
    with pytest.raises(ConfigError, match="Nothing is published yet"):
        trichord.open(indexed[0], f"lake={edited[0].parent / 'empty'}").diff()


def test_tables_hold_the_rows_that_the_publication_counts(indexed):
    workspace = trichord.open(indexed[0])
    live = workspace.publications.live()
    assert live is not None
    counts = live.counts
    assert workspace.records().count_rows() == counts.rows_kept + counts.rows_duplicate
    assert workspace.vectors().count_rows() == counts.rows_kept - counts.rows_without_view
    assert workspace.rejects().count_rows() == counts.rows_rejected > 0
    vectors = workspace.vectors().to_table(columns=["fingerprint", "view"])
    assert set(vectors["fingerprint"].to_pylist()) == {live.fingerprint}
    assert set(vectors["view"].to_pylist()) == {"fused"}


def test_tables_are_those_of_the_live_publication_whatever_was_prepared_since(edited, tmp_path):
    project = copy_of(edited[0].parent, tmp_path / "copy")
    workspace = trichord.open(project)

    def is_there(key: str) -> bool:
        return workspace.records().count_rows(filter=pc.field("key") == key) == 1

    assert is_there("new-record")
    write_rows(
        project.parent / "corpus", [row for row in rows_of(project.parent / "corpus") if row["id"] != "new-record"]
    )
    workspace.prepare()
    assert is_there("new-record")
    workspace.rollback()
    assert not is_there("new-record")


def test_before_the_first_publication_tables_are_those_of_the_last_run(indexed, tmp_path):
    workspace = trichord.open(indexed[0], f"lake={tmp_path / 'lake'}")
    with pytest.raises(ConfigError, match="The lake holds no records yet"):
        workspace.records()
    counts = workspace.prepare().counts
    assert workspace.records().count_rows() == counts.rows_kept + counts.rows_duplicate
    assert workspace.rejects().count_rows() == counts.rows_rejected
    with pytest.raises(ConfigError, match="The lake holds no vectors yet"):
        workspace.vectors()
