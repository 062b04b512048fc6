"""`doctor` says what is wrong with a store, a cluster and a server before a run finds out, within seconds."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests import built_models
from tests.bucket_servers import Bucket, google_server
from tests.infra.web_server import certificate, serving
from tests.pipelines.lakes import result_of, trichord, workspace_of, write_project
from tests.serving import serving_in_thread
from trichord.infra.config import EngineConfig, MilvusConfig, Project, StorageConfig
from trichord.infra.errors import ConfigError, ServiceError, StorageError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage
from trichord.pipelines.backfill import backfill
from trichord.pipelines.ops.check_lake import compare_clocks, measure_room, race_writers
from trichord.pipelines.ops.check_services import ask_jobs, find_ports, inspect_tls, reach
from trichord.pipelines.ops.checks import check_all
from trichord.pipelines.publish.doctor import doctor
from trichord.pipelines.reindex import reindex
from trichord.pipelines.run_plan import plan_run

TOKEN = "pl4nted-ray-token"


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Bucket, Lake]]:
    with google_server(tmp_path) as (content, variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield content, Lake(Storage(StorageConfig(allow_http=True)), "gs://lake/spine")


def test_a_store_that_takes_conditional_writes_for_plain_ones_is_found(bucket: tuple[Bucket, Lake]) -> None:
    content, lake = bucket
    assert race_writers(lake) == "one of two writers wins, 3 times"
    content.conditional = False
    with pytest.raises(StorageError, match=r"2 won, and a third one replaced it\n.*If-None-Match"):
        race_writers(lake)
    assert not content.objects, "probes are removed"


def test_a_clock_that_is_not_the_stores_is_found(bucket: tuple[Bucket, Lake], storage: Storage, tmp_path: Path) -> None:
    content, lake = bucket
    assert compare_clocks(lake) == compare_clocks(Lake(storage, str(tmp_path / "lake"))) == "within 1 s of the store's"
    for ahead_s, said in ((3_600.0, "behind"), (-3_600.0, "ahead of")):
        content.ahead_s = ahead_s
        with pytest.raises(StorageError, match=rf"clock is 3,\d\d\d s {said} that of gs://lake/spine\n.*timedatectl"):
            compare_clocks(lake)
    assert not content.objects


def test_a_disk_with_less_room_than_the_last_run_took_is_found(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(storage, str(tmp_path / "not" / "yet" / "made"))
    assert "no run yet" in measure_room(lake)
    monkeypatch.setattr("trichord.pipelines.ops.check_lake.LEAST_FREE", 1 << 60)
    with pytest.raises(StorageError, match=r"(?s)Less than .* in TMPDIR and lake: .*gc --delete"):
        measure_room(lake)


class _Dashboard(BaseHTTPRequestHandler):
    guarded = False

    def do_GET(self) -> None:
        status = 401 if self.guarded and self.headers.get("Authorization") != f"Bearer {TOKEN}" else 200
        body = json.dumps({"version": "4", "ray_version": "2.60.0"} if status == 200 else "no").encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def dashboard(*, guarded: bool) -> Iterator[int]:
    httpd = HTTPServer(("0.0.0.0", 0), type("Dashboard", (_Dashboard,), {"guarded": guarded}))
    with serving_in_thread(httpd, threading.Event()):
        yield httpd.server_port


def test_a_jobs_api_that_asks_for_no_token_is_fit_for_this_machine_alone(tmp_path: Path) -> None:
    with dashboard(guarded=False) as port:
        assert ask_jobs(("127.0.0.1", port), "2.60.0", {}).endswith("without a token, but on this machine")
        with pytest.raises(ServiceError, match=r"anyone who reaches 0\.0\.0\.0:\d+ can run code .*\n.*RAY_AUTH_MODE"):
            ask_jobs(("0.0.0.0", port), "2.60.0", {})
        with pytest.raises(ServiceError, match=r"cluster runs Ray 2\.60\.0, this machine 2\.59\.0\n.*==2\.60\.0"):
            ask_jobs(("127.0.0.1", port), "2.59.0", {})


def test_the_token_of_the_jobs_api_is_used_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with dashboard(guarded=True) as port:
        place, environment = ("0.0.0.0", port), {"RAY_AUTH_TOKEN_PATH": str(file)}
        with pytest.raises(ConfigError, match=r"asks for a token, and .*/token cannot be read"):
            ask_jobs(place, "2.60.0", environment)
        file.write_text(f"{TOKEN}\n")
        file.chmod(0o644)
        with pytest.raises(ConfigError, match=r"others may read.*\n.*chmod 600") as loose:
            ask_jobs(place, "2.60.0", environment)
        file.chmod(0o600)
        found = ask_jobs(place, "2.60.0", environment)
        file.write_text(f"other-{TOKEN}")
        with pytest.raises(ServiceError, match=r"refuses the token of .*/token") as refused:
            ask_jobs(place, "2.60.0", environment)
    assert found == f"Ray 2.60.0 at 0.0.0.0:{port}, guarded by a token"
    assert TOKEN not in f"{found}{loose.value}{refused.value}"


def test_only_what_the_project_uses_is_reached() -> None:
    source = {"name": "s", "kind": "manifest", "path": "/m.jsonl"}
    settings = {"lake": "/lake", "sources": [source], "storage": {"endpoint": "http://store.example:9000"}}
    plain = Project.model_validate(settings)
    assert find_ports(plain, {"RAY_ADDRESS": "head:6379", "AZURE_STORAGE_ENDPOINT": "https://a.example"}) == {}
    used = Project.model_validate({
        **settings, "lake": "s3://b/lake", "engine": {"kind": "ray", "address": "ray://head.example:10001"},
        "index": {"backends": ["faiss", "milvus"]}, "milvus": {"uri": "https://vectors.example"},
    })  # fmt: skip
    assert find_ports(used, {}) == {
        "storage.endpoint": ("store.example", 9000), "Ray": ("head.example", 10001),
        "Ray's dashboard": ("head.example", 8265), "milvus.uri": ("vectors.example", 443),
    }  # fmt: skip
    assert find_ports(used.model_copy(update={"engine": EngineConfig(kind="ray")}), {}).keys().isdisjoint({"Ray"})


def test_milvus_without_tls_is_said_aloud() -> None:
    assert inspect_tls(MilvusConfig(uri="http://127.0.0.1:19530")).startswith("not needed")
    said = inspect_tls(MilvusConfig(uri="http://vectors.example:19530", allow_http=True))
    assert "unprotected to vectors.example (milvus.allow_http)" in said


def test_a_certificate_that_is_unknown_or_ends_soon_is_found(tmp_path: Path) -> None:
    pem = certificate(tmp_path, "127.0.0.1")  # good for a day
    with serving(pem) as server:
        uri = f"https://127.0.0.1:{server.port}"
        with pytest.raises(ServiceError, match=r"certificate.*\n.*milvus\.ca_file"):
            inspect_tls(MilvusConfig(uri=uri))
        with pytest.raises(ServiceError, match=r"ends in 0 days\nRenew it"):
            inspect_tls(MilvusConfig(uri=uri, ca_file=str(pem)))


@contextmanager
def silence() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield listening.getsockname()[1]


def test_servers_that_do_not_answer_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trichord.pipelines.ops.checks.LIMIT_S", 0.5)
    monkeypatch.setattr("trichord.pipelines.ops.check_services.CONNECT_S", 0.2)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", TOKEN)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", TOKEN)
    source = {"name": "s", "kind": "manifest", "path": "s3://b/m.jsonl"}
    with silence() as port:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", f"http://127.0.0.1:{port}")
        project = tmp_path / "p.yaml"
        project.write_text(json.dumps({
            "lake": "s3://b/lake", "sources": [source],
            "storage": {"endpoint": f"http://127.0.0.1:{port}", "allow_http": True},
            "engine": {"kind": "ray", "address": f"127.0.0.1:{port}"}, "index": {"backends": ["faiss", "milvus"]},
            "milvus": {"uri": "http://127.0.0.1:1"},
        }))  # fmt: skip
        found = {one.name: one for one in doctor(workspace_of(project)).checks}
    assert not found["lake"].ok
    assert found["lake"].found == "no answer within 0 s"
    assert not found["milvus.uri"].ok
    assert "127.0.0.1:1: Connection refused" in found["milvus.uri"].found
    assert "127.0.0.1:" in found["Ray's Jobs API"].found
    assert found.keys().isdisjoint({"put-if-absent", "sources", "milvus server"}), "what cannot be asked is left out"
    assert TOKEN not in str(found)


def test_a_probe_that_fails_says_so_beside_one_that_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    probes = [("late", lambda: str(done.wait(30))), ("refused", lambda: reach(("127.0.0.1", 1)))]
    monkeypatch.setattr("trichord.pipelines.ops.checks.LIMIT_S", 0.3)
    late, refused = check_all(probes, "wait")
    done.set()
    assert (late.ok, late.advice, refused.ok) == (False, "wait", False)


def test_the_doctor_of_a_healthy_project_checks_its_store(lake_copy: Path) -> None:
    result = result_of(trichord("doctor", "--project", str(lake_copy), "--json"))
    found = {one["name"]: one for one in result["checks"]}
    assert found.keys() >= {"trichord", "lake", "put-if-absent", "clock", "disk", "sources", "live index"}
    assert result["ok"], result


def test_a_model_that_cannot_be_read_rightly_is_found_by_plan_and_doctor(tmp_path: Path) -> None:
    project, folder = write_project(tmp_path, records=4), built_models.bert(tmp_path / "bert")
    named = f"model.text={{kind: huggingface, path: {folder}}}"
    checks = {one.name: one for one in doctor(workspace_of(project, named)).checks}
    assert (checks["model.text"].ok, checks["model.text"].found) == (True, "bert, 16 values")
    settings = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 3}), encoding="utf-8")
    with pytest.raises(ConfigError, match="would be drawn at random"):
        plan_run(workspace_of(project, named))
    with pytest.raises(ConfigError, match="would be drawn at random"):
        reindex(workspace_of(project, named))
    with pytest.raises(ConfigError, match="would be drawn at random"):
        backfill(workspace_of(project, named))
    assert workspace_of(project, named).table("records").version() is None, "nothing is prepared before"
    (folder / "config.json").write_text(json.dumps(settings | {"quantization_config": {"bits": 4}}), encoding="utf-8")
    refused = {one.name: one for one in doctor(workspace_of(project, named)).checks}["model.text"]
    assert not refused.ok
    assert "quantization_config" in refused.found
    assert refused.exit_code == ConfigError.exit_code
    planned = trichord("plan", "--project", str(project), "--set", named, check=ConfigError.exit_code)
    assert "quantization_config" in planned.stderr
