"""`extends`: one project file laid over another; every value keeps its own file, line and folder."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.infra.test_project import SOURCES, problems_of
from trichord.infra.config import ManifestSource
from trichord.infra.layers import MAX_FILES
from trichord.infra.project import load_project
from trichord.infra.reference import json_schema


def file(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_sections_merge_and_lists_and_values_are_replaced(tmp_path: Path) -> None:
    file(
        tmp_path / "base.yaml",
        SOURCES + "train: {epochs: 3, seed: 4}\nindex: {views: [text, image], kind: flat}\nengine: {workers: 5}\n",
    )
    path = file(
        tmp_path / "trichord.yaml", "extends: base.yaml\ntrain: {epochs: 9}\nindex: {views: [fused]}\nengine:\n"
    )

    project = load_project(path, ["train.patience=2"])

    assert (project.train.epochs, project.train.seed, project.train.patience) == (9, 4, 2)
    assert (project.index.views, project.index.kind) == (("fused",), "flat")
    assert project.engine.workers == 2, "an empty section has its defaults"
    assert project.sources[0].name == "clips"


def test_a_place_starts_at_the_folder_of_the_file_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(
        tmp_path / "shared" / "base.yaml",
        "lake: lake\nsources:\n  - {kind: manifest, name: a, path: a.jsonl, media_root: media}\n"
        "model: {text: {kind: huggingface, path: ./weights}}\nrag: {wordnet: words}\n",
    )
    path = file(tmp_path / "mine" / "trichord.yaml", "extends: ../shared/base.yaml\nrag: {examples: worked.jsonl}\n")
    own = file(tmp_path / "mine" / "own.yaml", "extends: trichord.yaml\nlake: own\n")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    project = load_project(path, ["sources.0.media_root=pictures"])

    (source,) = project.sources
    assert isinstance(source, ManifestSource)
    assert project.lake == str(tmp_path / "shared" / "lake")
    assert source.path == str(tmp_path / "shared" / "a.jsonl")
    assert source.media_root == str(tmp_path / "here" / "pictures")
    assert project.model.text.path == str(tmp_path / "shared" / "weights")
    assert project.rag.wordnet == str(tmp_path / "shared" / "words")
    assert project.rag.examples == str(tmp_path / "mine" / "worked.jsonl")
    assert load_project(own).lake == str(tmp_path / "mine" / "own")
    file(tmp_path / "shared" / "base.yaml", SOURCES)
    assert load_project(path).lake == str(tmp_path / "mine" / "lake"), "a default starts at the file that was named"


def test_a_mistake_is_told_with_the_file_it_is_in(tmp_path: Path) -> None:
    base = file(tmp_path / "base.yaml", SOURCES + "train:\n  epochs: many\n  test: 3\nlake: a\nlake: b\n")
    path = file(tmp_path / "trichord.yaml", "extends: base.yaml\n\ntrain:\n  epochs: 0.5\n")

    told = [line.replace(base, "BASE").split(",")[0] for line in problems_of(path)]

    assert told == [
        "BASE:7: lake: given twice",
        "FILE:4: train.epochs: expected an integer of at least 0",
        "BASE:5: train.test: expected a number of at least 0 and below 1",
    ]


@pytest.mark.parametrize(
    ("base", "problem"),
    [
        ("- a\n", "BASE: expected a section of `key: value` lines"),
        ("lake: [\n", "BASE:2: not YAML"),
        ("extends: none.yaml\n", "BASE:1: extends: There is no project file "),
        ("extends: 7\n", "BASE:1: extends: expected the path of another project file"),
        ("extends: s3://bucket/base.yaml\n", "BASE:1: extends: expected the path of another project file"),
        ("extends: .\n", "BASE:1: extends: The project file "),
    ],
)
def test_a_base_that_cannot_be_read_is_the_one_problem(tmp_path: Path, base: str, problem: str) -> None:
    where = file(tmp_path / "base.yaml", base)
    path = file(tmp_path / "trichord.yaml", "extends: base.yaml\n")

    (told,) = problems_of(path)

    assert told.replace(where, "BASE").startswith(problem)


def test_a_circle_is_told_with_its_chain(tmp_path: Path) -> None:
    a = file(tmp_path / "a.yaml", "extends: x/b.yaml\n")
    b = file(tmp_path / "x" / "b.yaml", SOURCES + "extends: ../a.yaml\n")

    (told,) = problems_of(a)

    assert told == f"{b}:3: extends: the files extend each other in a circle: FILE → {b} → FILE"
    itself = file(tmp_path / "c.yaml", "extends: ./c.yaml\n")
    assert problems_of(itself) == ["FILE:1: extends: the files extend each other in a circle: FILE → FILE"]


def test_a_chain_has_an_end(tmp_path: Path) -> None:
    file(tmp_path / "0.yaml", SOURCES)
    for number in range(1, MAX_FILES + 1):
        path = file(tmp_path / f"{number}.yaml", f"extends: {number - 1}.yaml\nkeep_publications: {number}\n")

    assert load_project(str(tmp_path / f"{MAX_FILES - 1}.yaml")).keep_publications == MAX_FILES - 1
    assert f"more than {MAX_FILES} files extend each other" in problems_of(path)[0]


def test_a_variable_that_a_file_above_replaces_need_not_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRICHORD_TEST_UNSET", raising=False)
    base = file(tmp_path / "base.yaml", SOURCES + "lake: ${TRICHORD_TEST_UNSET}\n")
    path = file(tmp_path / "trichord.yaml", "extends: ${TRICHORD_TEST_BASE}\nlake: here\n")
    monkeypatch.setenv("TRICHORD_TEST_BASE", "base.yaml")

    assert load_project(path).lake == str(tmp_path / "here")
    (told,) = problems_of(base)
    assert "TRICHORD_TEST_UNSET is not set" in told


def test_extends_is_for_files_alone(tmp_path: Path) -> None:
    file(tmp_path / "base.yaml", "lake: elsewhere\n")
    path = file(tmp_path / "trichord.yaml", SOURCES)

    assert "extends is read from the project file alone" in problems_of(path, "extends=base.yaml")[0]
    assert load_project(file(tmp_path / "null.yaml", SOURCES + "extends:\n")).sources


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("extends: base.yaml\n", True),
        ("lake: a\n", False),
        (SOURCES + "engine: {workers: '${N:-2}'}\n", True),
        (SOURCES + "index: {kind: '${KIND}', views: ['${VIEW}']}\n", True),
        (SOURCES + "index: {kind: ivf}\n", False),
        (SOURCES + "engine: {workers: '2'}\n", False),
        (SOURCES + "train: '${TRAIN}'\n", False),
        (SOURCES + "query: {weights: {text: '${W}'}}\n", True),
        (SOURCES + "milvus: {uri: '${URI}', database: '${DB:-main}'}\n", True),
    ],
)
def test_the_json_schema_knows_extends_and_references(text: str, valid: bool) -> None:
    check = jsonschema.Draft202012Validator(json_schema())

    assert check.is_valid(yaml.safe_load(text)) == valid
