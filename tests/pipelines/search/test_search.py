"""Search and explain on an indexed lake, by every kind of query."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.pipelines.lakes import rows_of, workspace_of
from trichord.infra.errors import ConfigError
from trichord.pipelines.demo.corpus import read_labels
from trichord.pipelines.demo.defects import expected
from trichord.pipelines.publish.explain import explain
from trichord.pipelines.publish.record_history import find_places
from trichord.pipelines.rejects.query import list_rejects, show_reject
from trichord.pipelines.search.search import search


@pytest.fixture(scope="module")
def workspace(indexed):
    return workspace_of(indexed[0])


@pytest.fixture(scope="module")
def clean(indexed):
    corpus = indexed[0].parent / "corpus"
    labels = {label["key"]: label["defects"] for label in read_labels(corpus)}
    return next(row for row in rows_of(corpus) if not labels[row["id"]]), corpus


@pytest.mark.parametrize("parts", [("text",), ("image",), ("audio",), ("text", "image", "audio")])
def test_every_kind_of_query_is_answered_in_order_of_score(workspace, clean, parts):
    row, corpus = clean
    query = {
        "text": row["text"] if "text" in parts else None,
        "image": corpus / row["image"] if "image" in parts else None,
        "audio": corpus / row["audio"] if "audio" in parts else None,
    }
    hits = search(workspace, k=10, **query)["hits"]
    assert len(hits) == len({hit["key"] for hit in hits}) == 10
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert {hit["view"] for hit in hits} == {"fused"}
    if len(parts) == 3:  # the whole record as a query is the record itself
        assert hits[0]["key"] == row["id"]
        assert hits[0]["score"] == pytest.approx(1.0, abs=1e-4)
        assert hits[0]["text"] == row["text"]


def test_a_query_that_is_none_or_no_picture_is_a_clear_error(workspace, tmp_path):
    with pytest.raises(ConfigError, match="needs a text"):
        search(workspace, text=None, image=None, audio=None, k=3)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no picture")
    with pytest.raises(ConfigError, match="image_"):
        search(workspace, text=None, image=broken, audio=None, k=3)
    with pytest.raises(ConfigError, match="cannot be read"):
        search(workspace, text=None, image=tmp_path / "none.jpg", audio=None, k=3)


def test_explain_tells_every_fate(workspace, indexed, clean):
    truth = expected(read_labels(indexed[0].parent / "corpus"))
    story = explain(workspace, clean[0]["id"])
    assert story.outcome == "indexed"
    assert [step["step"] for step in story.journey] == ["prepared", "encoded", "indexed"]
    assert explain(workspace, f"demo/{clean[0]['id']}").journey == story.journey  # as `plan` names it
    with pytest.raises(ConfigError, match="rejects ls"):
        explain(workspace, f"elsewhere/{clean[0]['id']}")
    key, reason = next(iter(truth.rejects.items()))
    story = explain(workspace, key)
    assert story.outcome == "rejected"
    assert story.journey[0]["reason"] == reason
    assert show_reject(workspace, key).rejects[0].payload
    pair = next(iter(truth.duplicates.items()))
    fates = {explain(workspace, name).outcome for name in pair}
    assert fates == {"duplicate", "indexed"}
    with pytest.raises(ConfigError, match="rejects ls"):
        explain(workspace, "no-such-key")


def test_a_shard_without_rows_holds_no_record_of_any_key():
    empty = pa.table({"key": pa.chunked_array([], pa.string()), "source": pa.chunked_array([], pa.string())})
    for rows in (empty, empty.combine_chunks()):  # of which Arrow compares to no chunk at all
        assert len(find_places(rows, "a", None)) == len(find_places(rows, "a", "s")) == 0


def test_rejects_are_counted_and_filtered_by_reason(workspace, indexed):
    truth = expected(read_labels(indexed[0].parent / "corpus"))
    everything = list_rejects(workspace, reason=None, limit=3)
    assert everything.total == len(truth.rejects)
    assert len(everything.rows) == min(3, len(truth.rejects))
    reason = next(iter(truth.rejects.values()))
    some = list_rejects(workspace, reason=reason, limit=100)
    assert {row.key for row in some.rows} == {key for key, why in truth.rejects.items() if why == reason}
