"""Checks of the servers that a project uses: their ports, Ray's Jobs API and who may use it, Milvus over TLS.

By sockets and plain HTTP, so that a server which does not answer costs seconds, not a client's minutes of retries.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from trichord.infra.bucket_uri import is_remote, split_remote
from trichord.infra.config import MilvusConfig, Project
from trichord.infra.errors import ConfigError, ServiceError

CONNECT_S = 3.0
EXPIRES_DAYS = 14  # a certificate that ends sooner is reported
_MOST_BYTES = 1 << 16
DASHBOARD = "Ray's dashboard"
STORES = {"s3": "storage.endpoint", "az": "AZURE_STORAGE_ENDPOINT", "gs": "GOOGLE_BASE_URL"}  # what names a server
_DASHBOARD_PORT, _GCS_PORT = 8265, 6379
_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1|\[::1\]")
_TOKEN_ADVICE = (
    "Start the cluster with RAY_AUTH_MODE=token, and name the token's file by RAY_AUTH_TOKEN_PATH "
    "(`ray get-auth-token --generate` makes one)."
)
Place = tuple[str, int]


def find_ports(project: Project, environment: Mapping[str, str]) -> dict[str, Place]:
    """Return the hosts and ports that the project's own settings lead to, by what is there."""
    found: dict[str, Place] = {}
    for scheme in sorted({split_remote(uri)[0] for uri in _uris(project) if is_remote(uri)}):
        if url := project.storage.endpoint if scheme == "s3" else environment.get(STORES[scheme]):
            found[STORES[scheme]] = _place(url)
    if "milvus" in project.index.backends and project.milvus.uri.startswith("http"):
        found["milvus.uri"] = _place(project.milvus.uri)
    if project.engine.kind == "ray" and (gcs := ray_place(project, environment)):
        found["Ray"] = gcs
        found[DASHBOARD] = dashboard_place(gcs[0], environment)
    return found


def ray_place(project: Project, environment: Mapping[str, str]) -> Place | None:
    """Return where the Ray cluster is; None for a private one, or one that `auto` finds on this machine."""
    address = project.engine.address or environment.get("RAY_ADDRESS") or "auto"
    if address in ("auto", "local"):
        return None
    where = urlsplit(address if "://" in address else f"//{address}")
    scheme_port = {"http": _DASHBOARD_PORT, "https": 443, "ray": 10_001}
    return where.hostname or "", where.port or scheme_port.get(where.scheme, _GCS_PORT)


def dashboard_place(host: str, environment: Mapping[str, str]) -> Place:
    """Return where the dashboard of a cluster is, which serves the Jobs API."""
    named = environment.get("RAY_API_SERVER_ADDRESS") or environment.get("RAY_DASHBOARD_ADDRESS")
    return _place(named) if named else (host, _DASHBOARD_PORT)


def reach(place: Place) -> str:
    """Connect to a port.

    Raises:
        ServiceError: nobody answers there.
    """
    try:
        with socket.create_connection(place, timeout=CONNECT_S):
            return f"{_written(place)} answers"
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else (error.strerror or type(error).__name__)
        raise ServiceError(
            f"{_written(place)}: {reason}\nCheck the address, that the server runs, and the firewall: "
            f"nc -vz {place[0]} {place[1]}"
        ) from error


def ask_jobs(place: Place, installed: str, environment: Mapping[str, str]) -> str:
    """Ask Ray's Jobs API without a token, then with the one that this machine has.

    Args:
        place: of the dashboard.
        installed: version of Ray here, which a cluster must have too.
        environment: names the token's file.

    Raises:
        ServiceError: it does not answer, refuses the token, is open to anyone on the network, or runs another Ray.
    """
    status, answer = _get(place, "/api/version", None)
    guarded = status in (401, 403)
    if guarded:
        token, source = _token(environment)
        status, answer = _get(place, "/api/version", token)
        if status in (401, 403):
            raise ServiceError(f"{_written(place)} refuses the token of {source}\n{_TOKEN_ADVICE}")
    if status != 200:
        raise ServiceError(f"{_written(place)} has no Jobs API (status {status})\nInstall ray[default] on the cluster.")
    version = str(answer.get("ray_version", "unknown"))[:40]
    if not guarded and not _LOOPBACK.fullmatch(place[0]):
        raise ServiceError(
            f"anyone who reaches {_written(place)} can run code on the cluster: it asks for no token\n{_TOKEN_ADVICE}"
        )
    if version != installed:
        raise ServiceError(
            f"the cluster runs Ray {version}, this machine {installed}\nThey must be equal: pip install "
            f"'ray[default,train]=={version}'"
        )
    guard = "guarded by a token" if guarded else "without a token, but on this machine"
    return f"Ray {version} at {_written(place)}, {guard}"


def inspect_tls(config: MilvusConfig) -> str:
    """Say how a Milvus server is reached, and how long its certificate is good.

    Raises:
        ServiceError: its certificate is not valid, or ends within two weeks.
    """
    place = _place(config.uri)
    if config.uri.startswith("http://"):
        if _LOOPBACK.fullmatch(place[0]):
            return "not needed: the server is on this machine"
        return f"none: the token and all vectors travel unprotected to {place[0]} (milvus.allow_http). Use https://"
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
        if config.cert_file:
            context.load_cert_chain(config.cert_file, config.key_file)
        with (
            socket.create_connection(place, timeout=CONNECT_S) as raw,
            context.wrap_socket(raw, server_hostname=place[0]) as wrapped,
        ):
            version, certificate = wrapped.version(), wrapped.getpeercert() or {}
    except OSError as error:  # an SSLError is one, too
        raise ServiceError(
            f"{_written(place)}: {error.strerror or error}\nCheck milvus.ca_file, and the certificate: "
            f"openssl s_client -connect {place[0]}:{place[1]}"
        ) from error
    days = int((ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) // 86_400)
    if days < EXPIRES_DAYS:
        raise ServiceError(f"the certificate of {_written(place)} ends in {days} days\nRenew it.")
    return f"{version}, certificate good for {days} days"


def _token(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return Ray's token and where it was found.

    Raises:
        ConfigError: there is none, or others may read its file.
    """
    if token := environment.get("RAY_AUTH_TOKEN"):
        return token, "RAY_AUTH_TOKEN"
    path = Path(environment.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        mode, token = path.stat().st_mode, path.read_text(encoding="utf-8")[:_MOST_BYTES].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the cluster asks for a token, and {path} cannot be read\n{_TOKEN_ADVICE}") from error
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        raise ConfigError(f"others may read Ray's token in {path}\nNext: chmod 600 {path}")
    return token, str(path)


def _get(place: Place, path: str, token: str | None) -> tuple[int, Mapping[str, object]]:
    """Return the status and the JSON object of an answer over plain HTTP, as Ray's dashboard speaks it."""
    connection = http.client.HTTPConnection(*place, timeout=CONNECT_S)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        answer = json.loads(response.read(_MOST_BYTES) or b"{}")
    except (OSError, http.client.HTTPException) as error:
        raise ServiceError(
            f"{_written(place)} does not answer ({type(error).__name__})\nCheck that the dashboard runs."
        ) from error
    except ValueError:
        return response.status, {}
    finally:
        connection.close()
    return response.status, answer if isinstance(answer, dict) else {}


def _uris(project: Project) -> list[str]:
    return [project.lake, *(source.path for source in project.sources)]


def _place(url: str) -> Place:
    where = urlsplit(url if "://" in url else f"//{url}")
    return where.hostname or "", where.port or (80 if where.scheme == "http" else 443)


def _written(place: Place) -> str:
    return f"{place[0]}:{place[1]}"
