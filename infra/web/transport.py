"""One request to one checked address: connections that look nothing up, idle ones kept, and a time limit that holds."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse
from urllib3.util.connection import is_connection_dropped

from trichord.infra.config import WebConfig
from trichord.infra.web.addresses import Target
from trichord.infra.web.errors import DownloadError, unreachable

# What urllib3, http.client and the socket below them raise of a server that misbehaves.
_FAILURES = (HTTPError, http.client.HTTPException, OSError, ValueError)
_ADDRESSES_TRIED = 3


class _Pinned(HTTPConnection):
    """A connection to `address`. Host header, SNI and the certificate's name come from the URL's host."""

    address = ""
    expired = False
    _line: socket.socket | None = None  # second handle, which survives the TLS handshake and `close`

    def _new_conn(self) -> socket.socket:
        sock = socket.create_connection((self.address, self.port), self.timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._line = sock.dup()
        if self.expired:
            self.cut()
        return sock

    def cut(self) -> None:
        """End the connection while it is in use: the time is over."""
        self.expired = True
        if self._line is not None:
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)

    def hang_up(self) -> None:
        """Close it for good."""
        self.close()
        if self._line is not None:
            self._line.close()


class _PinnedTls(_Pinned, HTTPSConnection):
    pass


class Answer:
    """A response whose body has not been read. Headers may be repeated, so `all` answers a list."""

    def __init__(self, response: BaseHTTPResponse, connection: _Pinned) -> None:
        self._response, self._connection = response, connection
        self.status = response.status
        self.declared = response.length_remaining  # of the body in bytes, where the server says so
        self.whole = False

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return list(self._response.headers.getlist(name))

    def one(self, name: str) -> str:
        """Return a header's only or first value; '' where there is none."""
        return str((self.all(name) or [""])[0])

    @property
    def header_bytes(self) -> int:
        """Size of all headers."""
        return sum(len(name) + len(value) + 4 for name, value in self._response.headers.iteritems())

    def read(self, size: int) -> bytes:
        """Return the next bytes of the body as sent; b"" at its end.

        Raises:
            DownloadError: the body breaks off, or takes too long.
        """
        try:
            data = self._response.read(size, decode_content=False)
        except _FAILURES as error:
            raise _failure(self._connection, error) from error
        if self._connection.expired:  # a cut connection looks like the end of a body of unknown length
            raise _too_slow()
        self.whole = not data
        return data


class Transport:
    """Opens connections and keeps those that can be used again. Thread-safe."""

    def __init__(self, config: WebConfig) -> None:
        self._config = config
        self._tls = ssl.create_default_context()
        if config.ca_file is not None:
            self._tls.load_verify_locations(config.ca_file)
        self._idle: list[tuple[Target, _Pinned]] = []
        self._lock = threading.Lock()

    @contextmanager
    def get(
        self, target: Target, addresses: Sequence[str], headers: Mapping[str, str], limit_s: float
    ) -> Iterator[Answer]:
        """GET a target from the first of its addresses that can be connected to.

        Everything inside the `with` takes at most `limit_s`.

        Raises:
            DownloadError: no address can be connected to, or the server breaks the protocol or the time limit.
        """
        start = time.monotonic()
        connection = self._taken(target, addresses)
        if connection is None:
            connection = self._connected(target, addresses, limit_s)
        watch = threading.Timer(max(0.0, limit_s - (time.monotonic() - start)), connection.cut)
        watch.daemon = True
        watch.start()
        keep = False
        try:
            answer = self._asked(connection, target, headers)
            yield answer
            keep = answer.whole and connection.is_connected  # the server may have asked to close it
        finally:
            watch.cancel()
            if keep and not connection.expired:
                self._put_back(target, connection)
            else:
                connection.hang_up()

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.hang_up()

    def _asked(self, connection: _Pinned, target: Target, headers: Mapping[str, str]) -> Answer:
        try:
            connection.timeout = self._config.read_timeout_s
            connection.request("GET", target.path, headers=headers, preload_content=False, decode_content=False)
            return Answer(connection.getresponse(), connection)
        except _FAILURES as error:
            raise _failure(connection, error) from error

    def _connected(self, target: Target, addresses: Sequence[str], limit_s: float) -> _Pinned:
        last: DownloadError = unreachable()
        for address in addresses[:_ADDRESSES_TRIED]:
            timeout = min(self._config.connect_timeout_s, limit_s)
            connection: _Pinned
            if target.scheme == "https":
                connection = _PinnedTls(target.host, target.port, timeout=timeout, ssl_context=self._tls)
            else:
                connection = _Pinned(target.host, target.port, timeout=timeout)
            connection.address = address
            watch = threading.Timer(timeout, connection.cut)  # a handshake can drip, too
            watch.daemon = True
            watch.start()
            try:
                connection.connect()
            except ssl.SSLCertVerificationError as error:
                connection.hang_up()
                what = f"the certificate is not trusted: {error.verify_message}"
                raise DownloadError("download_failed", what, permanent=False) from error
            except _FAILURES as error:
                connection.hang_up()
                broken = isinstance(error, ssl.SSLError) and not isinstance(error, TimeoutError)
                last = _broken("no TLS connection can be made") if broken else unreachable()
                continue
            finally:
                watch.cancel()
            if not connection.expired:
                return connection
            connection.hang_up()
        raise last

    def _taken(self, target: Target, addresses: Sequence[str]) -> _Pinned | None:
        """Return an idle connection to one of the addresses, as they were checked just now."""
        place = (target.scheme, target.host, target.port)
        while True:
            with self._lock:
                fits = [
                    i
                    for i, (past, connection) in enumerate(self._idle)
                    if (past.scheme, past.host, past.port) == place and connection.address in addresses
                ]
                if not fits:
                    return None
                _, connection = self._idle.pop(fits[-1])
            if not is_connection_dropped(connection):
                return connection
            connection.hang_up()

    def _put_back(self, target: Target, connection: _Pinned) -> None:
        with self._lock:
            self._idle.append((target, connection))
            oldest = self._idle.pop(0)[1] if len(self._idle) > self._config.concurrency else None
        if oldest is not None:
            oldest.hang_up()


def _failure(connection: _Pinned, error: Exception) -> DownloadError:
    if connection.expired:
        return _too_slow()
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return DownloadError("download_failed", "the server fell silent", permanent=False, again=True)
    return _broken("the connection broke, or the answer is no HTTP")


def _broken(what: str) -> DownloadError:
    return DownloadError("download_failed", what, permanent=False, again=True)


def _too_slow() -> DownloadError:
    return DownloadError("download_failed", "the download took too long", permanent=False)
