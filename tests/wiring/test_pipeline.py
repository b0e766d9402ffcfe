"""Each pipeline that pipeline.py defines follows its plan, and SageMaker accepts it."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from botocore.session import get_session
from botocore.validate import ParamValidator

from fraudline.catalog.plan import JobPlan, plan, title
from fraudline.catalog.stage import SUMMARY, Stage
from fraudline.catalog.stages import STAGES
from fraudline.catalog.templates import resolve
from fraudline.catalog.workflow import CHAMPION, WORKFLOWS, Output
from fraudline.entrypoints import parameters
from fraudline.entrypoints.platforms import input_folders, output_folders
from fraudline.entrypoints.run import parser
from fraudline.score import payload
from tests import pipeline_script

pytestmark = pytest.mark.pipeline

AS_OF = date(2026, 4, 1)
VALUES = {
    "Root": "s3://written/fraud",
    "Data": "s3://delivered",
    "AsOf": str(AS_OF),
    "DataVersion": "delivery-17",
    "Model": f"s3://written/fraud/executions/training-{AS_OF}/Model/model/a-job/output/model.tar.gz",
}
# The parameters that each workflow's executions have to set.
NEEDED = {
    "training": {"Root", "Data", "AsOf", "DataVersion"},
    "daily": {"Root", "Data", "AsOf", "DataVersion"},
    "deployment": {"Root", "AsOf", "Model"},
    "backfill": {"Root", "Data", "AsOf", "DataVersion"},
}
JOBS = [(workflow, job) for workflow in WORKFLOWS for job in plan(workflow)]
each_job = pytest.mark.parametrize(
    ("workflow", "job"), JOBS, ids=[f"{workflow}-{job.stage.name}" for workflow, job in JOBS]
)
each_workflow = pytest.mark.parametrize("workflow", WORKFLOWS)


@dataclass
class Wiring:
    """How a request wires a job: channels as pairs or triples of name, URI and folder, so that none is lost."""

    mounted_inputs: list[tuple[str, str, str]]
    mounted_outputs: list[tuple[str, str, str]]
    explicit_inputs: list[tuple[str, str]]
    explicit_outputs: list[tuple[str, str]]
    values: dict[str, Any]


def definition(workflow: str) -> dict[str, Any]:
    """Return a workflow's pipeline definition."""
    content: dict[str, Any] = json.loads(pipeline_script.definition_text(workflow))
    return content


def step_of(workflow: str, stage: Stage) -> dict[str, Any]:
    """Return a stage's step in the definition."""
    (step,) = (step for step in pipeline_script.jobs(definition(workflow)["Steps"]) if step["Name"] == stage.step)
    return step


@cache
def requests(workflow: str, changed: tuple[tuple[str, str], ...] = ()) -> dict[str, dict[str, Any]]:
    """Return the requests of an execution by step, with some parameters changed."""
    parameters = {item["Name"] for item in definition(workflow)["Parameters"]}
    values = {name: VALUES[name] for name in VALUES if name in parameters} | dict(changed)
    return pipeline_script.resolved(definition(workflow), values)


def wiring(workflow: str, job: JobPlan, changed: tuple[tuple[str, str], ...] = ()) -> Wiring:
    """Return how an execution wires a job."""
    stage, request = job.stage, requests(workflow, changed)[job.stage.step]
    if stage.platform == "training":
        folder = "/opt/ml/input/data/"
        inputs = [
            (name := channel["ChannelName"], channel["DataSource"]["S3DataSource"]["S3Uri"], folder + name)
            for channel in request["InputDataConfig"]
        ]
        outputs = [(stage.writes[0].name, request["OutputDataConfig"]["S3OutputPath"], "/opt/ml/model")]
        return Wiring(inputs, outputs, [], [], request["HyperParameters"])
    # The stage's own parser: an argument that it refuses fails the test.
    options = vars(parser(stage).parse_args(request["AppSpecification"]["ContainerArguments"]))
    inputs, outputs = request.get("ProcessingInputs", []), request["ProcessingOutputConfig"]["Outputs"]
    return Wiring(
        [(item["InputName"], item["S3Input"]["S3Uri"], item["S3Input"]["LocalPath"]) for item in inputs],
        [(item["OutputName"], item["S3Output"]["S3Uri"], item["S3Output"]["LocalPath"]) for item in outputs],
        options.pop("input") or [],
        options.pop("output") or [],
        {name: value for name, value in options.items() if value is not None},
    )


@each_workflow
def test_the_steps_follow_the_order_of_the_workflow(workflow: str):
    names = [step["Name"] for step in pipeline_script.jobs(definition(workflow)["Steps"])]
    assert names == [step.stage.step for step in WORKFLOWS[workflow].steps]


@each_job
def test_every_channel_is_wired_exactly_once(workflow: str, job: JobPlan):
    """If twice, one URI would silently win; if not at all, the stage would read an empty folder."""
    wired = wiring(workflow, job)
    inputs = Counter(name for name, *_ in [*wired.mounted_inputs, *wired.explicit_inputs])
    outputs = Counter(name for name, *_ in [*wired.mounted_outputs, *wired.explicit_outputs])
    assert inputs == Counter(list(job.inputs))
    assert outputs == Counter(name for name in job.outputs if job.stage.platform != "training" or name != SUMMARY)


@each_job
def test_a_job_reads_and_writes_where_the_plan_says(workflow: str, job: JobPlan):
    """A pipeline writes to the same locations as a local run."""
    wired, bases = wiring(workflow, job), {"data": VALUES["Data"], "root": VALUES["Root"]}
    for name, uri, *_ in [*wired.mounted_inputs, *wired.explicit_inputs]:
        location = job.inputs[name]
        expected = f"{bases[location.base]}/{resolve(location.template, AS_OF)}"
        if location.job_below:
            assert uri.startswith(expected)
            assert uri.endswith("/model.tar.gz")
        else:
            assert resolve(uri, AS_OF) == expected
    for name, uri, *_ in [*wired.mounted_outputs, *wired.explicit_outputs]:
        assert resolve(uri, AS_OF) == f"{VALUES['Root']}/{resolve(job.outputs[name].template, AS_OF)}"


@each_job
def test_a_mounted_channel_is_where_the_stage_looks(workflow: str, job: JobPlan):
    wired = wiring(workflow, job)
    assert all(input_folders(job.stage)[name] == path for name, _, path in wired.mounted_inputs)
    assert all(output_folders(job.stage)[name] == path for name, _, path in wired.mounted_outputs)


@each_job
def test_only_own_channels_that_are_never_empty_are_mounted(workflow: str, job: JobPlan):
    """Processing fails where a prefix is empty, and neither compares nor removes what lies at an address of its own."""
    wired = wiring(workflow, job)
    required = {channel.name for channel in job.stage.reads if channel.required}
    own = {name for name, location in job.inputs.items() if location.producer or location.job_below}
    assert {name for name, *_ in wired.mounted_inputs} == own & required
    assert {name for name, *_ in wired.explicit_outputs} == set(job.step.writes)


@each_job
def test_an_execution_without_settings_has_the_defaults(workflow: str, job: JobPlan):
    values = parameters.parse(job.stage, wiring(workflow, job).values)
    defaults = {parameter.name: parameter.default for parameter in job.stage.parameters}
    own = {"as_of": AS_OF, "execution": f"{workflow}-{AS_OF}", "now": values["now"]}
    if job.stage.name == "deploy-model":  # an endpoint would run where the jobs do
        own |= {"serving_image": "fraudline/score:dev", "role": "arn:aws:iam::123456789012:role/fraudline"}
    assert values == {name: own.get(name, default) for name, default in defaults.items()}


@each_job
def test_an_execution_may_set_every_setting(workflow: str, job: JobPlan):
    for name, parameter in job.settings.items():
        value = wiring(workflow, job, ((title(name), "chosen"),)).values[parameter.name]
        assert value in ("chosen", ["chosen"])  # a repeatable option parses to a list


@each_workflow
def test_a_setting_has_one_meaning_in_a_pipeline(workflow: str):
    """A pipeline has it once, so that two stages can't get two label delays."""
    meanings: dict[str, Any] = {}
    for job in plan(workflow):
        for name, parameter in job.settings.items():
            assert meanings.setdefault(name, parameter) is parameter


@each_workflow
def test_an_execution_names_its_day_data_and_root(workflow: str):
    """A constant data version would let the step cache return yesterday's result."""
    parameters = definition(workflow)["Parameters"]
    needed = {parameter["Name"] for parameter in parameters if "DefaultValue" not in parameter}
    assert needed == NEEDED[workflow]


@each_job
def test_a_job_runs_its_stage_in_the_image_that_bake_builds(workflow: str, job: JobPlan):
    request, stage = requests(workflow)[job.stage.step], job.stage
    baked = json.loads((Path(__file__).parents[1] / "golden" / "bake.json").read_text())["target"]
    if stage.platform == "training":  # SageMaker itself passes "train" to the image
        assert [request["AlgorithmSpecification"]["TrainingImage"]] == baked[stage.image]["tags"]
    else:
        assert [request["AppSpecification"]["ImageUri"]] == baked[stage.image]["tags"]
        assert request["AppSpecification"]["ContainerEntrypoint"] == ["fraudline", stage.name]


@each_job
def test_a_cached_step_would_have_given_the_same_result(workflow: str, job: JobPlan):
    """The cache compares arguments, environment and URIs, not content, so they must identify the content."""
    step = step_of(workflow, job.stage)
    if not step["CacheConfig"]["Enabled"]:
        return
    producers = [STAGES[source.stage] for source in job.step.reads.values() if isinstance(source, Output)]
    environment = step["Arguments"]["Environment"]
    assert {"Root", "Data", "DataVersion"} <= pipeline_script.parameters_in(environment)
    assert CHAMPION not in {*job.step.reads.values(), *job.step.writes.values()}
    for stage in producers:
        earlier = step_of(workflow, stage)
        assert earlier["CacheConfig"]["Enabled"]
        values = earlier["Arguments"].get("AppSpecification") or earlier["Arguments"]["HyperParameters"]
        assert pipeline_script.parameters_in(values) <= pipeline_script.parameters_in(environment)
        assert earlier["Arguments"]["Environment"].items() <= environment.items()
        assert f"fraudline/{stage.image}:dev" in environment.values()


def test_steps_that_use_the_champion_are_not_cached():
    cached = {job.stage.name for workflow, job in JOBS if step_of(workflow, job.stage)["CacheConfig"]["Enabled"]}
    assert cached == {
        "data-extraction",
        "feature-engineering",
        "train",
        "etl",
        "feature-extraction",
        "backfill-history",
    }


def test_the_gate_registers_the_model_or_reports_its_reasons():
    *_, gate, _ = definition("training")["Steps"]
    arguments = gate["Arguments"]
    (condition,), (registered,), (refused,) = (arguments[name] for name in ("Conditions", "IfSteps", "ElseSteps"))
    verdict = _verdict()
    assert condition["LeftValue"] == {"Std:JsonGet": {**verdict, "Path": "deploy_recommended"}}
    assert (condition["Type"], condition["RightValue"]) == ("Equals", True)
    assert registered["Type"] == "RegisterModel"
    assert refused["Type"] == "Fail"
    assert refused["Arguments"]["ErrorMessage"] == {"Std:JsonGet": {**verdict, "Path": "exit_message"}}
    module = Path(__file__).parents[2] / "src" / "fraudline" / "train" / "evaluate_model.py"
    assert all(f'"{key}":' in module.read_text() for key in ("deploy_recommended", "exit_message"))


def _verdict() -> dict[str, Any]:
    """Return the property file that the conditions read."""
    judge = step_of("training", STAGES["evaluate-model"])
    (file,) = judge["PropertyFiles"]
    assert (file["OutputName"], file["FilePath"]) == ("summary", "summary.json")
    return {"PropertyFile": {"Get": f"Steps.{judge['Name']}.PropertyFiles.{file['PropertyFileName']}"}}


def test_a_model_is_deployed_once_registered_and_approved():
    *_, approval = definition("training")["Steps"]
    arguments = approval["Arguments"]
    recommended, approved = arguments["Conditions"]
    (deployed,) = arguments["IfSteps"]
    assert recommended["LeftValue"] == {"Std:JsonGet": {**_verdict(), "Path": "deploy_recommended"}}
    assert approved == {"Type": "Equals", "LeftValue": {"Get": "Parameters.Approval"}, "RightValue": "Approved"}
    assert (deployed["Name"], deployed["DependsOn"]) == (STAGES["deploy-model"].step, ["RegisterModel"])
    assert arguments["ElseSteps"] == []
    (parameter,) = (item for item in definition("training")["Parameters"] if item["Name"] == "Approval")
    assert parameter["EnumValues"] == ["Approved", "PendingManualApproval"]


def test_the_registered_model_has_what_a_deployment_needs():
    package = definition("training")["Steps"][-2]["Arguments"]["IfSteps"][0]["Arguments"]
    (container,) = package["InferenceSpecification"]["Containers"]
    deployed = step_of("training", STAGES["deploy-model"])["Arguments"]["ProcessingInputs"]
    uris = {item["InputName"]: item["S3Input"]["S3Uri"] for item in deployed}
    assert container == {"Image": "fraudline/score:dev", "ModelDataUrl": uris["model"]}
    statistics = package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    assert statistics["Std:Join"]["Values"][0] == uris["evaluation"]
    assert NEEDED["deployment"] <= set(package["CustomerMetadataProperties"])
    assert set(package["InferenceSpecification"]["SupportedContentTypes"]) == set(payload.PARSERS)
    assert package["ModelApprovalStatus"] == {"Get": "Parameters.Approval"}
    shape = get_session().get_service_model("sagemaker").shape_for("CreateModelPackageInput")
    report = ParamValidator().validate(_texts(package), shape)
    assert not report.has_errors(), report.generate_report()


def _texts(value: Any) -> Any:
    """Replace expressions by texts."""
    if isinstance(value, dict):
        return "text" if set(value) & {"Get", "Std:Join"} else {key: _texts(item) for key, item in value.items()}
    return [_texts(item) for item in value] if isinstance(value, list) else value


def test_no_condition_is_nested():
    """SageMaker refuses "nested condition steps" when the pipeline is created."""
    for workflow in WORKFLOWS:
        for step in definition(workflow)["Steps"]:
            inner = [*step["Arguments"].get("IfSteps", []), *step["Arguments"].get("ElseSteps", [])]
            assert "Condition" not in {item["Type"] for item in inner}


# These rules are from AWS's published JSON schema of definitions. It is older than joins, property files, retries and
# DependsOn, and would refuse all four, so it can't be used as it is.
NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}")
INNER = {"Training", "Fail", "Processing", "Transform", "RegisterModel"}


@each_workflow
def test_a_definition_contains_only_what_the_schema_allows(workflow: str):
    content = definition(workflow)
    assert content["Version"] == "2020-12-01"
    assert len(content["Parameters"]) <= 200
    for parameter in content["Parameters"]:
        assert NAME.fullmatch(parameter["Name"])
        assert set(parameter) <= {"Name", "Type", "DefaultValue", "EnumValues"}
        assert parameter["Type"] == "String"
    steps = [*content["Steps"]]
    for step in content["Steps"]:
        assert step["Type"] in INNER | {"Condition"}
        inner = [*step["Arguments"].get("IfSteps", []), *step["Arguments"].get("ElseSteps", [])]
        assert {item["Type"] for item in inner} <= INNER
        steps += inner
    names = [step["Name"] for step in steps]
    assert len(steps) <= 50
    assert len(set(names)) == len(names)
    assert all(NAME.fullmatch(name) for name in names)
    assert {name for step in steps for name in step.get("DependsOn", [])} <= set(names)
    known = {f"Parameters.{parameter['Name']}" for parameter in content["Parameters"]}
    for path in re.findall(r"'Get': [\"']([^']+)", repr(content)):
        kind, _, rest = path.partition(".")
        assert path in known or kind == "Execution" or (kind == "Steps" and rest.split(".")[0] in names), path


@each_job
def test_a_job_is_retried_only_when_the_service_was_busy(workflow: str, job: JobPlan):
    """A stage that failed by itself would fail again, after an hour and for its price."""
    tried = {kind for policy in step_of(workflow, job.stage)["RetryPolicies"] for kind in policy["ExceptionType"]}
    assert tried == {
        "Step.SERVICE_FAULT",
        "Step.THROTTLING",
        "SageMaker.JOB_INTERNAL_ERROR",
        "SageMaker.CAPACITY_ERROR",
        "SageMaker.RESOURCE_LIMIT",
    }


@each_workflow
def test_every_job_runs_in_the_site(workflow: str):
    """Each job has the site's key, network, role and tags; one job without them is a hole."""
    arguments = "--kms-key a-key --subnet subnet-1 --subnet subnet-2 --security-group sg-1 --tag team=risk --isolated"
    role = "arn:aws:iam::123456789012:role/other"
    process = pipeline_script.run("definition", "--workflow", workflow, "--role", role, "--spot", *arguments.split())
    assert process.returncode == 0, process.stderr
    for step in pipeline_script.jobs(json.loads(process.stdout)["Steps"]):
        request = step["Arguments"]
        training = step["Type"] == "Training"
        assert request["RoleArn"] == role
        assert {"Key": "team", "Value": "risk"} in request["Tags"]
        network = request if training else request["NetworkConfig"]
        assert network["VpcConfig"] == {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
        # A Processing job's stage reads inputs from S3, and removes there what an earlier run left.
        assert bool(network.get("EnableNetworkIsolation")) is training
        if training:
            assert request["ResourceConfig"]["VolumeKmsKeyId"] == request["OutputDataConfig"]["KmsKeyId"] == "a-key"
            assert request["EnableManagedSpotTraining"] is True
            assert "CheckpointConfig" in request
            limits = request["StoppingCondition"]
            assert limits["MaxWaitTimeInSeconds"] >= limits["MaxRuntimeInSeconds"]
        else:
            assert request["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == "a-key"
            assert request["ProcessingOutputConfig"]["KmsKeyId"] == "a-key"


def test_an_endpoint_runs_where_the_jobs_run():
    """A model in another network, or under another key, than the jobs would surprise its site."""
    site = "--kms-key a-key --subnet subnet-1 --subnet subnet-2 --security-group sg-1 --isolated"
    process = pipeline_script.run(
        "definition", "--workflow", "deployment", "--role", "arn:aws:iam::1:role/r", *site.split()
    )
    content = json.loads(process.stdout)
    values = {name: VALUES[name] for name in NEEDED["deployment"]} | {"DeployModelEndpoint": "fraud"}
    arguments = pipeline_script.resolved(content, values)["DeployModel"]["AppSpecification"]["ContainerArguments"]
    stage = parameters.parse(
        STAGES["deploy-model"],
        {
            name: value
            for name, value in vars(parser(STAGES["deploy-model"]).parse_args(arguments)).items()
            if value and name not in ("input", "output")
        },
    )
    assert (stage["endpoint"], stage["serving_image"]) == ("fraud", "fraudline/score:dev")
    assert (stage["role"], stage["kms_key"]) == ("arn:aws:iam::1:role/r", "a-key")
    assert (stage["subnets"], stage["security_groups"]) == (("subnet-1", "subnet-2"), ("sg-1",))
    assert stage["network_isolation"] is True


def test_settings_become_defaults_and_unknown_ones_are_refused():
    process = pipeline_script.run(
        "definition", "--workflow", "daily", "--set", "Root=s3://written", "--set", "threshold=0.7",
        "--set", "column=merchant=SHOP", "--set", "column=amount=SUM",
    )  # fmt: skip
    parameters = json.loads(process.stdout)["Parameters"]
    defaults = {parameter["Name"]: parameter.get("DefaultValue") for parameter in parameters}
    assert (defaults["Root"], defaults["Threshold"]) == ("s3://written", "0.7")
    assert defaults["Column"] == "merchant=SHOP,amount=SUM"
    process = pipeline_script.run("definition", "--workflow", "daily", "--set", "treshold=0.7")
    assert process.returncode == 2
    assert process.stderr.startswith("--set Treshold: fraud-detection-daily has no such parameter; it has ")


def test_another_site_has_pipelines_and_packages_of_its_own():
    """A pipeline that two stacks share would get the settings of the last one that was deployed."""
    process = pipeline_script.run("definition", "--workflow", "training", "--name", "other")
    package = json.loads(process.stdout)["Steps"][-2]["Arguments"]["IfSteps"][0]["Arguments"]
    assert package["ModelPackageGroupName"] == "other-detection"
    process = pipeline_script.run("definition", "--workflow", "training", "--name", "other", "--set", "x=1")
    assert "other-model-training has no such parameter" in process.stderr
    process = pipeline_script.run("upsert", "--dry-run")
    assert (process.returncode, process.stderr.partition(":")[0]) == (2, "--workflow is missing")


@each_job
def test_sagemaker_accepts_the_request(workflow: str, job: JobPlan):
    """Check against botocore's model: unknown and missing members, types, and lengths."""
    kind = "TrainingJob" if job.stage.platform == "training" else "ProcessingJob"
    shape = get_session().get_service_model("sagemaker").shape_for(f"Create{kind}Request")
    request = requests(workflow)[job.stage.step] | {f"{kind}Name": "a-job"}
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()
    assert not list(_too_long(request, shape))


def _too_long(value: Any, shape: Any) -> Any:
    """Yield each value that is longer than its shape allows, with the shape's name."""
    limit = shape.metadata.get("max")
    if isinstance(value, str | list | dict) and limit is not None and len(value) > limit:
        yield shape.name, value
    if shape.type_name == "structure":
        for name, member in value.items():
            yield from _too_long(member, shape.members[name])
    elif shape.type_name == "list":
        for member in value:
            yield from _too_long(member, shape.member)
    elif shape.type_name == "map":
        for name, member in value.items():
            yield from _too_long(name, shape.key)
            yield from _too_long(member, shape.value)


# An audit hook of Python sees every lookup and connection, in every thread.
WATCH = """
import os, sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        os.write(2, f"{event} {arguments[1:]}".encode())
        os._exit(97)
sys.addaudithook(watch)
"""


@each_workflow
def test_a_definition_needs_no_network_and_is_reproducible(workflow: str, tmp_path: Path):
    """No network, no credentials; hash seed, region and the computer's own settings change no byte."""
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    settings = tmp_path / ".config" / "sagemaker" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("SageMaker: what the SDK would refuse\n")
    process = pipeline_script.run(
        "definition",
        "--workflow",
        workflow,
        PYTHONPATH=f"{tmp_path}:{pipeline_script.REPOSITORY / 'src'}",
        PYTHONHASHSEED="1",
        HOME=str(tmp_path),
        AWS_DEFAULT_REGION="eu-central-1",
        AWS_PROFILE="nobody",
        FRAUDLINE_ML_ROOT="/elsewhere",
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout == pipeline_script.definition_text(workflow)


@each_workflow
def test_images_are_pinned_by_the_digests_that_bake_wrote(workflow: str, tmp_path: Path):
    """A tag can move: a step cached under it might be an old image's."""
    names = {step.stage.image for step in WORKFLOWS[workflow].steps}
    built = {
        name: {
            "containerimage.digest": f"sha256:{number:064x}",
            "image.name": f"registry.example:5000/fraudline/{name}:1.2.3",
        }
        for number, name in enumerate(("etl", "features", "train", "score"))
    }
    file = tmp_path / "bake.json"
    file.write_text(json.dumps({**built, "buildx.build.warnings": []}))
    process = pipeline_script.run("definition", "--workflow", workflow, "--images", str(file))
    pinned = {name: f"registry.example:5000/fraudline/{name}@{built[name]['containerimage.digest']}" for name in names}
    text = definition(workflow) | json.loads(process.stdout)
    used = {_image(step) for step in pipeline_script.jobs(text["Steps"])}
    assert used == set(pinned.values())
    assert ":1.2.3" not in process.stdout


def _image(step: dict[str, Any]) -> str:
    arguments = step["Arguments"]
    image: str = (
        arguments["AlgorithmSpecification"]["TrainingImage"]
        if step["Type"] == "Training"
        else arguments["AppSpecification"]["ImageUri"]
    )
    return image


@pytest.mark.parametrize("content", [None, '{"etl": {}}'])
def test_a_wrong_image_file_is_reported_in_a_sentence(content: str | None, tmp_path: Path):
    file = tmp_path / "bake.json"
    if content is not None:
        file.write_text(content)
    process = pipeline_script.run("definition", "--workflow", "daily", "--images", str(file))
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith(f"--images {file}: expected what docker buildx bake --metadata-file writes")
    assert process.stderr.count("\n") == 1
