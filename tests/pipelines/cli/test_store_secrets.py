"""Credentials of stores and services come from the environment and from files, and stay there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from tests.bucket_servers import azure_server, google_server
from tests.pipelines.cli.test_secrets import everything_in
from tests.pipelines.lakes import trichord, workspace_of
from trichord.infra.config import Project
from trichord.infra.engines.base import packed

SAS, TOKEN, AZURE_KEY = "pl4ntedSasSignature", "pl4ntedRayToken", "pl4ntedAzureKey"
MILVUS, ENDPOINT = "pl4ntedMilvusToken", "pl4ntedEndpointKey"
SECRETIVE = re.compile(r"(?:^|_)(?:token|secret|password|key|credentials?|sas|jwt)(?:_|$)")
HARMLESS = {"sources.fields.key"}  # the name of a field


def test_credentials_of_stores_are_used_and_kept_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, temporary = tmp_path / "out", tmp_path / "tmp"
    out.mkdir()
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY", raising=False)
    token_file = tmp_path / "ray-token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)
    rows = [{"id": f"k{i}", "text": f"words of record {i}, and what it is about"} for i in range(6)]
    with (
        google_server(tmp_path, private_key_id="pl4ntedKeyId") as (source, google),
        azure_server(signature=SAS) as (lake, azure),
    ):
        private = json.loads(Path(google["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())["private_key"].splitlines()[1]
        secrets = [SAS, TOKEN, AZURE_KEY, MILVUS, ENDPOINT, private, "pl4ntedKeyId"]
        environment = {**google, **azure, "TMPDIR": str(temporary), "RAY_AUTH_TOKEN_PATH": str(token_file),
                       "MILVUS_TOKEN": MILVUS, "ENDPOINT_KEY": ENDPOINT}  # fmt: skip
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        project = out / "p.yaml"
        project.write_text(json.dumps({
            "lake": "az://lake/spine", "engine": {"workers": 1}, "storage": {"allow_http": True},
            "sources": [{"name": "s", "kind": "manifest", "path": "gs://lake/m.jsonl"}],
            "gate": {"max_reject_ratio": 1.0}, "index": {"backends": ["faiss", "milvus"]},
            "milvus": {"uri": "http://127.0.0.1:1", "token_env": "MILVUS_TOKEN"},
            "rag": {"endpoint": {"url": "http://127.0.0.1:1/v1", "model": "m", "key_env": "ENDPOINT_KEY"}},
        }))  # fmt: skip
        workspace = workspace_of(project)
        workspace.storage.write("gs://lake/m.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
        said = [("what travels to workers", packed(workspace).decode("latin-1"))]
        common = ("--project", str(project))
        broken = ("--set", "lake=az://elsewhere/spine"), ("--set", "sources.0.path=gs://elsewhere/m.jsonl")
        for verb in (("plan",), ("prepare", "--report", str(out / "page.html")), ("status",), ("rejects", "ls"),
                     ("explain", "k1"), ("verify",), ("recover",), ("gc",), ("doctor",), ("schema",), ("runs",),
                     *(("plan", *change) for change in broken), *(("doctor", *change) for change in broken),
                     ("doctor", "--set", "engine.kind=ray", "--set", "engine.address=127.0.0.1:1")):  # fmt: skip
            where = () if verb == ("schema",) else common
            done = trichord(*verb, *where, check=0 if verb[0] == "prepare" else None)
            said.append((" ".join(verb), done.stdout + done.stderr))
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY)  # which is none
        done = trichord("status", *common, check=None)
        said.append(("status with a wrong key", done.stdout + done.stderr))
        assert any(f"sig={SAS}" in path for _, path, _ in lake.requests), "the signature was used"
        assert any("Bearer " in headers.get("authorization", "") for _, _, headers in source.requests)
    kept = [(name, blob.data.decode("latin-1")) for name, blob in lake.objects.items()]
    assert len(kept) > 5
    for where, text in [*said, *kept, *everything_in(out), *everything_in(temporary)]:
        for secret in secrets:
            assert secret not in text, (where, secret, text[max(0, text.find(secret) - 200) :][:300])


def settings_of(model: type[BaseModel], above: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{above}{name}"
        todo = [field.annotation]
        while todo:
            kind = todo.pop()
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from settings_of(kind, f"{above}{name}.")
            else:
                todo += get_args(kind)


def test_no_setting_holds_a_secret() -> None:
    found = set(settings_of(Project))
    assert len(found) > 200
    secretive = {name for name in found if SECRETIVE.search(name.rpartition(".")[2])} - HARMLESS
    assert secretive >= {"milvus.token_env", "milvus.key_file", "rag.endpoint.key_env"}
    assert [name for name in sorted(secretive) if not name.endswith(("_env", "_file"))] == []
