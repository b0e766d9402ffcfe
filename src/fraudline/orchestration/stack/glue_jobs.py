"""AWS Glue jobs: Glue runs scripts over the wheel, never images."""

from __future__ import annotations

from fraudline.catalog.stage import Stage
from fraudline.catalog.stages import STAGES
from fraudline.orchestration.stack.intrinsics import NOTHING, Resource, Resources, attribute, choose, ref, sub
from fraudline.orchestration.stack.parameters import KEY
from fraudline.orchestration.stack.roles import GLUE_STAGES

# Of the job's name and of its script.
_NAMES = {"DataExtractJob": "data-extract", "FeatureEngJob": "feature-eng"}


def glue_jobs() -> Resources:
    """Return the jobs, their encryption and their connection to the network."""
    encryption = {
        "CloudWatchEncryption": {"CloudWatchEncryptionMode": "SSE-KMS", "KmsKeyArn": KEY},
        "S3Encryptions": [{"S3EncryptionMode": "SSE-KMS", "KmsKeyArn": KEY}],
    }
    network = {"SubnetId": {"Fn::Select": [0, ref("SubnetIds")]}, "SecurityGroupIdList": ref("SecurityGroupIds")}
    return {
        "GlueEncryption": {
            "Type": "AWS::Glue::SecurityConfiguration",
            "Properties": {"Name": sub("${Name}-glue"), "EncryptionConfiguration": encryption},
        },
        "GlueNetwork": {
            "Type": "AWS::Glue::Connection",
            "Condition": "InVpc",
            "Properties": {
                "CatalogId": ref("AWS::AccountId"),
                "ConnectionInput": {
                    "Name": sub("${Name}-network"),
                    "ConnectionType": "NETWORK",
                    "PhysicalConnectionRequirements": network,
                },
            },
        },
        **{job: _job(STAGES[stage], _NAMES[job]) for stage, job in GLUE_STAGES.items()},
    }


def _job(stage: Stage, name: str) -> Resource:
    artifacts = "s3://${ArtifactsBucket}/${ArtifactsPrefix}"
    return {
        "Type": "AWS::Glue::Job",
        "Properties": {
            "Name": sub(f"${{Name}}-{name}"),
            "Role": attribute(f"{stage.step}Role"),
            "GlueVersion": "5.1",
            "WorkerType": "G.1X",
            "NumberOfWorkers": ref("GlueWorkers"),
            "Timeout": 480,
            "MaxRetries": 0,  # the state machine retries
            "ExecutionProperty": {"MaxConcurrentRuns": 1},
            "SecurityConfiguration": ref("GlueEncryption"),
            "Connections": choose("InVpc", {"Connections": [ref("GlueNetwork")]}, NOTHING),
            "Command": {
                "Name": "glueetl",
                "PythonVersion": "3",
                "ScriptLocation": sub(f"{artifacts}/jobs/fraud_{name.replace('-', '_')}.py"),
            },
            "DefaultArguments": {
                "--additional-python-modules": sub(f"{artifacts}/${{Wheel}},${{GlueModules}}"),
                "--enable-continuous-cloudwatch-log": "true",
                "--enable-metrics": "true",
                "--job-language": "python",
            },
        },
    }
