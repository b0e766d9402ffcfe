"""CONTRIBUTING.md names files that exist."""

from __future__ import annotations

import re

import pytest

from tests.documents.pages import REPOSITORY

NAMED = re.findall(
    r"`((?:src|docs|glue|tests|tools|containers)/[\w./-]+)`", (REPOSITORY / "CONTRIBUTING.md").read_text()
)


@pytest.mark.parametrize("name", sorted(set(NAMED)))
def test_named_file_exists(name: str):
    assert (REPOSITORY / name).exists()


def test_ten_changes_are_described():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| (?!change|---)([^|]+) \|", text, re.MULTILINE)
    assert len(rows) == 10
