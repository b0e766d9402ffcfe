"""The state machines of the training and daily workflows, for AWS Step Functions.

A stage runs as a Lambda function, as a Processing or Training job, or as a Glue job. An execution may override any
setting: a member of its input replaces the stack's value.
"""

from __future__ import annotations

from typing import Any

from fraudline.catalog.plan import JobPlan, Location, plan, title
from fraudline.catalog.stages import EVALUATE_MODEL, RUN
from fraudline.catalog.workflow import CHAMPION, MODELS, WORKFLOWS
from fraudline.entrypoints.aws_lambda import InputRejected
from fraudline.entrypoints.run import INPUT_REJECTED
from fraudline.orchestration.step_functions import jobs, retries
from fraudline.orchestration.step_functions.expressions import keyed, mounted_uri

State = dict[str, Any]
States = dict[str, State]

REJECTED = InputRejected.__name__
# The service's own limit. At it, an execution ends as TIMED_OUT, and no Catch runs.
EXPRESS_SECONDS = 300
# Together with the tasks that notify and hand over, they add up to less than EXPRESS_SECONDS.
_EXPRESS_STAGES = {
    "etl": 70,
    "feature-extraction": 45,
    "fraud-scoring": 45,
    "filter-high-risk": 20,
    "alert-and-store": 70,
}
_NOTIFY_SECONDS = 10
# A state's own time-out, and that of its function.
_OVERRUN = ["States.Timeout", "Sandbox.Timedout"]
_CATCH_ALL: State = {"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "NotifyFailed"}
# The pipe's queue sets a message aside after this many deliveries.
DELIVERIES = 3
VERDICT = "deploy_recommended=true*"  # how evaluate-model's exit message begins


def state_machines() -> dict[str, dict[str, Any]]:
    """Return the definition of each state machine, by name."""
    return {
        "daily": _daily_express(),
        "daily_standard": _standard("daily", "As Processing jobs, for days that outgrow five minutes of Lambda."),
        "training": _standard("training", ""),
        "backfill": _standard("backfill", ""),
        "rollback": _standard("deployment", "Of the training as of as_of, unless model names another artifact."),
    }


def _daily_express() -> dict[str, Any]:
    states: States = {
        "ReadMessage": {
            "Comment": "The pipe delivers one message; the schedule names the day, also for a late delivery.",
            "Type": "Pass",
            "InputPath": "$[0]",
            "Parameters": {"as_of.$": "States.ArrayGetItem(States.StringSplit($.scheduled, 'T'), 0)", "input.$": "$"},
        },
        **_arguments("daily", "$.input", with_channels=False),
        "CheckDelivery": {
            "Comment": "The last delivery of a message that failed or ran out of time goes to the STANDARD twin.",
            "Type": "Choice",
            "Choices": [
                {
                    "And": [
                        {"Variable": "$.settings.delivery", "IsPresent": True},
                        {"Variable": "$.settings.delivery", "StringEquals": str(DELIVERIES)},
                    ],
                    "Next": "ExplainDelivery",
                }
            ],
            "Default": next(iter(plan("daily"))).stage.step,
        },
        **{job.stage.step: _invocation(job) for job in plan("daily")},
    }
    chained = _chain(states, "Done") | {
        "Done": {"Type": "Succeed", "Comment": "States pass on URIs and counts, never rows."},
        "CountRejected": {
            "Comment": "Rejected input ends the execution well, or the pipe would deliver it again in vain.",
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:cloudwatch:putMetricData",
            "Parameters": {
                "Namespace": "Fraudline",
                "MetricData": [
                    {
                        "MetricName": "runs_rejected",
                        "Dimensions": [{"Name": "Workflow", "Value": "daily"}],
                        "Value": 1,
                        "Unit": "Count",
                    }
                ],
            },
            "TimeoutSeconds": _NOTIFY_SECONDS,
            "ResultPath": None,
            "Retry": [retries.NOTIFYING_IS_BUSY],
            "Next": "NotifyRejected",
        },
        "NotifyRejected": _in_time(_notice("daily", "Rejected")),
        "Rejected": {
            "Type": "Pass",
            "Parameters": {"status": "rejected", "as_of.$": "$.as_of", "cause.$": "$.error.Cause"},
            "End": True,
        },
        **_hand_over(),
        **{name: _in_time(state) for name, state in _failure("daily").items()},
    }
    limit = f"EXPRESS: {EXPRESS_SECONDS} s in all; daily_standard takes over a day that needs longer."
    return {
        "Comment": f"{_generated('daily')} {limit}",
        "StartAt": next(iter(chained)),
        "TimeoutSeconds": EXPRESS_SECONDS,
        "States": chained,
    }


def _hand_over() -> States:
    """Return the states that start the STANDARD twin of a day that does not fit into EXPRESS."""
    return {
        "ExplainDelivery": {
            "Type": "Pass",
            "Result": {"Error": "LastDelivery", "Cause": f"{DELIVERIES - 1} deliveries failed or ran out of time."},
            "ResultPath": "$.error",
            "Next": "KeepDay",
        },
        "KeepDay": {
            "Type": "Pass",
            "Parameters": {"as_of.$": "$.as_of"},
            "ResultPath": "$.day",
            "Next": "StartStandard",
        },
        "StartStandard": {
            "Comment": "A name of its own: a day that had a STANDARD execution before may need another.",
            "Type": "Task",
            "Resource": "arn:aws:states:::states:startExecution",
            "Parameters": {
                "StateMachineArn": "${DailyStandardMachine}",
                "Name.$": "States.Format('daily-{}-{}', $.as_of, States.UUID())",
                "Input.$": "States.JsonMerge($.settings, $.day, false)",
            },
            "TimeoutSeconds": _NOTIFY_SECONDS,
            "ResultPath": None,
            "Retry": [retries.STATES_IS_BUSY],
            "Catch": [_CATCH_ALL],
            "Next": "NotifyHandedOver",
        },
        "NotifyHandedOver": _in_time(_notice("daily", "HandedOver")),
        "HandedOver": {
            "Comment": "It ends well, or the pipe would deliver the message again.",
            "Type": "Pass",
            "Parameters": {"status": "handed over", "as_of.$": "$.as_of", "cause.$": "$.error.Cause"},
            "End": True,
        },
    }


def _in_time(state: State) -> State:
    """Return a task that takes its share of an EXPRESS execution's time; other states take none."""
    return state | {"TimeoutSeconds": _NOTIFY_SECONDS} if state["Type"] == "Task" else state


def _standard(workflow: str, remark: str) -> dict[str, Any]:
    states: States = _arguments(workflow, "$$.Execution.Input", with_channels=True)
    for job in plan(workflow):
        if CHAMPION in job.step.writes.values() and EVALUATE_MODEL.step in states:
            states["Gate"] = _gate(job.stage.step)
        states[job.stage.step] = _job(job)
    chained = _chain(states, "Done") | {"Done": {"Type": "Succeed"}, **_failure(workflow)}
    if "Gate" in chained:
        chained["Refused"] = {
            "Comment": "Nothing failed: the champion stays, for the reasons that the gate gives.",
            "Type": "Pass",
            "Parameters": {"Error": "Refused", "Cause.$": "$.EvaluateModel.job.exit_message"},
            "ResultPath": "$.error",
            "Next": "NotifyRefused",
        }
        chained["NotifyRefused"] = _notice(workflow, "Done")
    example = 'Input: {"as_of": "YYYY-MM-DD"}, and any setting, such as "threshold": "0.9".'
    return {
        "Comment": " ".join(filter(None, [_generated(workflow), "STANDARD.", remark, example])),
        "StartAt": next(iter(chained)),
        "States": chained,
    }


def _generated(workflow: str) -> str:
    description = WORKFLOWS[workflow].description
    return f"{description} Generated by make docs from the workflow {workflow} in src/fraudline/catalog/workflow.py."


def _arguments(workflow: str, execution_input: str, *, with_channels: bool) -> States:
    """Return the states that resolve explicit channels and settings; an execution's settings override the stack's."""
    channels = {job.stage.step: jobs.explicit_channels(job) for job in plan(workflow) if not jobs.runs_on_glue(job)}
    resolved: State = {"settings": _settings(workflow)}
    located = _located_model(workflow)
    settings = "States.JsonMerge($.arguments.settings, $.located, false)" if located else "$.arguments.settings"
    applied = {"as_of.$": "$.as_of", "settings.$": f"States.JsonMerge({settings}, {execution_input}, false)"}
    if with_channels:
        resolved["channels"] = {step: options for step, options in channels.items() if any(options.values())}
        applied["channels.$"] = "$.arguments.channels"
    return {
        "ResolveArguments": {
            "Comment": "The settings of the stack, and arguments whose braces a function would take for its own.",
            "Type": "Pass",
            "Result": resolved,
            "ResultPath": "$.arguments",
        },
        **located,
        "ApplySettings": {
            "Comment": "The execution's own settings replace the stack's.",
            "Type": "Pass",
            "Parameters": applied,
        },
    }


def _located_model(workflow: str) -> States:
    """Return the state that locates the model of an earlier training, where the workflow deploys one.

    The published artifact lies at a known address; only the Training job knew the address of its own copy, which also
    expires with its execution.
    """
    inputs = [location for job in plan(workflow) for location in job.inputs.values()]
    if not any(location.job_below and not location.producer for location in inputs):
        return {}
    published = mounted_uri(Location(MODELS.base, MODELS.template))
    return {
        "LocateModel": {
            "Comment": "The artifact that the training published; a member of the execution's input replaces it.",
            "Type": "Pass",
            "Parameters": keyed(jobs.MODEL, published),
            "ResultPath": "$.located",
        }
    }


def _settings(workflow: str) -> dict[str, str]:
    """Return the value of each setting: the stack's, or the default of a parameter that only executions set."""
    names = {name: parameter for job in plan(workflow) for name, parameter in job.settings.items()}
    return {
        name: parameter.default_text if parameter in RUN else f"${{{title(name)}}}" for name, parameter in names.items()
    }


def _chain(states: States, end: str) -> States:
    """Return the states, each linked to the next one; a Choice state has its own successors."""
    following = [*list(states)[1:], end]
    chained: States = {}
    for (name, state), after in zip(states.items(), following, strict=True):
        chained[name] = state if state["Type"] == "Choice" else state | {"Next": after}
    return chained


def _notice(workflow: str, after: str) -> State:
    """Return the task that notifies operations of an error, in the stage's own words."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::sns:publish",
        "Parameters": {
            "TopicArn": "${OperationsTopic}",
            "Subject.$": f"States.Format('fraudline {workflow} {{}}: {{}}', $.as_of, $.error.Error)",
            "Message": {
                "workflow": workflow,
                "as_of.$": "$.as_of",
                "execution.$": "$$.Execution.Id",
                "error.$": "$.error.Error",
                "cause.$": "$.error.Cause",
            },
        },
        "ResultPath": None,
        "Retry": [retries.NOTIFYING_IS_BUSY],
        "Next": after,
    }


def _failure(workflow: str) -> States:
    return {
        "NotifyFailed": _notice(workflow, "Failed"),
        "Failed": {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"},
    }


def _gate(gated: str) -> State:
    return {
        "Comment": "The exit message of the evaluation begins with the verdict; its reasons follow.",
        "Type": "Choice",
        "Choices": [{"Variable": "$.EvaluateModel.job.exit_message", "StringMatches": VERDICT, "Next": gated}],
        "Default": "Refused",
    }


def _invocation(job: JobPlan) -> State:
    return {
        "Comment": job.stage.description,
        "Type": "Task",
        **jobs.invocation(job),
        "TimeoutSeconds": _EXPRESS_STAGES[job.stage.name],
        "ResultPath": f"$.{job.stage.step}",
        "Retry": [retries.LAMBDA_IS_BUSY, retries.stage_failed(5)],
        "Catch": [
            {"ErrorEquals": _OVERRUN, "ResultPath": "$.error", "Next": "KeepDay"},
            {"ErrorEquals": [REJECTED], "ResultPath": "$.error", "Next": "CountRejected"},
            _CATCH_ALL,
        ],
    }


def _job(job: JobPlan) -> State:
    """Return a job in its own branch, which gives a failure a name that decides whether it is retried.

    SageMaker and Glue report every failure as States.TaskFailed; only the stage's message distinguishes them.
    """
    name = job.stage.step
    branch: States = {
        f"Run {name}": {
            "Type": "Task",
            **jobs.task(job),
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": f"Classify {name} failure"}],
            "End": True,
        },
        f"Classify {name} failure": {
            "Type": "Choice",
            "Choices": [
                {
                    "Variable": "$.error.Cause",
                    "StringMatches": f"*{INPUT_REJECTED}*",
                    "Next": f"{name} rejected its input",
                }
            ],
            "Default": f"{name} failed",
        },
        f"{name} rejected its input": {"Type": "Fail", "Error": REJECTED, "CausePath": "$.error.Cause"},
        f"{name} failed": {"Type": "Fail", "Error": retries.FAILED, "CausePath": "$.error.Cause"},
    }
    return {
        "Comment": job.stage.description,
        "Type": "Parallel",
        "Branches": [{"StartAt": f"Run {name}", "States": branch}],
        "ResultSelector": {"job.$": "$[0]"},
        "ResultPath": f"$.{name}",
        "Retry": [{**retries.stage_failed(60), "MaxDelaySeconds": 1800}],
        "Catch": [_CATCH_ALL],
    }
