"""The rules as whoever delivers reads them."""

from __future__ import annotations

from pathlib import Path

from fraudline.etl.rules import LABEL_RULES, RAW_RULES

DATA = Path(__file__).parents[2] / "docs" / "data.md"


def test_the_table_of_reasons_is_the_rules_and_nothing_else():
    """A reason in a rejected row is looked up there."""
    rows = [
        f"| `{rule.name}` | `{channel}` | {rule.says} |"
        for channel, rules in (("raw", RAW_RULES), ("labels", LABEL_RULES))
        for rule in rules
    ]
    text = DATA.read_text()
    table = text[text.index("| reason |") :].split("\n\n", maxsplit=1)[0]
    assert table.splitlines()[2:] == rows
