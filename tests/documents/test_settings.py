"""Settings that the documents show are ones that the reader of fraudline.toml accepts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fraudline.catalog import settings
from tests.documents.pages import PAGES

SHOWN = [
    re.sub(r"^ +", "", code, flags=re.MULTILINE)
    for page in PAGES
    for code in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
]


@pytest.mark.parametrize("code", SHOWN)
def test_shown_settings_are_accepted(code: str, tmp_path: Path):
    (tmp_path / "fraudline.toml").write_text(code)
    loaded = settings.load(tmp_path / "fraudline.toml")
    assert loaded.values


def test_readme_shows_settings():
    assert SHOWN
