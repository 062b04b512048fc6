"""Nothing that a data file says is imported, called or fetched: one test for every reader (see docs/security.md).

Each plants in a file what would leave a mark if it ran (`tests/pipelines/tripwire.py`), and looks for the mark.
"""

from __future__ import annotations

import ast
import importlib
import io
import json
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import trichord
from tests.command import trichord as command
from tests.encoders import models
from tests.encoders.planted import planted
from tests.encoders.plugins import Lengths
from tests.pipelines.lakes import workspace_of
from tests.pipelines.model.planted_shard import fusion_model
from trichord.encoders.checkpoint import Checkpoint
from trichord.encoders.data import Part, TrainingData
from trichord.encoders.frozen import load_encoder
from trichord.encoders.model import FusionModel
from trichord.infra import digest
from trichord.infra.config import EncoderConfig, ModelConfig, StorageConfig
from trichord.infra.errors import ConfigError, FingerprintMismatch, StorageError, TrichordError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.pipelines.core import runs
from trichord.pipelines.core.recipes import RECORD_FORMAT, known_recipes

tripwire = importlib.import_module("tests.pipelines.tripwire")
NAME = "tests.pipelines.tripwire:Tripwire"
POISON = b"ctests.pipelines.tripwire\ntrip\n(tR."  # a pickle that imports the module and calls `trip`
ROOMS = ("encoders", "index_builders", "infra", "pipelines", "transforms")


@pytest.fixture(autouse=True)
def untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The mark that nothing may leave; the test fails if it is there at the end."""
    mark = tmp_path / "it-ran"
    monkeypatch.setenv(tripwire.WIRE, str(mark))
    monkeypatch.delitem(sys.modules, "tests.pipelines.tripwire")  # so that an import would run it
    yield mark
    assert not mark.exists(), "something that a data file named was run"


def named(kind: str, folder: Path) -> dict[str, Any]:
    """Settings of an encoder that would leave the mark: a class of this house, or the shell's command."""
    if kind == "shell":
        options: dict[str, Any] = {"args": f"touch {folder / 'it-ran'}", "shell": True}
        return {"kind": "plugin", "plugin": "subprocess:Popen", "options": options}
    return {"kind": "plugin", "plugin": NAME, "options": {}}


def edit(file: Path, **config: Any) -> dict[str, Any]:
    """Change settings in a model.json; returns its content."""
    stored: dict[str, Any] = json.loads(file.read_bytes())
    stored["config"] |= config
    file.write_text(json.dumps(stored), encoding="utf-8")
    return stored


@pytest.mark.parametrize("kind", ["shell", "class"])
def test_a_model_folder_that_names_a_class_is_refused_alone_in_a_search_and_by_verify(lake_copy, tmp_path, kind):
    project, workspace = lake_copy, workspace_of(lake_copy)
    folder = Path(workspace.lake.uri(workspace.publications.require_live().model))
    edit(folder / "model.json", text=named(kind, tmp_path))
    with pytest.raises(ConfigError, match="does not decide what code runs") as caught:
        trichord.load_model(folder)
    assert "plugins={'text'" in str(caught.value)
    foreign = shutil.copytree(folder, tmp_path / "foreign")
    found = command("search", "--project", str(project), "--text", "a circle", "--model", str(foreign), check=2)
    assert "does not decide what code runs" in found.stderr
    refused = command("search", "--project", str(project), "--text", "a circle", check=6)
    assert "model.json is damaged" in refused.stderr  # its bytes are not those that were published
    verified = command("verify", "--project", str(project), check=6)
    assert "model.json is damaged" in verified.stderr


def test_a_model_of_another_fingerprint_is_refused_before_anything_of_it_is_constructed(indexed, tmp_path):
    workspace = workspace_of(indexed[0])
    row = workspace.publications.require_live()
    folder = Path(shutil.copytree(workspace.lake.uri(row.model), tmp_path / "model"))
    allowed = ModelConfig(text=EncoderConfig(kind="plugin", plugin=NAME))
    edit(folder / "model.json", text=allowed.text.model_dump(exclude={"adapt"}), dimension=64)
    with pytest.raises(FingerprintMismatch, match="settings were changed"):
        FusionModel.load(str(folder), allowed)
    with pytest.raises(FingerprintMismatch, match="expected 0000"):
        FusionModel.load(str(folder), allowed, expected="0" * 32)


def plugged(folder: Path, **options: Any) -> tuple[FusionModel, ModelConfig]:
    """A saved model on the plug-in `Lengths`."""
    text = EncoderConfig(kind="plugin", plugin="tests.encoders.plugins:Lengths", options=options)
    config = ModelConfig(dimension=8, hidden=8, text=text)
    made = fusion_model(config)
    made.save(str(folder))
    return made, config


def test_a_plug_in_runs_only_as_the_project_names_it_class_and_options_or_as_the_caller_made_it(tmp_path):
    made, config = plugged(tmp_path / "model", dimension=4)
    folder = str(tmp_path / "model")
    assert FusionModel.load(folder, config).fingerprint == made.fingerprint
    assert trichord.load_model(folder, plugins={"text": Lengths(dimension=4)}).fingerprint == made.fingerprint
    for other in ({"dimension": 2}, {"dimension": 4, "tokens": 1}, {"dimension": 4.0}, {}):
        text = EncoderConfig(kind="plugin", plugin="tests.encoders.plugins:Lengths", options=other)
        with pytest.raises(ConfigError, match="does not decide what code runs"):
            FusionModel.load(folder, config.model_copy(update={"text": text}))
    with pytest.raises(ConfigError, match="the project file names no plug-in"):
        FusionModel.load(folder, ModelConfig())
    with pytest.raises(FingerprintMismatch, match="text encoder"):
        trichord.load_model(folder, plugins={"text": Lengths(dimension=2)})
    with pytest.raises(ConfigError, match="as its text encoder, but nothing was given"):
        trichord.load_model(folder)


def test_a_model_folder_does_not_decide_what_is_fetched_from_the_hub(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    models.bert(tmp_path / "bert")
    text = EncoderConfig(kind="huggingface", path=str(tmp_path / "bert"))
    fusion_model(ModelConfig(dimension=8, hidden=8, text=text)).save(str(tmp_path / "model"))
    shutil.rmtree(tmp_path / "bert")
    (tmp_path / "model" / "places.json").write_text(json.dumps({"text": "somebody/their-model"}), encoding="utf-8")
    edit(tmp_path / "model" / "model.json", text=text.model_dump(exclude={"adapt"}) | {"path": "somebody/other"})
    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    with pytest.raises(ConfigError, match="does not decide what is fetched"):
        FusionModel.load(str(tmp_path / "model"))


def planted_code(folder: Path) -> Path:
    """A model whose settings ask for code of their own in every way that its library knows."""
    models.bert(folder)
    (folder / "code.py").write_text(f"from tests.pipelines.tripwire import Tripwire\n{'X = Tripwire()'}\n", "utf-8")
    auto = dict.fromkeys(("AutoConfig", "AutoModel", "AutoTokenizer", "AutoImageProcessor"), "code.X")
    for name in ("config.json", "tokenizer_config.json"):
        stored = json.loads((folder / name).read_bytes())
        (folder / name).write_text(json.dumps(stored | {"auto_map": auto, "custom_pipelines": auto}), "utf-8")
    return folder


def test_code_that_a_models_settings_and_tokenizer_name_is_not_run(tmp_path):
    folder = planted_code(tmp_path / "bert")
    with pytest.raises(ConfigError, match=r"names code of its own \(auto_map\)"):
        load_encoder("text", EncoderConfig(kind="huggingface", path=str(folder)), "strict")
    stored = json.loads((folder / "config.json").read_bytes())
    del stored["auto_map"]  # the tokenizer's settings still name some
    (folder / "config.json").write_text(json.dumps(stored), encoding="utf-8")
    encoder = load_encoder("text", EncoderConfig(kind="huggingface", path=str(folder)), "strict")
    assert encoder.encode(["a dog"]).shape == (1, encoder.dimension)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("adapter_config.json", {"base_model_name_or_path": "somebody/model"}, "holds an adapter"),
        ("config.json", {"_attn_implementation": "somebody/kernel"}, "may be code from the Hub"),
        ("config.json", {"attn_implementation": {"": "somebody/kernel"}}, "may be code from the Hub"),
        ("config.json", {"text_config": {"attn_implementation": "somebody/kernel"}}, "may be code from the Hub"),
        ("config.json", {"transformers_weights": "../x.safetensors"}, "not a safetensors file in this folder"),
        ("config.json", {"transformers_weights": "x.bin"}, "not a safetensors file in this folder"),
        ("model.safetensors.index.json", {"weight_map": {"a": "../x.safetensors"}}, "not a safetensors file in this"),
        ("model.safetensors.index.json", {"weight_map": {"a": "x.bin"}}, "not a safetensors file in this folder"),
    ],
)
def test_a_model_that_names_another_model_a_kernel_or_other_weights_is_refused(tmp_path, file, content, said):
    folder = models.bert(tmp_path)
    stored = json.loads((folder / file).read_bytes()) if (folder / file).exists() else {}
    (folder / file).write_text(json.dumps(stored | content), encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load_encoder("text", EncoderConfig(kind="huggingface", path=str(folder)), "strict")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "config.json", "model.safetensors"])
def test_a_pickle_in_place_of_a_models_file_is_an_error_and_is_not_read(tmp_path, name):
    folder = models.bert(tmp_path)
    (folder / name).write_bytes(POISON)
    with pytest.raises(TrichordError):
        load_encoder("text", EncoderConfig(kind="huggingface", path=str(folder)), "strict").encode(["a dog"])


def test_a_sentence_bert_list_of_modules_is_compared_and_not_imported(tmp_path):
    folder = models.bert(tmp_path)
    listing = [{"type": "sentence_transformers.models.Transformer"}, {"type": NAME.replace(":", ".")}]
    (folder / "modules.json").write_text(json.dumps(listing), encoding="utf-8")
    with pytest.raises(ConfigError, match="Tripwire"):
        _ = load_encoder("text", EncoderConfig(kind="huggingface", path=str(folder)), "strict").encode(["a dog"])


def test_pickles_in_a_checkpoint_or_in_training_statistics_are_not_read(tmp_path):
    assert Checkpoint.parse(POISON, "run") is None
    header = json.dumps({"__metadata__": {"run": "run", "state": POISON.hex(), "sha256": ""}}).encode()
    assert Checkpoint.parse(len(header).to_bytes(8, "little") + header, "run") is None
    data = TrainingData.write(str(tmp_path / "data"), [Part(features=planted(8, 0))])
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    with zipfile.ZipFile(tmp_path / "data" / "stats.npz", "w") as stats:
        stats.writestr("text.mean.npy", array.getvalue() + POISON)
    with pytest.raises(ValueError, match="allow_pickle"):
        _ = data.stats


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Storage(StorageConfig()), str(tmp_path / "lake"))


@pytest.mark.parametrize("path", ["../outside", "models/../../outside", "/../outside"])
def test_no_path_in_a_candidate_publication_or_manifest_leads_out_of_the_lake(lake, path):
    with pytest.raises(StorageError, match="not a place in the lake"):
        lake.read(path, "model.json")
    assert lake.uri("models", "a..b") == f"{lake.root}/models/a..b"


def test_recipes_in_the_lake_are_compared_and_their_names_never_looked_up(lake_copy):
    workspace = workspace_of(lake_copy)
    before = known_recipes(workspace)
    folder = Path(workspace.lake.uri(layout.RECIPES))
    contents: list[Any] = [[{"op": NAME, "version": 1, "settings": {}}], {"op": NAME}, [1], "x", [[]]]
    for content in contents:
        name = digest.address("recipe", RECORD_FORMAT, content)
        (folder / f"{name}.json").write_bytes(digest.canonical_json(content))
    (folder / f"{'0' * 32}.json").write_text("[" * 100_000, encoding="utf-8")
    found = known_recipes(workspace)
    assert len(found) == len(before) + 1  # the first is a recipe like any other: of an op that nothing here has
    command("plan", "--project", str(lake_copy))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stages", {"records": {"made": "x"}}),
        ("stages", {"records": {"made": 1, "seconds": 1e999}}),
        ("stages", []),
        ("id", 1),
        ("publication", ["x"]),
        ("counts", {"rows_in": "many"}),
        ("whole", -1),
        ("unchanged", 1),
    ],
)
def test_notes_of_runs_that_are_not_notes_are_passed_over(lake, field, value):
    with runs.recorded(lake, "reindex") as good:
        good.stages["records"] = runs.StageTime(made=1, seconds=1.0)
    stored = json.loads(lake.read(layout.run_path(good.id)))
    del stored["check"]  # or it would be passed over as damaged
    lake.write(layout.run_path("x"), json.dumps({**stored, field: value}).encode())
    lake.write(layout.run_path("y"), b"[" * 100_000)
    lake.write(layout.run_path("z"), b"[]")
    assert runs.last_runs(lake) == [good]


@pytest.mark.parametrize("path", ["../../outside/{}", "s3://elsewhere/{}", "/etc/{}", "%2e%2e/{}"])
def test_a_delta_log_of_the_lake_cannot_name_a_file_elsewhere(lake_copy, path):
    log = sorted((lake_copy.parent / "lake" / "records" / "_delta_log").glob("*.json"))[-1]
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if "add" in line:
            line["add"]["path"] = path.format(line["add"]["path"].rsplit("/", 1)[-1])
    log.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    with pytest.raises(StorageError, match="is not our shard"):
        workspace_of(lake_copy).table("records").shards()


@pytest.mark.parametrize("path", ["../other.parquet", "/etc/passwd", "s3://elsewhere/x.parquet", "%2e%2e/x.parquet"])
def test_a_delta_source_cannot_name_a_file_outside_its_table(tmp_path, path):
    deltalake.write_deltalake(str(tmp_path / "table"), pa.table({"id": ["a"], "text": ["one"]}))
    log = tmp_path / "table" / "_delta_log" / f"{0:020d}.json"
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if "add" in line:
            line["add"]["path"] = path
    log.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    assert "is not below it" in planned(tmp_path, {"kind": "delta", "path": "table"}, check=7).stderr


def planned(folder: Path, source: dict[str, Any], check: int = 0) -> Any:
    """`trichord plan` of one source."""
    settings = {"lake": "lake", "sources": [{"name": "s", **source}]}
    (folder / "trichord.yaml").write_text(json.dumps(settings), encoding="utf-8")
    return command("plan", "--project", str(folder / "trichord.yaml"), check=check)


def test_a_parquet_source_with_pickled_types_in_its_metadata_is_read_without_them(tmp_path):
    extension = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": POISON}
    schema = pa.schema([pa.field("id", pa.string(), metadata=extension), pa.field("text", pa.string())])
    pq.write_table(pa.table({"id": ["a"], "text": ["one"]}, schema=schema), tmp_path / "rows.parquet")
    planned(tmp_path, {"kind": "parquet", "path": "rows.parquet"})


def test_the_wire_trips_where_a_pickle_is_read(untouched):
    """The mark of the other tests is one that would be seen."""
    importlib.import_module("pickle").loads(POISON)
    assert untouched.exists()
    untouched.unlink()


def test_only_these_places_import_by_name_run_processes_or_unpickle():
    """The static side: whoever adds such a call to a module must come here, and to docs/security.md."""
    allowed = {
        ("encoders/plugin.py", "import_module"),  # the one documented plug-in point, named by the project file
        ("infra/engines/worker.py", "loads"),  # from the parent process, through a socket that nothing else has
        ("infra/engines/local.py", "loads"),
        ("infra/engines/template.py", "import_module"),  # modules of ours, which the parent process has imported
        ("infra/engines/warm.py", "Popen"),  # the template of workers: this interpreter
        ("infra/lazy.py", "import_module"),  # libraries that modules of ours name
        ("infra/engines/failure.py", "loads"),  # of what was pickled in the same expression
        ("infra/engines/ray.py", "loads"),  # from Ray's own object store
        ("infra/engines/ray_actors.py", "loads"),
        ("infra/engines/ray_train.py", "loads"),
        ("infra/engines/beam.py", "loads"),  # signed with a key of the run
    }
    found = set()
    root = Path(trichord.__file__).parent
    for path in (path for room in ROOMS for path in (root / room).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (what := _danger(node)):
                found.add((path.relative_to(root).as_posix(), what))
    assert found == allowed


def _danger(call: ast.Call) -> str | None:
    """The name of a call that can run what data says; `json.loads` and methods named `eval` cannot."""
    target = call.func
    if isinstance(target, ast.Name):
        return target.id if target.id in ("eval", "exec", "compile", "__import__") else None
    if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Name):
        return None
    owner, name = target.value.id, target.attr
    dangers = {
        "importlib": ("import_module",),
        "pickle": ("load", "loads", "Unpickler"),
        "torch": ("load",),
        "yaml": ("load", "full_load", "unsafe_load"),
        "os": ("system", "popen", "execv", "execve", "spawnl"),
        "subprocess": ("run", "Popen", "call", "check_call", "check_output"),
        "joblib": ("load",),
        "marshal": ("loads", "load"),
        "runpy": ("run_path", "run_module"),
    }
    return name if name in dangers.get(owner, ()) else None
