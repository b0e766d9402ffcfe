"""The SageMaker pipelines of both workflows: every step, channel and parameter comes from workflow.py and stages.py.

    python pipeline.py definition --workflow training --images bake.json

A channel that an earlier step of the same execution wrote is mounted, by SageMaker's own copying. One that has an
address of its own, or may be empty, is an argument, and the stage reads or writes it in place
(docs/decisions/0007-which-channels-are-arguments.md).
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fraudline.errors import InputError
from fraudline.hosts import opt_ml
from fraudline.stage import REQUIRED, SUMMARY, SUMMARY_FILE, Parameter, Stage
from fraudline.stages import EXECUTION
from fraudline.workflow import CHAMPION, LABELS, RAW, WORKFLOWS, Execution, Output, Step

OFFLINE = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "SAGEMAKER_VALIDATE_ROLE": "false",
    "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": os.devnull,
    "SAGEMAKER_USER_CONFIG_OVERRIDE": os.devnull,
    opt_ml.ROOT_VARIABLE: "/opt/ml",
}


@contextmanager
def offline() -> Iterator[None]:
    """A definition asks nobody, though the SDK makes clients, on import already, that want a region and keys."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with patch.dict(os.environ, kept | OFFLINE, clear=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no job is started here
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


gc.disable()  # the SDK's two thousand modules stay; to search them for garbage takes a second of five
with offline():
    from sagemaker.core.config.config_manager import SageMakerConfig
    from sagemaker.core.processing import Processor
    from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output
    from sagemaker.core.workflow.conditions import ConditionEquals
    from sagemaker.core.workflow.functions import Join, JsonGet
    from sagemaker.core.workflow.parameters import ParameterString
    from sagemaker.core.workflow.pipeline_context import PipelineSession
    from sagemaker.core.workflow.properties import PropertyFile
    from sagemaker.mlops.workflow.condition_step import ConditionStep
    from sagemaker.mlops.workflow.fail_step import FailStep
    from sagemaker.mlops.workflow.pipeline import Pipeline
    from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep
    from sagemaker.train import ModelTrainer
    from sagemaker.train.configs import Compute, InputData, OutputDataConfig, StoppingCondition

# Telemetry would go over the network.
SDK_DEFAULTS = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
# The session checks that constant once; the SDK would at each of some seventy uses, for longer than all the rest.
SageMakerConfig.validate_sagemaker_config = staticmethod(lambda *_: None)

NAMES = {"training": "fraud-model-training", "daily": "fraud-detection-daily", "backfill": "fraud-history-backfill"}
ROLE = "arn:aws:iam::123456789012:role/fraudline"
INSTANCE, LONGEST_SECONDS = "ml.m5.xlarge", 86_400
# Addresses are asked of Execution for a sample day; then parameters take the place of it and of the day before.
SAMPLE = date(2000, 1, 2)
DAYS = {str(SAMPLE): "AsOf", str(SAMPLE - timedelta(days=1)): "Day"}
# What later executions replace, so that the address says nothing about what lies there.
REPLACED = {
    step.writes[channel.name]
    for steps in WORKFLOWS.values()
    for step in steps
    for channel in step.stage.writes
    if channel.name in step.writes and not channel.published
}


@dataclass
class Wired:
    """What a job gets, in texts and expressions."""

    environment: dict[str, Any]
    instance: Any
    values: dict[Parameter, Any]
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    told: list[Any] = field(default_factory=list)


class Definition:
    """One workflow as a pipeline, grown step by step."""

    def __init__(self, workflow: str, images: dict[str, str], role: str) -> None:
        self.workflow, self.execution, self.images = workflow, Execution(workflow, SAMPLE), images
        self.session = PipelineSession(default_bucket="unused", sagemaker_config=SDK_DEFAULTS)
        self.run_by = {"role": role, "sagemaker_session": self.session}
        self.parameters: dict[str, ParameterString] = {}
        self.steps: dict[str, Any] = {}
        self.made_from: dict[str, dict[str, Any]] = {}
        self.skippable: set[str] = set()

    def pipeline(self) -> Pipeline:
        """Every step in its order; whoever changes the champion waits for the verdict of whoever judged it."""
        for name in ("Root", "Data", "AsOf", "DataVersion"):
            self.parameter(name)
        steps: list[Any] = []
        judge = ""
        for step in WORKFLOWS[self.workflow]:
            added = self.steps[step.stage.name] = self.add(step)
            steps.append(self.gate(judge, added) if CHAMPION in step.writes.values() else added)
            judge = step.stage.name if CHAMPION in step.reads.values() else judge
        parameters = list(self.parameters.values())
        return Pipeline(NAMES[self.workflow], parameters, None, steps=steps, sagemaker_session=self.session)

    def gate(self, judge: str, gated: Any) -> ConditionStep:
        """The gated step if the judge's summary recommends it, else a failure in the judge's own words."""
        summary = PropertyFile(name=SUMMARY, output_name=SUMMARY, path=SUMMARY_FILE)
        self.steps[judge].property_files = [summary]

        def said(key: str) -> JsonGet:
            return JsonGet(step_name=self.steps[judge].name, property_file=summary, json_path=key)

        recommended = ConditionEquals(left=said("deploy_recommended"), right=True)
        refused = FailStep(name="Refused", error_message=said("exit_message"))
        return ConditionStep(name="Gate", conditions=[recommended], if_steps=[gated], else_steps=[refused])

    def add(self, step: Step) -> ProcessingStep | TrainingStep:
        """A step with its channels and parameters: some channels are mounted, of others the stage is told."""
        stage, addresses = step.stage, self.execution.inputs(step)
        values = {parameter: self.value(parameter) for parameter in stage.parameters}
        values = {parameter: value for parameter, value in values.items() if value is not None}
        wired = Wired(self.provenance(step, values), self.parameter(f"{stage.step}Instance", INSTANCE), values)
        for channel in stage.reads:
            place = step.reads[channel.name]
            uri = [self.written(place)] if isinstance(place, Output) else self.address(addresses[channel.name])
            # SageMaker copies a prefix whole, of which a stage may need some days, and fails where there is nothing.
            if isinstance(place, Output) and channel.required:
                wired.inputs[channel.name] = uri[0]
            else:
                wired.told += ["--input", _joined(f"{channel.name}=", *uri)]
        for name, address in self.execution.outputs(step).items():
            # SageMaker neither compares with what was published nor removes what is replaced.
            if name in step.writes:
                wired.told += ["--output", _joined(f"{name}=", *self.address(address))]
            else:
                wired.outputs[name] = _joined(*self.address(address))
        cache = CacheConfig(enable_caching=stage.name in self.skippable, expire_after="P7D")
        if stage.host == "training":
            return TrainingStep(stage.step, self.training(stage, wired), cache_config=cache)
        return ProcessingStep(stage.step, self.processing(stage, wired), cache_config=cache)

    def provenance(self, step: Step, values: dict[Parameter, Any]) -> dict[str, Any]:
        """A step's environment: what its inputs were made from, so that an equal step of the last week may do instead.

        SageMaker compares image, arguments, environment and input addresses, and not what lies there. DataVersion
        stands for the data, and what the steps before were given stands for what they wrote. Nothing stands for what is
        replaced in place, so who reads or writes that always runs (deploying an earlier model again must deploy it),
        and so do the steps after. What is published is written once: a step that did so need not do it again.
        """
        before = {place.stage for place in step.reads.values() if isinstance(place, Output)}
        names = {"ROOT": "Root", "DATA": "Data", "DATA_VERSION": "DataVersion"}
        environment: dict[str, Any] = {f"FRAUDLINE_{key}": self.parameter(name) for key, name in names.items()}
        for name in sorted(before):
            environment |= self.made_from[name]
        given = {parameter.name: value for parameter, value in values.items() if isinstance(value, ParameterString)}
        given[f"image_{step.stage.image}"] = self.images[step.stage.image]
        self.made_from[step.stage.name] = environment | {f"BEFORE_{name.upper()}": given[name] for name in given}
        if before <= self.skippable and not REPLACED & {*step.reads.values(), *step.writes.values()}:
            self.skippable.add(step.stage.name)
        return environment

    def processing(self, stage: Stage, wired: Wired) -> Any:
        """The request for a Processing job."""
        mounted, kept = opt_ml.inputs(stage), opt_ml.outputs(stage)
        processor = Processor(
            image_uri=self.images[stage.image],
            # Both: an entrypoint alone drops what the image would run, arguments alone fail in the SDK's local mode.
            entrypoint=["fraudline", stage.name],
            instance_count=1,
            instance_type=wired.instance,
            max_runtime_in_seconds=LONGEST_SECONDS,
            env=wired.environment,
            **self.run_by,
        )
        values = [text for parameter, value in wired.values.items() for text in (parameter.option, value)]
        return processor.run(
            inputs=[_input(name, uri, mounted[name]) for name, uri in wired.inputs.items()],
            outputs=[_output(name, uri, kept[name]) for name, uri in wired.outputs.items()],
            arguments=values + wired.told,
        )

    def training(self, stage: Stage, wired: Wired) -> Any:
        """The request for a Training job, whose one output is the artifact, as model.tar.gz with the summary inside."""
        trainer = ModelTrainer(
            training_image=self.images[stage.image],
            compute=Compute(instance_type=wired.instance, instance_count=1, volume_size_in_gb=30),
            stopping_condition=StoppingCondition(max_runtime_in_seconds=LONGEST_SECONDS),
            output_data_config=OutputDataConfig(s3_output_path=wired.outputs[stage.writes[0].name]),
            hyperparameters={parameter.name: value for parameter, value in wired.values.items()},
            input_data_config=[InputData(channel_name=name, data_source=uri) for name, uri in wired.inputs.items()],
            environment=wired.environment,
            **self.run_by,
        )
        return trainer.train()

    def written(self, place: Output) -> Any:
        """Where an earlier step's job says that it wrote, which also makes SageMaker wait for it."""
        properties = self.steps[place.stage].properties
        if isinstance(self.steps[place.stage], TrainingStep):
            return properties.ModelArtifacts.S3ModelArtifacts
        return properties.ProcessingOutputConfig.Outputs[place.channel].S3Output.S3Uri

    def address(self, relative: str) -> list[Any]:
        """The parts of an address."""
        base = self.parameter("Data" if relative in (RAW.template, LABELS.template) else "Root")
        return [base, *self.dated(f"/{relative}")]

    def dated(self, text: str) -> list[Any]:
        """The parts of what Execution said of the sample day, with parameters in its place."""
        parts = re.split(f"({'|'.join(DAYS)})", text)
        return [self.parameter(DAYS[part]) if part in DAYS else part for part in parts if part]

    def value(self, parameter: Parameter) -> Any:
        """A parameter of the pipeline, for an execution to set; None for what has many values or none."""
        name = parameter.name.title().replace("_", "")
        if parameter is EXECUTION:
            return _joined(*self.dated(self.execution.id))
        if parameter.default is REQUIRED:
            return self.parameter(name)
        plain = isinstance(parameter.default, str | int | float) and parameter.default != ""
        return self.parameter(name, str(parameter.default)) if plain else None

    def parameter(self, name: str, default: str | None = None) -> ParameterString:
        """A parameter of the pipeline: always text, as arguments and hyperparameters are."""
        return self.parameters.setdefault(name, ParameterString(name=name, default_value=default))


def _joined(*parts: Any) -> Join:
    return Join(on="", values=list(parts))


def _input(name: str, uri: Any, path: str) -> ProcessingInput:
    place = ProcessingS3Input(s3_uri=uri, local_path=path, s3_data_type="S3Prefix", s3_input_mode="File")
    return ProcessingInput(input_name=name, s3_input=place)


def _output(name: str, uri: Any, path: str) -> ProcessingOutput:
    place = ProcessingS3Output(s3_uri=uri, local_path=path, s3_upload_mode="EndOfJob")
    return ProcessingOutput(output_name=name, s3_output=place)


def images(path: Path | None) -> dict[str, str]:
    """Each image's name: pinned by what docker buildx bake --metadata-file wrote, else as built here."""
    names = {step.stage.image for steps in WORKFLOWS.values() for step in steps}
    if path is None:
        return {name: f"fraudline/{name}:dev" for name in names}
    try:
        built = json.loads(path.read_text())
        # A tag can move, and a step would then be left out or repeated for no reason to be seen.
        return {
            name: f"{re.sub(':[^:/]+$', '', built[name]['image.name'])}@{built[name]['containerimage.digest']}"
            for name in names
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"--images {path}: expected what docker buildx bake --metadata-file writes, with the targets "
            f"{', '.join(sorted(names))}; got {type(error).__name__}: {error}"
        ) from error


def definition(options: argparse.Namespace) -> str:
    """A pipeline's definition as JSON, the same on every run."""
    named = images(options.images)
    with offline():
        text = Definition(options.workflow, named, options.role).pipeline().definition()
    return json.dumps(json.loads(text), indent=2, sort_keys=True)


def main() -> int:
    """Run one sub-command."""
    parser = argparse.ArgumentParser(prog="pipeline.py", description="The SageMaker pipelines of both workflows.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("definition", help="print a pipeline's definition; asks AWS nothing")
    command.set_defaults(run=definition)
    command.add_argument("--workflow", choices=WORKFLOWS, required=True)
    command.add_argument("--images", type=Path, metavar="FILE", help="of docker buildx bake --metadata-file; pins them")
    command.add_argument("--role", default=ROLE, metavar="ARN", help="that the jobs run as [%(default)s]")
    options = parser.parse_args()
    try:
        print(options.run(options))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
