"""The table of rejection reasons that data suppliers read."""

from __future__ import annotations

from pathlib import Path

from fraudline.etl.rules import LABEL_RULES, RAW_RULES

DATA = Path(__file__).parents[2] / "docs" / "data.md"


def test_documented_reasons_are_the_rules():
    """A data supplier looks up a rejected row's reason in this table."""
    rows = [
        f"| `{rule.name}` | `{channel}` | {rule.description} |"
        for channel, rules in (("raw", RAW_RULES), ("labels", LABEL_RULES))
        for rule in rules
    ]
    text = DATA.read_text()
    table = text[text.index("| reason |") :].split("\n\n", maxsplit=1)[0]
    assert table.splitlines()[2:] == rows
