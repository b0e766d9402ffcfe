"""Images are pinned by what the build wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fraudline.catalog.errors import InputError
from fraudline.catalog.stages import IMAGES
from fraudline.orchestration.images import images


def metadata(name: str) -> dict[str, str]:
    return {"image.name": name, "containerimage.digest": "sha256:0"}


@pytest.mark.parametrize(
    ("name", "pinned"),
    [
        ("fraudline/etl:dev", "fraudline/etl@sha256:0"),
        ("host:5000/fraudline/etl:1.2.3", "host:5000/fraudline/etl@sha256:0"),
        ("host:5000/fraudline/etl", "host:5000/fraudline/etl@sha256:0"),
    ],
)
def test_digest_replaces_the_tag_and_nothing_else(name: str, pinned: str, tmp_path: Path):
    file = tmp_path / "images.json"
    file.write_text(json.dumps({image: metadata(name) for image in IMAGES}))
    assert images(file) == dict.fromkeys(IMAGES, pinned)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"etl": {"image.name": "a"}}'])
def test_another_file_is_refused(content: str, tmp_path: Path):
    file = tmp_path / "images.json"
    file.write_text(content)
    with pytest.raises(InputError, match="expected what docker buildx bake --metadata-file writes"):
        images(file)


def test_without_a_file_the_images_of_this_computer_are_named():
    assert images(None) == {name: f"fraudline/{name}:dev" for name in IMAGES}
