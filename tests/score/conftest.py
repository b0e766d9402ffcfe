"""A small trained model, and its artifact."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraudline.catalog.stages import STAGES
from fraudline.model.model import Model, load
from fraudline.runtime.channels import Channels
from tests.artifacts import write_artifact


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artifact(tmp_path_factory.mktemp("artifact"))


@pytest.fixture(scope="session")
def model(artifact: Path) -> Model:
    with Channels(STAGES["serve"], {"model": str(artifact)}, {}) as channels:
        return load(channels)
