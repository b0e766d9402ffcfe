"""Render a workflow's plan as a SageMaker pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fraudline.catalog.plan import JobPlan, plan
from fraudline.catalog.settings import by_name
from fraudline.catalog.stage import SUMMARY, SUMMARY_FILE, Parameter
from fraudline.catalog.workflow import CHAMPION, WORKFLOWS, Output
from fraudline.orchestration.sagemaker import jobs, sdk
from fraudline.orchestration.sagemaker.offline import offline
from fraudline.orchestration.sagemaker.parameters import Parameters, joined
from fraudline.orchestration.sagemaker.registry import RegisterStep, model_package
from fraudline.orchestration.sagemaker.retries import BUSY, NO_CAPACITY
from fraudline.orchestration.sagemaker.site import Site

APPROVED, PENDING = "Approved", "PendingManualApproval"
# Addresses whose content later executions replace, so the address does not identify the content.
REPLACED = {
    step.writes[channel.name]
    for workflow in WORKFLOWS.values()
    for step in workflow.steps
    for channel in step.stage.writes
    if channel.name in step.writes and not channel.published
}


def build(
    workflow: str, images: Mapping[str, str], site: Site, settings: Sequence[tuple[str, str]] = ()
) -> sdk.Pipeline:
    """Return a workflow's pipeline.

    Args:
        workflow: the name of the workflow.
        images: the URIs of the images, by name.
        site: the site that runs the jobs.
        settings: other defaults for parameters of the pipeline, by parameter name.

    Raises:
        InputError: the pipeline does not have a parameter of this name.
    """
    with offline():
        return _Builder(workflow, images, site, settings).pipeline()


def as_json(pipeline: sdk.Pipeline) -> str:
    """Return a pipeline's definition as JSON; equal definitions give equal text."""
    with offline():
        return json.dumps(json.loads(pipeline.definition()), indent=2, sort_keys=True)


class _Builder:
    """Builds a pipeline step by step."""

    def __init__(
        self, workflow: str, images: Mapping[str, str], site: Site, settings: Sequence[tuple[str, str]]
    ) -> None:
        self._workflow, self._images, self._site, self._settings = WORKFLOWS[workflow], images, site, by_name(settings)
        self._parameters = Parameters(site.defaults(images["score"]) | self._settings)
        self._session = sdk.session()
        self._steps: dict[str, Any] = {}
        self._provenance: dict[str, dict[str, Any]] = {}
        self._skippable: set[str] = set()

    def pipeline(self) -> sdk.Pipeline:
        """Return the pipeline; a step that changes the champion runs only if the judging step recommends the model."""
        planned = plan(self._workflow.name)
        reads_data = any(location.base == "data" for job in planned for location in job.inputs.values())
        for name in ("Root", "Data", "AsOf", "DataVersion") if reads_data else ("Root", "AsOf"):
            self._parameters.use(name)
        steps: list[Any] = []
        judge = ""
        for job in planned:
            step = self._steps[job.stage.name] = self._step(job)
            gated = judge and CHAMPION in job.step.writes.values()
            steps += self._gate(judge, job, step) if gated else [step]
            judge = job.stage.name if CHAMPION in job.step.reads.values() else judge
        name = self._site.pipeline(self._workflow.name)
        self._parameters.refuse_unknown(list(self._settings), name)
        return sdk.Pipeline(name, self._parameters.all(), None, steps=steps, sagemaker_session=self._session)

    def _step(self, job: JobPlan) -> Any:
        """Return a job's step."""
        values = self._parameters.values(job)
        request = jobs.Request(
            job,
            image=self._images[job.stage.image],
            instance=self._parameters.use(f"{job.stage.step}Instance", self._site.instance(job.stage.platform)),
            environment=self._environment(job, values),
            values=values,
            inputs={name: self._input(job, name) for name in job.mounted_inputs},
            outputs={name: self._parameters.mounted_uri(location) for name, location in job.mounted_outputs.items()},
            explicit=self._explicit(job),
            checkpoints=self._parameters.mounted_uri(job.outputs[SUMMARY], "checkpoints/"),
        )
        options = {
            "cache_config": sdk.CacheConfig(enable_caching=job.stage.name in self._skippable, expire_after="P7D"),
            "retry_policies": [BUSY, NO_CAPACITY],
        }
        if job.stage.platform == "training":
            return sdk.TrainingStep(job.stage.step, jobs.training(request, self._site, self._session), **options)
        return sdk.ProcessingStep(job.stage.step, jobs.processing(request, self._site, self._session), **options)

    def _input(self, job: JobPlan, channel: str) -> Any:
        """Return the URI of an earlier step's output, as a property of its job, so that SageMaker waits for the job."""
        source = job.step.reads[channel]
        if not isinstance(source, Output):
            return self._parameters.use("Model")  # only the Training job knows the folder that it created
        properties = self._steps[source.stage].properties
        if isinstance(self._steps[source.stage], sdk.TrainingStep):
            return properties.ModelArtifacts.S3ModelArtifacts
        return properties.ProcessingOutputConfig.Outputs[source.channel].S3Output.S3Uri

    def _explicit(self, job: JobPlan) -> list[Any]:
        """Return the arguments of the channels that the stage reads and writes in place."""
        inputs = [(f"--input={name}=", self._explicit_uri(job, name)) for name in job.explicit_inputs]
        outputs = [
            (f"--output={name}=", self._parameters.explicit_uri(location))
            for name, location in job.explicit_outputs.items()
        ]
        return [joined(option, *parts) for option, parts in [*inputs, *outputs]]

    def _explicit_uri(self, job: JobPlan, channel: str) -> list[Any]:
        source = job.step.reads[channel]
        if isinstance(source, Output):
            return [self._input(job, channel)]
        return self._parameters.explicit_uri(job.inputs[channel])

    def _environment(self, job: JobPlan, values: Mapping[Parameter, Any]) -> dict[str, Any]:
        """Return environment variables that identify the content of a step's inputs, for SageMaker's step cache.

        SageMaker reuses a step of the last week if image, arguments, environment and input addresses are equal; it does
        not compare the content at the addresses. DataVersion identifies the data, and the parameters of earlier steps
        identify their outputs. Nothing identifies content that is replaced in place, so a step that reads or writes
        such content always runs (deploying an earlier model again must deploy it), and so do the steps after it.
        Published content is written once, so a step that wrote it need not run again.
        """
        earlier = {source.stage for source in job.step.reads.values() if isinstance(source, Output)}
        names = {"ROOT": "Root", "DATA": "Data", "DATA_VERSION": "DataVersion"}
        environment: dict[str, Any] = {
            f"FRAUDLINE_{key}": self._parameters.use(name) for key, name in names.items() if name in self._parameters
        }
        for stage in sorted(earlier):
            environment |= self._provenance[stage]
        own = {parameter.name: value for parameter, value in values.items() if isinstance(value, sdk.ParameterString)}
        own[f"image_{job.stage.image}"] = self._images[job.stage.image]
        self._provenance[job.stage.name] = environment | {f"BEFORE_{name.upper()}": own[name] for name in own}
        replaced = REPLACED & {*job.step.reads.values(), *job.step.writes.values()}
        if earlier <= self._skippable and not replaced:
            self._skippable.add(job.stage.name)
        return environment

    def _gate(self, judge: str, job: JobPlan, gated: Any) -> list[Any]:
        """Return the conditions for a step: register a recommended model, or fail with the reasons of the judge.

        If a person has to approve the model first, the gated step is left to another pipeline. The two conditions are
        separate, because SageMaker does not accept nested ones.
        """
        summary = sdk.PropertyFile(name=SUMMARY, output_name=SUMMARY, path=SUMMARY_FILE)
        self._steps[judge].property_files = [summary]

        def reported(key: str) -> sdk.JsonGet:
            return sdk.JsonGet(step_name=self._steps[judge].name, property_file=summary, json_path=key)

        approval = self._parameters.use("Approval", APPROVED, [APPROVED, PENDING])
        recommended = sdk.ConditionEquals(left=reported("deploy_recommended"), right=True)
        approved = sdk.ConditionEquals(left=approval, right=APPROVED)
        model, evaluation = self._input(job, "model"), self._input(job, "evaluation")
        image = self._images[job.stage.image]
        package = model_package(self._site.model_packages, image, model, evaluation, approval, self._parameters)
        register = RegisterStep("RegisterModel", package)
        gated.add_depends_on([register])
        refused = sdk.FailStep(name="Refused", error_message=reported("exit_message"))
        return [
            sdk.ConditionStep(name="Gate", conditions=[recommended], if_steps=[register], else_steps=[refused]),
            sdk.ConditionStep(name="Approval", conditions=[recommended, approved], if_steps=[gated]),
        ]
