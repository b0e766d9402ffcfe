"""The definitions of the SageMaker pipelines equal the golden ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraudline.catalog.workflow import WORKFLOWS
from tests import pipeline_script


@pytest.mark.pipeline
@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_pipeline_equals_the_golden_one(workflow: str, request: pytest.FixtureRequest):
    """A difference changes what runs on AWS: read it, then run make golden."""
    golden = Path(__file__).with_name(f"pipeline-{workflow}.json")
    if request.config.getoption("--update-golden"):
        golden.write_text(pipeline_script.definition_text(workflow))
    assert pipeline_script.definition_text(workflow) == golden.read_text()
