"""Every state machine of the stack, with what its role may do.

Each role is for what the tasks of one definition call; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fraudline.catalog.plan import JobPlan, plan, title
from fraudline.catalog.workflow import MODEL_PACKAGES, WORKFLOWS
from fraudline.orchestration.stack.intrinsics import arn, attribute, ref, sub
from fraudline.orchestration.stack.policies import Statement, encrypt, pass_roles, statement
from fraudline.orchestration.stack.roles import GLUE_STAGES
from fraudline.orchestration.step_functions.jobs import runs_on_glue

# Names of jobs begin with these, whatever their stage.
_JOB_NAMES = {"Training": "training-job/fraud-model-*", "Processing": "processing-job/fraudline-*"}
_NOTIFY = statement("Notify", "sns:Publish", ref("OperationsTopic"))


@dataclass(frozen=True)
class StateMachine:
    """A state machine of the stack.

    Attributes:
        name: of its definition's file.
        kind: STANDARD waits for jobs and people, EXPRESS for functions, five minutes in all.
        statements: what its role may do.
    """

    name: str
    kind: Literal["STANDARD", "EXPRESS"]
    statements: Sequence[Statement]

    @property
    def logical_id(self) -> str:
        """Return its name in the template."""
        return f"{title(self.name)}Machine"


def _run_jobs(workflow: str) -> list[Statement]:
    """Allow to run a workflow's jobs, on AWS Glue and on SageMaker."""
    glue = [GLUE_STAGES[job.stage.name] for job in plan(workflow) if runs_on_glue(job)]
    jobs = [job for job in plan(workflow) if not runs_on_glue(job)]
    kinds = sorted({_kind(job) for job in jobs}, reverse=True)
    verbs = [f"sagemaker:{verb}{kind}Job" for verb in ("Create", "Describe", "Stop") for kind in sorted(kinds)]
    rules = [arn("events", f"rule/StepFunctionsGetEventsForSageMaker{kind}JobsRule") for kind in kinds]
    return [
        *([_run_glue(glue)] if glue else []),
        statement("RunJobs", ["sagemaker:AddTags", *verbs], [arn("sagemaker", _JOB_NAMES[kind]) for kind in kinds]),
        pass_roles("PassRoles", [attribute(name) for name in sorted(f"{job.stage.step}Role" for job in jobs)]),
        # Step Functions hears by events that a job ended.
        statement("WatchJobs", ["events:DescribeRule", "events:PutRule", "events:PutTargets"], rules),
    ]


def _kind(job: JobPlan) -> str:
    return "Training" if job.stage.platform == "training" else "Processing"


def _run_glue(jobs: list[str]) -> Statement:
    actions = ["glue:BatchStopJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:StartJobRun"]
    return statement("RunGlue", actions, [arn("glue", f"job/${{{job}}}") for job in jobs])


def _encrypt_jobs() -> Statement:
    return encrypt("kms:CreateGrant", "kms:DescribeKey")


def _invoke_stages(workflow: str) -> Statement:
    return _invoke(*sorted(job.stage.step for job in plan(workflow)))


def _invoke(*titles: str) -> Statement:
    return statement("Invoke", "lambda:InvokeFunction", [attribute(f"{it}Function") for it in titles])


def _count_rejected() -> Statement:
    # The action has no resource; the namespace is its only limit.
    namespace = {"StringEquals": {"cloudwatch:namespace": "Fraudline"}}
    return statement("Count", "cloudwatch:PutMetricData", "*", namespace)


def _start_pipelines(*workflows: str) -> Statement:
    pipelines = [arn("sagemaker", f"pipeline/${{BucketPrefix}}-{WORKFLOWS[name].pipeline}") for name in workflows]
    return statement("StartPipelines", "sagemaker:StartPipelineExecution", pipelines)


MACHINES: tuple[StateMachine, ...] = (
    StateMachine("training", "STANDARD", [*_run_jobs("training"), _NOTIFY, _encrypt_jobs()]),
    StateMachine(
        "daily",
        "EXPRESS",
        [
            _invoke_stages("daily"),
            _NOTIFY,
            _count_rejected(),
            statement("HandOver", "states:StartExecution", ref("DailyStandardMachine")),
            encrypt(),
        ],
    ),
    StateMachine("daily_standard", "STANDARD", [*_run_jobs("daily"), _NOTIFY, _encrypt_jobs()]),
    StateMachine("backfill", "STANDARD", [*_run_jobs("backfill"), _NOTIFY, _encrypt_jobs()]),
    StateMachine("rollback", "STANDARD", [*_run_jobs("deployment"), _NOTIFY, _encrypt_jobs()]),
    StateMachine("publish_history", "EXPRESS", [_invoke("PublishHistory"), _NOTIFY, encrypt()]),
    StateMachine(
        "realtime",
        "EXPRESS",
        [
            _invoke("RealtimeFeatures", "RealtimeHistory", "RealtimeScore"),
            statement("KeepFailed", "sqs:SendMessage", attribute("RealtimeDeadLetters")),
            encrypt(),
        ],
    ),
    StateMachine(
        "investigation",
        "STANDARD",
        [
            statement("Notify", "sns:Publish", [ref(f"{it}Topic") for it in ("Cases", "Escalation", "Operations")]),
            statement("KeepCases", ["dynamodb:PutItem", "dynamodb:UpdateItem"], attribute("CasesTable")),
            statement("WriteLabels", "s3:PutObject", sub("${DataBucket.Arn}/labeled/investigations/*")),
            encrypt(),
        ],
    ),
    StateMachine(
        "start",
        "EXPRESS",
        [statement("Start", "states:StartExecution", [ref("TrainingMachine"), ref("DailyStandardMachine")])],
    ),
    StateMachine("start_pipeline", "EXPRESS", [_start_pipelines("daily", "training")]),
    StateMachine(
        "deployment",
        "EXPRESS",
        [
            _start_pipelines("deployment"),
            statement(
                "ReadPackages",
                "sagemaker:DescribeModelPackage",
                arn("sagemaker", f"model-package/${{BucketPrefix}}-{MODEL_PACKAGES}/*"),
            ),
        ],
    ),
)
