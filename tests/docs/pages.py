"""The pages of the documentation, and the blocks of code in them.

`python -m tests.docs.pages` prints how many blocks each page has, how many are run, and why the others are not.
A block is left out by a comment right before it that says why: `<!-- not run: needs a Ray cluster -->`.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

REPOSITORY = Path(__file__).parents[2]
RUN = ("python", "sh", "yaml", "json")
SHOWN = ("text",)  # trees, pictures, output
TRANSLATED = ".zh-CN"  # README.zh-CN.md translates README.md
EXCUSE = re.compile(r"<!-- not run: (?P<reason>.+?) -->\s*", re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block. `excuse` says why it is not run; None where it is."""

    page: Path
    line: int
    language: str
    text: str
    excuse: str | None

    @property
    def place(self) -> str:
        """Page and line, for messages."""
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def pages() -> list[Path]:
    """Every Markdown page of the repository, in order."""
    found = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "tests").rglob("*.md")]
    for folder in ("docs", "examples"):
        found += (REPOSITORY / folder).rglob("*.md")
    return sorted(found)


def original_of(page: Path) -> Path | None:
    """The page that this one translates; None for an original."""
    return page.with_name(page.name.replace(TRANSLATED, "")) if TRANSLATED in page.name else None


def tokens_of(page: Path) -> list[Token]:
    """The page as Markdown tokens."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, top to bottom."""
    blocks: list[Block] = []
    excuse = None
    for token in tokens_of(page):
        if token.type == "fence":
            assert token.map is not None
            language = token.info.strip()
            blocks.append(Block(page=page, line=token.map[0] + 1, language=language, text=token.content, excuse=excuse))
        found = EXCUSE.fullmatch(token.content) if token.type == "html_block" else None
        excuse = found["reason"] if found else None
    return blocks


def spans_of(page: Path) -> list[str]:
    """The inline code of a page."""
    inside = [child for token in tokens_of(page) for child in token.children or ()]
    return [child.content for child in inside if child.type == "code_inline"]


def links_of(page: Path) -> list[str]:
    """The targets of a page's links and pictures."""
    inside = [child for token in tokens_of(page) for child in token.children or ()]
    return [
        str(child.attrs["href" if child.type == "link_open" else "src"])
        for child in inside
        if child.type in ("link_open", "image")
    ]


def main() -> None:
    """Print the counts."""
    total = Counter[str]()
    for page in pages():
        blocks = blocks_of(page) if original_of(page) is None else []  # those of a translation are its original's
        run = sum(block.excuse is None and block.language in RUN for block in blocks)
        excused = [block for block in blocks if block.excuse is not None]
        total.update(run=run, excused=len(excused), shown=len(blocks) - run - len(excused))
        if blocks:
            sys.stdout.write(f"{page.relative_to(REPOSITORY)}: {run} run, {len(excused)} not\n")
        for block in excused:
            sys.stdout.write(f"    {block.place} ({block.language}): {block.excuse}\n")
    sys.stdout.write(f"{total['run']} run, {total['excused']} not run, {total['shown']} only shown\n")


if __name__ == "__main__":
    main()
