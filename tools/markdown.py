"""Render Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "---") -> str:
    """Return a Markdown table, one line per row.

    Args:
        head: the names of the columns.
        rows: the cells of each row.
        align: the alignment of every column but the first, such as ``---:`` for numbers.
    """
    rule = ["---", *[align] * (len(head) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))
