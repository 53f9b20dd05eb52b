"""Markdown pages as code blocks, headings and links: just as much of the syntax as the documentation uses."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]

FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,})(?P<info>.*)$")
HEADING = re.compile(r"^#{1,6} +(.+?) *$")
TARGET = re.compile(r"^\(([\w-]+)\)=$")
LINK = re.compile(r"\]\(([^()\s]+)\)")


@dataclass(frozen=True)
class Block:
    """Fenced block: language, content, and the number of its first line in the page."""

    language: str
    content: str
    line: int


def split_page(page: Path) -> tuple[list[Block], list[tuple[int, str]]]:
    """Return the fenced blocks of a page, and its other lines with their numbers."""
    blocks: list[Block] = []
    prose: list[tuple[int, str]] = []
    fence, language, content, first = "", "", [], 0
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        match = FENCE.match(line)
        if not fence and match:
            fence, language, content, first = match["fence"], match["info"].strip(), [], number + 1
        elif fence and line.strip() == fence:
            blocks.append(Block(language, "\n".join(content) + "\n", first))
            fence = ""
        elif fence:
            content.append(line)
        else:
            prose.append((number, line))
    assert not fence, f"{page}: a block is not closed"
    return blocks, prose


def anchors_of(page: Path) -> set[str]:
    """Return what a link may point to within a page: slugs of headings, as GitHub makes them, and explicit targets."""
    anchors = set()
    for _, line in split_page(page)[1]:
        if match := HEADING.match(line):
            text = re.sub(r"[^\w\- ]", "", match[1].lower())
            anchors.add(text.replace(" ", "-"))
        elif match := TARGET.match(line):
            anchors.add(match[1])
    return anchors


def links_of(page: Path) -> list[tuple[int, str]]:
    """Return the targets of all links and pictures with their line numbers."""
    return [(number, target) for number, line in split_page(page)[1] for target in LINK.findall(line)]
