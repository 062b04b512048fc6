"""Listing: the stats of many objects for a few requests, and the same as those asked for one by one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path

import boto3
import pytest

from trichord.infra import digest
from trichord.infra.config import StorageConfig
from trichord.infra.lake.bucket import PAGE
from trichord.infra.lake.listing import Listing
from trichord.infra.lake.storage import Stat, Storage

ROOT = "s3://lake/media"


class Bucket(Storage):
    """Objects by name, and how many requests there were."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(StorageConfig())
        self.stats = {uri: Stat(uri, 7, 0, f'"{uri}"') for uri in sorted(f"{ROOT}/{name}" for name in names)}
        self.uris = list(self.stats)
        self.pages = 0

    def page(self, folder: str, after: str) -> tuple[Sequence[Stat], bool]:
        self.pages += 1
        start = bisect_right(self.uris, after)
        return [self.stats[uri] for uri in self.uris[start : start + PAGE]], start + PAGE > len(self.uris)

    def requests(self, listing: Listing, names: Sequence[str], together: int = 4_096) -> int:
        """Look names up and check what listings say of them; return how many requests that and the rest take."""
        before, alone = self.pages, 0
        for first in range(0, len(names), together):
            asked = [f"{ROOT}/{name}" for name in names[first : first + together]]
            found = listing.look_up(asked)
            assert all(stat == self.stats.get(uri) for uri, stat in found.items())
            alone += len(set(asked) - found.keys())
        return self.pages - before + alone


def shuffled(names: Sequence[str], seed: int) -> list[str]:
    return [names[i] for i in digest.generator("listing", seed).permutation(len(names))]


@pytest.mark.parametrize(("in_order", "more"), [(True, 10), (False, 25)])
def test_objects_under_a_few_prefixes_of_a_large_bucket_take_a_request_for_a_thousand(
    in_order: bool, more: int
) -> None:
    names = [f"photos/{'ajz'[i % 3]}/{i:05}.jpg" for i in range(9_000)]
    others = [f"{first}/{i:05}.bin" for first in ("a", "photos/b", "photos/k", "z") for i in range(5_000)]
    bucket = Bucket([*names, *others])
    asked = sorted(names) if in_order else shuffled(names, 1)
    listing = Listing(bucket, ROOT, len(names))
    assert bucket.requests(listing, asked, together=1_000) <= len(names) / 1_000 + more
    assert bucket.requests(listing, asked) <= 4, "what was listed is known"
    assert bucket.requests(Listing(bucket, ROOT), asked) <= len(names) / 1_000 + 10, "also without knowing how many"


def test_no_bucket_makes_it_worse_than_a_request_each() -> None:
    for seed in range(12):
        draw = digest.generator("buckets", seed)
        folders = int(draw.choice([1, 40, 2_000]))
        every = int(draw.choice([1, 7, 90, 1_500]))  # so many objects for one that is asked for
        names = [f"{i % folders}/{i}{ending}" for i in range(600) for ending in ("", ".jpg")[seed % 2 :]]
        others = [f"{i % folders}/{i}-{n}" for i in range(600) for n in range(every - 1)][:20_000]
        bucket = Bucket([*names[::2], *others])  # every other one is missing
        asked = shuffled(names, seed)
        together = int(draw.choice([3, 50, 4_096]))
        listing = Listing(bucket, ROOT, int(draw.choice([0, 1_000])))
        assert bucket.requests(listing, asked, together) <= len(names)
        assert bucket.pages <= 12 + len(names) / 10, "a listing costs more than asking for one object"


def test_names_that_follow_each_other_are_found_after_many_that_do_not() -> None:
    rare = [f"a/{i:07}/x.jpg" for i in range(0, 40_000, 20)]
    dense = [f"b/{i:05}.jpg" for i in range(5_000)]
    bucket = Bucket([*(f"a/{i:07}/{one}.jpg" for i in range(0, 40_000, 20) for one in range(60)), *dense, *rare])
    listing = Listing(bucket, ROOT)
    assert bucket.requests(listing, rare, together=200) <= len(rare)
    assert bucket.requests(listing, dense, together=500) <= 200


def test_a_store_that_does_not_list_by_name_is_asked_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(f"{i:03}.jpg" for i in range(100))
    for stats in ([*bucket.stats.values()][::-1], [Stat(f"{ROOT}/000", 1, 0, '"a"')]):
        monkeypatch.setattr(bucket, "page", lambda folder, after, stats=stats: (stats, True))
        listing = Listing(bucket, ROOT)
        assert listing.look_up(bucket.uris[50:]) == {}
        assert listing.look_up(bucket.uris) == {}
    monkeypatch.setattr(bucket, "page", lambda folder, after: ([Stat(bucket.uris[0], 1, 0, None)], True))
    assert listing.look_up(bucket.uris[:9]) == {}, "objects without an etag"


NAMES = ("a.jpg", "a.txt", "a/0", "a/b0", "a/b", "a/b/1.jpg", "b!", "b 1.jpg", "ü/é.jpg", "c%20.jpg", "c+.jpg", "z~")
ABSENT = ("a", "a.jp", "a/b1", "none.jpg", "ü", "zz", "tab\t.jpg", "\udc80.jpg", "x//y.jpg", "x/", "d\U0010ffff", "")


def test_a_bucket_says_in_a_listing_what_it_says_of_each(
    s3_config: StorageConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, root = Storage(s3_config), f"s3://lake{tmp_path}/media"
    for name in NAMES:
        storage.write(f"{root}/{name}", name.encode())
    client = boto3.client("s3", endpoint_url=s3_config.endpoint, region_name=s3_config.region)
    for marker in ("a/", "a/b/", "empty/"):  # as a console makes folders
        client.put_object(Bucket="lake", Key=f"{root}/{marker}".removeprefix("s3://lake/"), Body=b"")
    storage.write(f"{root}-other.jpg", b"12")
    alone = {}
    for name in (*NAMES, *ABSENT[:6]):
        uri = f"{root}/{name}"
        alone[uri] = storage.stat(uri) if name in NAMES else None
    monkeypatch.setattr(Storage, "stat", None)

    found = Listing(storage, root).look_up([*alone, *(f"{root}/{name}" for name in ABSENT), f"{root}-other.jpg"])
    assert {uri: stat for uri, stat in found.items() if uri in alone} == {
        uri: alone[uri] for uri in found if uri in alone
    }
    assert {f"{root}/{name}" for name in NAMES} - found.keys() == {f"{root}/b!"}
    assert not any(found[uri] for uri in found.keys() - alone.keys())
    listed = [stat.uri for stat in storage.list(root)]
    assert listed == sorted(listed), "no object that stands for a folder is listed behind its siblings"
    assert {stat.uri for stat in storage.list(root)} - {f"{root}/empty"} == {f"{root}/{name}" for name in NAMES}
