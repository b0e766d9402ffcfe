"""SageMaker's own local mode, and what its version 3 lacks for these pipelines.

Each patch has a test that fails as soon as the SDK no longer needs it: tests/tools/test_sagemaker_mode.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sagemaker.core.local.image import _SageMakerContainer
from sagemaker.mlops.local import LocalPipelineSession
from sagemaker.mlops.local import pipeline as executors
from sagemaker.mlops.local import pipeline_entities as entities
from sagemaker.mlops.workflow.steps import StepTypeEnum

Report = Callable[[dict[str, Any]], None]


class Session(LocalPipelineSession):  # type: ignore[misc]
    """Runs a pipeline on this computer, and reports each step as it begins and ends."""

    def run(self, pipeline: Any, parameters: dict[str, str], report: Report) -> Any:
        """Run a pipeline to its end; return the execution, which has ``describe()`` and ``list_steps()``."""
        execution = _Execution(report, pipeline, parameters, self)
        executor = executors.LocalPipelineExecutor(execution, self)
        executor._step_executor_factory = _Executors(executor)
        return executor.execute()


class _Execution(entities._LocalPipelineExecution):  # type: ignore[misc]
    """An execution that reports its steps, and may hold one that registers a model, which the SDK refuses."""

    def __init__(self, report: Report, pipeline: Any, parameters: dict[str, str], session: Any) -> None:
        self._report = report
        super().__init__(entities._generate_execution_id(), pipeline, parameters, local_session=session)

    def _initialize_step_execution(self, steps: Any) -> None:
        for step in steps:
            kind = _RegisterExecution if step.step_type == StepTypeEnum.REGISTER_MODEL else None
            kind = kind or entities._LocalPipelineExecutionStep
            self.step_execution[step.name] = kind(step.name, step.step_type, step.description, step.display_name)
            if step.step_type == StepTypeEnum.CONDITION:
                self._initialize_step_execution(step.if_steps + step.else_steps)

    def mark_step_executing(self, step_name: str) -> None:
        super().mark_step_executing(step_name)
        self._report_step(step_name)

    def update_step_properties(self, step_name: str, step_properties: Any) -> None:
        super().update_step_properties(step_name, step_properties)
        self._report_step(step_name)

    def update_step_failure(self, step_name: str, failure_message: str) -> None:
        try:
            super().update_step_failure(step_name, failure_message)
        finally:
            self._report_step(step_name)

    def _report_step(self, name: str) -> None:
        self._report(self.step_execution[name].to_list_steps_response())


class _RegisterExecution(entities._LocalPipelineExecutionStep):  # type: ignore[misc]
    def _construct_metadata(self) -> Any:
        return {"RegisterModel": {"Arn": self.properties["ModelPackageArn"]}} if self.properties else None


class _Executors(executors._StepExecutorFactory):  # type: ignore[misc]
    def get(self, step: Any) -> Any:
        if step.step_type == StepTypeEnum.REGISTER_MODEL:
            return _Register(self.pipeline_executor, step)
        return super().get(step)


class _Register(executors._StepExecutor):  # type: ignore[misc]
    """Registers a model in the session's SageMaker; the SDK has no executor for it."""

    def execute(self) -> dict[str, Any]:
        executor = self.pipline_executor  # the SDK's spelling
        request = executor.evaluate_step_arguments(self.step)
        registry = executor.sagemaker_session.boto_session.client("sagemaker")
        group = request["ModelPackageGroupName"]
        if not registry.list_model_package_groups(NameContains=group)["ModelPackageGroupSummaryList"]:
            registry.create_model_package_group(ModelPackageGroupName=group)
        return {**request, "ModelPackageArn": registry.create_model_package(**request)["ModelPackageArn"]}


def _with_exit_message(method: Callable[..., Any], file: str) -> Callable[..., Any]:
    """Return a method that fails with the stage's own message, as SageMaker does; the SDK shows only the exit code."""

    def run(self: Any, *arguments: Any, **named: Any) -> Any:
        cleanup = self._cleanup
        words: list[str] = []

        def read_and_clean(*folders: Any) -> None:
            words.extend(path.read_text() for path in Path(self.container_root).glob(f"*/output/{file}"))
            cleanup(*folders)

        self._cleanup = read_and_clean
        try:
            return method(self, *arguments, **named)
        except RuntimeError as error:
            raise RuntimeError("; ".join(words) or str(error)) from error

    return run


_SageMakerContainer.process = _with_exit_message(_SageMakerContainer.process, "message")
_SageMakerContainer.train = _with_exit_message(_SageMakerContainer.train, "failure")
