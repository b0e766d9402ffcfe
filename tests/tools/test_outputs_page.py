"""The dictionary of outputs agrees with the schemas and with the code that writes the summaries."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraudline.catalog import dictionary, schema
from fraudline.catalog.stages import STAGES
from tools import outputs_page

SOURCE = Path(__file__).parents[2] / "src" / "fraudline"
# Parts of other tables, which the page shows as FEATURES and inside of the reasons' columns.
PARTS = {"FEATURE_KEYS", "REASON"}


def test_every_schema_of_the_catalog_has_a_table():
    schemas = {name for name in vars(schema) if name.isupper() and not name.startswith("_")}
    assert schemas - PARTS <= {table.name for table in dictionary.TABLES}


@pytest.mark.parametrize("table", dictionary.TABLES, ids=lambda table: table.name)
def test_every_column_is_described_and_no_other(table: dictionary.Table):
    assert set(table.columns) == set(outputs_page.schema_of(table.name))


def test_every_stage_has_its_summary_keys():
    assert set(dictionary.SUMMARY_KEYS) == set(STAGES)


def test_an_undescribed_key_is_found():
    assert list(dictionary.undescribed("etl", {"date": "", "new": 1, "watched": {"newer": 1}})) == [
        "new",
        "watched.newer",
    ]
