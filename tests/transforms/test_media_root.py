"""The root of a source's media: paths and URIs in rows stay below it, in the store that the project names."""

from __future__ import annotations

import pytest

from trichord.transforms.collect.media_root import MediaRoot
from trichord.transforms.media import MediaError

ROOTS = ["/data/media", "s3://photos/media", "gs://photos/media", "az://photos/media"]


@pytest.mark.parametrize("root", ROOTS)
def test_a_path_and_the_uri_of_the_same_file_are_one(root: str) -> None:
    found = MediaRoot(root)
    uri = f"file://{root}/a/b.jpg" if root.startswith("/") else f"{root}/a/b.jpg"
    assert found.relative("a/b.jpg") == found.relative("x/../a/b.jpg") == found.relative(uri) == "a/b.jpg"
    assert found.locate("a/b.jpg") == f"{root}/a/b.jpg"


@pytest.mark.parametrize("root", ROOTS)
def test_a_uri_of_another_scheme_leads_out_of_the_media_root(root: str) -> None:
    found = MediaRoot(root)
    own = root.partition("://")[0] if "://" in root else "file"
    others = [f"{scheme}://photos/media/a.jpg" for scheme in ("s3", "gs", "az") if scheme != own]
    outside = [f"{root}-other/a.jpg", f"{root}/../a.jpg", "../a.jpg", "/etc/passwd"]
    for named in [*others, *outside, *(["file:///data/media/a.jpg"] if own != "file" else [])]:
        with pytest.raises(MediaError) as refused:
            found.relative(named)
        assert refused.value.reason == "media_outside_root", named
    for named in ("abfss://photos/media/a.jpg", "ftp://photos/a.jpg", "data:image/png;base64,AA"):
        with pytest.raises(MediaError) as unknown:
            found.relative(named)
        assert unknown.value.reason == "media_scheme", named
