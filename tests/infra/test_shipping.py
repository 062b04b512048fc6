"""What is sent to a cluster: the sources of the package, and nothing that lies beside them."""

from __future__ import annotations

import ast
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import trichord
from trichord.infra.engines import shipping, versions
from trichord.infra.engines.ray_jobs import Jobs
from trichord.infra.errors import ConfigError, ServiceError

ROOT = Path(trichord.__path__[0])


def test_only_sources_are_sent(tmp_path):
    sent = ["__init__.py", "infra/__init__.py", "infra/lake/lake.py", "pipelines/report/page.css"]
    canaries = [".env", ".git/config", "setup.py", "tests/test_x.py", "docs/x.md", "lake/_runs/x.json", "infra/key.pem",
                "infra/.env.py", "infra/__pycache__/lake.py", "infra/.hidden/x.py", "infra/lake/token"]  # fmt: skip
    for name in sent + canaries:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("c4nary")
    assert sorted(versions.package_files(str(tmp_path))) == sent


def test_everything_that_is_packaged_for_tasks_is_sent():
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert f"ROOMS = {versions.ROOMS!r}".replace("'", '"') in setup
    packaged = re.search(r"package_data=(\{.*?\n    \})", setup, re.DOTALL)[1]  # type: ignore[index]
    needed = "".join(line for line in packaged.splitlines() if '"trichord.infra.deploy"' not in line)  # by no task
    patterns = [one for some in ast.literal_eval(needed).values() for one in some]
    suffixes = {os.path.splitext(pattern)[1] for pattern in patterns}
    assert suffixes <= set(versions.SUFFIXES)
    assert all(f'"{name}' in setup for name in versions.LIBRARIES)


def test_what_is_sent_is_the_package_with_the_same_digest(tmp_path):
    assert shipping.stage(str(tmp_path)) == [str(tmp_path / "trichord")]
    look = "from trichord.infra.engines import versions as v; print(v.package_folder(), v.sources_digest())"
    done = subprocess.run(
        [sys.executable, "-c", look], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(tmp_path / "trichord"), versions.sources_digest()]


def test_plug_ins_are_sent_without_what_lies_beside_them(tmp_path, monkeypatch):
    (tmp_path / "one_file.py").write_text("")
    for name in ("folded/__init__.py", "folded/deep/code.py", "folded/.env", "folded/weights.bin", "folded/tests/t.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    staged = shipping.stage(str(tmp_path / "out"), ["one_file", "folded"])
    assert [Path(place).name for place in staged] == ["trichord", "one_file.py", "folded"]
    files = {path.relative_to(staged[2]).as_posix() for path in Path(staged[2]).rglob("*") if path.is_file()}
    assert files == {"__init__.py", "deep/code.py"}
    assert not shipping.is_installed("one_file")
    assert shipping.is_installed("numpy")


def test_too_much_code_and_unknown_modules_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="'no_such_module_here', which is not found"):
        shipping.stage(str(tmp_path / "a"), ["no_such_module_here"])
    monkeypatch.setattr(shipping, "MOST_BYTES", 1_000)
    with pytest.raises(ConfigError, match=r"at most 0 MB are sent.\nInstall it"):
        shipping.stage(str(tmp_path / "b"))


def test_versions_are_compared_without_the_build():
    found = versions.versions(["json", "no_such_module_here"])
    assert found["json"] == "present"
    assert found["no_such_module_here"] is None
    assert found["torch"] is not None
    assert "+" not in found["torch"]


@pytest.mark.xdist_group("ray")
def test_what_a_worker_lacks_is_named_with_both_versions():
    from trichord.infra.engines.ray_cluster import differences

    here = {"pyarrow": "25.0.1", "torch": "2.11.0", "faiss": None}
    told = differences(here, {"pyarrow": "24.0.0", "faiss": "1"}, list(here))
    assert told == ["pyarrow 25.0.1 here, 24.0.0 there", "torch 2.11.0 here, missing there"]
    assert differences(here, {}, ["faiss"]) == []


@pytest.mark.xdist_group("ray")
def test_addresses_that_cannot_be_right_are_named(monkeypatch):
    from trichord.infra.engines import ray_cluster

    monkeypatch.setattr(ray_cluster, "ANSWER_S", 0.2)
    for address in ("http://host:8265", "nonsense"):
        with pytest.raises(ConfigError, match="is not an address of a Ray cluster"):
            ray_cluster.require_answer(address)
    with socket.socket() as mute:  # takes connections, and says nothing
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        for scheme in ("", "ray://"):
            with pytest.raises(ServiceError, match="No Ray cluster answers"):
                ray_cluster.require_answer(f"{scheme}127.0.0.1:{mute.getsockname()[1]}")


@pytest.mark.xdist_group("ray")
def test_a_jobs_api_is_named_by_its_url_and_answers(monkeypatch):
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="No Ray cluster is named"):
        Jobs()
    with pytest.raises(ConfigError, match="is not an address of Ray's Jobs API"):
        Jobs("ray://host:10001")
    with pytest.raises(ConfigError, match="holds credentials"):
        Jobs("http://user:pass@host:8265")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(ServiceError, match="No Jobs API answers"):
            Jobs(f"http://127.0.0.1:{closed.getsockname()[1]}")


@pytest.mark.xdist_group("ray")
def test_a_cluster_that_does_not_answer_jobs_is_named_as_given_with_advice_for_jobs(monkeypatch):
    from trichord.infra.engines import ray_cluster

    monkeypatch.setattr(ray_cluster, "ANSWER_S", 0.2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(
            ServiceError, match=f"No Ray cluster answers at {address} .*\\n.*--address http://HOST:8265"
        ):
            Jobs(address)
