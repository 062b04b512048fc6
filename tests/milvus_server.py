"""A real Milvus server for tests and benches: the one that the package `milvus` carries, on ports of its own.

Its binaries are unpacked once into the environment (they take seconds of lzma). A session that the machine starves for
longer than `SESSION_S` ends the server by its own design, so that is longer than the default.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest import mock

import yaml

SESSION_S = 60
TOKEN_ENV, TOKEN = "TRICHORD_TEST_MILVUS_TOKEN", "root:Milvus"  # the server's own first user


def nightly_settings() -> dict[str, str]:
    """What docs/milvus.md has a server set that is filled every night: name (with dots) -> value."""
    text = (Path(__file__).parent.parent / "docs" / "milvus.md").read_text()
    block = text.partition("```yaml\nqueryCoord:")[2].partition("```")[0]
    return {f"queryCoord.{name}": str(value) for name, value in yaml.safe_load(block).items()}


def _bound(_: Any, port: int) -> socket.socket | None:
    """The package's probe of a port, but as a server binds it: connections of a killed server do not block it."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except (OSError, OverflowError):
        return None


class MilvusServer:
    """A server that asks for a token, on a folder; may be killed and started again on the same folder and port."""

    def __init__(self, folder: Path, *, session_s: int = SESSION_S, settings: Mapping[str, Any] | None = None) -> None:
        self.folder, self.port = folder, 0
        told = {"common.session.ttl": session_s, "common.security.authorizationEnabled": "true", **(settings or {})}
        # The package drops settings that its template has no line for; the server itself reads its environment first.
        self._settings = {name.upper().replace(".", "_"): str(value) for name, value in told.items()}
        self._server: Any = None

    @property
    def uri(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def bulk_folder(self) -> str:
        """Where its import files lie."""
        return str(self.folder / "data" / "import")

    @property
    def project(self) -> dict[str, str]:
        """What a project says of it under `milvus`."""
        return {"uri": self.uri, "bulk_folder": self.bulk_folder, "token_env": TOKEN_ENV}

    @property
    def pid(self) -> int:
        """Its process."""
        pid: int = self._server.server_proc.pid
        return pid

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._server.server_proc.poll() is None

    def start(self) -> Self:
        """Start it, and wait until it is healthy (9 s on an idle machine)."""
        from milvus import MilvusServer as Embedded
        from milvus import MilvusServerConfig

        unpacked = Path(sys.prefix) / "milvus-bin"
        unpacked.mkdir(exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "bin").exists():
            (self.folder / "bin").symlink_to(unpacked)
        ports: dict[str, Any] = {"proxy_port": self.port} if self.port else {}
        self._server = Embedded(MilvusServerConfig(data_dir=str(self.folder), **ports))
        probing = mock.patch.object(MilvusServerConfig, "try_bind_port", _bound)
        with mock.patch.dict(os.environ, self._settings), probing:
            self._server.start()
        self.port = self._server.listen_port
        os.makedirs(self.bulk_folder, exist_ok=True)
        os.environ[TOKEN_ENV] = TOKEN
        return self

    def kill(self) -> None:
        """SIGKILL, as a machine that loses power."""
        self._server.server_proc.kill()
        self._server.server_proc.wait()
        self._server.stop()

    def stop(self) -> None:
        """Stop it."""
        if self._server is not None:
            self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
