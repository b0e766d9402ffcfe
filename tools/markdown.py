"""Render Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "---") -> str:
    """Return a table, one line per row.

    Args:
        head: the columns' names.
        rows: texts, as many in each as there are columns.
        align: rule of every column but the first, such as ``---:`` for numbers.
    """
    rule = ["---", *[align] * (len(head) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))
