"""The state machines of training and of a day, written from ``workflow.py`` and ``stages.py`` for AWS Step Functions.

``${…}`` is filled in by the stack that deploys them; ``{as_of}``, ``{day}`` and ``{contract}`` in a place by the
stage's own host, because a state machine can't reckon with dates. A stage is a Lambda function of its image, a
Processing or Training job of it, or a Glue job. One that refuses its input is never tried again.
"""

from __future__ import annotations

from typing import Any

from fraudline.catalog.stage import Parameter, Stage
from fraudline.catalog.stages import AS_OF, EXECUTION
from fraudline.catalog.workflow import CHAMPION, LABELS, RAW, WORKFLOWS, Step, inputs, outputs
from fraudline.entrypoints import opt_ml
from fraudline.entrypoints.aws_lambda import InputRejected, StageFailed
from fraudline.entrypoints.run import REFUSED

State = dict[str, Any]
States = dict[str, State]

REJECTED, FAILED = InputRejected.__name__, StageFailed.__name__
# Everything that is called a job, a function or a role in the stack, by its stage.
GLUE_JOBS = {"data-extraction": "${DataExtractJob}", "feature-engineering": "${FeatureEngJob}"}
# The parameters of stages that the stack sets, by what it calls them.
SETTINGS = {
    "label_delay_days": "LabelDelayDays",
    "column": "Columns",
    "threshold": "Threshold",
    "review_budget": "ReviewBudget",
    "table": "ScoresTable",
    "topic": "AlertsTopic",
    "investigation": "InvestigationMachine",
    "retention_days": "RetentionDays",
    "serving_image": "ScoreImage",
    "role": "ServingRole",
    "serving_instance": "ServingInstance",
    "serving_instances": "ServingInstances",
    "kms_key": "KeyArn",
    "subnets": "Subnets",
    "security_groups": "SecurityGroups",
}
ENDPOINTS = {"deploy-model": "ServedEndpoint", "fraud-scoring": "ScoringEndpoint"}

EXPRESS_SECONDS = 300  # the service's own limit
JOB_SECONDS = 86_400
VERDICT = "deploy_recommended=true*"  # as evaluate-model's last words begin

# Several runs that failed together must not try again together.
_SPREAD = {"BackoffRate": 2.0, "JitterStrategy": "FULL"}


def _busy(*errors: str, seconds: int) -> dict[str, Any]:
    """How often, and when, to try again what a service had no room for."""
    return {"ErrorEquals": [*errors], "IntervalSeconds": seconds, "MaxAttempts": 4, **_SPREAD}


_LAMBDA_IS_BUSY = _busy(
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    seconds=2,
)
# What a service's API has no error of its own for, such as throttling, comes under the service's name.
_SAGEMAKER_IS_BUSY = _busy("SageMaker.AmazonSageMakerException", "SageMaker.ResourceLimitExceededException", seconds=30)
_GLUE_IS_BUSY = _busy("Glue.AWSGlueException", "Glue.ConcurrentRunsExceededException", seconds=30)
_TELLING_IS_BUSY = _busy("States.TaskFailed", seconds=2)


def state_machines() -> dict[str, dict[str, Any]]:
    """Each machine's definition, by the name of its file."""
    return {
        "daily": _daily_express(),
        "daily_standard": _standard("daily", "A day as Processing jobs, for days that outgrow five minutes of Lambda."),
        "training": _standard("training", "Months of transactions become a model; if the gate agrees, the champion."),
    }


def _daily_express() -> dict[str, Any]:
    states = {
        "AsOf": {
            "Comment": "The pipe brings one message; the day is the schedule's own, so a late redelivery does it too.",
            "Type": "Pass",
            "InputPath": "$[0]",
            "Parameters": {"as_of.$": "States.ArrayGetItem(States.StringSplit($.scheduled, 'T'), 0)"},
        },
        **{step.stage.step: _invocation(step) for step in WORKFLOWS["daily"]},
    }
    chained = _chain(states, "Done") | {
        "Done": {"Type": "Succeed", "Comment": "What it left is told by URIs and counts, never by rows."},
        "CountRejected": {
            "Comment": "Bad input ends well, or the message would be delivered again in vain; an alarm watches this.",
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
            "ResultPath": None,
            "Retry": [_TELLING_IS_BUSY],
            "Next": "TellRejected",
        },
        "TellRejected": _notice("daily", "Rejected"),
        "Rejected": {
            "Type": "Pass",
            "Parameters": {"status": "rejected", "as_of.$": "$.as_of", "cause.$": "$.error.Cause"},
            "End": True,
        },
        "TellFailed": _notice("daily", "Failed"),
        "Failed": _fail("$.error.Error", "$.error.Cause"),
    }
    return {
        "Comment": f"{_written('daily')} EXPRESS: all of it in {EXPRESS_SECONDS} s, else daily_standard.",
        "StartAt": "AsOf",
        "TimeoutSeconds": EXPRESS_SECONDS,
        "States": chained,
    }


def _standard(workflow: str, says: str) -> dict[str, Any]:
    processing = [step for step in WORKFLOWS[workflow] if not _on_glue(workflow, step) and _told(workflow, step)]
    jobs: States = {
        "Told": {
            "Comment": "Braces have a meaning of their own in a machine's functions, so these stand here.",
            "Type": "Pass",
            "Result": {
                step.stage.step: {
                    option: {name: f"{name}={place}" for kind, name, place in _told(workflow, step) if kind == option}
                    for option in ("input", "output")
                }
                for step in processing
            },
            "ResultPath": "$.told",
        }
    }
    for step in WORKFLOWS[workflow]:
        if CHAMPION in step.writes.values():
            jobs["Gate"] = _gate(step.stage.step)
        jobs[step.stage.step] = _job(workflow, step)
    states = _chain(jobs, "Done") | {
        "Done": {"Type": "Succeed"},
        "TellFailed": _notice(workflow, "Failed"),
        "Failed": _fail("$.error.Error", "$.error.Cause"),
    }
    if "Gate" in states:
        told = {"Error": "Refused", "Cause.$": "$.EvaluateModel.job.exit_message"}
        states["Refused"] = {
            "Comment": "Nothing failed: the champion stays, for the reasons that the gate gives.",
            "Type": "Pass",
            "Parameters": told,
            "ResultPath": "$.error",
            "Next": "TellRefused",
        }
        states["TellRefused"] = _notice(workflow, "Done")
    return {
        "Comment": f'{_written(workflow)} STANDARD. {says} Input: {{"as_of": "YYYY-MM-DD"}}.',
        "StartAt": next(iter(states)),
        "States": states,
    }


def _written(workflow: str) -> str:
    return f"Written by make docs from src/fraudline/catalog/workflow.py, workflow {workflow}."


def _chain(states: States, end: str) -> States:
    """Each state followed by the next, unless it says itself what follows."""
    following = [*list(states)[1:], end]
    return {
        name: state if state["Type"] == "Choice" else state | {"Next": after}
        for (name, state), after in zip(states.items(), following, strict=True)
    }


def _notice(workflow: str, after: str) -> State:
    """What happened, to the people who run this, in the stage's own words."""
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
        "Retry": [_TELLING_IS_BUSY],
        "Next": after,
    }


def _fail(error: str, cause: str) -> State:
    return {"Type": "Fail", "ErrorPath": error, "CausePath": cause}


def _gate(gated: str) -> State:
    return {
        "Comment": "The verdict is how the evaluation's last words begin; its reasons follow.",
        "Type": "Choice",
        "Choices": [{"Variable": "$.EvaluateModel.job.exit_message", "StringMatches": VERDICT, "Next": gated}],
        "Default": "Refused",
    }


# As a Lambda function


def _invocation(step: Step) -> State:
    stage = step.stage
    return {
        "Comment": stage.description,
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {
            "FunctionName": f"${{{stage.step}Function}}",
            "Payload": {
                "arguments": _named("daily", stage),
                "inputs": _full(inputs("daily", step)),
                "outputs": _full(outputs("daily", step)),
            },
        },
        "ResultSelector": {"summary.$": "$.Payload.summary", "counts.$": "$.Payload.counts"},
        "ResultPath": f"$.{stage.step}",
        "Retry": [_LAMBDA_IS_BUSY, _again(5)],
        "Catch": [
            {"ErrorEquals": [REJECTED], "ResultPath": "$.error", "Next": "CountRejected"},
            {"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "TellFailed"},
        ],
    }


def _again(seconds: int) -> dict[str, Any]:
    return {"ErrorEquals": [FAILED], "IntervalSeconds": seconds, "MaxAttempts": 2, **_SPREAD}


# As a job


def _job(workflow: str, step: Step) -> State:
    """A job in a state of its own that gives its failure the name by which it is, or is not, tried again.

    SageMaker and Glue call every failure States.TaskFailed; only the stage's own words tell one from the other.
    """
    stage, name = step.stage, step.stage.step
    kind = _glue if _on_glue(workflow, step) else _training if stage.platform == "training" else _processing
    job = kind(workflow, step)
    inner: States = {
        f"{name} job": {
            "Type": "Task",
            **job,
            "ResultSelector": _kept(stage, job),
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": f"{name} ended"}],
            "End": True,
        },
        f"{name} ended": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.error.Cause", "StringMatches": f"*{REFUSED}*", "Next": f"{name} refused its input"}
            ],
            "Default": f"{name} failed",
        },
        f"{name} refused its input": {"Type": "Fail", "Error": REJECTED, "CausePath": "$.error.Cause"},
        f"{name} failed": {"Type": "Fail", "Error": FAILED, "CausePath": "$.error.Cause"},
    }
    return {
        "Comment": stage.description,
        "Type": "Parallel",
        "Branches": [{"StartAt": f"{name} job", "States": inner}],
        "ResultSelector": {"job.$": "$[0]"},
        "ResultPath": f"$.{name}",
        "Retry": [{**_again(60), "MaxDelaySeconds": 1800}],
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "TellFailed"}],
    }


def _on_glue(workflow: str, step: Step) -> bool:
    return workflow == "training" and step.stage.name in GLUE_JOBS


def _kept(stage: Stage, job: State) -> dict[str, str]:
    """What of a job's description later states read: never all of it, which may be 256 KiB."""
    if stage.platform == "training":
        return {"model.$": "$.ModelArtifacts.S3ModelArtifacts"}
    if "glue" in job["Resource"]:
        return {"id.$": "$.Id"}
    said = {"exit_message.$": "$.ExitMessage"} if stage.name == "evaluate-model" else {}
    return {"arn.$": "$.ProcessingJobArn", **said}


def _glue(workflow: str, step: Step) -> State:
    places = {"input": _full(inputs(workflow, step)), "output": _full(outputs(workflow, step))}
    return {
        "Resource": "arn:aws:states:::glue:startJobRun.sync",
        "Parameters": {
            "JobName": GLUE_JOBS[step.stage.name],
            "Arguments": {
                **{
                    f"{parameter.option}{_suffix(value)}": value
                    for parameter, value in _values(workflow, step.stage).items()
                },
                **{f"--{kind}-{name}": place for kind, named in places.items() for name, place in named.items()},
            },
        },
        "TimeoutSeconds": JOB_SECONDS,
        "Retry": [_GLUE_IS_BUSY],
    }


def _processing(workflow: str, step: Step) -> State:
    stage = step.stage
    reads, writes = _full(inputs(workflow, step)), _full(outputs(workflow, step))
    mounted = [channel.name for channel in stage.reads if step.mounts(channel)]
    arguments = [text for parameter, value in _values(workflow, stage).items() for text in (parameter.option, value)]
    for option, name, _ in _told(workflow, step):
        arguments += [f"--{option}", f"$.told.{stage.step}.{option}.{name}"]
    listed = ", ".join(text if _suffix(text) else f"'{text}'" for text in arguments)
    return {
        "Resource": "arn:aws:states:::sagemaker:createProcessingJob.sync",
        "Parameters": {
            "ProcessingJobName.$": _fresh_name(f"fraudline-{stage.name}"),
            "RoleArn": f"${{{stage.step}Role}}",
            "AppSpecification": {
                "ImageUri": f"${{{stage.image.title()}Image}}",
                "ContainerEntrypoint": ["fraudline", stage.name],
                "ContainerArguments.$": f"States.Array({listed})",
            },
            "ProcessingInputs": [
                {
                    "InputName": name,
                    "S3Input": {
                        **_uri(reads[name]),
                        "LocalPath": opt_ml.inputs(stage)[name],
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                    },
                }
                for name in mounted
            ],
            "ProcessingOutputConfig": {
                "KmsKeyId": "${KeyArn}",
                "Outputs": [
                    {
                        "OutputName": name,
                        "S3Output": {**_uri(writes[name]), "LocalPath": local, "S3UploadMode": "EndOfJob"},
                    }
                    for name, local in opt_ml.outputs(stage).items()
                    if name not in step.writes
                ],
            },
            "ProcessingResources": {"ClusterConfig": _machine("Processing")},
            "StoppingCondition": {"MaxRuntimeInSeconds": JOB_SECONDS},
            "NetworkConfig.$": "States.StringToJson(States.Base64Decode('${Network}'))",
        },
        "TimeoutSeconds": JOB_SECONDS,
        "Retry": [_SAGEMAKER_IS_BUSY],
    }


def _training(workflow: str, step: Step) -> State:
    stage = step.stage
    (output,) = stage.writes
    kept = _uri(_full(outputs(workflow, step))[output.name], "S3OutputPath")
    return {
        "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync",
        "Parameters": {
            "TrainingJobName.$": _fresh_name("fraud-model"),
            "RoleArn": f"${{{stage.step}Role}}",
            "AlgorithmSpecification": {
                "TrainingImage": f"${{{stage.image.title()}Image}}",
                "TrainingInputMode": "File",
            },
            "HyperParameters": _named(workflow, stage),
            "InputDataConfig": [
                {
                    "ChannelName": name,
                    "DataSource": {
                        "S3DataSource": {
                            **_uri(place),
                            "S3DataType": "S3Prefix",
                            "S3DataDistributionType": "FullyReplicated",
                        }
                    },
                }
                for name, place in _full(inputs(workflow, step)).items()
            ],
            "OutputDataConfig": {**kept, "KmsKeyId": "${KeyArn}"},
            "ResourceConfig": _machine("Training"),
            "StoppingCondition": {"MaxRuntimeInSeconds": JOB_SECONDS},
            "EnableNetworkIsolation": True,
        },
        "TimeoutSeconds": JOB_SECONDS,
        "Retry": [_SAGEMAKER_IS_BUSY],
    }


def _machine(kind: str) -> State:
    size = {"InstanceCount": 1, "InstanceType": f"${{{kind}Instance}}", "VolumeSizeInGB": 30}
    return {**size, "VolumeKmsKeyId": "${KeyArn}"}


# Values and places


def _fresh_name(prefix: str) -> str:
    """A job's name is taken once for ever, also by one that failed."""
    unique = "States.ArrayGetItem(States.StringSplit(States.UUID(), '-'), 0)"
    return f"States.Format('{prefix}-{{}}-{{}}', $.as_of, {unique})"


def _values(workflow: str, stage: Stage) -> dict[Parameter, str]:
    """What a machine gives a stage: a path, an intrinsic function, or what the stack fills in."""
    values = {}
    for parameter in stage.parameters:
        settings = SETTINGS | {"endpoint": ENDPOINTS.get(stage.name)}
        if parameter is AS_OF:
            values[parameter] = "$.as_of"
        elif parameter is EXECUTION:
            values[parameter] = f"States.Format('{workflow}-{{}}', $.as_of)"
        elif name := settings.get(parameter.name):
            values[parameter] = f"${{{name}}}"
    return values


def _named(workflow: str, stage: Stage) -> dict[str, str]:
    return {f"{parameter.name}{_suffix(value)}": value for parameter, value in _values(workflow, stage).items()}


def _suffix(value: str) -> str:
    """What the name of a value ends with that the machine has to evaluate."""
    return ".$" if value.startswith(("$.", "States.")) else ""


def _told(workflow: str, step: Step) -> list[tuple[str, str, str]]:
    """The places that a job is told rather than given mounted: option, channel, place."""
    mounted = {channel.name for channel in step.stage.reads if step.mounts(channel)}
    reads, writes = _full(inputs(workflow, step)), _full(outputs(workflow, step))
    return [
        *(("input", name, place) for name, place in reads.items() if name not in mounted),
        *(("output", name, writes[name]) for name in step.writes),
    ]


def _full(places: dict[str, str]) -> dict[str, str]:
    """Addresses below the buckets' own."""
    data = RAW.template, LABELS.template
    return {name: f"${{{'Data' if place in data else 'Root'}}}/{place}" for name, place in places.items()}


def _uri(place: str, key: str = "S3Uri") -> dict[str, str]:
    """Where SageMaker itself reads or writes, so that the machine has to fill the day in."""
    if place.endswith("/Model/model/") and key == "S3Uri":  # below it Training adds the job's name
        return {f"{key}.$": "$.TrainModel.job.model"}
    return {f"{key}.$": f"States.Format('{place.replace('{as_of}', '{}')}', $.as_of)"}
