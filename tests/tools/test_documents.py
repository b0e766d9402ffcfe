"""Generated documents are those that the code generates today."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.documents import documents

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("path", documents(REPOSITORY), ids=str)
def test_a_generated_document_is_current(path: Path):
    """If this fails, run make docs."""
    assert (REPOSITORY / path).read_text() == documents(REPOSITORY)[path]
