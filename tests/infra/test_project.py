"""The project file: strict, told in one go, with absolute places and a digest that knows no place."""

from __future__ import annotations

import os
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from trichord.infra.config import FolderSource, ManifestSource
from trichord.infra.errors import ConfigError
from trichord.infra.project import load_project, project_digest, recipe
from trichord.infra.reference import commented_example, json_schema

KINDS = (
    "auto, flat, flat_fp16, sq8, sq4, rabitq, pq_fast, hnsw, ivf_flat, ivf_fp16, ivf_sq8, ivf_sq4, ivf_rabitq, "
    "ivf_pq or ivf_pq_fast"
)
SOURCES = "sources:\n  - {kind: folder, name: clips, path: data}\n"


def write(folder: Path, text: str) -> str:
    path = folder / "trichord.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def problems_of(path: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_project(path, overrides)
    first, *told, last = str(caught.value).splitlines()
    assert first.startswith(path)
    assert "nothing was touched" in first
    assert last.startswith("Next: ")
    return [line.removeprefix("  ").replace(path, "FILE") for line in told]


def test_every_mistake_is_told_at_once_with_line_key_expectation_value_and_hint(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """lake: here
lake: there
sources:
  - kind: manifst
    name: a
  - kind: manifest
    name: a b
    pth: x
  - kind: folder
    name: c
    path: 7
indx: {}
min_side: 3
train:
  epochs: "3"
  batch_size: 2.0
  test: 1
engine: 7
index:
  kind: ivf-flat
  views: [fused, txt]
""",
    )

    assert problems_of(path) == [
        "FILE:2: lake: given twice, first on line 1",
        "FILE:4: sources.0.kind: expected manifest or folder or captions or imagefolder or audiofolder or parquet or "
        'webdataset or delta or inventory, given "manifst"; did you mean `manifest`?',
        'FILE:7: sources.1.name: expected text matching `^[A-Za-z0-9][A-Za-z0-9_.-]*$`, given "a b"',
        "FILE:6: sources.1.path: missing; expected text",
        "FILE:8: sources.1.pth: unknown key; did you mean `path`?",
        "FILE:11: sources.2.path: expected text, given 7",
        'FILE:15: train.epochs: expected an integer of at least 0, given "3"',
        "FILE:16: train.batch_size: expected an integer of at least 2, given 2.0",
        "FILE:17: train.test: expected a number of at least 0 and below 1, given 1",
        'FILE:21: index.views.1: expected fused, text, image or audio, given "txt"; did you mean `text`?',
        f'FILE:20: index.kind: expected {KINDS}, given "ivf-flat"; did you mean `ivf_flat`?',
        "FILE:18: engine: expected a section of `key: value` lines, given 7",
        "FILE:12: indx: unknown key; did you mean `index`?",
        "FILE:13: min_side: unknown key here; did you mean `prepare.image.min_side`?",
    ]


PLACE = "expected a local path, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "",
            "FILE: sources: missing; expected a list (at least 1) of: a section with `kind` manifest, folder, "
            "captions, imagefolder, audiofolder, parquet, webdataset, delta or inventory",
        ),
        ("- a\n", "FILE: expected a section of `key: value` lines, given "),
        ("sources: []\n", "FILE:1: sources: expected a list (at least 1) of"),
        (SOURCES + "lake: [\n", "FILE:4: not YAML"),
        (SOURCES + "lake: hdfs://bucket/lake\n", f"FILE:3: lake: {PLACE}, given"),
        (SOURCES + "lake: s3:///lake\n", f"FILE:3: lake: {PLACE}, given"),
        (SOURCES + "lake: s3://user:pw@b/x\n", f"FILE:3: lake: {PLACE}, given 's3://REDACTED@b/x'"),
        (SOURCES + "lake: az://key:pw@b/x\n", f"FILE:3: lake: {PLACE}, given 'az://REDACTED@b/x'"),
        (SOURCES + "lake: ''\n", "FILE:3: lake: expected a path"),
        (SOURCES + 'lake: "a\\0b"\n', "FILE:3: lake: expected a path"),
        (SOURCES + "lake: data/lake\n", "FILE:2: sources.0.path: the lake lies in this folder"),
        (
            SOURCES + "  - {kind: folder, name: clips, path: b}\n",
            "FILE:3: sources.1.name: 'clips' is taken by sources.0",
        ),
        (SOURCES + "prepare: {text: {min_chars: 9, max_chars: 8}}\n", "FILE:3: prepare.text.min_chars: 9 is above"),
        (SOURCES + "prepare: {audio: {min_duration_s: 700}}\n", "FILE:3: prepare.audio.min_duration_s: 700.0 is above"),
        (SOURCES + "model: {text: {kind: huggingface}}\n", "FILE:3: model.text.path: is given if and only if"),
        (SOURCES + "train: {workers: 3}\n", "FILE:3: train.workers: 3 is more than the 2 of engine.workers"),
        (
            SOURCES + "train: {workers: 2}\nengine: {kind: beam}\n",
            "FILE:3: train.workers: 2, but Beam cannot run processes",
        ),
        (SOURCES + "query: {weights: {text: a}}\n", "FILE:3: query.weights.text: expected a number, given"),
        (
            SOURCES + "milvus:\n  index_params:\n    M: [1]\n",
            "FILE:5: milvus.index_params.M: expected an integer or a number or text, given [1]",
        ),
        (SOURCES + "rag: {judge: {model: m}}\n", "FILE:3: rag.judge.url: is needed where rag.judge is set"),
        (SOURCES + "model: {fusion: transformer, dimension: 30}\n", "FILE:3: model: 4 attention_heads do not divide"),
        (SOURCES + "index: {views: [text, text]}\n", "FILE:3: index.views: a view is named twice"),
    ],
)
def test_a_wrong_file_is_one_problem_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    (told,) = problems_of(write(tmp_path, text))

    assert told.startswith(problem)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("foo", "FILE: --set 'foo': expected key=value or key.sub=value"),
        ("a..b=1", "FILE: --set 'a..b=1': expected key=value or key.sub=value"),
        ("indx.kind=flat", "--set indx.kind=flat: indx: unknown key; did you mean `index`?"),
        ("index.kind=ivf", f'--set index.kind=ivf: index.kind: expected {KINDS}, given "ivf"'),
        ("index={kind: ivf}", f'--set index={{kind: ivf}}: index.kind: expected {KINDS}, given "ivf"'),
        ("engine.workers=", "--set engine.workers=: engine.workers: expected an integer of at least 1, given null"),
        ("lake=[", "--set lake=[: lake: not YAML"),
        ("lake.x=1", "FILE: --set 'lake.x=1': lake holds a value, not a section"),
        ("sources.1.path=x", "FILE: --set 'sources.1.path=x': sources is a list of 1: name an item by its position"),
        ("sources.name=x", "FILE: --set 'sources.name=x': sources is a list of 1: name an item by its position"),
    ],
)
def test_an_override_is_validated_like_the_file(tmp_path: Path, override: str, problem: str) -> None:
    (told,) = problems_of(write(tmp_path, "lake: lake\n" + SOURCES), override)

    assert told.startswith(problem)


def test_an_override_of_a_key_that_names_a_secret_is_told_without_its_value(tmp_path: Path) -> None:
    (told,) = problems_of(write(tmp_path, "lake: lake\n" + SOURCES), "rag.endpoint.api_key=s3cret")
    assert told.startswith("--set rag.endpoint.api_key=REDACTED: rag.endpoint.api_key: unknown key")
    assert "s3cret" not in told


def test_of_many_mistakes_the_first_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "lake: lake\n" + SOURCES + "".join(f"trian{i}: 1\n" for i in range(1_000)))
    *told, more = problems_of(path)
    assert (len(told), more) == (20, "980 more are not listed.")


def test_overrides_replace_values_in_order_and_make_missing_sections(tmp_path: Path) -> None:
    path = write(tmp_path, SOURCES + "engine: {workers: 1}\n")

    project = load_project(
        path,
        [
            "engine.workers=3",
            "engine.workers=4",
            "prepare.image.side=64",
            "index.views=[text, image]",
            "sources.0.name=b",
        ],
    )

    assert project.engine.workers == 4
    assert project.prepare.image.side == 64
    assert project.index.views == ("text", "image")
    assert project.sources[0].name == "b"


def test_places_start_at_the_file_and_in_overrides_at_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    path = write(
        home,
        """lake: ../lake/
sources:
  - {kind: manifest, name: a, path: a.jsonl, media_root: media}
  - {kind: manifest, name: b, path: s3://bucket/b.jsonl, media_root: s3://bucket/media}
  - {kind: folder, name: c, path: /data/c}
model:
  text: {kind: huggingface, path: ./weights}
  image: {kind: huggingface, path: google/vit}
""",
    )

    project = load_project(os.path.relpath(path), ["sources.2={kind: folder, name: c, path: c}"])

    assert project.lake == str(tmp_path / "lake")
    a, b, c = project.sources
    assert isinstance(a, ManifestSource)
    assert isinstance(b, ManifestSource)
    assert isinstance(c, FolderSource)
    assert (a.path, a.media_root) == (str(home / "a.jsonl"), str(home / "media"))
    assert (b.path, b.media_root) == ("s3://bucket/b.jsonl", "s3://bucket/media")
    assert c.path == str(here / "c")
    assert project.model.text.path == str(home / "weights")
    assert project.model.image.path == "google/vit"
    assert load_project(path, ["lake=other"]).lake == str(here / "other")


def test_the_digest_knows_settings_and_no_places(tmp_path: Path) -> None:
    text = SOURCES + "model: {text: {kind: huggingface, path: ./weights}}\n"
    digests = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        path = write(tmp_path / name, text)
        digests.add(project_digest(load_project(path, ["engine.workers=7", f"lake={tmp_path / name}/l"])))
        digests.add(project_digest(load_project(path)))

    assert len(digests) == 1
    for override in ("train.seed=1", "sources.0.name=b", "prepare.image.side=64", "index.kind=flat"):
        digests.add(project_digest(load_project(path, [override])))
    assert len(digests) == 5
    assert str(tmp_path) not in str(recipe(load_project(path)))


def test_a_file_that_cannot_be_read_names_the_next_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)no project file .*trichord init"):
        load_project(str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_project(str(tmp_path))


def test_an_empty_section_has_its_defaults(tmp_path: Path) -> None:
    empty = load_project(write(tmp_path, SOURCES + "train:\nprepare:\n  image:\n"))

    assert empty == load_project(write(tmp_path, SOURCES))


def test_the_example_loads_with_every_default_shown_or_taken(tmp_path: Path) -> None:
    example = commented_example()
    shown = re.sub(r"^( *)#(?=\S)", r"\1", example, flags=re.MULTILINE)

    project = load_project(write(tmp_path, example))
    written = load_project(write(tmp_path, shown))

    assert [source.kind for source in project.sources] == ["manifest"]
    kinds = ["manifest", "folder", "captions", "imagefolder", "audiofolder", "parquet", "webdataset", "delta"]
    kinds.append("inventory")
    assert [source.kind for source in written.sources] == kinds
    assert written.model_copy(update={"sources": project.sources}) == project
    defaults = load_project(write(tmp_path, SOURCES))
    assert project.model_copy(update={"sources": defaults.sources}) == defaults


def test_the_example_shows_every_key() -> None:
    shown = set(re.findall(r"^ *#?(?:- )?(\w+):", commented_example(), flags=re.MULTILINE))
    keys = {name for model in (json_schema(), *json_schema()["$defs"].values()) for name in model["properties"]}

    assert keys <= shown


def test_the_json_schema_accepts_what_loads_and_refuses_what_does_not(tmp_path: Path) -> None:
    check = jsonschema.Draft202012Validator(json_schema())
    check.check_schema(json_schema())

    assert check.is_valid(yaml.safe_load(commented_example()))
    for wrong in ("indx: {}", "index: {kind: ivf}", "engine: {workers: 0}", "sources: []", "sources: [{kind: folder}]"):
        text = wrong + "\n" + ("" if "sources" in wrong else SOURCES)
        assert not check.is_valid(yaml.safe_load(text))
        assert problems_of(write(tmp_path, text))


def test_the_committed_examples_load() -> None:
    examples = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))

    assert examples
    for path in examples:
        assert load_project(str(path)).sources
