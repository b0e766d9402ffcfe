"""The resolved bake file equals the golden one; resolving needs no Docker engine."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from fraudline.catalog.stages import IMAGES

REPOSITORY, GOLDEN = Path(__file__).parents[2], Path(__file__).with_name("bake.json")
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere"}


def has_bake() -> bool:
    """Return True where the Docker client has buildx."""
    try:
        return subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not has_bake(), reason="needs docker buildx, though no engine")


def resolved_bake_file(**variables: str) -> str:
    """Return the resolved bake file, without a reachable engine."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("VERSION", "REGISTRY", "CA_BUNDLE")
    }
    command = ["docker", "buildx", "bake", "--print"]
    process = subprocess.run(
        command, cwd=REPOSITORY, env=environment | NO_ENGINE | variables, capture_output=True, text=True, check=True
    )
    return process.stdout


def test_the_bake_file_equals_the_golden_one(request: pytest.FixtureRequest):
    """A difference changes what is published: read it, then run make golden."""
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(resolved_bake_file())
    assert resolved_bake_file() == GOLDEN.read_text()


def test_names_carry_the_registry_and_the_version():
    text = resolved_bake_file(REGISTRY="registry.example/", VERSION="1.2.3")
    for image in IMAGES:
        assert f'"registry.example/fraudline/{image}:1.2.3"' in text


def test_every_image_of_the_catalog_is_built():
    groups = json.loads(resolved_bake_file())["group"]
    assert set(groups["stage"]["targets"]) == set(IMAGES)
    assert groups["default"]["targets"] == ["stage"]


def test_a_certificate_bundle_is_a_secret_never_an_argument(tmp_path: Path):
    """An argument would be written into the image's history."""
    bundle = tmp_path / "bundle.crt"
    bundle.write_text("")
    text = resolved_bake_file(CA_BUNDLE=str(bundle))
    assert f"id=ca,src={bundle}" in text
    assert text.count(str(bundle)) == text.count(f"id=ca,src={bundle}")
