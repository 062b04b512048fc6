"""Jobs: what is asked for again has the same id, what is sent holds no secret, and a package runs where it arrives."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.pipelines.lakes import result_of, trichord
from trichord.infra.engines.ray_jobs import Job, Resources
from trichord.infra.errors import ConfigError
from trichord.pipelines.ops.submit import choose, submit

CANARY = "c4nary0f5ecrets"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that extends another one, with secrets around it."""
    folder = tmp_path / "work" / "team"
    (folder / "lake" / "_runs").mkdir(parents=True)
    for name in (".env", "token", "lake/_runs/note.json", "rows.jsonl"):
        (folder / name).write_text(f'{{"key": "a", "text": "{CANARY}"}}')
    (folder.parent / "base.yaml").write_text("engine: {workers: 2}\nlake: ${CANARY_LAKE}\n")
    source = {"name": "rows", "kind": "manifest", "path": "rows.jsonl"}
    project = folder / "trichord.yaml"
    project.write_text(yaml.safe_dump({"extends": "../base.yaml", "sources": [source]}))
    return project


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("CANARY_LAKE", str(tmp_path / "work" / "team" / "lake" / CANARY))
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def staged(project: Path, folder: Path, *arguments: str, verb: str = "reindex", **options) -> tuple[str, str]:
    done = submit(project, [verb], arguments, stage=folder, **options)
    return done.id, done.command


def test_no_secret_lake_or_environment_is_sent(project, tmp_path):
    keys = tmp_path / "keys.txt"
    keys.write_text("a\n")
    done, command = staged(project, tmp_path / "out", "--source", "rows", "--keys", str(keys))
    sent = {
        path.relative_to(tmp_path / "out"): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert not any(CANARY.encode() in content for content in sent.values())
    assert CANARY not in command + done
    others = {path.as_posix() for path in sent if path.parts[0] != "trichord"}
    assert others == {"project/base.yaml", "project/team/trichord.yaml", "files/3-keys.txt"}


def test_the_command_names_relative_places_absolutely_and_sent_files_where_they_arrive(project, tmp_path):
    (tmp_path / "keys.txt").write_text("a\n")
    resources = Resources(num_cpus=1, custom={"disk": 1})
    _, command = staged(project, tmp_path / "out", f"--keys={tmp_path}/keys.txt", resources=resources)
    words = shlex.split(command)
    assert words[:3] == ["ray", "job", "submit"]
    assert {"--entrypoint-num-cpus=1", '--entrypoint-resources={"disk": 1}'} <= set(words)
    run = words[words.index("--") + 1 :]
    assert run[:6] == ["python", "-m", "trichord.pipelines", "reindex", "--project", "project/team/trichord.yaml"]
    assert run[6:] == ["--set", f'sources.0.path="{project.parent}/rows.jsonl"', "--keys=files/0-keys.txt"]


def test_what_was_sent_runs_where_it_arrives(indexed, tmp_path):
    done = result_of(
        trichord("submit", "--project", str(indexed[0]), "--stage", str(tmp_path / "out"), "--json", "status")
    )
    words = shlex.split(done["command"])
    run = [sys.executable, *words[words.index("--") + 2 :], "--json"]
    ended = subprocess.run(run, cwd=tmp_path / "out", env={"PATH": ""}, capture_output=True, text=True, check=False)
    assert indexed[1]["manifest_digest"] in ended.stdout, ended.stderr


def test_the_same_thing_has_the_same_id_and_another_one_another(project, tmp_path, indexed):
    def job_id(*arguments: str, of: Path = project, **options) -> str:
        return staged(of, tmp_path / f"out-{len(list(tmp_path.iterdir()))}", *arguments, **options)[0]

    ids = [
        job_id(),
        job_id("--retrain"),
        job_id(verb="nightly"),
        job_id(key="2026-11-30"),
        job_id(overrides=["engine.workers=3"]),
        job_id(of=indexed[0]),
    ]
    assert len(set(ids)) == len(ids)
    assert job_id() == ids[0]
    assert ids[0].startswith("trichord-reindex-")
    assert ids[0].endswith("-1")


def test_attempts_follow_each_other():
    def known(*statuses: str) -> list[Job]:
        return [Job(id=f"trichord-reindex-aa-{n}", status=status) for n, status in enumerate(statuses, 1)]

    assert choose([], again=False) == (None, "started", 1)
    for ended in ("FAILED", "STOPPED"):
        assert choose(known("FAILED", ended), again=False) == (None, "started", 3)
    for running in ("PENDING", "RUNNING"):
        assert choose(known("STOPPED", running), again=True)[1:] == ("attached", 2)
    assert choose(known("FAILED", "SUCCEEDED"), again=False)[1:] == ("done_before", 2)
    assert choose(known("FAILED", "SUCCEEDED"), again=True) == (None, "started", 3)
    many = known(*["FAILED"] * 11)
    assert choose(many[::-1], again=False) == (None, "started", 12)  # by number, not by letters


def test_credentials_are_refused_before_anything_is_sent(project, tmp_path):
    with pytest.raises(ConfigError, match="An argument holds credentials"):
        staged(project, tmp_path / "a", overrides=[f"milvus.password={CANARY}"])
    project.write_text(project.read_text() + f"storage: {{endpoint: 'https://me:{CANARY}@store'}}\n")
    with pytest.raises(ConfigError, match=r"trichord.yaml, line \d+, holds credentials") as refused:
        staged(project, tmp_path / "b")
    assert CANARY not in str(refused.value)


def test_a_base_named_absolutely_is_refused(project, tmp_path):
    project.write_text(project.read_text().replace("../base.yaml", str(project.parent.parent / "base.yaml")))
    with pytest.raises(ConfigError, match="is an absolute path"):
        staged(project, tmp_path / "a")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["demo"], "is not a verb that runs on a cluster"),
        (["nonsense"], "is not a verb that runs on a cluster"),
        (["reindex", "--bogus"], "No such option"),
        (["reindex", "--set", "lake=x"], "is given before the verb"),
        (["reindex", "--project=x"], "is given before the verb"),
    ],
)
def test_a_wrong_verb_is_refused_here(project, tmp_path, words, said):
    done = trichord("submit", "--project", str(project), "--stage", str(tmp_path / "out"), *words, check=2)
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_verbs_with_an_engine_run_on_ray(project, tmp_path):
    for number, (words, ray) in enumerate(
        [(["reindex"], True), (["reindex", "--engine", "local"], False), (["maintain"], False)]
    ):
        options = ("--project", str(project), "--stage", str(tmp_path / str(number)), "--json")
        command = result_of(trichord("submit", *options, *words))["command"]
        assert command.endswith("--engine ray") is ray
