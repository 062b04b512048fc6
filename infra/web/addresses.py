"""Which URLs and which addresses may be asked.

A manifest is foreign data, so a URL in it may try to make this machine ask its own network (server-side request
forgery; OWASP SSRF prevention cheat sheet). A URL is taken only in its plain spelling, its host is resolved once, every
address of the answer must be public (IANA special-purpose registries, RFC 6890), and the connection goes to the
checked address itself.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote, urljoin

import idna

from trichord.infra.web.errors import DownloadError, refused

Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Sequence[str]]
"""(host, port) to all its addresses; raises OSError where there is none."""

MAX_URL_CHARS = 8_192
DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@%\\]+))(?::([1-9][0-9]{0,4}))?", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # what inet_aton, and thus getaddrinfo, takes for part of an address
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\\]")
_PATH_SAFE = "!$%&'()*+,/:;=?@[]~-._"

# Never asked, not even where `allow_private` covers them: they hand out a machine's credentials.
_METADATA = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
        ),
    )
)
# Beside what `is_global` knows, whose list differs from one Python to the next.
_REFUSED_V4 = tuple(
    IPv4Network(network)
    for network in ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
                    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
                    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4")
)  # fmt: skip
_UNICAST_V6 = IPv6Network("2000::/3")  # all public addresses are here
_REFUSED_V6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
_NAT64, _SIX_TO_FOUR = IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL that may be asked, in parts."""

    scheme: str  # http or https
    host: str  # ASCII, lower case; an IPv6 address without brackets
    port: int
    path: str  # with the query, percent-encoded

    @property
    def url(self) -> str:
        """The one spelling of this target."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


def parse(url: str, ports: Sequence[int]) -> Target:
    """Return the parts of a URL; its fragment is left out.

    Raises:
        DownloadError: download_refused (another scheme or port, credentials, or an odd spelling).
    """
    if len(url) > MAX_URL_CHARS:
        raise refused(f"a URL of more than {MAX_URL_CHARS} characters")
    if _CONTROL.search(url) or url != url.strip():
        raise refused("a URL with control characters, backslashes or spaces around it")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise refused("no http(s) URL")
    scheme, path = parts[1].lower(), parts[3]
    if "@" in parts[2]:
        raise refused("a URL with credentials")
    authority = _AUTHORITY.fullmatch(parts[2])
    if authority is None:
        raise refused("a URL with an odd host or port")
    host = _host_v6(authority[1]) if authority[1] is not None else _host(authority[2])
    port = int(authority[3] or DEFAULT_PORTS[scheme])
    if port not in ports:
        raise refused(f"port {port} is not among those that may be asked")
    path = quote(path if path.startswith("/") else f"/{path}", safe=_PATH_SAFE)
    return Target(scheme=scheme, host=host, port=port, path=path)


def _host_v6(literal: str) -> str:
    try:
        return str(IPv6Address(literal))
    except ValueError:
        raise refused("a URL with an odd IPv6 address") from None


def _host(named: str) -> str:
    host = named.lower()
    if not host.isascii():
        try:
            host = idna.encode(named, uts46=True).decode().lower()
        except (idna.IDNAError, UnicodeError):
            raise refused("a host that is not an international name (IDNA)") from None
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise refused("an odd host name")
    if _NUMBER.fullmatch(labels[-1]):
        # "017700000001", "0x7f.1" and "127.1" mean 127.0.0.1 to a resolver: only a.b.c.d is taken
        try:
            literal = str(IPv4Address(host))
        except ValueError:
            literal = ""
        if literal != named:
            raise refused("an odd spelling of an IPv4 address")
    return host


def system_addresses(host: str, port: int) -> list[str]:
    """Return all addresses of a host by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def checked_addresses(target: Target, allowed: Sequence[Network], resolve: Resolve) -> tuple[str, ...]:
    """Return the addresses of a target's host, in the resolver's order; all of them may be asked.

    Raises:
        DownloadError: download_refused (one of them may not be asked).
        OSError: the host cannot be resolved.
    """
    try:
        named: Sequence[str] = (str(ip_address(target.host)),)
    except ValueError:
        named = resolve(target.host, target.port)
    if not named:
        raise OSError("no address")
    found: dict[str, None] = {}
    for address in named:
        plain = _plain(ip_address(address))
        why = refusal(plain, allowed)
        if why is not None:
            raise refused(f"the host's address is {why}")
        found[str(plain)] = None
    return tuple(found)


def refusal(address: IPv4Address | IPv6Address, allowed: Sequence[Network]) -> str | None:
    """Return why an address may not be asked; None where it may."""
    plain = _plain(address)
    inner = _inner(plain)
    if plain in _METADATA or inner in _METADATA:
        return "a cloud's metadata service"
    if any(plain in network for network in allowed):
        return None
    if isinstance(plain, IPv4Address):
        local = not plain.is_global or plain.is_multicast or plain.is_reserved
        return "not public" if local or any(plain in network for network in _REFUSED_V4) else None
    if inner is not None and refusal(inner, ()) is not None:
        return "not public, inside an IPv6 address"
    if plain in _NAT64:
        return None
    odd = plain not in _UNICAST_V6 or plain.is_multicast or any(plain in network for network in _REFUSED_V6)
    return "not public" if odd else None


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return an IPv4-mapped address as the IPv4 address it is; without a zone."""
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or IPv6Address(int(address))
    return address


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to: NAT64, 6to4, ISATAP, or the old IPv4-compatible form."""
    if isinstance(address, IPv4Address):
        return None
    value = int(address)
    if address in _NAT64 or value >> 32 == 0 or (value >> 32) & 0xFDFFFFFF == 0x5EFE:
        return IPv4Address(value & 0xFFFFFFFF)
    return IPv4Address((value >> 80) & 0xFFFFFFFF) if address in _SIX_TO_FOUR else None


def networks(named: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks of `allow_private`."""
    return tuple(ip_network(network) for network in named)


def redirected(current: Target, location: str, ports: Sequence[int]) -> Target:
    """Return where a redirect leads.

    Raises:
        DownloadError: download_refused (as `parse`, or the redirect leaves https).
    """
    with suppress(UnicodeError):
        location = location.encode("latin-1").decode()  # http.client reads headers as Latin-1
    if _CONTROL.search(location):
        raise refused("a redirect with control characters or backslashes")
    try:
        joined = urljoin(current.url, location.strip())
    except ValueError:
        raise refused("a redirect to an odd host") from None
    try:
        target = parse(joined, ports)
    except DownloadError as error:
        raise refused(f"a redirect: {error.args[1]}") from None
    if current.scheme == "https" and target.scheme == "http":
        raise refused("a redirect from https to http")
    return target
