"""The stack in an AWS in which it runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from fraudline.orchestration.stack import deploy
from fraudline.orchestration.stack.cloud import Cloud
from tests.aws.engine import Engine, engine

DIGEST = "sha256:" + "a" * 64
GLUE = Path(__file__).parents[2] / "glue"

Run = Callable[[list[str]], int]


@pytest.fixture(scope="session")
def run() -> Run:
    """Return what make deploy and make destroy run."""
    return partial(deploy.main, glue=GLUE)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return options with what make publish and the build of the wheel write."""
    folder = tmp_path_factory.mktemp("published")
    images = {
        name: {"image.name": f"1.dkr.ecr/fraudline/{name}:1.2.3", "containerimage.digest": DIGEST}
        for name in ("etl", "features", "train", "score")
    }
    (folder / "images.json").write_text(json.dumps(images))
    (folder / "fraudline-0.1.0-py3-none-any.whl").write_text("a wheel")
    return ["--images", str(folder / "images.json"), "--wheel", str(folder / "fraudline-0.1.0-py3-none-any.whl")]


@pytest.fixture(scope="module")
def cloud() -> Iterator[Engine]:
    with engine() as started:
        yield started


@pytest.fixture(scope="module")
def deployed(cloud: Engine, run: Run, published: list[str]) -> Callable[..., dict[str, str]]:
    """Return a function that deploys the stack with some settings and returns its outputs."""

    def deploy_stack(**settings: object) -> dict[str, str]:
        options = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        assert run(["deploy", *options, *published]) == 0
        outputs = Cloud().outputs("fraud-stack")
        assert outputs is not None
        return outputs

    return deploy_stack
