"""Fetcher: gets the content of a URL into the lake, and says which content that is.

Contents are kept under `_downloads/<aa>/<sha256>`, so reading one needs no network and cannot return another.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from trichord.infra import digest
from trichord.infra.config import WebConfig
from trichord.infra.errors import ConfigError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.redaction import name_content, redact
from trichord.infra.scratch import scratch_folder
from trichord.infra.web import responses
from trichord.infra.web.addresses import (
    Resolve,
    Target,
    checked_addresses,
    networks,
    parse,
    redirected,
    system_addresses,
)
from trichord.infra.web.errors import DownloadError, refused, too_large, unreachable
from trichord.infra.web.http_cache import Receipt, Receipts
from trichord.infra.web.throttle import Clock, Hosts

if TYPE_CHECKING:
    from trichord.infra.web.transport import Answer, Transport

_CHUNK_BYTES = 1 << 16
_SAVE_EVERY_S = 60.0  # so that a killed run loses little of what it downloaded
_THREADS_PER_REQUEST = 4  # some wait for their host's turn: the others must find requests to make

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A downloaded content in the lake."""

    sha256: str
    size: int

    @property
    def version(self) -> str:
        """The content version, as `Storage.version` spells it."""
        return f"sha256:{self.sha256}"


class Fetcher:
    """Fetches URLs into the lake. Thread-safe; used in a `with`, at whose end the receipts are kept.

    Args:
        resolve: (host, port) to addresses; the system's resolver by default.
        clock: what time it is, and how to wait.

    Raises:
        ConfigError: `ca_file` cannot be read.
    """

    def __init__(
        self,
        config: WebConfig,
        lake: Lake,
        *,
        resolve: Resolve = system_addresses,
        clock: Clock | None = None,
    ) -> None:
        self._config, self._lake = config, lake
        self._resolve, self._clock = resolve, clock or Clock()
        self._allowed = networks(config.allow_private)
        self._hosts = Hosts(config, self._clock)
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        if config.ca_file is not None:
            self._client()  # so that a mistake in it is reported now
        self._receipts = Receipts.load(lake.storage, self._receipts_uri)
        self._saved_at = self._clock.monotonic()
        self._flying: dict[tuple[str, int], Future[Content]] = {}
        self._pool = ThreadPoolExecutor(_THREADS_PER_REQUEST * config.concurrency, "fetch")
        self._resolvers = ThreadPoolExecutor(config.concurrency, "resolve")

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._resolvers.shutdown(wait=False, cancel_futures=True)
        if self._transport is not None:
            self._transport.close()
        self.save()

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Call `function` with every item, on as many threads as requests may be under way or wait for their turn."""
        return list(self._pool.map(function, items))

    def fetch(self, url: str, max_bytes: int) -> Content:
        """Return the content of a URL, which is then in the lake. The same URL twice at a time is fetched once.

        Raises:
            DownloadError: it cannot be had; see `trichord.infra.web.errors`.
            StorageError: the lake cannot be written.
        """
        target = parse(url, self._config.ports)
        key = (target.url, max_bytes)
        with self._lock:
            other = self._flying.get(key)
            if other is None:
                mine = self._flying[key] = Future[Content]()
        if other is not None:
            return other.result()
        try:
            content = self._content(target, max_bytes)
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(content)
            return content
        finally:
            with self._lock:
                del self._flying[key]

    def forget(self, *, reasons: Collection[str] = (), urls: Collection[str] = ()) -> int:
        """Let failures with one of these reasons or URLs be tried again at once; how many these are."""
        plain = set()
        for url in urls:
            try:
                plain.add(name_content(parse(url, self._config.ports).url))
            except DownloadError:
                continue  # refused by its spelling: that is decided again every time
        return self._receipts.forget(reasons, plain)

    def save(self) -> None:
        """Keep the receipts."""
        oldest = self._clock.now() - self._config.keep_unused_s
        self._receipts.save(self._lake.storage, self._receipts_uri, oldest)

    def _client(self) -> Transport:
        from trichord.infra.web.transport import Transport  # most runs need no HTTP client

        with self._lock:
            if self._transport is None:
                try:
                    self._transport = Transport(self._config)
                except OSError as error:
                    raise ConfigError(f"web.ca_file {self._config.ca_file!r} cannot be read: {error}") from error
            return self._transport

    @property
    def _receipts_uri(self) -> str:
        return self._lake.uri(layout.DOWNLOAD_RECEIPTS)

    def _content(self, target: Target, max_bytes: int) -> Content:
        name = name_content(target.url)
        receipt = self._receipts.get(name) or Receipt(url=name)
        if not self._is_kept(receipt) or (receipt.noai and self._config.honour_noai):
            receipt = replace(receipt, final_url="", sha256="", size=0, noai=False)
        # a URL that failed with one signature is tried at once with another
        signed = () if redact(target.url) == target.url else (digest.address(target.url),)
        policy = digest.address("web", self._config.model_dump(mode="json"), max_bytes, *signed)
        if receipt.reason:
            known = receipt.policy == policy and self._is_young(receipt.failed_at, self._config.retry_after_s, receipt)
        else:
            known = bool(receipt.sha256) and self._is_young(receipt.fetched_at, self._config.max_age_s, receipt)
        if not known:
            receipt = self._asked(target, receipt, max_bytes, policy)
            self._receipts.put(receipt)
            self._save_sometimes()
        if receipt.reason:
            stale_s = self._config.stale_max_s
            if not receipt.sha256 or self._clock.now() - receipt.fetched_at >= stale_s:
                detail = receipt.detail.partition(": ")[2]
                raise DownloadError(receipt.reason, detail, permanent=receipt.permanent)
        if receipt.size > max_bytes:
            raise too_large(max_bytes)
        return Content(sha256=receipt.sha256, size=receipt.size)

    def _is_young(self, since: float, age_s: float, receipt: Receipt) -> bool:
        """Return True if nothing has to be asked: what was learnt in this run holds for all of it."""
        return self._receipts.is_new(receipt.url) or 0 <= self._clock.now() - since < age_s

    def _is_kept(self, receipt: Receipt) -> bool:
        if not receipt.sha256:
            return False
        try:
            return self._lake.storage.stat(self._lake.uri(layout.content_path(receipt.sha256))).size == receipt.size
        except FileNotFoundError:
            return False

    def _save_sometimes(self) -> None:
        with self._lock:
            now = self._clock.monotonic()
            if now - self._saved_at < _SAVE_EVERY_S:
                return
            self._saved_at = now
        self.save()

    def _asked(self, target: Target, receipt: Receipt, max_bytes: int, policy: str) -> Receipt:
        """Return the receipt after a download, well or badly ended, with its retries."""
        for attempt in range(self._config.retries + 1):
            try:
                return self._tried(target, receipt, max_bytes)
            except DownloadError as error:
                if not error.again or attempt == self._config.retries:
                    failed = replace(receipt, reason=error.reason, detail=error.detail, permanent=error.permanent,
                                     policy=policy, failed_at=self._clock.now())  # fmt: skip
                    return replace(failed, final_url="", sha256="", size=0) if error.permanent else failed
            wait_s = min(self._config.backoff_cap_s, self._config.backoff_s * 2.0**attempt)
            self._clock.sleep(wait_s * digest.generator("web", target.url, attempt).uniform(0.5, 1.0))
        raise AssertionError("the last try returns")

    def _tried(self, target: Target, receipt: Receipt, max_bytes: int) -> Receipt:
        """Return the receipt after one try that went well, redirects followed."""
        name, left_s = receipt.url, self._config.total_timeout_s
        for _ in range(self._config.max_redirects + 1):
            headers = {"User-Agent": self._config.user_agent, "Accept": "*/*", "Accept-Encoding": "identity"}
            if receipt.sha256 and receipt.final_url == name_content(target.url):
                headers |= {"If-None-Match": receipt.etag} if receipt.etag else {}
                headers |= {"If-Modified-Since": receipt.last_modified} if receipt.last_modified else {}
            with self._hosts.turn(target.host):
                if self._hosts.given_up(target.host):
                    raise unreachable(again=False)
                start = self._clock.monotonic()
                try:
                    addresses = self._addresses(target, left_s)
                    rest_s = left_s - (self._clock.monotonic() - start)
                    with self._client().get(target, addresses, headers, rest_s) as answer:
                        self._hosts.note(target.host, reached=True)
                        location = self._location(target, answer)
                        if location is None:
                            return self._taken(name, target, receipt, answer, max_bytes)
                except DownloadError as error:
                    if error.unreachable:
                        self._hosts.note(target.host, reached=False)
                    raise
            left_s -= self._clock.monotonic() - start
            if left_s <= 0:
                raise DownloadError("download_failed", "the download took too long", permanent=False)
            target = redirected(target, location, self._config.ports)
        raise refused(f"more than {self._config.max_redirects} redirects")

    def _addresses(self, target: Target, left_s: float) -> tuple[str, ...]:
        lookup = self._resolvers.submit(checked_addresses, target, self._allowed, self._resolve)
        try:
            return lookup.result(min(self._config.connect_timeout_s, left_s))
        except (OSError, UnicodeError, TimeoutError):
            lookup.cancel()
            raise unreachable() from None

    def _location(self, target: Target, answer: Answer) -> str | None:
        """Return where a redirect leads; None where the answer is the last one.

        Raises:
            DownloadError: the answer is neither a redirect nor content.
        """
        if answer.header_bytes > self._config.max_header_bytes:
            raise DownloadError("download_failed", "headers over max_header_bytes", permanent=True)
        if self._config.honour_noai and responses.says_noai(answer):
            raise DownloadError("download_noai", "the server says X-Robots-Tag: noai", permanent=True)
        if answer.status in responses.AGAIN:
            wait_s = responses.retry_after_s(answer, self._clock.now())
            if wait_s > self._config.retry_after_cap_s:
                raise DownloadError("download_failed", f"HTTP {answer.status}, retry much later", permanent=False)
            self._hosts.pause(target.host, wait_s)
        return responses.location(answer)

    def _taken(self, name: str, target: Target, receipt: Receipt, answer: Answer, max_bytes: int) -> Receipt:
        noai = responses.says_noai(answer)
        now = self._clock.now()
        if answer.status == 304:
            if not receipt.sha256 or receipt.final_url != name_content(target.url):
                raise DownloadError("download_failed", "HTTP 304 to an unconditional request", permanent=False)
            answer.read(1)  # ends the answer: the connection can be used again
            return replace(receipt, fetched_at=now, noai=receipt.noai or noai, reason="", detail="", permanent=False)
        sha256, size = self._stored(answer, max_bytes)
        return Receipt(url=name, final_url=name_content(target.url), etag=responses.etag(answer),
                       last_modified=responses.trusted_time(answer), sha256=sha256, size=size, fetched_at=now,
                       noai=noai)  # fmt: skip

    def _stored(self, answer: Answer, max_bytes: int) -> tuple[str, int]:
        """Write the body into the lake under its SHA-256. Memory holds one chunk of it."""
        responses.check_plain(answer)
        if answer.declared is not None and answer.declared > max_bytes:
            raise too_large(max_bytes)
        state, size = hashlib.sha256(), 0
        with scratch_folder("download") as folder:
            path = os.path.join(folder, "body")
            with open(path, "xb") as file:
                while data := answer.read(_CHUNK_BYTES):
                    size += len(data)
                    if size > max_bytes:
                        raise too_large(max_bytes)
                    state.update(data)
                    file.write(data)
            receipt = Receipt(url="", sha256=state.hexdigest(), size=size)
            if not self._is_kept(receipt):
                self._lake.storage.put_file(path, self._lake.uri(layout.content_path(receipt.sha256)))
        return receipt.sha256, size
