"""Render a job of a plan as a SageMaker request for a Processing or a Training job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fraudline.catalog.plan import JobPlan
from fraudline.catalog.stage import Parameter
from fraudline.entrypoints.platforms import input_folders, output_folders
from fraudline.orchestration.sagemaker.parameters import joined
from fraudline.orchestration.sagemaker.sdk import (
    CheckpointConfig,
    Compute,
    InputData,
    ModelTrainer,
    NetworkConfig,
    Networking,
    OutputDataConfig,
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
    Processor,
    StoppingCondition,
)
from fraudline.orchestration.sagemaker.site import Site

LONGEST_SECONDS = 86_400
VOLUME_GB = 30


@dataclass(frozen=True)
class Request:
    """A job with all its expressions.

    Attributes:
        job: the plan to render.
        image: the URI of the image.
        instance: the instance type.
        environment: the environment variables of the container.
        values: the values of the stage's parameters.
        inputs: the URIs of the mounted inputs.
        outputs: the URIs of the mounted outputs.
        explicit: the command line arguments for the explicit channels.
        checkpoints: the URI at which a Training job keeps checkpoints.
    """

    job: JobPlan
    image: str
    instance: Any
    environment: Mapping[str, Any]
    values: Mapping[Parameter, Any]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    explicit: list[Any]
    checkpoints: Any


def processing(request: Request, site: Site, session: Any) -> Any:
    """Return the request for a Processing job."""
    stage = request.job.stage
    mounted, kept = input_folders(stage), output_folders(stage)
    # The stage itself removes what an earlier run left below its outputs.
    network = site.network(needs_s3=True)
    processor = Processor(
        image_uri=request.image,
        # Entrypoint and arguments, because the SDK's local mode fails without an entrypoint.
        entrypoint=request.job.command,
        instance_count=1,
        instance_type=request.instance,
        max_runtime_in_seconds=LONGEST_SECONDS,
        env=dict(request.environment),
        volume_kms_key=site.kms_key or None,
        output_kms_key=site.kms_key or None,
        network_config=NetworkConfig(**network) if any(network.values()) else None,
        tags=site.tag_list(),
        role=site.role,
        sagemaker_session=session,
    )
    # OPTION=VALUE in one argument, because SageMaker rejects empty arguments.
    options = [joined(f"{parameter.option}=", value) for parameter, value in request.values.items()]
    return processor.run(
        inputs=[_input(name, uri, mounted[name]) for name, uri in request.inputs.items()],
        outputs=[_output(name, uri, kept[name]) for name, uri in request.outputs.items()],
        arguments=options + request.explicit,
    )


def training(request: Request, site: Site, session: Any) -> Any:
    """Return the request for a Training job; its only output is the artifact, with the summary inside."""
    network = site.network(needs_s3=False)
    (output,) = request.job.stage.writes
    trainer = ModelTrainer(
        training_image=request.image,
        compute=Compute(
            instance_type=request.instance,
            instance_count=1,
            volume_size_in_gb=VOLUME_GB,
            volume_kms_key_id=site.kms_key or None,
            enable_managed_spot_training=site.spot or None,
        ),
        stopping_condition=StoppingCondition(
            max_runtime_in_seconds=LONGEST_SECONDS, max_wait_time_in_seconds=LONGEST_SECONDS if site.spot else None
        ),
        output_data_config=OutputDataConfig(
            s3_output_path=request.outputs[output.name], kms_key_id=site.kms_key or None
        ),
        checkpoint_config=CheckpointConfig(s3_uri=request.checkpoints) if site.spot else None,
        networking=Networking(**network) if any(network.values()) else None,
        hyperparameters={parameter.name: value for parameter, value in request.values.items()},
        input_data_config=[InputData(channel_name=name, data_source=uri) for name, uri in request.inputs.items()],
        environment=dict(request.environment),
        tags=site.tag_list("key", "value"),
        role=site.role,
        sagemaker_session=session,
    )
    return trainer.train()


def _input(name: str, uri: Any, path: str) -> ProcessingInput:
    source = ProcessingS3Input(s3_uri=uri, local_path=path, s3_data_type="S3Prefix", s3_input_mode="File")
    return ProcessingInput(input_name=name, s3_input=source)


def _output(name: str, uri: Any, path: str) -> ProcessingOutput:
    target = ProcessingS3Output(s3_uri=uri, local_path=path, s3_upload_mode="EndOfJob")
    return ProcessingOutput(output_name=name, s3_output=target)
