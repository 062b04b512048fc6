"""A search among the records of a source or of certain metadata."""

from __future__ import annotations

import pytest

import trichord
from tests.command import trichord as command
from tests.pipelines.lakes import (
    SETTINGS,
    addresses,
    result_of,
    rows_of,
    workspace_of,
    write_project,
    write_rows,
)
from trichord.infra.errors import ConfigError
from trichord.pipelines.cli.search import conditions
from trichord.pipelines.reindex import reindex
from trichord.pipelines.search.search import search


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Records of two licences, numbered pages, whose index holds both."""
    settings = SETTINGS | {"index": {"metadata": ["licence", "page"], "rows_per_shard": 60}}
    made = write_project(tmp_path_factory.mktemp("where"), records=120, settings=settings, defects=0.0)
    corpus = made.parent / "corpus"
    licences = ("CC0", "CC BY 4.0")
    write_rows(corpus, [row | {"licence": licences[n % 2], "page": n % 7} for n, row in enumerate(rows_of(corpus))])
    reindex(workspace_of(made))
    return made


def found(project, *given: str, source: str | None = None) -> set[str]:
    workspace, where = workspace_of(project), conditions(given)
    hits = search(workspace, text="a red circle", image=None, audio=None, k=8, source=source, where=where)["hits"]
    return {hit["key"] for hit in hits}


def test_hits_are_of_the_licence_the_page_and_the_source_asked_for(project):
    rows = rows_of(project.parent / "corpus")
    keys = {name: {row["id"] for row in rows if row["licence"] == name} for name in ("CC0", "CC BY 4.0")}
    assert len(found(project)) == 8
    for name, those in keys.items():
        some = found(project, f"licence={name}", source="demo")
        assert len(some) == 8
        assert some <= those
    page = found(project, "licence=CC0", "page=3")
    assert page == page & {row["id"] for row in rows if row["page"] == 3} & keys["CC0"]
    assert page
    assert not found(project, source="elsewhere")
    told = command("search", "--text", "a red circle", "-k", "8", "--project", str(project), "--json",
                    "--where", "licence=CC0", "--where", "page=3", "--source", "demo")  # fmt: skip
    assert {hit["key"] for hit in result_of(told)["hits"]} == page


def test_an_open_searcher_looks_among_the_same_records_and_hits_carry_their_metadata(project):
    searcher = trichord.open(project).searcher()
    hits = searcher.search("a red circle", k=8, source="demo", where={"licence": "CC0", "page": 3})
    assert {hit.key for hit in hits} == found(project, "licence=CC0", "page=3")
    assert all(hit.metadata == {"licence": "CC0", "page": 3} for hit in hits)
    with pytest.raises(ConfigError, match="The index holds the fields licence, page, not 'partition'"):
        searcher.search("a red circle", where={"partition": 1})


def test_a_field_that_is_not_held_is_an_error_that_says_what_to_do(project):
    refused = command("search", "--text", "x", "--project", str(project), "--where", "partition=1", check=2)
    assert "add it to index.metadata" in " ".join(refused.stderr.split())


def test_a_source_that_nothing_has_is_an_error_that_names_the_known_ones(project):
    asked = ("search", "--text", "a circle", "--project", str(project))
    assert "There is no source 'corpsu'. Known: demo" in command(*asked, "--source", "corpsu", check=2).stderr
    assert "matches." in command(*asked, "--where", "licence=none").stdout


def test_other_fields_encode_nothing(project):
    before = addresses(workspace_of(project))["vectors"]
    reindex(workspace_of(project, "index.metadata=[page]"))
    assert addresses(workspace_of(project))["vectors"] == before
    with pytest.raises(ConfigError, match="not 'licence'"):
        found(project, "licence=CC0")
    reindex(workspace_of(project))
    assert len(found(project, "licence=CC0")) == 8


def test_values_are_numbers_yes_or_no_or_words():
    given = ["page=3", "new=true", "licence=CC BY=4", 'code="3"', "tags=[1]", "none=null", "far=1e999", "no=NaN"]
    assert conditions(given) == {
        "page": 3, "new": True, "licence": "CC BY=4", "code": "3", "tags": "[1]", "none": "null",
        "far": "1e999", "no": "NaN",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="FIELD=VALUE"):
        conditions(["=3"])
    with pytest.raises(ConfigError, match="twice"):
        conditions(["page=3", "page=4"])
