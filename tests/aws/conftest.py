"""The stack in an AWS in which it runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from tests.aws.engine import Engine, engine

DIGEST = "sha256:" + "a" * 64
DEPLOY = Path(__file__).parents[2] / "glue/deploy.py"


@pytest.fixture(scope="session")
def deploying() -> ModuleType:
    """The script, which is no part of the package."""
    spec = spec_from_file_location("deploy", DEPLOY)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What make publish and the build of the wheel left, as options of the script."""
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
def deployed(cloud: Engine, deploying: ModuleType, published: list[str]) -> Callable[..., dict[str, str]]:
    """Deploys the stack with some settings; its outputs."""

    def deploy(**settings: object) -> dict[str, str]:
        given = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        assert deploying.main(["deploy", *given, *published]) == 0
        outputs: dict[str, str] = deploying.Cloud("fraud", dry_run=False).outputs("fraud-stack")
        return outputs

    return deploy
