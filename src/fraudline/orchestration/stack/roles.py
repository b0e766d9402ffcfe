"""One role for each stage, which reads and writes the stage's channels and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatch

from fraudline.catalog.plan import JobPlan, Location, plan
from fraudline.catalog.stage import SUMMARY
from fraudline.catalog.stages import PUBLISH_HISTORY
from fraudline.catalog.workflow import MODEL_PACKAGES, WORKFLOWS
from fraudline.orchestration.stack.intrinsics import Noted, Resource, Resources, Value, arn, attribute, ref, sub
from fraudline.orchestration.stack.policies import Statement, network_policies, pass_roles, role, statement
from fraudline.orchestration.step_functions.jobs import GLUE_JOBS, runs_on_glue

# The logical ids of Glue jobs by stage, as the definitions' placeholders name them.
GLUE_STAGES = {stage: placeholder.strip("${}") for stage, placeholder in GLUE_JOBS.items()}
# What each service's jobs share.
_MANAGED = {"glue": "GluePolicy", "sagemaker": "JobPolicy", "lambda": "FunctionPolicy"}
_BUCKETS = {"data": "DataBucket", "root": "ResultsBucket"}
_WRITE = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
_PIPELINE_JOBS = ("Processing", "Training")
_PACKAGES = {"model-package-group": "", "model-package": "/*"}
_ENDPOINT = arn("sagemaker", "endpoint/${EndpointName}")

# What stages call besides S3.
_CALLS: dict[str, list[Statement]] = {
    "deploy-model": [
        statement(
            "Deploy",
            [
                "sagemaker:CreateEndpoint",
                "sagemaker:CreateEndpointConfig",
                "sagemaker:CreateModel",
                "sagemaker:DeleteEndpoint",
                "sagemaker:DescribeEndpoint",
                "sagemaker:DescribeEndpointConfig",
                "sagemaker:DescribeModel",
                "sagemaker:InvokeEndpoint",  # the smoke test
                "sagemaker:UpdateEndpoint",
            ],
            [_ENDPOINT, arn("sagemaker", "endpoint-config/fraudline-*"), arn("sagemaker", "model/fraudline-*")],
        ),
        pass_roles("Serve", attribute("ServingRole")),
    ],
    "fraud-scoring": [statement("Score", "sagemaker:InvokeEndpoint", _ENDPOINT)],
    "alert-and-store": [
        statement(
            "Store",
            ["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:DeleteItem", "dynamodb:PutItem"],
            attribute("ScoresTable"),
        ),
        statement("Alert", "sns:Publish", ref("AlertsTopic")),
        # By its name: the state machine of a day refers to both.
        statement("OpenCases", "states:StartExecution", arn("states", "stateMachine:${Name}-investigation")),
    ],
}


def roles() -> Resources:
    """Return the roles of stages, real-time functions, the endpoint and pipelines, and how they join the network."""
    stages = _jobs_by_stage()
    jobs = [jobs[0] for jobs in stages.values()]
    realtime = _realtime_roles()
    network = {
        "Job": [*(_name(job) for job in jobs if _joins_as_job(job)), "PipelineRole", "ServingRole"],
        "Function": [*(_name(job) for job in jobs if "lambda" in services(job)), *realtime],
        "Glue": [_name(job) for job in jobs if "glue" in services(job)],
    }
    return {
        **{_name(jobs[0]): _stage_role(jobs) for jobs in stages.values()},
        **realtime,
        **network_policies(network),
        "ServingRole": role(["sagemaker"], "serve", _reads("root", ["models/*"], "Models"), ["JobPolicy"]),
        "PipelineRole": Noted("SageMaker Pipelines run every job of a pipeline as one role.", _pipeline_role()),
    }


def _jobs_by_stage() -> dict[str, list[JobPlan]]:
    """Return each stage's jobs in all workflows, since a stage has one role."""
    stages: dict[str, list[JobPlan]] = {}
    for workflow in WORKFLOWS:
        for job in plan(workflow):
            stages.setdefault(job.stage.name, []).append(job)
    return stages


def services(job: JobPlan) -> list[str]:
    """Return which AWS services run a stage in this stack."""
    if runs_on_glue(job):
        return ["glue"]
    return ["lambda", "sagemaker"] if job.workflow == "daily" else ["sagemaker"]


def _name(job: JobPlan) -> str:
    return f"{job.stage.step}Role"


def _stage_role(jobs: list[JobPlan]) -> Resource:
    """Return the role of a stage, for its jobs in all workflows."""
    used = services(jobs[0])
    managed = [_MANAGED[service] for service in reversed(used)]
    return role(used, jobs[0].stage.name, _statements(jobs), managed)


def _joins_as_job(job: JobPlan) -> bool:
    """Return True for Processing jobs: Training runs without a network."""
    return "sagemaker" in services(job) and job.stage.platform != "training"


def _statements(jobs: list[JobPlan]) -> list[Statement]:
    """Return what a role may do that runs these jobs."""
    inputs = [location for job in jobs for location in job.inputs.values()]
    outputs = [location for job in jobs for location in (*job.explicit_outputs.values(), job.outputs[SUMMARY])]
    calls = {job.stage.name: _CALLS.get(job.stage.name, []) for job in jobs}
    deliveries = _patterns(location for location in inputs if location.base == "data")
    written = _patterns(outputs)  # to write is also to read
    read = _patterns(location for location in inputs if location.base == "root")
    only_read = [pattern for pattern in read if not any(fnmatch(pattern, wider) for wider in written)]
    return [
        *(_reads("data", deliveries, "Deliveries") if deliveries else []),
        *([statement("Read", "s3:GetObject", _objects("root", only_read))] if only_read else []),
        statement("Write", _WRITE, _objects("root", written)),
        _lists("List", "root", sorted([*only_read, *written])),
        *(call for stage in calls.values() for call in stage),
    ]


def _patterns(locations: Iterable[Location]) -> list[str]:
    """Return prefixes of any day as patterns of IAM."""
    return sorted({_pattern(location.template) for location in locations})


def _pattern(template: str) -> str:
    # A stage also looks at histories of earlier days, to say which one is missing.
    if template.startswith("history/"):
        return "history/*"
    return re.sub(r"\{\w+\}", "*", template) + "*"


def _objects(base: str, patterns: list[str]) -> Value:
    return [sub(f"${{{_BUCKETS[base]}.Arn}}/{pattern}") for pattern in patterns]


def _lists(sid: str, base: str, patterns: list[str]) -> Statement:
    return statement(sid, "s3:ListBucket", attribute(_BUCKETS[base]), {"StringLike": {"s3:prefix": patterns}})


def _reads(base: str, patterns: list[str], name: str = "") -> list[Statement]:
    return [statement(f"Read{name}", "s3:GetObject", _objects(base, patterns)), _lists(f"List{name}", base, patterns)]


def _realtime_roles() -> Resources:
    """Return the roles of functions that no workflow has: each serves single transactions."""
    history = attribute("HistoryTable")
    statements = {
        PUBLISH_HISTORY.step: [
            *_reads("root", ["history/*"]),
            statement("Load", ["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem"], history),
        ],
        "RealtimeFeatures": [statement("ReadHistory", "dynamodb:BatchGetItem", history)],
        "RealtimeScore": [
            *_reads("root", ["champion/*"], "Champion"),
            statement("Alert", "sns:Publish", ref("AlertsTopic")),
        ],
        "RealtimeHistory": [statement("AppendToHistory", ["dynamodb:BatchGetItem", "dynamodb:PutItem"], history)],
    }
    names = {PUBLISH_HISTORY.step: PUBLISH_HISTORY.name}
    return {
        f"{name}Role": role(["lambda"], names.get(name, name), allowed, ["FunctionPolicy"])
        for name, allowed in statements.items()
    }


def _pipeline_role() -> Value:
    """Return the role of pipelines: it may do what each of their stages may, start their jobs, and register models.

    SageMaker names the jobs of pipelines pipelines-EXECUTION-STEP-SUFFIX, as the events of its guide show.
    """
    own_name = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${AWS::StackName}-PipelineRole-*"
    verbs = [f"sagemaker:{verb}{kind}Job" for verb in ("Create", "Describe", "Stop") for kind in _PIPELINE_JOBS]
    jobs = [arn("sagemaker", f"{kind.lower()}-job/pipelines-*") for kind in _PIPELINE_JOBS]
    packages = [f"sagemaker:{verb}ModelPackage{kind}" for verb in ("Create", "Describe") for kind in ("", "Group")]
    registry = [
        arn("sagemaker", f"{kind}/${{BucketPrefix}}-{MODEL_PACKAGES}{below}") for kind, below in _PACKAGES.items()
    ]
    statements = [
        *_statements([job for workflow in WORKFLOWS for job in plan(workflow)]),
        statement("RunJobs", ["sagemaker:AddTags", *verbs], jobs),
        statement("RegisterModels", ["sagemaker:AddTags", *packages], registry),
        pass_roles("AsItself", sub(own_name)),
    ]
    return {**role(["sagemaker"], "pipelines", statements, ["JobPolicy"]), "Condition": "Pipelines"}
