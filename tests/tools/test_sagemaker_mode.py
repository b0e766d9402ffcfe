"""What SageMaker's local mode lacks: each test fails once the SDK does without our patch, which then has to go."""

from __future__ import annotations

import subprocess

import pytest

from tests import defined

pytestmark = pytest.mark.pipeline

BEGIN = """
import os
os.environ.update(AWS_DEFAULT_REGION="us-east-1", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")
from sagemaker.mlops.local import LocalPipelineSession, pipeline as executors, pipeline_entities as entities
from sagemaker.core.local.image import _SageMakerContainer
import inspect
"""


def lacks(program: str) -> None:
    """A program in the SDK's environment, without our patches, that ends well as long as the SDK lacks something."""
    ended = subprocess.run(
        [defined.PYTHON, "-W", "ignore", "-c", BEGIN + program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_it_refuses_a_pipeline_that_registers_a_model():
    lacks("""
source = inspect.getsource(entities._LocalPipelineExecution._initialize_step_execution)
assert "not supported in local mode" in source
assert "REGISTER_MODEL" not in source
""")


def test_it_has_no_executor_for_a_step_that_registers_a_model():
    lacks("""
assert "REGISTER_MODEL" not in inspect.getsource(executors._StepExecutorFactory.get)
""")


def test_it_tells_of_no_step_before_the_whole_pipeline_has_ended():
    lacks("""
source = inspect.getsource(entities._LocalPipeline.start)
assert "LocalPipelineExecutor(execution, self.local_session).execute()" in source
""")


def test_it_tells_a_failed_jobs_exit_code_and_not_its_message():
    lacks("""
for job in (_SageMakerContainer.process, _SageMakerContainer.train):
    source = inspect.getsource(job)
    assert "output/message" not in source and "output/failure" not in source
    assert "Process exited with code" in inspect.getsource(inspect.getmodule(job)._stream_output)
""")
