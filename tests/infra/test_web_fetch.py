"""Fetching: contents lie in the lake by their hash, servers are asked no more than needed."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.infra.web_server import LIMIT, STORAGE, FakeClock, Web, file_answer, redirect, serving
from trichord.infra.config import WebConfig
from trichord.infra.digest import sha256_hex
from trichord.infra.errors import ConfigError
from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.web import DownloadError, Fetcher, receipt_contents


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with serving() as server:
        yield Web(server, tmp_path / "lake")


def test_a_content_lies_in_the_lake_under_its_hash_and_once(web: Web) -> None:
    web.server.files({"/a": b"one", "/b": b"one", "/empty": b""})
    assert web.fetch("/a") == web.fetch("/b") == b"one"
    assert web.fetch("/empty") == b""
    files = sorted(path.name for path in (web.lake / "_downloads").rglob("*") if path.is_file())
    assert files == sorted([sha256_hex(b"one"), sha256_hex(b""), "receipts.parquet"])
    assert receipt_contents(Lake(STORAGE, str(web.lake))) == {
        layout.DOWNLOAD_RECEIPTS,
        layout.content_path(sha256_hex(b"one")),
        layout.content_path(sha256_hex(b"")),
    }


def test_requests_name_the_product_and_the_host(web: Web) -> None:
    web.server.files({"/a?x=1": b"one"})
    web.names = {"files.example": ["127.0.0.1"]}
    with web.fetcher(user_agent="house/1") as fetcher:
        web.read(fetcher, web.server.url("/a?x=1#part", "files.example"))
    headers = web.server.requests[0].headers
    assert headers["Host"] == f"files.example:{web.server.port}"
    assert (headers["User-Agent"], headers["Accept-Encoding"]) == ("house/1", "identity")
    assert "trichord" in WebConfig().user_agent


def test_a_second_run_asks_conditionally_and_keeps_what_is_unchanged(web: Web) -> None:
    web.server.files({"/a": b"one"})
    web.fetch("/a")
    assert web.fetch("/a") == b"one"
    assert [request.headers.get("If-None-Match") is not None for request in web.server.requests] == [False, True]
    web.server.files({"/a": b"two"})
    assert web.fetch("/a") == b"two"
    assert web.fetch("/a") == b"two"
    assert len(web.server.requests) == 4


def test_last_modified_serves_where_there_is_no_etag_unless_the_file_was_too_young(web: Web) -> None:
    def answer(modified: str) -> Callable[..., None]:
        def send(exchange: Any) -> None:
            if exchange.headers.get("If-Modified-Since") == modified:
                exchange.raw(304, {})
            else:
                exchange.send(b"one", Last_Modified=modified)

        return send

    old = "Tue, 14 Nov 2023 22:13:20 GMT"
    web.server.answers = {
        "/old": answer(old),
        "/young": answer(time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())),
    }
    for path in ("/old", "/old", "/young", "/young"):
        assert web.fetch(path) == b"one"
    assert [request.headers.get("If-Modified-Since") for request in web.server.requests] == [None, old, None, None]


def test_no_request_is_made_before_a_content_is_old(web: Web) -> None:
    web.server.answers["/a"] = file_answer(b"one", Cache_Control="no-store, max-age=0")
    web.fetch("/a", max_age_s=100)
    web.clock.at += 99
    assert web.fetch("/a", max_age_s=100) == b"one"
    assert len(web.server.requests) == 1
    web.clock.at += 2
    web.fetch("/a", max_age_s=100)
    web.clock.at += 99
    web.fetch("/a", max_age_s=100)
    assert len(web.server.requests) == 2, "a 304 makes the content young again"


@pytest.mark.parametrize("damage", ["delete", "cut", "receipts"])
def test_a_content_that_is_not_there_is_fetched_without_condition(damage: str, web: Web) -> None:
    web.server.files({"/a": b"one"})
    web.fetch("/a")
    path = web.lake / layout.content_path(sha256_hex(b"one"))
    if damage == "delete":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(b"on")
    else:
        (web.lake / layout.DOWNLOAD_RECEIPTS).write_bytes(b"no parquet")
    assert web.fetch("/a", max_age_s=0 if damage == "receipts" else 1_000) == b"one"
    assert "If-None-Match" not in web.server.requests[-1].headers


def test_a_304_that_nobody_asked_for_is_no_content(web: Web) -> None:
    web.server.answers["/a"] = lambda exchange: exchange.raw(304, {})
    assert web.failure("/a") == ("download_failed", "transient: HTTP 304 to an unconditional request")


def test_one_url_is_fetched_once_in_a_run_however_often_it_is_named(web: Web) -> None:
    inside, go = threading.Event(), threading.Event()

    def slow(exchange: Any) -> None:
        inside.set()
        go.wait(2)
        exchange.send(b"one")

    web.server.answers["/a"] = slow
    with web.fetcher() as fetcher, ThreadPoolExecutor(8) as pool:
        found = [pool.submit(web.read, fetcher, web.server.url("/a" + "#x" * (i % 2))) for i in range(8)]
        inside.wait(2)
        go.set()
        assert {future.result() for future in found} == {b"one"}
        assert web.read(fetcher, web.server.url("/a")) == b"one"
    assert web.server.paths() == {"/a": 1}


def test_requests_to_one_host_are_bounded_and_so_are_all(web: Web) -> None:
    def answer(exchange: Any) -> None:
        time.sleep(0.01)
        exchange.send(b"x")

    web.server.answers = {f"/{i}": answer for i in range(24)}
    hosts = [f"h{i}.example" for i in range(4)]
    web.names = {host: ["127.0.0.1"] for host in hosts}
    for options, bound in (({"per_host": 2, "concurrency": 16}, 2), ({"per_host": 8, "concurrency": 3}, 3)):
        web.server.most = 0
        with web.fetcher(**options) as fetcher:
            one = hosts[:1] if bound == 2 else hosts
            urls = [web.server.url(f"/{i}", one[i % len(one)]) for i in range(24)]
            fetcher.map(partial(fetcher.fetch, max_bytes=LIMIT), urls)
        assert web.server.most == bound, "reached, and never exceeded"


def test_requests_to_one_host_keep_their_distance(web: Web) -> None:
    web.server.files({f"/{i}": b"x" for i in range(5)})
    with web.fetcher(min_interval_s=3) as fetcher:
        for i in range(5):
            fetcher.fetch(web.server.url(f"/{i}"), LIMIT)
    assert web.clock.slept == [3, 3, 3, 3]


def test_a_connection_is_used_again(web: Web) -> None:
    web.server.files({f"/{i}": b"x" for i in range(5)})
    with web.fetcher() as fetcher:
        for i in range(5):
            fetcher.fetch(web.server.url(f"/{i}"), LIMIT)
    assert web.server.connections == 1


def flaky(times: int, status: int, **headers: str) -> Callable[[Any], None]:
    left = [times]

    def answer(exchange: Any) -> None:
        left[0] -= 1
        exchange.send(b"x", status if left[0] >= 0 else 200, **headers)

    return answer


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_retried_with_growing_waits(status: int, web: Web) -> None:
    web.server.answers["/a"] = flaky(3, status)
    assert web.fetch("/a", backoff_s=1, backoff_cap_s=3) == b"x"
    first, second, third = web.clock.slept
    assert 0.5 <= first <= 1 <= second <= 2
    assert 1.5 <= third <= 3
    web.server.answers["/b"] = flaky(9, status)
    assert web.failure("/b", retries=2) == ("download_failed", f"transient: HTTP {status}")
    assert web.server.paths()["/b"] == 3


def test_waits_are_the_same_in_every_run(web: Web, tmp_path: Path) -> None:
    waits = []
    for i in range(2):
        web.server.answers["/a"] = flaky(3, 503)
        web.lake, web.clock = tmp_path / str(i), FakeClock()
        web.fetch("/a")
        waits.append(web.clock.slept)
    assert waits[0] == waits[1]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_wish_to_wait_is_honoured_by_all_requests_to_the_host_up_to_a_cap(form: str, web: Web) -> None:
    wish = "7" if form == "seconds" else "Tue, 14 Nov 2023 22:13:27 GMT"  # 7 s after the clock's start
    web.server.answers["/a"] = flaky(1, 429, Retry_After=wish)
    assert web.fetch("/a", backoff_s=0.1) == b"x"
    assert sum(web.clock.slept) == pytest.approx(7)
    web.server.answers["/b"] = flaky(1, 429, Retry_After="3600")
    assert web.failure("/b") == ("download_failed", "transient: HTTP 429, retry much later")
    assert web.server.paths()["/b"] == 1


@pytest.mark.parametrize(
    ("status", "reason"), [(400, "failed"), (401, "failed"), (403, "failed"), (404, "missing"), (410, "missing"),
                           (451, "failed"), (204, "failed"), (206, "failed"), (300, "failed")]
)  # fmt: skip
def test_a_lasting_failure_is_not_retried(status: int, reason: str, web: Web) -> None:
    web.server.answers["/a"] = lambda exchange: exchange.send(b"" if status == 204 else b"x", status)
    assert web.failure("/a") == (f"download_{reason}", f"permanent: HTTP {status}")
    assert len(web.server.requests) == 1


def test_a_failure_is_remembered_until_it_is_old_or_forgotten_or_settings_change(web: Web) -> None:
    web.server.answers["/a"] = flaky(99, 404)
    for _ in range(3):
        assert web.failure("/a", retry_after_s=100) == ("download_missing", "permanent: HTTP 404")
    assert len(web.server.requests) == 1
    web.clock.at += 101
    web.failure("/a", retry_after_s=100)
    assert len(web.server.requests) == 2
    web.failure("/a", retry_after_s=100, user_agent="another")
    assert len(web.server.requests) == 3
    web.failure("/a", LIMIT + 1, retry_after_s=100, user_agent="another")
    assert len(web.server.requests) == 4
    for forgotten in ({"reasons": ("download_missing",)}, {"urls": (web.server.url("/a#x"), "no url")}):
        with web.fetcher(retry_after_s=100) as fetcher:
            assert fetcher.forget(reasons=("download_noai",), urls=("http://other.example/",)) == 0
            assert fetcher.forget(**forgotten) == 1
        before = len(web.server.requests)
        web.failure("/a", retry_after_s=100)
        assert len(web.server.requests) == before + 1


def test_the_last_good_content_stands_in_while_a_server_fails_but_not_once_it_says_gone(web: Web) -> None:
    web.server.files({"/a": b"one"})
    web.fetch("/a")
    options: dict[str, Any] = {"retries": 0, "retry_after_s": 10, "stale_max_s": 1_000}
    web.server.answers["/a"] = flaky(99, 503)
    assert web.fetch("/a", **options) == web.fetch("/a", **options) == b"one"
    assert len(web.server.requests) == 2, "the failure is remembered all the same"
    assert web.failure("/a", retries=0, stale_max_s=0) == ("download_failed", "transient: HTTP 503")
    web.clock.at += 1_001
    assert web.failure("/a", **options) == ("download_failed", "transient: HTTP 503")
    web.server.files({"/a": b"one"})
    web.clock.at += 11
    assert web.fetch("/a", **options) == b"one"
    assert "If-None-Match" in web.server.requests[-1].headers
    web.server.answers["/a"] = flaky(99, 410)
    assert web.failure("/a", **options)[0] == "download_missing"
    assert receipt_contents(Lake(STORAGE, str(web.lake))) == {layout.DOWNLOAD_RECEIPTS}, (
        "nothing keeps the content alive"
    )


def test_a_host_that_cannot_be_reached_is_given_up_for_the_run(web: Web) -> None:
    with web.fetcher(host_failures=4, retries=1) as fetcher:
        details = set()
        for i in range(10):
            with pytest.raises(DownloadError) as caught:
                fetcher.fetch(f"http://dead.example/{i}", LIMIT)
            details.add(caught.value.detail)
    assert web.asked == ["dead.example"] * 4
    assert details == {"transient: the host could not be reached"}, "the plan does not tell which URL came first"


def test_the_next_address_is_tried_where_the_first_cannot_be_connected_to(web: Web) -> None:
    web.server.files({"/a": b"one"})
    web.names = {"two.example": ["127.9.9.9", "127.0.0.1"]}
    with web.fetcher() as fetcher:
        assert web.read(fetcher, web.server.url("/a", "two.example")) == b"one"


@pytest.mark.parametrize(
    "values",
    [["noai"], ["NoAI"], ["noindex, noimageai"], ["mybot: noai"], ["googlebot: noindex", "otherbot: x, NOIMAGEAI"],
     ["unavailable_after: 25 Jun 2030 15:00:00 PST, noai"], ["noindex;noai"], ["mybot:noai , nosnippet"]],
)  # fmt: skip
def test_who_says_noai_is_left_alone(values: list[str], web: Web) -> None:
    def answer(exchange: Any) -> None:
        exchange.raw(200, [("Content-Length", "3"), *(("X-Robots-Tag", value) for value in values)])
        exchange.write(b"one")

    web.server.answers["/a"] = answer
    assert web.failure("/a") == ("download_noai", "permanent: the server says X-Robots-Tag: noai")
    assert web.fetch("/a", honour_noai=False) == b"one"
    assert web.failure("/a", max_age_s=1_000)[0] == "download_noai", "what was taken then is not used now"


@pytest.mark.parametrize("value", ["noindex", "nofollow, noarchive", "noaimless", "xnoai", "noai-not", "all", ""])
def test_other_robots_tags_do_not_matter(value: str, web: Web) -> None:
    web.server.answers["/a"] = lambda exchange: exchange.send(b"one", X_Robots_Tag=value)
    assert web.fetch("/a") == b"one"


def test_redirects_are_followed_up_to_a_number(web: Web) -> None:
    web.server.files({"/5": b"one"})
    for i in range(5):
        web.server.answers[f"/{i}"] = redirect(f"/{i + 1}", (301, 302, 303, 307, 308)[i])
    assert web.fetch("/0") == b"one"
    assert web.fetch("/0") == b"one"
    conditional = [request.path for request in web.server.requests if "If-None-Match" in request.headers]
    assert conditional == ["/5"], "a validator belongs to the URL that gave it"
    assert web.failure("/0", max_redirects=4) == ("download_refused", "permanent: more than 4 redirects")
    web.server.answers["/loop"] = redirect("/loop")
    assert web.failure("/loop")[0] == "download_refused"
    web.server.answers["/nowhere"] = lambda exchange: exchange.send(b"", 302)
    assert web.failure("/nowhere") == ("download_refused", "permanent: a redirect to nowhere")


def test_what_is_on_disk_survives_a_kill_by_receipts_saved_on_the_way(web: Web) -> None:
    web.server.files({"/a": b"one", "/b": b"two"})
    with web.fetcher() as fetcher:
        fetcher.fetch(web.server.url("/a"), LIMIT)
        assert not (web.lake / layout.DOWNLOAD_RECEIPTS).exists()
        web.clock.at += 61
        fetcher.fetch(web.server.url("/b"), LIMIT)
        assert (web.lake / layout.DOWNLOAD_RECEIPTS).exists()


def test_receipts_of_urls_that_no_row_names_are_dropped_when_old(web: Web) -> None:
    web.server.files({"/a": b"one", "/b": b"two"})
    web.fetch("/a")
    web.clock.at += 50
    web.fetch("/b", keep_unused_s=100)
    assert len(receipt_contents(Lake(STORAGE, str(web.lake)))) == 3
    web.clock.at += 60
    web.fetch("/b", keep_unused_s=100)
    assert receipt_contents(Lake(STORAGE, str(web.lake))) == {
        layout.DOWNLOAD_RECEIPTS,
        layout.content_path(sha256_hex(b"two")),
    }


def test_a_body_is_never_larger_than_the_limit(web: Web) -> None:
    web.server.files({"/a": b"x" * 1_000})
    assert len(web.fetch("/a", 1_000)) == 1_000
    assert web.failure("/a", 999) == ("download_too_large", "permanent: more than the 999 bytes that are read")
    assert web.failure("/a", 999, max_age_s=1_000)[0] == "download_too_large"


def test_a_compressed_body_is_refused(web: Web) -> None:
    bomb = gzip.compress(b"\0" * 10_000_000)
    web.server.answers["/bomb"] = lambda exchange: exchange.send(bomb, Content_Encoding="gzip")
    web.server.answers["/twice"] = lambda exchange: exchange.send(bomb, Content_Encoding="identity, br")
    for path in ("/bomb", "/twice"):
        assert web.failure(path) == ("download_failed", "permanent: a compressed body (Content-Encoding)")
    web.server.answers["/plain"] = lambda exchange: exchange.send(b"one", Content_Encoding="identity")
    assert web.fetch("/plain") == b"one"


def test_wrong_settings_are_refused() -> None:
    for wrong in ({"allow_private": ("10.0.0.1/8",)}, {"ports": (0,)}, {"ports": ()}, {"user_agent": "a\nb"},
                  {"retries": -1}, {"per_host": 0}, {"total_timeout_s": 0}):  # fmt: skip
        with pytest.raises(ValueError):
            WebConfig(**wrong)
    with pytest.raises(ConfigError, match="ca_file"):
        Fetcher(WebConfig(ca_file="/nowhere.pem"), Lake(STORAGE, "/lake"))
