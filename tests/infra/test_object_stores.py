"""Buckets of Google and Azure: listings whatever the server heeds, credentials from the environment, and in no text."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.bucket_servers import Blob, Bucket, azure_server, google_server
from trichord.infra.config import StorageConfig
from trichord.infra.errors import ConfigError, StorageError
from trichord.infra.lake.lake import Lake
from trichord.infra.lake.listing import Listing
from trichord.infra.lake.storage import Storage
from trichord.infra.lake.table import LakeTable

SECRET = "pl4nted-credential"
NAMES = sorted(f"media/{folder}/{i:02}.jpg" for folder in ("a", "b", "b.c", "d", "e") for i in range(7))
LOOSE = ["media/0.txt", "media/c.txt", "media/z.txt"]
Serve = Callable[..., AbstractContextManager[tuple[Bucket, dict[str, str]]]]


@pytest.fixture(params=["gs", "az", "az-without-offsets"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A bucket's folder `media`, whose listings come three by three."""
    kind = request.param
    serving = google_server(tmp_path) if kind == "gs" else azure_server(heeds_offset=kind == "az")
    monkeypatch.setattr("trichord.infra.lake.bucket.PAGE", 3)
    monkeypatch.setattr("tests.bucket_servers.PAGE", 3)
    with serving as (content, variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        content.objects = {name: Blob(name.encode(), 1_796_000_000.5) for name in [*NAMES, *LOOSE, "other/x"]}
        yield Storage(StorageConfig(allow_http=True)), f"{kind[:2]}://lake/media"


def test_a_folder_of_a_bucket_is_listed_in_parts_whether_or_not_the_server_starts_at_a_name(
    bucket: tuple[Storage, str],
) -> None:
    storage, root = bucket
    uris = sorted(f"{root[:9]}/{name}" for name in [*NAMES, *LOOSE])
    assert [stat.uri for stat in storage.list(root)] == uris
    assert sorted(storage.folders(root)) == ["a", "b", "b.c", "d", "e"]
    assert [stat.uri for stat in storage.loose_files(root)] == sorted(f"{root[:9]}/{name}" for name in LOOSE)
    assert [stat.uri for stat in storage.list_folders(root, "b.c", "d")] == [
        uri for uri in uris if uri.split("/")[4] in ("b", "b.c", "d")
    ]
    assert [stat.uri for stat in storage.list(root, beginnings=["a/03", "d/", "e/06"])] == [
        uri for uri in uris if uri.removeprefix(f"{root}/").startswith(("a/03", "d/", "e/06"))
    ]
    at, found = f"{root}/", list[str]()
    while True:
        stats, whole = storage.page(root, at)
        found += [stat.uri for stat in stats]
        if whole:
            break
        at = found[-1]
    assert found == uris


def test_what_a_listing_says_of_an_object_is_what_asking_for_it_says(bucket: tuple[Storage, str]) -> None:
    storage, root = bucket
    names = [*(f"{root[:9]}/{name}" for name in [*NAMES, *LOOSE]), f"{root}/none", f"{root}/b/none"]
    found = Listing(storage, root, 10_000).look_up(names)
    assert len(found) > 30
    for uri, stat in found.items():
        assert (stat is not None) == storage.exists(uri)
        assert stat is None or stat == storage.stat(uri)


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_a_bucket_that_is_not_there_is_named(scheme: str, request: pytest.FixtureRequest) -> None:
    storage = Storage(request.getfixturevalue(f"{scheme}_config"))
    for ask in (storage.read, storage.stat, lambda uri: list(storage.list(uri))):
        with pytest.raises(StorageError, match=rf"^{scheme}://elsewhere/x: .*(NoSuchBucket|ContainerNotFound)"):
            ask(f"{scheme}://elsewhere/x")


def test_a_shared_access_signature_opens_a_container_and_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY", raising=False)
    with azure_server(signature=SECRET) as (content, variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        storage = Storage(StorageConfig(allow_http=True))
        storage.write("az://lake/x", b"x")
        assert storage.read("az://lake/x") == b"x"
        assert any(f"sig={SECRET}" in path for _, path, _ in content.requests)
        with pytest.raises(StorageError) as missing:
            list(storage.list("az://elsewhere/x"))
        monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", f"sv=2023-11-03&sig=other-{SECRET}")
        with pytest.raises(StorageError, match=r"Check the credentials.*AZURE_STORAGE_SAS_TOKEN") as refused:
            Storage(StorageConfig(allow_http=True)).write("az://lake/x", b"x")
        with pytest.raises(StorageError) as delta:
            LakeTable(Lake(Storage(StorageConfig(allow_http=True)), "az://lake/spine"), "records").version()
    for error in (missing, refused, delta):
        assert SECRET not in str(error.value)


def test_a_refused_service_account_is_named_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    with google_server(tmp_path) as (_, variables), google_server(tmp_path / "other") as (_, others):
        monkeypatch.setenv("GOOGLE_BASE_URL", variables["GOOGLE_BASE_URL"])
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", others["GOOGLE_APPLICATION_CREDENTIALS"])
        lake = Lake(Storage(StorageConfig(allow_http=True)), "gs://lake/spine")
        for ask in (lambda: lake.write("x", b"x"), LakeTable(lake, "records").version):
            with pytest.raises(StorageError, match=r"403 Forbidden.*GOOGLE_APPLICATION_CREDENTIALS"):
                ask()


@pytest.mark.parametrize(
    ("uri", "variable", "value"),
    [
        ("gs://lake/x", "GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(SECRET)),
        ("gs://lake/x", "GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps({"private_key": SECRET, "client_email": "e"})),
        ("gs://lake/x", "GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps({"private_key": SECRET, "private_key_id": "k",
                                                                 "client_email": "e"})),
        ("gs://lake/x", "GOOGLE_APPLICATION_CREDENTIALS", "FILE"),
        ("az://lake/x", "AZURE_STORAGE_ACCOUNT_KEY", SECRET),
        ("az://lake/x", "AZURE_STORAGE_SAS_TOKEN", SECRET),
        ("az://lake/x", "AZURE_STORAGE_ENDPOINT", f"http://user:{SECRET}@127.0.0.1:1/a b"),
    ],
)  # fmt: skip
def test_a_credential_that_cannot_be_parsed_is_not_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, variable: str, value: str
) -> None:
    if value == "FILE":
        value = str(tmp_path / "key.json")
        Path(value).write_text(json.dumps({"type": SECRET, "private_key": SECRET}))
    for name in ("GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_BASE_URL",
                 "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_ENDPOINT"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "tests")
    monkeypatch.setenv(variable, value)
    with pytest.raises((ConfigError, StorageError)) as refused:
        Storage(StorageConfig()).read(uri)
    assert SECRET not in str(refused.value)
    assert variable.partition("_")[0] in str(refused.value)


def test_azure_needs_the_name_of_an_account_from_the_project_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    storage = Storage(StorageConfig())
    for ask in (storage.read, storage.delta_options):
        with pytest.raises(ConfigError, match=r"storage\.azure_account .*AZURE_STORAGE_ACCOUNT_NAME"):
            ask("az://lake/x")
    named = Storage(StorageConfig(azure_account="photos"))
    assert named.delta_options("az://lake/x") == {"azure_storage_account_name": "photos"}
