"""What is written for a project: its values, and never a secret."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.infra.deploy.rendered import PLACES, PROJECT, place_of, write_all
from trichord.infra.deploy import render as module
from trichord.infra.deploy.render import HERE, files_of, locked_version, render, targets
from trichord.infra.ending import GRACE_S
from trichord.infra.errors import ConfigError

GRACE = re.compile(r"(?:terminationGracePeriodSeconds: |TimeoutStopSec=|stop_grace_period: |END_S = )(\d+)")
REPOSITORY = Path(__file__).parents[3]
EXTRAS = ("", "ray", "events", "observability")  # of the images
CANARY = "c4n4ry-s3cret"


def all_text(**changes: Any) -> dict[str, str]:
    place = place_of(**changes)
    return {name: text for target in targets() for name, text in render(target, place, {"t.yaml": PROJECT}).items()}


def test_every_target_has_files_and_an_unknown_one_is_refused():
    assert {"docker", "compose", "kubernetes", "ray", "systemd", "airflow", "dagster", "github"} <= set(targets())
    assert all(files_of(target) for target in targets())
    with pytest.raises(ConfigError, match="unknown target: helm"):
        files_of("helm")


def test_no_mark_of_a_template_is_left():
    for changes in ({}, {"secrets": (), "local": False, "milvus": True, "lake": "s3://b/lake"}):
        for name, text in all_text(**changes).items():
            assert "<%" not in text, name
            assert "%>" not in text, name


def test_a_file_that_is_no_template_is_copied_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "prometheus").mkdir()
    (tmp_path / "prometheus" / "alerts.yml").write_text("a: '{{ $labels.lake }} [[ x ]]'\n", encoding="utf-8")
    monkeypatch.setattr(module, "HERE", tmp_path)
    assert targets() == ("prometheus",)
    assert render("prometheus", place_of(), {}) == {"prometheus/alerts.yml": "a: '{{ $labels.lake }} [[ x ]]'\n"}


def test_name_image_schedule_lake_and_secrets_reach_the_files():
    found = all_text(name="night-owl", lake="s3://bucket/lake", lake_path="s3://bucket/lake", schedule="5 4 * * 1")
    for name, text in found.items():
        if name.endswith((".service", ".py", "nightly.yml", "nightly.yaml", "watcher.yaml")):
            assert "s3://bucket/lake" in text, name
    for name in ("kubernetes/base/nightly.yaml", "ray/nightly.yaml", "github/trichord-nightly.yml"):
        assert "5 4 * * 1" in found[name]
    assert "OnCalendar=Mon *-*-* 04:05:00 Europe/Berlin" in found["systemd/trichord-nightly.timer"]
    assert "namespace: night-owl" in found["kubernetes/base/kustomization.yaml"]
    assert "night_owl" in found["airflow/trichord_nightly.py"]
    assert "LoadCredential=AWS_ACCESS_KEY_ID:" in found["systemd/trichord-nightly.service"]


def test_images_and_ports_agree_over_all_files(tmp_path):
    write_all(tmp_path, PLACES["local"])
    images, ports = set[str](), set[str]()
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.suffix != ".lock":
            text = path.read_text(encoding="utf-8")
            images |= set(re.findall(r"registry\.example\.com/\S+?(?=[\s\"]|$)", text))
            ports |= set(re.findall(r"(?:0\.0\.0\.0:|containerPort: |127\.0\.0\.1:8787:|8787/|:)(87\d\d)", text))
    assert images == {"registry.example.com/team/trichord:1.2.3", "registry.example.com/team/trichord:1.2.3-gpu"} | {
        "registry.example.com/team/trichord"  # Kustomize has the tag apart
    }
    assert ports == {"8787"}


def test_grace_of_every_place_is_longer_than_that_of_running_tasks():
    found = all_text()
    for name, text in found.items():
        for seconds in GRACE.findall(text):
            assert int(seconds) > GRACE_S + 5, name


@pytest.mark.parametrize(
    ("project", "why"),
    [
        ("lake: s3://user:hunter2@bucket/lake\n", "a password in a URL"),
        ("web: {url: 'https://host/x?token=abcdef123456'}\n", "a token in a URL"),
        ("key: AKIAIOSFODNN7EXAMPLE\n", "a key of AWS"),
        ("-----BEGIN RSA PRIVATE KEY-----\n", "a private key"),
        ("hook: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", "a webhook's key"),
        (f"note: {CANARY}\n", "the content of a named variable"),
        ("note: |\n  one-line\nand-two\n", "the content of a named variable of two lines"),
    ],
)
def test_a_secret_in_a_project_file_reaches_no_file(monkeypatch, project, why):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one-line\nand-two\n")
    with pytest.raises(ConfigError, match="would hold a secret") as error:
        render("kubernetes", place_of(), {"trichord.yaml": project})
    for line in project.splitlines():
        assert line not in str(error.value)


def test_no_content_of_a_secret_is_in_any_file(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    assert CANARY not in json.dumps(all_text())


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Night Owl"},
        {"name": "a; rm -rf /"},
        {"image": "trichord"},
        {"image": "trichord:latest"},
        {"image": "user:hunter2@registry.example.com/trichord:1.0"},
        {"image": "trichord:1.0\nroot: true"},
        {"gpu_image": 'trichord:1.0"'},
        {"lake": "s3://b/l' ; x"},
        {"lake_path": "/srv/a b"},
        {"project": "/srv/$(id)/trichord.yaml"},
        {"project": "/srv/trichord.json"},
        {"program": "/bin/sh -c"},
        {"secrets": ("aws_key",)},
        {"secrets": ("KEY=hunter2",)},
        {"timezone": "Mars/Olympus"},
        {"schedule": "@daily"},
        {"schedule": "0 25 * * *"},
        {"schedule": "0 2 * * * root"},
    ],
    ids=str,
)
def test_a_value_that_a_file_cannot_hold_is_refused(changes):
    with pytest.raises(ConfigError) as error:
        place_of(**changes)
    assert "hunter2" not in str(error.value)


def locked(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[\S+\])?==(\S+)", path.read_text(encoding="utf-8"), re.M))


def test_the_images_hold_what_the_lock_of_this_repository_names():
    tested, images = locked(REPOSITORY / "requirements.lock"), HERE / "docker"
    common = locked(images / "requirements.lock")
    for name, found in {**locked(images / "faiss-cpu.lock"), **common}.items():
        assert tested[name] == found, f"{name}: run `make lock`"
    shared = locked(images / "faiss-gpu.lock").items() & {(name, one) for name, one in common.items()}
    assert {name for name, _ in shared} == {"numpy", "packaging"}
    wanted = [Requirement(one) for one in importlib.metadata.requires("trichord") or ()]
    for one in wanted:
        extra = [one.marker is None or one.marker.evaluate({"extra": name}) for name in EXTRAS]
        if any(extra):
            assert canonicalize_name(one.name) in common, f"{one.name}: run `make lock`"
    assert "pymilvus" in common
    assert not {"faiss-cpu", "faiss-gpu"} & set(common)


def test_the_version_of_ray_is_that_of_the_images():
    assert locked_version("ray") == locked(HERE / "docker" / "requirements.lock")["ray"]
    with pytest.raises(ValueError, match="no left-pad"):
        locked_version("left-pad")


def test_a_namespace_is_restricted_and_a_project_is_in_its_config_map():
    found = render("kubernetes", place_of(), {"trichord.yaml": PROJECT, "base.yml": "lake: x\n"})
    labels = yaml.safe_load(found["kubernetes/base/namespace.yaml"])["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    [generated] = yaml.safe_load(found["kubernetes/base/kustomization.yaml"])["configMapGenerator"]
    assert generated["files"] == ["base.yml", "trichord.yaml"]
    assert found["kubernetes/base/base.yml"] == "lake: x\n"
