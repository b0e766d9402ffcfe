"""Links of the documents lead somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents.pages import PAGES, REPOSITORY, anchors, links

INTERNAL = [(page, link) for page in PAGES for link in links(page) if "://" not in link]


@pytest.mark.parametrize(
    ("page", "link"), INTERNAL, ids=lambda value: value.name if isinstance(value, Path) else str(value)
)
def test_link_leads_to_a_file_and_its_heading(page: Path, link: str):
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.exists()
    if anchor:
        assert anchor in anchors(target)


def test_every_document_is_in_the_index():
    index = REPOSITORY / "docs" / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert {page for page in (REPOSITORY / "docs").glob("*.md") if page != index} <= linked


def test_readme_has_at_most_800_words():
    assert len((REPOSITORY / "README.md").read_text().split()) <= 800
