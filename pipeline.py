"""The SageMaker pipelines of all workflows: every step, channel and parameter comes from workflow.py and stages.py.

    python pipeline.py definition --workflow training --images bake.json
    python pipeline.py upsert --workflow training --images bake.json --role ARN --set Root=s3://bucket/fraud
    python pipeline.py start --workflow training --as-of 2026-05-24 --set DataVersion=17 --wait
    python pipeline.py run-local --workflow training --as-of 2026-05-24 --data DATA --root var/pipelines

A channel that an earlier step of the same execution wrote is mounted, by SageMaker's own copying. One that has an
address of its own, or may be empty, is an argument, and the stage reads or writes it in place
(docs/decisions/0007-which-channels-are-arguments.md).
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from fraudline.catalog.errors import InputError
from fraudline.catalog.stage import REQUIRED, SUMMARY, SUMMARY_FILE, Parameter, Stage
from fraudline.catalog.stages import EXECUTION
from fraudline.catalog.workflow import CHAMPION, LABELS, RAW, TRAINED, WORKFLOWS, Execution, Output, Step
from fraudline.entrypoints import opt_ml
from fraudline.orchestration.images import images
from fraudline.orchestration.sagemaker import service
from fraudline.orchestration.sagemaker.offline import offline

gc.disable()  # the SDK's two thousand modules stay; to search them for garbage takes a second of five
with offline():
    from sagemaker.core.config.config_manager import SageMakerConfig
    from sagemaker.core.network import NetworkConfig
    from sagemaker.core.processing import Processor
    from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output
    from sagemaker.core.training.configs import (
        CheckpointConfig,
        Compute,
        InputData,
        Networking,
        OutputDataConfig,
        StoppingCondition,
    )
    from sagemaker.core.workflow.conditions import ConditionEquals
    from sagemaker.core.workflow.execution_variables import ExecutionVariables
    from sagemaker.core.workflow.functions import Join, JsonGet
    from sagemaker.core.workflow.parameters import ParameterString
    from sagemaker.core.workflow.pipeline_context import PipelineSession
    from sagemaker.core.workflow.properties import Properties, PropertyFile
    from sagemaker.mlops.workflow.condition_step import ConditionStep
    from sagemaker.mlops.workflow.fail_step import FailStep
    from sagemaker.mlops.workflow.pipeline import Pipeline
    from sagemaker.mlops.workflow.retry import (
        SageMakerJobExceptionTypeEnum,
        SageMakerJobStepRetryPolicy,
        StepExceptionTypeEnum,
        StepRetryPolicy,
    )
    from sagemaker.mlops.workflow.steps import (
        CacheConfig,
        ConfigurableRetryStep,
        ProcessingStep,
        StepTypeEnum,
        TrainingStep,
    )
    from sagemaker.train import ModelTrainer

# Telemetry would go over the network.
SDK_DEFAULTS = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
# The session checks that constant once; the SDK would at each of some seventy uses, for longer than all the rest.
SageMakerConfig.validate_sagemaker_config = staticmethod(lambda *_: None)

NAMES = {
    "training": "fraud-model-training",
    "daily": "fraud-detection-daily",
    "deployment": "fraud-model-deployment",
    "backfill": "fraud-history-backfill",
}
MODEL_PACKAGES = "fraud-detection"
ROLE = "arn:aws:iam::123456789012:role/fraudline"
INSTANCE, LONGEST_SECONDS = "ml.m5.xlarge", 86_400
# What the score image takes and gives.
CONTENT_TYPES = ["application/json", "application/jsonlines", "text/csv"]
APPROVED, PENDING = "Approved", "PendingManualApproval"
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
BUSY = StepRetryPolicy(
    [StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING], interval_seconds=10, max_attempts=5
)
FULL = SageMakerJobStepRetryPolicy(
    [SageMakerJobExceptionTypeEnum.RESOURCE_LIMIT],
    [SageMakerJobExceptionTypeEnum.INTERNAL_ERROR, SageMakerJobExceptionTypeEnum.CAPACITY_ERROR],
    interval_seconds=60,
    max_attempts=5,
)


@dataclass(frozen=True)
class Site:
    """Where the jobs run: whose role, key and network, and whether on spare machines."""

    role: str = ROLE
    kms_key: str | None = None
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    isolated: bool = False
    spot: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)

    def labels(self, key: str = "Key", value: str = "Value") -> list[dict[str, str]] | None:
        """The tags as a request has them, or under the names that a class of the SDK wants."""
        return [{key: name, value: text} for name, text in self.tags.items()] or None

    def endpoint(self, image: str) -> dict[str, list[str]]:
        """The parameters of deploy-model that say where its endpoint runs: as the jobs do."""
        return {
            "serving_image": [image],
            "role": [self.role],
            "kms_key": [self.kms_key] if self.kms_key else [],
            "subnets": list(self.subnets),
            "security_groups": list(self.security_groups),
            "network_isolation": ["true"] if self.isolated else [],
        }

    def network(self, wired: Wired) -> dict[str, Any]:
        """A job's network; one that is told addresses has to reach S3, others may be cut off from all."""
        return {
            "subnets": list(self.subnets) or None,
            "security_group_ids": list(self.security_groups) or None,
            "enable_network_isolation": (self.isolated and not wired.told) or None,
        }


@dataclass
class Wired:
    """What a job gets, in texts and expressions."""

    environment: dict[str, Any]
    instance: Any
    values: list[tuple[Parameter, Any]]
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    told: list[Any] = field(default_factory=list)


class RegisterStep(ConfigurableRetryStep):
    """Puts a model into the registry. (The SDK's own step is made by its model builder alone, which repacks models.)"""

    def __init__(self, name: str, request: dict[str, Any]) -> None:
        super().__init__(name, StepTypeEnum.REGISTER_MODEL, retry_policies=[BUSY])
        self.request = request

    @property
    def arguments(self) -> dict[str, Any]:
        """The request for a model package."""
        return self.request

    @property
    def properties(self) -> Properties:
        """What later steps may ask about it."""
        return Properties(step_name=self.name, step=self, shape_name="DescribeModelPackageOutput")


class Definition:
    """One workflow as a pipeline, grown step by step.

    Args:
        workflow: its name.
        images: by the image's name.
        site: where the jobs run.
        settings: the pipeline's parameters that get another default, or one at all, and the stages' parameters that
            may be given several times.
    """

    def __init__(self, workflow: str, images: Mapping[str, str], site: Site, settings: list[tuple[str, str]]) -> None:
        self.workflow, self.execution, self.images, self.site = workflow, Execution(workflow, SAMPLE), images, site
        self.settings = settings
        self.session = PipelineSession(default_bucket="unused", sagemaker_config=SDK_DEFAULTS)
        self.run_by = {"role": site.role, "sagemaker_session": self.session}
        self.parameters: dict[str, ParameterString] = {}
        self.steps: dict[str, Any] = {}
        self.made_from: dict[str, dict[str, Any]] = {}
        self.skippable: set[str] = set()
        self.used: set[str] = set()

    def pipeline(self) -> Pipeline:
        """Every step in its order; whoever changes the champion waits for the verdict of whoever judged it."""
        workflow = WORKFLOWS[self.workflow]
        reads_data = any(place in (RAW, LABELS) for step in workflow for place in step.reads.values())
        for name in ("Root", "Data", "AsOf", "DataVersion") if reads_data else ("Root", "AsOf"):
            self.parameter(name)
        steps: list[Any] = []
        judge = ""
        for step in workflow:
            added = self.steps[step.stage.name] = self.add(step)
            gated = judge and CHAMPION in step.writes.values()
            steps += self.gate(judge, step, added) if gated else [added]
            judge = step.stage.name if CHAMPION in step.reads.values() else judge
        if unknown := sorted({name for name, _ in self.settings} - self.used):
            known = ", ".join([*self.parameters, *sorted(self._settable())])
            raise InputError(
                f"--set {', '.join(unknown)}: {NAMES[self.workflow]} has no such parameter; it has {known}"
            )
        parameters = list(self.parameters.values())
        return Pipeline(NAMES[self.workflow], parameters, None, steps=steps, sagemaker_session=self.session)

    def gate(self, judge: str, step: Step, gated: Any) -> list[ConditionStep]:
        """The model registered if the judge recommends it, else a failure in its own words; then the gated step.

        Where a person has to approve the model first, the gated step is left to a pipeline of its own. There are two
        conditions side by side because SageMaker takes none within another.
        """
        summary = PropertyFile(name=SUMMARY, output_name=SUMMARY, path=SUMMARY_FILE)
        self.steps[judge].property_files = [summary]

        def said(key: str) -> JsonGet:
            return JsonGet(step_name=self.steps[judge].name, property_file=summary, json_path=key)

        approval = self.parameter("Approval", APPROVED, [APPROVED, PENDING])
        recommended = ConditionEquals(left=said("deploy_recommended"), right=True)
        approved = ConditionEquals(left=approval, right=APPROVED)
        register = RegisterStep("RegisterModel", self.package(step, approval))
        gated.add_depends_on([register])
        refused = FailStep(name="Refused", error_message=said("exit_message"))
        return [
            ConditionStep(name="Gate", conditions=[recommended], if_steps=[register], else_steps=[refused]),
            ConditionStep(name="Approval", conditions=[recommended, approved], if_steps=[gated]),
        ]

    def package(self, step: Step, approval: Any) -> dict[str, Any]:
        """The request for a model package of what a step would deploy, with all that a deployment of it needs."""
        model, evaluation = (self.written(step.reads[name]) for name in ("model", "evaluation"))
        verdict = {"ContentType": "application/json", "S3Uri": _joined(evaluation, "/verdict.json")}
        return {
            "ModelPackageGroupName": MODEL_PACKAGES,
            "ModelApprovalStatus": approval,
            "InferenceSpecification": {
                "Containers": [{"Image": self.images[step.stage.image], "ModelDataUrl": model}],
                "SupportedContentTypes": CONTENT_TYPES,
                "SupportedResponseMIMETypes": CONTENT_TYPES,
            },
            "ModelMetrics": {"ModelQuality": {"Statistics": verdict}},
            "CustomerMetadataProperties": {
                "Root": self.parameter("Root"),
                "AsOf": self.parameter("AsOf"),
                "Model": model,
                "execution": ExecutionVariables.PIPELINE_EXECUTION_ARN,
            },
        }

    def add(self, step: Step) -> ProcessingStep | TrainingStep:
        """A step with its channels and parameters: some channels are mounted, of others the stage is told."""
        stage, addresses = step.stage, self.execution.inputs(step)
        values = [(parameter, value) for parameter in stage.parameters for value in self.values(parameter)]
        wired = Wired(self.provenance(step, values), self.parameter(f"{stage.step}Instance", INSTANCE), values)
        for channel in stage.reads:
            place = step.reads[channel.name]
            if place == TRAINED:  # below that address Training put a job's name
                wired.inputs[channel.name] = self.parameter("Model")
                continue
            uri = [self.written(place)] if isinstance(place, Output) else self.address(addresses[channel.name])
            # SageMaker copies a prefix whole, of which a stage may need some days, and fails where there is nothing.
            if step.mounts(channel):
                wired.inputs[channel.name] = uri[0]
            else:
                wired.told += ["--input", _joined(f"{channel.name}=", *uri)]
        for name, address in self.execution.outputs(step).items():
            # SageMaker neither compares with what was published nor removes what is replaced.
            if name in step.writes:
                wired.told += ["--output", _joined(f"{name}=", *self.address(address))]
            else:
                wired.outputs[name] = _joined(*self.address(address))
        how = {
            "cache_config": CacheConfig(enable_caching=stage.name in self.skippable, expire_after="P7D"),
            "retry_policies": [BUSY, FULL],
        }
        if stage.platform == "training":
            return TrainingStep(stage.step, self.training(stage, wired), **how)
        return ProcessingStep(stage.step, self.processing(stage, wired), **how)

    def provenance(self, step: Step, values: list[tuple[Parameter, Any]]) -> dict[str, Any]:
        """A step's environment: what its inputs were made from, so that an equal step of the last week may do instead.

        SageMaker compares image, arguments, environment and input addresses, and not what lies there. DataVersion
        stands for the data, and what the steps before were given stands for what they wrote. Nothing stands for what is
        replaced in place, so who reads or writes that always runs (deploying an earlier model again must deploy it),
        and so do the steps after. What is published is written once: a step that did so need not do it again.
        """
        before = {place.stage for place in step.reads.values() if isinstance(place, Output)}
        names = {"ROOT": "Root", "DATA": "Data", "DATA_VERSION": "DataVersion"}
        environment: dict[str, Any] = {
            f"FRAUDLINE_{key}": self.parameters[name] for key, name in names.items() if name in self.parameters
        }
        for name in sorted(before):
            environment |= self.made_from[name]
        given = {parameter.name: value for parameter, value in values if isinstance(value, ParameterString)}
        given[f"image_{step.stage.image}"] = self.images[step.stage.image]
        self.made_from[step.stage.name] = environment | {f"BEFORE_{name.upper()}": given[name] for name in given}
        if before <= self.skippable and not REPLACED & {*step.reads.values(), *step.writes.values()}:
            self.skippable.add(step.stage.name)
        return environment

    def processing(self, stage: Stage, wired: Wired) -> Any:
        """The request for a Processing job."""
        mounted, kept = opt_ml.inputs(stage), opt_ml.outputs(stage)
        network = self.site.network(wired)
        processor = Processor(
            image_uri=self.images[stage.image],
            # Both: an entrypoint alone drops what the image would run, arguments alone fail in the SDK's local mode.
            entrypoint=["fraudline", stage.name],
            instance_count=1,
            instance_type=wired.instance,
            max_runtime_in_seconds=LONGEST_SECONDS,
            env=wired.environment,
            volume_kms_key=self.site.kms_key,
            output_kms_key=self.site.kms_key,
            network_config=NetworkConfig(**network) if any(network.values()) else None,
            tags=self.site.labels(),
            **self.run_by,
        )
        arguments = [text for parameter, value in wired.values for text in (parameter.option, value)]
        return processor.run(
            inputs=[_input(name, uri, mounted[name]) for name, uri in wired.inputs.items()],
            outputs=[_output(name, uri, kept[name]) for name, uri in wired.outputs.items()],
            arguments=arguments + wired.told,
        )

    def training(self, stage: Stage, wired: Wired) -> Any:
        """The request for a Training job, whose one output is the artifact, as model.tar.gz with the summary inside."""
        key, spot, network = self.site.kms_key, self.site.spot, self.site.network(wired)
        checkpoints = _joined(*self.address(f"{self.execution.prefix(stage)}checkpoints/"))
        trainer = ModelTrainer(
            training_image=self.images[stage.image],
            compute=Compute(
                instance_type=wired.instance,
                instance_count=1,
                volume_size_in_gb=30,
                volume_kms_key_id=key,
                enable_managed_spot_training=spot or None,
            ),
            stopping_condition=StoppingCondition(
                max_runtime_in_seconds=LONGEST_SECONDS, max_wait_time_in_seconds=LONGEST_SECONDS if spot else None
            ),
            output_data_config=OutputDataConfig(s3_output_path=wired.outputs[stage.writes[0].name], kms_key_id=key),
            checkpoint_config=CheckpointConfig(s3_uri=checkpoints) if spot else None,
            networking=Networking(**network) if any(network.values()) else None,
            hyperparameters={parameter.name: value for parameter, value in wired.values},
            input_data_config=[InputData(channel_name=name, data_source=uri) for name, uri in wired.inputs.items()],
            environment=wired.environment,
            tags=self.site.labels("key", "value"),
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

    def values(self, parameter: Parameter) -> list[Any]:
        """A stage's parameter as one of the pipeline, for an execution to set; what may be given several times as is.

        One that has no plain default is left out, unless the settings give it one.
        """
        name = _name(parameter)
        known = self.site.endpoint(self.images["score"]) if "Endpoint" in dict(self.settings) else {}
        if parameter.name in known:
            return known[parameter.name]
        given = [value for key, value in self.settings if key == name]
        if parameter is EXECUTION:
            return [_joined(*self.dated(self.execution.id))]
        if parameter.many:
            self.used |= {name} if given else set()
            return given
        plain = isinstance(parameter.default, str | int | float) and parameter.default != ""
        if not plain and not given and parameter.default is not REQUIRED:
            return []
        return [self.parameter(name, str(parameter.default) if plain else None)]

    def parameter(self, name: str, default: str | None = None, among: list[str] | None = None) -> ParameterString:
        """A parameter of the pipeline: always text, as arguments and hyperparameters are."""
        if name not in self.parameters:
            given = dict(self.settings)
            self.used |= {name} & set(given)
            self.parameters[name] = ParameterString(name, default_value=given.get(name, default), enum_values=among)
        return self.parameters[name]

    def _settable(self) -> set[str]:
        """What would be a parameter of the pipeline if the settings named it."""
        stages = (step.stage for step in WORKFLOWS[self.workflow])
        return {_name(parameter) for stage in stages for parameter in stage.parameters} - set(self.parameters)


def _name(parameter: Parameter) -> str:
    return parameter.name.title().replace("_", "")


def _joined(*parts: Any) -> Join:
    return Join(on="", values=list(parts))


def _input(name: str, uri: Any, path: str) -> ProcessingInput:
    place = ProcessingS3Input(s3_uri=uri, local_path=path, s3_data_type="S3Prefix", s3_input_mode="File")
    return ProcessingInput(input_name=name, s3_input=place)


def _output(name: str, uri: Any, path: str) -> ProcessingOutput:
    place = ProcessingS3Output(s3_uri=uri, local_path=path, s3_upload_mode="EndOfJob")
    return ProcessingOutput(output_name=name, s3_output=place)


def build(options: argparse.Namespace) -> Pipeline:
    """The pipeline that the command line asks for."""
    site = Site(
        role=options.role,
        kms_key=options.kms_key,
        subnets=tuple(options.subnet),
        security_groups=tuple(options.security_group),
        isolated=options.isolated,
        spot=options.spot,
        tags=dict(options.tag),
    )
    named = images(options.images)
    with offline():
        return Definition(options.workflow, named, site, options.settings).pipeline()


def definition(options: argparse.Namespace) -> str:
    """A pipeline's definition as JSON, the same on every run."""
    pipeline = build(options)
    with offline():
        return json.dumps(json.loads(pipeline.definition()), indent=2, sort_keys=True)


def _define(options: argparse.Namespace) -> bool:
    print(definition(options))
    return True


def _upsert(options: argparse.Namespace) -> bool:
    told = service.upsert(
        NAMES[options.workflow], definition(options), options.role, dict(options.tag), dry_run=options.dry_run
    )
    print(told)
    return True


def _start(options: argparse.Namespace) -> bool:
    execution = Execution(options.workflow, options.as_of)
    arn = service.start(NAMES[options.workflow], execution.id, dict(options.settings) | _days(options))
    print(arn)
    return service.watch(arn, print) if options.wait else True


def _status(options: argparse.Namespace) -> bool:
    if options.execution:
        return service.watch(options.execution, print) if options.wait else service.show(options.execution, print)
    for summary in service.executions(NAMES[options.workflow]):
        print(service.line_of_execution(summary))
    return True


def _run_local(options: argparse.Namespace) -> bool:
    from tools.sagemaker_local import run as run_local  # noqa: PLC0415 - a server and the SDK's local mode, for this alone

    pipeline = build(options)
    given = {"Root": run_local.ROOT, "Data": run_local.DATA, "DataVersion": "local", **_days(options)}
    known = {parameter.name for parameter in pipeline.parameters}
    with run_local.aws(options.data, options.root) as scratch:
        return run_local.run(pipeline, {name: given[name] for name in given if name in known}, scratch)


def _serve_local(options: argparse.Namespace) -> bool:
    from tools.sagemaker_local import run as run_local  # noqa: PLC0415

    with run_local.aws(None, options.root) as scratch:
        return run_local.serve(MODEL_PACKAGES, options.port, scratch)


def _days(options: argparse.Namespace) -> dict[str, str]:
    day = options.as_of - timedelta(days=1)
    return {"AsOf": str(options.as_of)} | ({"Day": str(day)} if options.workflow == "daily" else {})


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got '{text}'")
    return name, value


def _setting(text: str) -> tuple[str, str]:
    name, value = _pair(text)
    return name if name[0].isupper() else name.replace("-", "_").title().replace("_", ""), value


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a date such as 2026-02-01, got '{text}'") from error


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="pipeline.py", description="The SageMaker pipelines of all workflows.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, says: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=says, description=says)
        made.set_defaults(run=run)
        return made

    define = command("definition", _define, "print a pipeline's definition; asks AWS nothing")
    upsert = command("upsert", _upsert, "create a pipeline, or change it where it differs")
    start = command("start", _start, "start an execution")
    status = command("status", _status, "list a pipeline's executions, or the steps of one")
    local = command("run-local", _run_local, "run a pipeline here: the images in Docker, AWS by moto")
    serve = command("serve-local", _serve_local, "serve the model registered last, here in its image")

    for made in (define, upsert, start, status, local):
        made.add_argument("--workflow", choices=WORKFLOWS, required=made is not status, default="training")
    for made in (define, upsert, local):
        made.add_argument(
            "--images", type=Path, metavar="FILE", help="of docker buildx bake --metadata-file; pins them"
        )
        made.add_argument("--role", default=ROLE, metavar="ARN", required=made is upsert, help="that the jobs run as")
        made.add_argument("--kms-key", metavar="KEY", help="of the jobs' volumes and outputs")
        made.add_argument("--subnet", action="append", default=[], metavar="ID", help="of the jobs; may be repeated")
        made.add_argument("--security-group", action="append", default=[], metavar="ID", help="as --subnet")
        made.add_argument("--isolated", action="store_true", help="no network for jobs that need none")
        made.add_argument("--spot", action="store_true", help="train on spare machines, with checkpoints")
        made.add_argument("--tag", type=_pair, action="append", default=[], metavar="KEY=VALUE", help="may be repeated")
    for made in (define, upsert, start, local):
        made.add_argument(
            "--set", dest="settings", type=_setting, action="append", default=[], metavar="NAME=VALUE",
            help="a parameter of the pipeline: its value for an execution, else its default",
        )  # fmt: skip
    for made in (start, local):
        made.add_argument("--as-of", type=_date, required=True, help="UTC date; only rows before it are visible")
    upsert.add_argument("--dry-run", action="store_true", help="show the difference and change nothing")
    for made in (start, status):
        made.add_argument("--wait", action="store_true", help="tell of each step until all have ended")
    status.add_argument("--execution", metavar="ARN", help="whose steps to list")
    local.add_argument("--data", type=Path, required=True, help="folder with raw/ and labeled/")
    for made in (local, serve):
        made.add_argument("--root", type=Path, required=True, help="folder for all that is written")
    serve.add_argument("--port", type=int, default=8080, help="[%(default)s]")
    return parser


def main() -> int:
    """Run one sub-command: exit code 0 done, 1 an execution failed, 2 the input is wrong."""
    options = parser().parse_args()
    try:
        return 0 if options.run(options) else 1
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
