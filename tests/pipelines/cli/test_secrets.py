"""Secrets in rows and settings are used, and kept nowhere: not in the lake, stdout, stderr or the temporary folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.infra.web_server import Server, file_answer, serving
from tests.pipelines.lakes import trichord
from tests.transforms.samples import picture, saved

SECRETS = [f"pl4nted{number:02d}" for number in range(14)]
IMAGE = saved(picture(), "JPEG")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def rows_of(server: Server, secrets: list[str], night: str) -> list[str]:
    """Rows with secrets in as many places; those of a `night` are signatures that expire."""
    at = server.url
    for path in ("/1.jpg", "/2.jpg", "/3.jpg"):
        signed = f"{path}?X-Amz-Date=1&X-Amz-Credential={secrets[0]}&X-Amz-Signature={secrets[1]}{night}"
        server.answers[signed] = file_answer(IMAGE + path.encode())
    server.answers[f"/t.jpg?token={secrets[2]}"] = file_answer(IMAGE + b"t")

    def signed_url(path: str) -> str:
        return at(f"{path}?X-Amz-Date=1&X-Amz-Credential={secrets[0]}&X-Amz-Signature={secrets[1]}{night}")

    host = at("/")[7:]
    rows: list[Any] = [
        {"id": "signed", "text": "a signed picture of something", "image": signed_url("/1.jpg")},
        {"id": "token", "text": "a picture behind a token", "image": at(f"/t.jpg?token={secrets[2]}")},
        {"id": "password", "text": "a picture behind a password", "image": f"http://user:{secrets[3]}@{host}x.jpg"},
        {"id": "gone", "text": "a picture that is gone", "image": at(f"/gone.jpg?X-Amz-Signature={secrets[4]}{night}")},
        {"id": "ftp", "text": "a scheme that is not fetched", "image": f"ftp://user:{secrets[5]}@host/x.jpg"},
        {"id": "meta", "text": "metadata with an address", "origin": {"url": f"https://h/x?sig={secrets[6]}&se=2"}},
        {"id": "text", "text": f"words with https://user:{secrets[7]}@host/ among them"},
        {"id": f"https://h/key?api_key={secrets[8]}", "text": "a key that is an address"},
        {"id": "caption", "text": "words", "captions": [f"see https://h/?access_token={secrets[9]} for more"]},
        {"id": "group", "text": "a group that is an address", "group": f"https://{secrets[10]}@h/group"},
        {"id": "sound", "text": "a sound", "audio": at(f"/x?segments={'y' * 170}&key={secrets[11]}")},
        {"id": ["bad"], "image": f"https://user:{secrets[12]}@h/x"},
    ]
    lines = [json.dumps(row) for row in rows]
    return [*lines, f'{{"id": "cut", "image": "https:\\/\\/user:{secrets[13]}@h\\/x", ']


def everything_in(folder: Path) -> Iterator[tuple[str, str]]:
    """The content of every file, Parquet also as the values it holds."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        yield str(path), path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            yield str(path), json.dumps(pq.ParquetFile(path).read().to_pylist(), default=str)


def test_secrets_in_rows_and_settings_are_used_and_kept_nowhere(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    source = tmp_path / "m.jsonl"
    project = tmp_path / "p.yaml"
    project.write_text(json.dumps({
        "lake": "out/lake", "engine": {"workers": 1}, "gate": {"max_reject_ratio": 1.0},
        "sources": [{"name": "s", "kind": "manifest", "path": "m.jsonl", "optional_fields": ["image", "audio"]}],
        "web": {"allow_private": ["127.0.0.1/32"], "ports": [server.port, 80, 443], "retries": 0, "max_age_s": 0},
        "storage": {"endpoint": f"https://user:{SECRETS[0]}@127.0.0.1:1/"},
    }))  # fmt: skip
    common, env = ("--project", str(project)), {"TMPDIR": str(temporary)}
    said: list[tuple[str, str]] = []

    def run(*arguments: str, check: int | None = 0) -> dict[str, Any]:
        for options in ((), ("--json",)):
            done = trichord(*arguments, *options, check=check, env=env)
            said.append((" ".join(arguments), done.stdout + done.stderr))
        return json.loads(done.stdout) if done.returncode == 0 else {}

    source.write_text("\n".join(rows_of(server, SECRETS, "night1")))
    assert run("init", str(source), "--out", str(tmp_path / "out" / "new.yaml"), check=None) is not None
    run("plan", *common)
    first = run("prepare", *common, "--report", str(tmp_path / "out" / "page.html"))
    assert first["rows_kept"] == 7
    asked = server.paths()
    assert any(SECRETS[1] in path for path in asked), "the real URL was fetched"
    for verb in (("status",), ("rejects", "ls"), ("rejects", "show", "password"), ("explain", "signed"), ("gc",),
                 ("explain", "meta"), ("doctor",), ("rejects", "export", "--out", str(tmp_path / "out" / "r.jsonl")),
                 ("plan", "--set", f"lake=s3://user:{SECRETS[3]}@b/x"),
                 ("plan", "--set", f"sources.0.path=https://u:{SECRETS[3]}@h/x"),
                 ("explain", f"https://h/x?token={SECRETS[2]}"), ("rejects", "replay")):  # fmt: skip
        run(*verb, *common, check=None)
    for where, text in [*everything_in(tmp_path / "out"), *everything_in(temporary), *said]:
        for secret in SECRETS:
            assert secret not in text, (where, secret, text[max(0, text.find(secret) - 200) :][:300])

    source.write_text("\n".join(rows_of(server, SECRETS, "night2")))
    again = run("prepare", *common)
    assert again["manifest_digest"] == first["manifest_digest"], "another signature is not another row"
    kept = os.listdir(tmp_path / "out" / "lake" / "records")
    assert kept
