"""What the records of a source are: counted by modality and language, without what is left out and without media."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from trichord.infra.config import Project, StorageConfig
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.publication import SourceContents
from trichord.infra.lake.schema import RECORDS
from trichord.infra.lake.shard import ShardRef, ShardWriter
from trichord.infra.lake.storage import Storage
from trichord.pipelines.core.exclusions import NOTHING
from trichord.pipelines.publish.against_live import rejected_checks
from trichord.pipelines.publish.contents import CountContents, add_up, expected_modalities, languages_of


def _row(number: int, source: str, **given: Any) -> dict[str, Any]:
    blank: dict[str, Any] = {field.name: "" for field in RECORDS if field.type == pa.string()}
    lists: dict[str, Any] = {name: [] for name in ("captions", "scores", "labels", "changes", "segments")}
    row = (
        blank | lists | {"key": f"k{number}", "row_digest": f"d{number}", "source": source, "meta": "{}", "text": None}
    )
    return {field.name: (row | given).get(field.name) for field in RECORDS}


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(Storage(StorageConfig()), str(tmp_path))


def _shard(lake: Lake, rows: list[dict[str, Any]]) -> ShardRef:
    with ShardWriter(lake, "records", f"{len(rows):032x}", RECORDS) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=RECORDS))
        return writer.finish({})


ROWS = [
    _row(0, "a", text="one", labels=[("text_language", "en"), ("x", "y")]),
    _row(1, "a", text="two", scores=[("image_sharpness", 1.0), ("text_length", 3.0)], meta=json.dumps({"lang": "DE"})),
    _row(2, "a", scores=[("audio_s", 1.0), ("image_width", 2.0)], labels=[("text_language", "fr")],
         meta=json.dumps({"language": "pt-BR"})),
    _row(3, "b", text="four", meta='{"lang": ["de"]}'),
    _row(4, "b", scores=[("audio_s", 1.0)], meta='{"language": "\\u001b[31m"}'),
    _row(5, "b", text="six", meta='not "language": JSON'),
]  # fmt: skip


def test_records_are_counted_by_source_modality_and_language(lake):
    found = CountContents(lake)([(_shard(lake, ROWS), NOTHING)])
    assert found == {
        "a": SourceContents(records=3, modalities={"text": 2, "image": 2, "audio": 1},
                            languages={"en": 1, "de": 1, "pt-br": 1}),
        "b": SourceContents(records=3, modalities={"text": 2, "image": 0, "audio": 1}),
    }  # fmt: skip
    assert add_up([found, found])["a"].records == 6
    assert languages_of(add_up([found, found])) == {"en": 2, "de": 2, "pt-br": 2}


def test_rows_that_are_left_out_are_not_counted(lake):
    class Some:
        def mask(self, lake: Lake) -> Any:
            return self

        def keeps(self, rows: pa.Table) -> np.ndarray:
            return np.array([digest not in ("d1", "d3") for digest in rows["row_digest"].to_pylist()])

    found = CountContents(lake)([(_shard(lake, ROWS), Some())])  # type: ignore[list-item]
    assert (found["a"].records, found["b"].records) == (2, 2)
    assert found["a"].languages == {"en": 1, "pt-br": 1}
    assert found["a"].modalities == {"text": 1, "image": 1, "audio": 1}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {}),
        ({"fields": {"image": "foto"}}, {"image": "sources.0.fields.image (s)"}),
        ({"fields": {"image": None, "text": "caption"}}, {"text": "sources.0.fields.text (s)"}),
        ({"require": ["audio"]}, {"audio": "sources.0.require (s)"}),
    ],
)
def test_a_project_expects_the_modalities_that_it_names_and_no_default(settings, expected):
    source = {"name": "s", "kind": "manifest", "path": "x.jsonl", **settings}
    assert expected_modalities(Project.model_validate({"sources": [source]})) == expected


def test_encoders_and_views_that_are_named_are_expected():
    source = {"name": "s", "kind": "folder", "path": "x"}
    project = Project.model_validate(
        {
            "sources": [source],
            "model": {"audio": {"kind": "plugin", "plugin": "a:B"}},
            "index": {"views": ["fused", "image"]},
        }
    )
    assert expected_modalities(project) == {"audio": "model.audio", "image": "index.views"}


def test_a_source_of_which_every_row_is_rejected_fails_unless_its_rows_are_few():
    [check] = rejected_checks({"a": 60}, {"a": 3, "b": 30, "few": 5}, None)
    assert (check.name, check.passed, check.value, check.threshold) == ("records_of:b", False, 0, 1)
    assert "all its 30 rows were rejected" in check.detail
    assert list(rejected_checks({"b": 1}, {"b": 30}, None)) == []
