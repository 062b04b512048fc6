"""What tests of several rooms share: storage, one S3 server and one Ray cluster a session, engines of every kind."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from xdist.remote import Producer

import trichord
from tests import environment
from tests.bucket_servers import azure_server, google_server
from tests.milvus_server import MilvusServer
from tests.scheduling import ByGroupOrFile
from trichord.infra import log
from trichord.infra.config import EngineConfig, StorageConfig
from trichord.infra.engines import Engine, open_engine
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.storage import Storage

EngineMaker = Callable[..., Engine]
REPOSITORY = Path(__file__).parents[1]


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> None:
    """Import each test module as `tests.…`, the name under which worker processes find what it defines.

    The repository is a package itself, so pytest alone would put the name of the checkout's folder in front.
    """
    name = ".".join(module_path.relative_to(REPOSITORY).with_suffix("").parts)
    with suppress(Exception):  # pytest imports it again and reports what is wrong
        sys.modules[f"{REPOSITORY.name}.{name}"] = importlib.import_module(name)


@dataclass(frozen=True, slots=True)
class Place:
    """An empty folder of a local disk or a bucket, and the storage that reaches it."""

    storage: Storage
    uri: str

    @property
    def lake(self) -> Lake:
        """The folder as a lake."""
        return Lake(self.storage, self.uri)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByGroupOrFile | None:
    """Share out by file where `--dist loadgroup` shares out test by test."""
    return ByGroupOrFile(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_configure() -> None:
    """Before a test module is imported, and before xdist starts processes: libraries read the environment once."""
    environment.clean(os.environ, Path(trichord.__path__[0]))


@pytest.fixture(scope="session", autouse=True)
def _private_ray() -> Iterator[None]:
    """Ray clusters of tests are not found by others, nor others by them."""
    folder = tempfile.mkdtemp(prefix="ray-")  # not in a folder of pytest: its sockets allow 107 characters
    os.environ["RAY_TMPDIR"] = folder
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run share; see `tests.shared.made_once`."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture
def json_events() -> Iterator[None]:
    """Events are written as JSON lines within the test, as with `--json`."""
    log.configure(as_json=True)
    yield
    log.configure(as_json=False)


@pytest.fixture
def storage() -> Storage:
    """Storage with default settings: local files."""
    return Storage(StorageConfig())


@pytest.fixture(scope="session")
def s3_config() -> Iterator[StorageConfig]:
    """Settings of an S3 server (moto) that lives as long as the tests; its bucket is `lake`."""
    import boto3
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3Response, "_key_response_put", _one_at_a_time(S3Response._key_response_put))
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        host, port = server.get_host_and_port()
        config = StorageConfig(endpoint=f"http://{host}:{port}", allow_http=True)
        boto3.client("s3", endpoint_url=config.endpoint, region_name=config.region).create_bucket(Bucket="lake")
        yield config
    server.stop()


@pytest.fixture(scope="session")
def gs_config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageConfig]:
    """Settings of a server of Google's protocol that lives as long as the tests; its bucket is `lake`."""
    with google_server(tmp_path_factory.mktemp("google")) as (_, variables), pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield StorageConfig(allow_http=True)


@pytest.fixture(scope="session")
def az_config() -> Iterator[StorageConfig]:
    """Settings of a server of Azure Blob's protocol, or of Azurite where TRICHORD_AZURITE is its URL.

    Its container is `lake`, which in Azurite must exist.
    """
    with azure_server() as (_, variables), pytest.MonkeyPatch.context() as patch:
        if "TRICHORD_AZURITE" in os.environ:  # its account and key are the same everywhere, and known to the client
            variables = {"AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1", "AZURE_STORAGE_USE_EMULATOR": "true"}
            variables["AZURITE_BLOB_STORAGE_URL"] = os.environ["TRICHORD_AZURITE"]
        for name, value in variables.items():
            patch.setenv(name, value)
        yield StorageConfig(allow_http=True)


@pytest.fixture(params=["local", "s3", "gs", "az"])
def any_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """The same test on a local disk and in a bucket of each provider."""
    if request.param == "local":
        return Place(Storage(StorageConfig()), str(tmp_path / "lake"))
    return Place(Storage(request.getfixturevalue(f"{request.param}_config")), f"{request.param}://lake{tmp_path}")


def _one_at_a_time(put: Callable[..., Any]) -> Callable[..., Any]:
    """Put objects as S3 does: between the check of If-None-Match and the write, moto lets another request in."""
    lock = threading.Lock()

    def locked(*arguments: Any, **options: Any) -> Any:
        with lock:
            return put(*arguments, **options)

    return locked


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """The same test on a local disk and on S3."""
    if request.param == "local":
        return Place(Storage(StorageConfig()), str(tmp_path / "lake"))
    return Place(Storage(request.getfixturevalue("s3_config")), f"s3://lake{tmp_path}")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One private Ray cluster for all tests of a session: starting one takes 5 to 20 s."""
    from trichord.infra.engines.ray import RayEngine

    with RayEngine(EngineConfig(kind="ray", workers=2)) as engine:
        engine.start()
        yield


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """A Milvus server for the whole session; its users are marked `xdist_group("milvus")`, so one worker starts it."""
    with MilvusServer(tmp_path_factory.mktemp("milvus")) as server:
        yield server


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.xdist_group("ray")), "beam"])
def make_engine(request: pytest.FixtureRequest) -> Iterator[EngineMaker]:
    """`make_engine(**settings)` opens an engine of each kind; all are closed after the test."""
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    with ExitStack() as opened:
        yield lambda **settings: opened.enter_context(open_engine(EngineConfig(kind=request.param, **settings)))
