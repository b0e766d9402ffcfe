"""SageMaker's local mode still lacks what our patches add: remove a patch once its test fails."""

from __future__ import annotations

import subprocess

import pytest

from tests import pipeline_script

pytestmark = pytest.mark.pipeline

BEGIN = """
import os
os.environ.update(AWS_DEFAULT_REGION="us-east-1", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")
from sagemaker.mlops.local import LocalPipelineSession, pipeline as executors, pipeline_entities as entities
from sagemaker.core.local.image import _SageMakerContainer
import inspect
"""


def check_sdk(program: str) -> None:
    """Run assertions about the SDK in its environment, without our patches."""
    process = subprocess.run(
        [pipeline_script.PYTHON, "-W", "ignore", "-c", BEGIN + program], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr


def test_local_mode_refuses_pipelines_that_register_a_model():
    check_sdk("""
source = inspect.getsource(entities._LocalPipelineExecution._initialize_step_execution)
assert "not supported in local mode" in source
assert "REGISTER_MODEL" not in source
""")


def test_local_mode_has_no_executor_to_register_a_model():
    check_sdk("""
assert "REGISTER_MODEL" not in inspect.getsource(executors._StepExecutorFactory.get)
""")


def test_local_mode_reports_no_step_before_the_pipeline_ends():
    check_sdk("""
source = inspect.getsource(entities._LocalPipeline.start)
assert "LocalPipelineExecutor(execution, self.local_session).execute()" in source
""")


def test_local_mode_reports_exit_codes_instead_of_messages():
    check_sdk("""
for job in (_SageMakerContainer.process, _SageMakerContainer.train):
    source = inspect.getsource(job)
    assert "output/message" not in source and "output/failure" not in source
    assert "Process exited with code" in inspect.getsource(inspect.getmodule(job)._stream_output)
""")
