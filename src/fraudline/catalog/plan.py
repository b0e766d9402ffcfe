"""Resolve each step of a workflow into a job, in one place; orchestrators only render the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from fraudline.catalog.stage import SUMMARY, Parameter, Stage
from fraudline.catalog.stages import AS_OF, EXECUTION, STAGES
from fraudline.catalog.workflow import WORKFLOWS, Address, Output, Source, Step


@dataclass(frozen=True)
class Location:
    """The location of a channel.

    Attributes:
        base: the base URI that it is relative to: ``data`` for deliveries, ``root`` for what stages write.
        template: the prefix relative to the base, ending in a slash.
        producer: the stage that writes it in the same execution, or empty if it comes from elsewhere.
        job_below: True if a Training job wrote it, below a folder of its own name, which no plan knows.
    """

    base: Literal["data", "root"]
    template: str
    producer: str = ""
    job_below: bool = False


@dataclass(frozen=True)
class JobPlan:
    """One step as a job.

    Attributes:
        workflow: the workflow's name.
        step: the step that it was resolved from.
        mounted_inputs: channels that the platform copies to the stage's folders.
        explicit_inputs: channels whose URIs are arguments; the stage reads them in place.
        mounted_outputs: channels that the platform copies from the stage's folders, and the summary.
        explicit_outputs: channels whose URIs are arguments; the stage writes them in place.
        values: the templates of the parameters that the execution itself decides.
        settings: all other parameters, by the name of their setting; a site or an execution may set each.
    """

    workflow: str
    step: Step
    mounted_inputs: Mapping[str, Location]
    explicit_inputs: Mapping[str, Location]
    mounted_outputs: Mapping[str, Location]
    explicit_outputs: Mapping[str, Location]
    values: Mapping[Parameter, str]
    settings: Mapping[str, Parameter]

    @property
    def stage(self) -> Stage:
        """Return the stage that runs."""
        return self.step.stage

    @property
    def command(self) -> list[str]:
        """Return the command that the image runs."""
        return ["fraudline", self.stage.name]

    @property
    def inputs(self) -> dict[str, Location]:
        """Return every input, in the order in which the stage reads them."""
        locations = {**self.mounted_inputs, **self.explicit_inputs}
        return {channel.name: locations[channel.name] for channel in self.stage.reads}

    @property
    def outputs(self) -> dict[str, Location]:
        """Return every output, the summary last."""
        locations = {**self.mounted_outputs, **self.explicit_outputs}
        names = [channel.name for channel in self.stage.writes]
        return {name: locations[name] for name in (*names, SUMMARY)}

    @property
    def prefix(self) -> str:
        """Return the template of the prefix that contains the stage's own outputs."""
        return self.outputs[SUMMARY].template


@cache
def plan(workflow: str) -> tuple[JobPlan, ...]:
    """Return a workflow's jobs in the order in which they run."""
    return tuple(_job(workflow, step) for step in WORKFLOWS[workflow].steps)


def _job(workflow: str, step: Step) -> JobPlan:
    stage = step.stage
    mounted = {channel.name for channel in stage.reads if step.mounts(channel)}
    inputs = {channel.name: _located(workflow, step.reads[channel.name]) for channel in stage.reads}
    # The stage itself writes outputs with an address: SageMaker would overwrite published content without a comparison,
    # and would not remove the old files of a replaced prefix.
    explicit = {name: _located(workflow, address) for name, address in step.writes.items()}
    own = [channel.name for channel in stage.writes if channel.name not in explicit]
    values = {AS_OF: "{as_of}", EXECUTION: f"{workflow}-{{as_of}}"}
    return JobPlan(
        workflow,
        step,
        mounted_inputs={name: location for name, location in inputs.items() if name in mounted},
        explicit_inputs={name: location for name, location in inputs.items() if name not in mounted},
        mounted_outputs={
            **{name: _located(workflow, Output(stage.name, name)) for name in own},
            SUMMARY: Location("root", _prefix(workflow, stage), stage.name),
        },
        explicit_outputs=explicit,
        values=values,
        settings={
            setting_name(stage, parameter): parameter for parameter in stage.parameters if parameter not in values
        },
    )


def setting_name(stage: Stage, parameter: Parameter) -> str:
    """Return the name by which a site sets a stage's parameter.

    It is the name of the parameter. The name of the stage comes before it if another stage has a different parameter of
    the same name.
    """
    steps = (step for workflow in WORKFLOWS.values() for step in workflow.steps)
    namesakes = {other for step in steps for other in step.stage.parameters if other.name == parameter.name}
    return parameter.name if namesakes <= {parameter} else f"{stage.name}_{parameter.name}".replace("-", "_")


def title(name: str) -> str:
    """Return a setting's name in the style of CloudFormation and SageMaker, such as ReviewBudget."""
    return name.title().replace("_", "")


def settings() -> dict[str, Parameter]:
    """Return every setting of every workflow by its name."""
    return {
        name: parameter for workflow in WORKFLOWS for job in plan(workflow) for name, parameter in job.settings.items()
    }


def _located(workflow: str, source: Source) -> Location:
    if isinstance(source, Address):
        return Location(source.base, source.template, job_below=source.job_below)
    stage = STAGES[source.stage]
    template = f"{_prefix(workflow, stage)}{source.channel}/"
    return Location("root", template, stage.name, job_below=stage.platform == "training")


def _prefix(workflow: str, stage: Stage) -> str:
    return f"executions/{workflow}-{{as_of}}/{stage.prefix}/"
