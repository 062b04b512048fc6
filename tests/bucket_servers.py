"""Servers in memory that speak the parts of Google's XML protocol and of Azure Blob's that obstore and Delta use.

They stand in for the emulators, which need what the tests cannot have (a container, Node). Azurite, where it is at
hand, takes the place of the Azure one: see `tests/conftest.py`.
"""

from __future__ import annotations

import json
import re
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.serving import serving_in_thread

BUCKET = "lake"
PAGE = 1_000


@dataclass(frozen=True)
class Blob:
    """An object: its content, and the Unix time of its writing."""

    data: bytes
    at: float = field(default_factory=time.time)

    @property
    def etag(self) -> str:
        """Return the MD5 of the content, quoted."""
        return f'"{md5(self.data, usedforsecurity=False).hexdigest()}"'


@dataclass
class Bucket:
    """Objects by name, uploads under way, and the requests that came, with their headers."""

    objects: dict[str, Blob] = field(default_factory=dict)
    parts: dict[tuple[str, str], bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    conditional: bool = True  # False: writes that should be refused take place
    ahead_s: float = 0.0  # of the server's clock

    def put(self, name: str, data: bytes, *, absent: bool) -> bool:
        """Write an object; False if it must not exist and does."""
        with self.lock:
            if absent and self.conditional and name in self.objects:
                return False
            self.objects[name] = Blob(data, time.time() + self.ahead_s)
            return True

    def page(self, prefix: str, start: str, delimiter: str | None) -> tuple[list[str], list[str], str | None]:
        """Return names from `start` on, common prefixes, and where the next page starts."""
        with self.lock:
            names = sorted(name for name in self.objects if name.startswith(prefix) and name >= start)
        found, folders = list[str](), list[str]()
        for name in names:
            rest, slash, _ = name[len(prefix) :].partition(delimiter or "\0")
            if slash and delimiter:
                if f"{prefix}{rest}{delimiter}" not in folders:
                    folders.append(f"{prefix}{rest}{delimiter}")
            elif len(found) == PAGE:
                return found, folders, name
            else:
                found.append(name)
        return found, folders, None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else head and body of an answer wait for each other, 40 ms
    bucket: ClassVar[Bucket]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in ({"Content-Length": str(len(body))} | named).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, f'<?xml version="1.0"?><Error>\n<Code>{code}</Code></Error>'.encode())

    def content(self, name: str) -> None:
        """Answer a GET or HEAD of an object, whole or a range of it."""
        blob = self.bucket.objects.get(name)
        if blob is None:
            return self.refuse(404, self.no_key)
        data = blob.data
        wanted = self.headers.get("x-ms-range") or self.headers.get("Range")
        about = {"ETag": blob.etag, "Last_Modified": formatdate(blob.at, usegmt=True)}
        if wanted is None:
            return self.answer(200, data, **about)
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted).groups()  # type: ignore[union-attr]  # obstore's form
        stop = min(int(last or len(data)) + 1, len(data))
        if int(first) >= len(data):
            return self.refuse(416, "InvalidRange")
        about["Content_Range"] = f"bytes {first}-{stop - 1}/{len(data)}"
        return self.answer(206, data[int(first) : stop], **about)

    no_key: ClassVar[str]
    no_bucket: ClassVar[str]

    def handle_one(self) -> None:
        place = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(place.query, keep_blank_values=True).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.bucket.lock:
            self.bucket.requests.append((self.command, self.path, dict(self.headers)))
        _, bucket, name = self.located(unquote(place.path)).split("/", 2)
        if not self.may_enter(query):
            return self.refuse(403, "AuthenticationFailed")
        if bucket != BUCKET:
            return self.refuse(404, self.no_bucket)
        return self.serve(name, query, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one

    def located(self, path: str) -> str:
        return path if path.count("/") > 1 else f"{path}/"

    def may_enter(self, query: dict[str, str]) -> bool:
        raise NotImplementedError

    def serve(self, name: str, query: dict[str, str], body: bytes) -> None:
        raise NotImplementedError


class _Google(_Handler):
    no_key, no_bucket = "NoSuchKey", "NoSuchBucket"

    key: ClassVar[rsa.RSAPrivateKey]

    def may_enter(self, query: dict[str, str]) -> bool:
        signed, _, signature = (self.headers.get("Authorization") or "").removeprefix("Bearer ").rpartition(".")
        try:
            given = urlsafe_b64decode(signature + "==")
            self.key.public_key().verify(given, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            return False
        return True

    def serve(self, name: str, query: dict[str, str], body: bytes) -> None:
        match self.command:
            case "GET" if "list-type" in query:
                self.list(query)
            case "GET" | "HEAD":
                self.content(name)
            case "PUT" if "uploadId" in query:
                self.bucket.parts[query["uploadId"], query["partNumber"].zfill(6)] = body
                self.answer(200, ETag=Blob(body).etag)
            case "PUT":
                absent = self.headers.get("x-goog-if-generation-match") == "0"
                if self.bucket.put(name, body, absent=absent):
                    self.answer(200, ETag=Blob(body).etag)
                else:
                    self.refuse(412, "PreconditionFailed")
            case "POST" if "uploads" in query:
                self.answer(200, b"<InitiateMultipartUploadResult><UploadId>u-%d</UploadId>"
                            b"</InitiateMultipartUploadResult>" % len(self.bucket.requests))  # fmt: skip
            case "POST":
                parts = sorted(part for part in self.bucket.parts if part[0] == query["uploadId"])
                data = b"".join(self.bucket.parts.pop(part) for part in parts)
                self.bucket.put(name, data, absent=False)
                self.answer(200, f"<CompleteMultipartUploadResult><ETag>{escape(Blob(data).etag)}</ETag>"
                            "</CompleteMultipartUploadResult>".encode())  # fmt: skip
            case _:
                gone = self.bucket.objects.pop(name, None) is None
                self.refuse(404, self.no_key) if gone else self.answer(204)

    def list(self, query: dict[str, str]) -> None:
        start = query.get("continuation-token") or (query["start-after"] + "\0" if "start-after" in query else "")
        names, folders, after = self.bucket.page(query.get("prefix", ""), start, query.get("delimiter"))
        entries = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(blob.data)}</Size><LastModified>"
            f"{datetime.fromtimestamp(blob.at, UTC):%Y-%m-%dT%H:%M:%S.%fZ}</LastModified>"
            f"<ETag>{escape(blob.etag)}</ETag></Contents>"
            for name in names
            if (blob := self.bucket.objects.get(name)) is not None
        ) + "".join(f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in folders)
        token = f"<NextContinuationToken>{escape(after)}</NextContinuationToken>" if after else ""
        self.answer(200, f"<ListBucketResult>{entries}{token}</ListBucketResult>".encode())


class _Azure(_Handler):
    no_key, no_bucket = "BlobNotFound", "ContainerNotFound"
    secret: ClassVar[str]
    heeds_offset: ClassVar[bool]

    def located(self, path: str) -> str:
        return super().located("/" + path.split("/", 2)[2])  # behind the account

    def may_enter(self, query: dict[str, str]) -> bool:
        signed = (self.headers.get("Authorization") or "").startswith("SharedKey tests:")
        return query.get("sig") == self.secret if self.secret else signed

    def serve(self, name: str, query: dict[str, str], body: bytes) -> None:
        match self.command, query.get("comp"):
            case "GET", "list":
                self.list(query)
            case "GET" | "HEAD", _:
                self.content(name)
            case "PUT", "block":
                self.bucket.parts[name, query["blockid"]] = body
                self.answer(201)
            case "PUT", comp:
                if comp == "blocklist":
                    blocks = re.findall(r"<Uncommitted>([^<]*)</Uncommitted>", body.decode())
                    body = b"".join(self.bucket.parts.pop((name, block)) for block in blocks)
                if self.bucket.put(name, body, absent=self.headers.get("If-None-Match") == "*"):
                    self.answer(201, ETag=Blob(body).etag)
                else:
                    self.refuse(409, "BlobAlreadyExists")
            case "POST", "batch":
                self.remove(body)
            case _:
                gone = self.bucket.objects.pop(name, None) is None
                self.refuse(404, self.no_key) if gone else self.answer(202)

    def remove(self, body: bytes) -> None:
        """Delete the blobs that a batch names."""
        answers = []
        for number, path in enumerate(re.findall(rb"DELETE (\S+) HTTP", body)):
            name = self.located(unquote(urlsplit(path.decode()).path)).split("/", 2)[2]
            status = "404 Gone" if self.bucket.objects.pop(name, None) is None else "202 Accepted"
            code = "x-ms-error-code: BlobNotFound\r\n" if status.startswith("404") else ""
            answers.append(f"--b\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
                           f"HTTP/1.1 {status}\r\n{code}\r\n\r\n")  # fmt: skip
        self.answer(202, "".join([*answers, "--b--\r\n"]).encode(), Content_Type="multipart/mixed; boundary=b")

    def list(self, query: dict[str, str]) -> None:
        start = query.get("marker") or query.get("startFrom", "") * self.heeds_offset
        names, folders, after = self.bucket.page(query.get("prefix", ""), start, query.get("delimiter"))
        entries = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties>"
            f"<Last-Modified>{formatdate(blob.at, usegmt=True)}</Last-Modified>"
            f"<Content-Length>{len(blob.data)}</Content-Length><Content-Type>application/octet-stream</Content-Type>"
            f"<Etag>{escape(blob.etag[1:-1])}</Etag></Properties></Blob>"
            for name in names
            if (blob := self.bucket.objects.get(name)) is not None
        ) + "".join(f"<BlobPrefix><Name>{escape(one)}</Name></BlobPrefix>" for one in folders)
        marker = f"<NextMarker>{escape(after)}</NextMarker>" if after else "<NextMarker/>"
        self.answer(200, f'<EnumerationResults ContainerName="{BUCKET}"><Blobs>{entries}</Blobs>{marker}'
                    "</EnumerationResults>".encode())  # fmt: skip


@contextmanager
def _serving(kind: type[_Handler], **attributes: object) -> Iterator[tuple[Bucket, str]]:
    bucket = Bucket()
    handler = type("Handler", (kind,), {"bucket": bucket, **attributes})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with serving_in_thread(httpd, threading.Event()):
        yield bucket, f"http://127.0.0.1:{httpd.server_port}"


@contextmanager
def google_server(folder: Path, **named: str) -> Iterator[tuple[Bucket, dict[str, str]]]:
    """Yield a bucket `lake` and the variables that lead to it: only tokens that its service account signed may enter.

    Args:
        folder: where the file with the account's key is written.
        named: other fields of that file.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {
        "type": "service_account",
        "private_key": pem,
        "private_key_id": "k",
        "client_email": "tests@lake.example",
    }
    file = folder / "service-account.json"
    file.write_text(json.dumps(account | named))
    with _serving(_Google, key=key) as (bucket, url):
        yield bucket, {"GOOGLE_BASE_URL": url, "GOOGLE_APPLICATION_CREDENTIALS": str(file)}


@contextmanager
def azure_server(*, signature: str = "", heeds_offset: bool = True) -> Iterator[tuple[Bucket, dict[str, str]]]:
    """Yield a container `lake` and the variables that lead to it.

    Args:
        signature: of the shared access token that the variables hold; "": they hold an account key, and that requests
            are signed with it is not checked.
        heeds_offset: whether a listing can start at a name, as Azure's does and Azurite's does not.
    """
    with _serving(_Azure, secret=signature, heeds_offset=heeds_offset) as (bucket, url):
        credential = {"AZURE_STORAGE_ACCOUNT_KEY": "a2V5"}
        if signature:
            credential = {"AZURE_STORAGE_SAS_TOKEN": f"sv=2023-11-03&sp=rwdl&se=2027-01-01&sig={signature}"}
        yield bucket, {"AZURE_STORAGE_ACCOUNT_NAME": "tests", "AZURE_STORAGE_ENDPOINT": f"{url}/tests", **credential}
