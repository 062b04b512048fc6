"""Every block of the documentation is run or says why not; what it names exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.docs.pages import REPOSITORY, RUN, SHOWN, blocks_of, links_of, original_of, pages, spans_of
from tests.docs.run import run_page
from trichord.infra.reference import is_section, json_schema, resolve, variants
from trichord.pipelines.cli.app import app

PAGES = pages()
COMPLETION = {"--help", "--install-completion", "--show-completion"}
ORIGINALS = [page for page in PAGES if original_of(page) is None]  # others have their blocks: test_translations.py
ANSWERS = REPOSITORY / "examples" / "image_text_rag" / "README.md"  # needs a model server: test_examples.py runs it


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", [page for page in ORIGINALS if blocks_of(page) and page != ANSWERS], ids=name_of)
def test_every_block_that_is_not_excused_runs(page, examples):
    run_page(page, examples)


def test_every_block_has_a_language_that_says_what_it_is():
    blocks = [block for page in PAGES for block in blocks_of(page)]
    for block in blocks:
        assert block.language in (*RUN, *SHOWN), block.place
        if block.language in SHOWN:
            assert not re.search(r"^(\$ )?(trichord|make|python|pip) ", block.text, flags=re.M), block.place
    assert sum(block.excuse is None and block.language in RUN for block in blocks) >= 25


def test_every_excuse_gives_a_reason():
    excused = [block for page in PAGES for block in blocks_of(page) if block.excuse is not None]
    for block in excused:
        assert len((block.excuse or "").split()) >= 3, block.place
    comments = sum(page.read_text(encoding="utf-8").count("<!-- not run") for page in PAGES)
    explained = 1  # CONTRIBUTING.md shows what an excuse looks like
    assert len(excused) + explained == comments, "an excuse stands before something that is not a block"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_of_the_repository(page):
    for target in links_of(page):
        if not re.match(r"(https?|mailto):|#", target):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_no_page_refers_to_what_the_repository_does_not_hold():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"DESIGN|HOUSE\.md|FACTS|STYLE\.md|\.\./shared|\blaws? \d", text), page


def test_every_command_that_is_named_in_the_text_exists():
    root = typer.main.get_command(app)
    named = 0
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue  # names what once was
        for span in spans_of(page):
            if not re.match(r"trichord [a-z-]", span):
                continue
            words = [word.rstrip(",;") for word in shlex.split(span.replace("…", ""))[1:]]
            command: Any = root
            while words and (found := getattr(command, "commands", {}).get(words[0])) is not None:
                command = found
                words = words[1:]
            assert command is not root or words[0].startswith("--"), f"{page}: {span}"
            known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
            for word in words:
                assert not word.startswith("--") or word.partition("=")[0] in known | COMPLETION, f"{page}: {span}"
            named += 1
    assert named > 40


def test_every_setting_that_is_named_in_the_text_exists():
    sections = {name for name, node in json_schema()["properties"].items() if is_section(node)} - {"prepare"}
    pattern = re.compile(rf"({'|'.join(sorted(sections))}|prepare)(\.[a-z_]+)+")
    named = 0
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue  # names what once was
        for span in spans_of(page):
            if pattern.fullmatch(span) and not span.endswith((".db", ".json", ".md", ".py", ".yaml")):
                assert setting_exists(span.split(".")), f"{page}: {span}"
                named += 1
    assert named > 60


def setting_exists(path: list[str]) -> bool:
    """Whether the project file has this key; any name where a section maps names to values."""
    node: Any = json_schema()
    for name in path:
        model = resolve(node)
        if "additionalProperties" in model and isinstance(model["additionalProperties"], dict):
            return True
        properties = model.get("properties", {})
        if name not in properties:
            return any(setting for setting in variants(node))
        node = properties[name]
    return True
