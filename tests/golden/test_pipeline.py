"""The SageMaker Pipelines definitions, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraudline.catalog.workflow import WORKFLOWS
from tests import defined


@pytest.mark.pipeline
@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_pipeline_is_defined_as_it_was(workflow: str, request: pytest.FixtureRequest):
    """A change here is a change of what runs on AWS: read it, then make golden."""
    golden = Path(__file__).with_name(f"pipeline-{workflow}.json")
    if request.config.getoption("--update-golden"):
        golden.write_text(defined.printed(workflow))
    assert defined.printed(workflow) == golden.read_text()
