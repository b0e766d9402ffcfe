"""Read Markdown pages: their shell commands, links and tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted((REPOSITORY / "containers").glob("*/README.md")),
]
_FENCE = re.compile(r" *```(\w*)")
_SHELL = ("bash", "sh", "console")


@dataclass(frozen=True)
class Command:
    """One simple shell command of a page.

    Attributes:
        page: the page's path in the repository.
        words: the words, without assignments of the environment before them.
    """

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        """Return the command with its page, for the names of tests."""
        return f"{self.page}: {' '.join(self.words)}"


def blocks(text: str) -> Iterator[str]:
    """Yield the shell code of a page: blocks that are indented or fenced as shell."""
    fence: str | None = None
    code: list[str] = []
    for line in text.splitlines():
        if match := _FENCE.match(line):
            fence = match[1] if fence is None else None
            continue
        if fence in _SHELL or (fence is None and re.match(r" {4,}\S", line)):
            code.append(line.strip())
        elif code and line.strip():
            yield "\n".join(code)
            code = []
    if code:
        yield "\n".join(code)


def commands(page: Path) -> Iterator[Command]:
    """Yield the simple commands of a page's shell code."""
    name = str(page.relative_to(REPOSITORY))
    for block in blocks(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            for words in _simple_commands(line):
                yield Command(name, words)


def _simple_commands(line: str) -> Iterator[tuple[str, ...]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";&|"):
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if words:
                yield tuple(words)
            words = []
        else:
            words.append(word)


def inline_code(page: Path) -> Iterator[str]:
    """Yield the code spans of a page's text."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


def links(page: Path) -> Iterator[str]:
    """Yield the targets of a page's links."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def first_cells(page: Path) -> set[str]:
    """Return what the tables of a page name in their first column, without code marks."""
    return {cell.strip().strip("`") for cell in re.findall(r"^\| ([^|]+) \|", page.read_text(), re.MULTILINE)}
