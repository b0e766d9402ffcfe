"""Render a job of a plan as a task: a Lambda function, a Glue job, or a SageMaker Processing or Training job."""

from __future__ import annotations

from typing import Any

from fraudline.catalog.plan import JobPlan
from fraudline.entrypoints.platforms import input_folders, output_folders
from fraudline.orchestration.step_functions import retries
from fraudline.orchestration.step_functions.expressions import (
    SETTINGS,
    as_text,
    keyed,
    mounted_uri,
    option,
    unique_name,
    uri,
    values,
)

State = dict[str, Any]

# Glue runs these stages in workflows that read months of raw data; the substitutions are the names of the Glue jobs.
GLUE_JOBS = {"data-extraction": "${DataExtractJob}", "feature-engineering": "${FeatureEngJob}"}
_GLUE_WORKFLOWS = ("training", "backfill")
# The time limit of jobs on SageMaker and Glue.
JOB_SECONDS = 86_400
VOLUME_GB = 30
# The member of an execution's input that names the artifact of an earlier training.
MODEL = "model"


def invocation(job: JobPlan) -> State:
    """Return the task that invokes the stage's Lambda function."""
    return {
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {
            "FunctionName": f"${{{job.stage.step}Function}}",
            "Payload": {
                "arguments": _named({parameter.name: value for parameter, value in values(job).items()}),
                "inputs": {name: uri(location) for name, location in job.inputs.items()},
                "outputs": {name: uri(location) for name, location in job.outputs.items()},
            },
        },
        "ResultSelector": {"summary.$": "$.Payload.summary", "counts.$": "$.Payload.counts"},
    }


def runs_on_glue(job: JobPlan) -> bool:
    """Return True if Glue runs the stage instead of SageMaker."""
    return job.workflow in _GLUE_WORKFLOWS and job.stage.name in GLUE_JOBS


def task(job: JobPlan) -> State:
    """Return the task that starts the stage's job and waits for its end, without the names of other states.

    The result keeps only what later states read, not the whole description, which may have 256 KiB.
    """
    if runs_on_glue(job):
        return _glue(job)
    return _training(job) if job.stage.platform == "training" else _processing(job)


def explicit_channels(job: JobPlan) -> dict[str, dict[str, str]]:
    """Return the command line arguments of a job's explicit channels, by option and channel."""
    locations = {"input": job.explicit_inputs, "output": job.explicit_outputs}
    return {
        kind: {name: f"--{kind}={name}={uri(location)}" for name, location in channels.items()}
        for kind, channels in locations.items()
    }


def _glue(job: JobPlan) -> State:
    channels = {f"--input-{name}": uri(location) for name, location in job.inputs.items()}
    channels |= {f"--output-{name}": uri(location) for name, location in job.outputs.items()}
    arguments = _named({parameter.option: as_text(value) for parameter, value in values(job).items()})
    return {
        "Resource": "arn:aws:states:::glue:startJobRun.sync",
        "Parameters": {"JobName": GLUE_JOBS[job.stage.name], "Arguments": {**arguments, **channels}},
        "ResultSelector": {"id.$": "$.Id"},
        "TimeoutSeconds": JOB_SECONDS,
        "Retry": [retries.GLUE_IS_BUSY],
    }


def _processing(job: JobPlan) -> State:
    stage = job.stage
    arguments = [option(parameter, value) for parameter, value in values(job).items()]
    # States.Format would interpret the braces in these arguments, so they come from the state ResolveArguments.
    for kind, channels in explicit_channels(job).items():
        arguments += [f"$.channels.{stage.step}.{kind}.{name}" for name in channels]
    verdict = {"exit_message.$": "$.ExitMessage"} if stage.name == "evaluate-model" else {}
    return {
        "Resource": "arn:aws:states:::sagemaker:createProcessingJob.sync",
        "Parameters": {
            "ProcessingJobName.$": unique_name(f"fraudline-{stage.name}"),
            "RoleArn": f"${{{stage.step}Role}}",
            "AppSpecification": {
                "ImageUri": f"${{{stage.image.title()}Image}}",
                "ContainerEntrypoint": job.command,
                "ContainerArguments.$": f"States.Array({', '.join(arguments)})",
            },
            "ProcessingInputs": _processing_inputs(job),
            "ProcessingOutputConfig": {"KmsKeyId": "${KeyArn}", "Outputs": _processing_outputs(job)},
            "ProcessingResources": {"ClusterConfig": _instances("Processing")},
            "StoppingCondition": {"MaxRuntimeInSeconds": JOB_SECONDS},
            "NetworkConfig.$": "States.StringToJson(States.Base64Decode('${Network}'))",
        },
        "ResultSelector": {"arn.$": "$.ProcessingJobArn", **verdict},
        "TimeoutSeconds": JOB_SECONDS,
        "Retry": [retries.SAGEMAKER_IS_BUSY],
    }


def _processing_inputs(job: JobPlan) -> list[State]:
    folders = input_folders(job.stage)
    return [
        {
            "InputName": name,
            "S3Input": {
                **keyed("S3Uri", _input_uri(job, name)),
                "LocalPath": folders[name],
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
            },
        }
        for name in job.mounted_inputs
    ]


def _processing_outputs(job: JobPlan) -> list[State]:
    folders = output_folders(job.stage)
    return [
        {
            "OutputName": name,
            "S3Output": {
                **keyed("S3Uri", mounted_uri(location)),
                "LocalPath": folders[name],
                "S3UploadMode": "EndOfJob",
            },
        }
        for name, location in job.mounted_outputs.items()
    ]


def _training(job: JobPlan) -> State:
    stage = job.stage
    (output,) = stage.writes
    return {
        "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync",
        "Parameters": {
            "TrainingJobName.$": unique_name("fraud-model"),
            "RoleArn": f"${{{stage.step}Role}}",
            "AlgorithmSpecification": {
                "TrainingImage": f"${{{stage.image.title()}Image}}",
                "TrainingInputMode": "File",
            },
            "HyperParameters": _named({parameter.name: as_text(value) for parameter, value in values(job).items()}),
            "InputDataConfig": [_training_input(job, name) for name in job.inputs],
            "OutputDataConfig": {
                **keyed("S3OutputPath", mounted_uri(job.outputs[output.name])),
                "KmsKeyId": "${KeyArn}",
            },
            "ResourceConfig": _instances("Training"),
            "StoppingCondition": {"MaxRuntimeInSeconds": JOB_SECONDS},
            "EnableNetworkIsolation": True,
        },
        "ResultSelector": {"model.$": "$.ModelArtifacts.S3ModelArtifacts"},
        "TimeoutSeconds": JOB_SECONDS,
        "Retry": [retries.SAGEMAKER_IS_BUSY],
    }


def _training_input(job: JobPlan, name: str) -> State:
    source = {
        **keyed("S3Uri", _input_uri(job, name)),
        "S3DataType": "S3Prefix",
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def _input_uri(job: JobPlan, name: str) -> str:
    location = job.inputs[name]
    if location.job_below:  # only the Training job knows the folder that it created
        return "$.TrainModel.job.model" if location.producer else f"{SETTINGS}.{MODEL}"
    return mounted_uri(location)


def _instances(kind: str) -> State:
    return {
        "InstanceCount": 1,
        "InstanceType": f"${{{kind}Instance}}",
        "VolumeSizeInGB": VOLUME_GB,
        "VolumeKmsKeyId": "${KeyArn}",
    }


def _named(expressions: dict[str, str]) -> dict[str, str]:
    members: dict[str, str] = {}
    for name, expression in expressions.items():
        members |= keyed(name, expression)
    return members
