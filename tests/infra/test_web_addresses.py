"""What may be asked on the web: plain URLs of public addresses, and nothing else."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trichord.infra.web.addresses import checked_addresses, networks, parse, redirected, refusal
from trichord.infra.web.errors import DownloadError

PORTS = (80, 443)

ODD = [
    "", "x", "http:", "http:/", "http://", "http:///", "http:///a", "https://", "//a.example/x", "/etc/passwd",
    "ftp://a.example/x", "file:///etc/passwd", "gopher://a.example/", "data:text/plain,x", "jar:http://a.example!/",
    "javascript:alert(1)", "dict://a.example:11211/", "ldap://a.example/", "s3://bucket/x", "unix:///run/x.sock",
    "http:a.example", "http:/a.example/x", "http:\\\\a.example\\x", "http://a.example\\@b.example/",
    "http://a.example\\.b.example/", "http:////a.example/", " http://a.example/", "http://a.example/ ",
    "\thttp://a.example/", "http://a.example/\r\nHost: b", "http://a.example\x00.b.example/", "http://a.exa\nmple/",
    "http://a.example/\x7f", "http://user@a.example/", "http://user:pw@a.example/", "http://@a.example/",
    "http://a.example:80@127.0.0.1/", "http://a.example%40127.0.0.1/", "http://127.0.0.1%2f@a.example/",
    "http://%61.example/", "http://127.0.0.1%00.a.example/", "http://a.example:/", "http://a.example:0/",
    "http://a.example:080/", "http://a.example:22/", "http://a.example:8080/", "http://a.example:65616/",
    "http://a.example:99999/", "http://a.example:-80/", "http://a.example:+80/", "http://a.example:８０/",
    "http://a.example:80:80/", "http://a.example: 80/", "http://a.example./", "http://127.0.0.1./", "http://./",
    "http://../", "http://.a.example/", "http://a..example/", "http://-a.example/", "http://a-.example/",
    "http://a b.example/", "http://a,b.example/", "http://a;b.example/", "http://a&b.example/", "http://a'b/",
    f"http://{'a' * 64}.example/", f"http://{'a.' * 130}example/", "http://2130706433/", "http://017700000001/",
    "http://0x7f000001/", "http://0X7F000001/", "http://0x7f.0.0.1/", "http://0177.0.0.1/", "http://127.1/",
    "http://127.0.1/", "http://0/", "http://127.0.0.01/", "http://127.0.0.256/", "http://1.2.3.4.5/", "http://a.1/",
    "http://a.0x1/", "http://0x/", "http://127。0。0。1/", "http://127．0．0．1/", "http://１２７.0.0.1/",
    "http://①②⑦.⓪.⓪.①/", "http://127.0.0.1\u3002/", "http://ⅼ\u2044a.example/", "http://a\u2044b.example/",
    "http://a\u202eb.example/", "http://xn--/", "http://\ud800.example/", "http://☃\u200d.example/", "http://[::1/",
    "http://::1/", "http://[::1]a/", "http://[::1].example/", "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/",
    "http://[127.0.0.1]/", "http://[::ffff:0x7f.1]/", "http://[v1.a]/", "http://[]/", "http://[::1]:/",
    "http://[[::1]]/", "http://[:::1]/", "http://[1::2::3]/", "http://a.example/" + "x" * 9_000,
]  # fmt: skip


@pytest.mark.parametrize("url", ODD)
def test_an_odd_spelling_is_refused_before_anything_is_looked_up(url: str) -> None:
    with pytest.raises(DownloadError) as caught:
        parse(url, PORTS)
    assert caught.value.reason == "download_refused"
    assert caught.value.detail.startswith("permanent: ")


def test_there_are_many_odd_spellings() -> None:
    assert len(set(ODD)) == len(ODD) >= 100


PRIVATE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1",
    "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1",
    "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255", "100.100.100.200", "168.63.129.16", "::", "::1", "::2",
    "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::1", "100::1", "2001::1",
    "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::", "2002:c0a8:1::", "3fff::1", "4000::1",
    "5f00::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
    "ff0e::1", "2a00:1450::5efe:7f00:1", "2a00:1450::200:5efe:a00:1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert refusal(ip_address(address), ()) is not None


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1",
     "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "2606:4700::1111", "2a00:1450:4001::200e"],
)  # fmt: skip
def test_a_public_address_may_be_asked(address: str) -> None:
    assert refusal(ip_address(address), ()) is None


@given(st.ip_addresses(v=4))
def test_whatever_the_standard_library_calls_private_is_refused_in_every_form(address: IPv4Address) -> None:
    value = int(address)
    forms: list[IPv4Address | IPv6Address] = [
        address,
        IPv6Address((0xFFFF << 32) | value),
        IPv6Address((0x64FF9B << 96) | value),
        IPv6Address((0x2002 << 112) | (value << 80)),
    ]
    refused = {refusal(form, ()) is not None for form in forms}
    assert len(refused) == 1, "an embedded address is judged as the address itself"
    if address.is_private or address.is_multicast or address.is_reserved or address.is_unspecified:
        assert refused == {True}


@given(st.ip_addresses(v=6))
def test_no_special_ipv6_address_may_be_asked(address: IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_link_local or address.is_site_local:
        inner = address.ipv4_mapped or address.sixtofour  # some versions of Python call all of 2002::/16 private
        assert refusal(address, ()) is not None or (inner is not None and inner.is_global)


def test_networks_can_be_allowed_but_never_a_metadata_service() -> None:
    allowed = networks(("127.0.0.0/8", "fd00::/8", "169.254.0.0/16"))
    assert refusal(ip_address("127.0.0.1"), allowed) is None
    assert refusal(ip_address("::ffff:127.0.0.1"), allowed) is None
    assert refusal(ip_address("fd12::1"), allowed) is None
    assert refusal(ip_address("10.0.0.1"), allowed) == "not public"
    assert refusal(ip_address("64:ff9b::127.0.0.1"), allowed) is not None
    for address in ("169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "64:ff9b::a9fe:a9fe"):
        assert refusal(ip_address(address), networks(("0.0.0.0/0", "::/0"))) == "a cloud's metadata service"


def test_one_bad_address_among_good_ones_refuses_the_host() -> None:
    target = parse("http://a.example/x", PORTS)
    assert checked_addresses(target, (), lambda *_: ["8.8.8.8", "2606:4700::1", "8.8.8.8"]) == (
        "8.8.8.8",
        "2606:4700::1",
    )
    for bad in PRIVATE:
        with pytest.raises(DownloadError, match="address"):
            checked_addresses(target, (), lambda *_, bad=bad: ["8.8.8.8", bad])
    with pytest.raises(OSError, match="no address"):
        checked_addresses(target, (), lambda *_: [])


def test_an_address_in_a_url_is_not_looked_up() -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise AssertionError(host)

    assert checked_addresses(parse("http://8.8.8.8/", PORTS), (), resolve) == ("8.8.8.8",)
    for url in ("http://127.0.0.1/", "http://[::ffff:127.0.0.1]/", "http://[::1]/", "http://[::ffff:7f00:1]/"):
        with pytest.raises(DownloadError, match="not public"):
            checked_addresses(parse(url, PORTS), (), resolve)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("HTTP://A.Example", "http://a.example/"),
        ("http://a.example:80/x?y=1#z", "http://a.example/x?y=1"),
        ("https://a.example:443?q", "https://a.example/?q"),
        ("http://a.example:443/", "http://a.example:443/"),
        ("http://a.example/a b/ü%20?x=a|b", "http://a.example/a%20b/%C3%BC%20?x=a%7Cb"),
        ("http://Bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://a。example/", "http://a.example/"),
        ("http://my_host.a.example/", "http://my_host.a.example/"),
        ("http://[2606:4700:0::1]/x", "http://[2606:4700::1]/x"),
        ("http://1.2.3.4/x", "http://1.2.3.4/x"),
    ],
)
def test_a_plain_url_has_one_spelling(url: str, plain: str) -> None:
    assert parse(url, PORTS).url == plain
    assert parse(plain, PORTS).url == plain


def test_a_redirect_is_a_url_of_its_own() -> None:
    here = parse("https://a.example/x/y", PORTS)
    assert redirected(here, "../z", PORTS).url == "https://a.example/z"
    assert redirected(here, "//b.example/z", PORTS).url == "https://b.example/z"
    assert redirected(here, "/\u00c3\u00bc", PORTS).url == "https://a.example/%C3%BC", "UTF-8 read as Latin-1"
    for bad in (
        "http://a.example/",
        "ftp://a.example/",
        "https://u@a.example/",
        "https://a.example:22/",
        "//[::1",
        "\\\\b",
    ):
        with pytest.raises(DownloadError) as caught:
            redirected(here, bad, PORTS)
        assert caught.value.reason == "download_refused"
