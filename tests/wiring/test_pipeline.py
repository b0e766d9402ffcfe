"""What pipeline.py defines for SageMaker is what the workflows and the stages say, no more and no less."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from botocore.session import get_session
from botocore.validate import ParamValidator

from fraudline.catalog.stage import Stage
from fraudline.catalog.stages import STAGES
from fraudline.catalog.workflow import CHAMPION, LABELS, RAW, TRAINED, WORKFLOWS, Execution, Output, Step
from fraudline.entrypoints import opt_ml, parameters
from fraudline.entrypoints.run import parser
from fraudline.score import payload
from tests import defined

pytestmark = pytest.mark.pipeline

AS_OF = date(2026, 4, 1)
GIVEN = {
    "Root": "s3://written/fraud",
    "Data": "s3://delivered",
    "AsOf": str(AS_OF),
    "Day": str(AS_OF - timedelta(days=1)),
    "DataVersion": "delivery-17",
    "Model": f"s3://written/fraud/executions/training-{AS_OF}/Model/model/a-job/output/model.tar.gz",
}
# What each workflow's executions must be told.
NEEDED = {
    "training": {"Root", "Data", "AsOf", "DataVersion"},
    "daily": {"Root", "Data", "AsOf", "DataVersion", "Day"},
    "deployment": {"Root", "AsOf", "Model"},
    "backfill": {"Root", "Data", "AsOf", "DataVersion"},
}
STEPS = [(workflow, step) for workflow in WORKFLOWS for step in WORKFLOWS[workflow].steps]
each_step = pytest.mark.parametrize(("workflow", "step"), STEPS, ids=[step.stage.name for _, step in STEPS])
each_workflow = pytest.mark.parametrize("workflow", WORKFLOWS)


@dataclass
class Wired:
    """A job as it would start: places by channel, as pairs so that nothing wired twice is lost."""

    mounted: list[tuple[str, str, str]]
    kept: list[tuple[str, str, str]]
    told: list[tuple[str, str]]
    written: list[tuple[str, str]]
    values: dict[str, str]


def definition(workflow: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(defined.printed(workflow))
    return content


def job(workflow: str, stage: Stage) -> dict[str, Any]:
    """A step as it stands in the definition."""
    (found,) = (step for step in defined.jobs(definition(workflow)["Steps"]) if step["Name"] == stage.step)
    return found


@cache
def started(workflow: str) -> dict[str, dict[str, Any]]:
    needed = {name["Name"] for name in definition(workflow)["Parameters"]}
    return defined.resolved(definition(workflow), {name: GIVEN[name] for name in GIVEN if name in needed})


def wired(workflow: str, stage: Stage) -> Wired:
    request = started(workflow)[stage.step]
    if stage.platform == "training":
        below = "/opt/ml/input/data/"
        mounted = [
            (name := channel["ChannelName"], channel["DataSource"]["S3DataSource"]["S3Uri"], below + name)
            for channel in request["InputDataConfig"]
        ]
        kept = [(stage.writes[0].name, request["OutputDataConfig"]["S3OutputPath"], "/opt/ml/model")]
        return Wired(mounted, kept, [], [], request["HyperParameters"])
    # The stage's own parser: an argument that it would refuse ends this.
    options = vars(parser(stage).parse_args(request["AppSpecification"]["ContainerArguments"]))
    inputs, outputs = request.get("ProcessingInputs", []), request["ProcessingOutputConfig"]["Outputs"]
    return Wired(
        [(place["InputName"], place["S3Input"]["S3Uri"], place["S3Input"]["LocalPath"]) for place in inputs],
        [(place["OutputName"], place["S3Output"]["S3Uri"], place["S3Output"]["LocalPath"]) for place in outputs],
        options.pop("input") or [],
        options.pop("output") or [],
        {name: value for name, value in options.items() if value is not None},
    )


@each_workflow
def test_every_stage_is_a_step_of_its_name_in_the_workflows_order(workflow: str):
    names = [step["Name"] for step in defined.jobs(definition(workflow)["Steps"])]
    assert names == [step.stage.step for step in WORKFLOWS[workflow].steps]


@each_step
def test_every_channel_is_wired_exactly_once_and_nothing_else(workflow: str, step: Step):
    """Twice, and one place would silently win; not at all, and the stage would find an empty folder."""
    found, stage = wired(workflow, step.stage), step.stage
    read = Counter(name for name, *_ in [*found.mounted, *found.told])
    written = Counter(name for name, *_ in [*found.kept, *found.written])
    assert read == Counter(channel.name for channel in stage.reads)
    summary = [] if stage.platform == "training" else ["summary"]
    assert written == Counter([*(channel.name for channel in stage.writes), *summary])


@each_step
def test_a_job_reads_and_writes_where_the_execution_says(workflow: str, step: Step):
    """What a pipeline leaves behind is found by the same addresses as what a laptop leaves."""
    execution, found = Execution(workflow, AS_OF), wired(workflow, step.stage)
    for name, uri, *_ in [*found.mounted, *found.told]:
        place = step.reads[name]
        base = GIVEN["Data"] if place in (RAW, LABELS) else GIVEN["Root"]
        if place == TRAINED or (isinstance(place, Output) and STAGES[place.stage].platform == "training"):
            assert uri.startswith(f"{base}/{execution.inputs(step)[name]}")  # below it, Training adds the job's name
            assert uri.endswith("/model.tar.gz")
        else:
            assert uri == f"{base}/{execution.inputs(step)[name]}"
    for name, uri, *_ in [*found.kept, *found.written]:
        assert uri == f"{GIVEN['Root']}/{execution.outputs(step)[name]}"


@each_step
def test_what_is_mounted_is_where_the_stage_looks_for_it(workflow: str, step: Step, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(opt_ml.ROOT_VARIABLE, raising=False)
    found = wired(workflow, step.stage)
    assert all(opt_ml.inputs(step.stage)[name] == path for name, _, path in found.mounted)
    assert all(opt_ml.outputs(step.stage)[name] == path for name, _, path in found.kept)


@each_step
def test_only_what_is_this_executions_own_and_never_empty_is_mounted(workflow: str, step: Step):
    """Processing fails where a prefix is empty, and neither compares nor removes what lies at an address of its own."""
    found, required = wired(workflow, step.stage), {channel.name for channel in step.stage.reads if channel.required}
    own = {name for name, place in step.reads.items() if isinstance(place, Output) or place == TRAINED}
    assert {name for name, *_ in found.mounted} == own & required
    assert {name for name, *_ in found.written} == set(step.writes)


@each_step
def test_an_execution_that_sets_nothing_has_the_stages_own_defaults(workflow: str, step: Step):
    values = parameters.parse(step.stage, wired(workflow, step.stage).values)
    defaults = {parameter.name: parameter.default for parameter in step.stage.parameters}
    host = {"as_of": AS_OF, "execution": f"{workflow}-{AS_OF}", "now": values.get("now")}
    assert values == {name: host.get(name, default) for name, default in defaults.items()}


@each_workflow
def test_stages_that_share_a_parameter_share_its_default(workflow: str):
    """The pipeline has it once, so that two stages can't be told two label delays."""
    seen: dict[str, Any] = {}
    for step in WORKFLOWS[workflow].steps:
        for parameter in step.stage.parameters:
            assert seen.setdefault(parameter.name, parameter) is parameter


@each_workflow
def test_an_execution_must_say_where_when_and_on_what_data(workflow: str):
    """A constant for the data's version would let the step cache bring back yesterday's result."""
    needed = {name["Name"] for name in definition(workflow)["Parameters"] if "DefaultValue" not in name}
    assert needed == NEEDED[workflow]


@each_step
def test_a_job_runs_its_stage_in_the_image_that_bake_builds(workflow: str, step: Step):
    request, stage = started(workflow)[step.stage.step], step.stage
    baked = json.loads((Path(__file__).parents[1] / "golden" / "bake.json").read_text())["target"]
    if stage.platform == "training":  # SageMaker itself says "train" to the image
        assert [request["AlgorithmSpecification"]["TrainingImage"]] == baked[stage.image]["tags"]
    else:
        assert [request["AppSpecification"]["ImageUri"]] == baked[stage.image]["tags"]
        assert request["AppSpecification"]["ContainerEntrypoint"] == ["fraudline", stage.name]


@each_step
def test_a_step_left_out_for_an_equal_one_would_have_given_the_same(workflow: str, step: Step):
    """The cache compares arguments, environment and addresses, not content: all that made the content must be there."""
    found = job(workflow, step.stage)
    before = [STAGES[place.stage] for place in step.reads.values() if isinstance(place, Output)]
    if not found["CacheConfig"]["Enabled"]:
        return
    environment = found["Arguments"]["Environment"]
    assert {"Root", "Data", "DataVersion"} <= defined.parameters_in(environment)
    assert CHAMPION not in {*step.reads.values(), *step.writes.values()}
    for stage in before:
        earlier = job(workflow, stage)
        assert earlier["CacheConfig"]["Enabled"]
        told = earlier["Arguments"].get("AppSpecification") or earlier["Arguments"]["HyperParameters"]
        assert defined.parameters_in(told) <= defined.parameters_in(environment)
        assert earlier["Arguments"]["Environment"].items() <= environment.items()
        assert f"fraudline/{stage.image}:dev" in environment.values()


def test_what_costs_time_is_kept_and_what_depends_on_the_champion_is_done_again():
    kept = {stage for workflow, step in STEPS if job(workflow, stage := step.stage)["CacheConfig"]["Enabled"]}
    names = {"data-extraction", "feature-engineering", "train", "etl", "feature-extraction", "backfill-history"}
    assert {stage.name for stage in kept} == names


def test_a_model_is_registered_only_where_the_gate_recommends_it_and_else_its_reasons_are_told():
    *_, gate, _ = definition("training")["Steps"]
    arguments = gate["Arguments"]
    (condition,), (registered,), (refused,) = (arguments[name] for name in ("Conditions", "IfSteps", "ElseSteps"))
    said = _said()
    assert condition["LeftValue"] == {"Std:JsonGet": {**said, "Path": "deploy_recommended"}}
    assert (condition["Type"], condition["RightValue"]) == ("Equals", True)
    assert registered["Type"] == "RegisterModel"
    assert refused["Type"] == "Fail"
    assert refused["Arguments"]["ErrorMessage"] == {"Std:JsonGet": {**said, "Path": "exit_message"}}
    module = Path(__file__).parents[2] / "src" / "fraudline" / "train" / "evaluate_model.py"
    assert all(f'"{key}":' in module.read_text() for key in ("deploy_recommended", "exit_message"))


def _said() -> dict[str, Any]:
    """The judge's summary, as conditions ask it."""
    judge = job("training", STAGES["evaluate-model"])
    (file,) = judge["PropertyFiles"]
    assert (file["OutputName"], file["FilePath"]) == ("summary", "summary.json")
    return {"PropertyFile": {"Get": f"Steps.{judge['Name']}.PropertyFiles.{file['PropertyFileName']}"}}


def test_a_model_is_deployed_only_once_registered_and_where_nobody_has_to_approve_it_first():
    *_, approval = definition("training")["Steps"]
    arguments = approval["Arguments"]
    recommended, approved = arguments["Conditions"]
    (deployed,) = arguments["IfSteps"]
    assert recommended["LeftValue"] == {"Std:JsonGet": {**_said(), "Path": "deploy_recommended"}}
    assert approved == {"Type": "Equals", "LeftValue": {"Get": "Parameters.Approval"}, "RightValue": "Approved"}
    assert (deployed["Name"], deployed["DependsOn"]) == (STAGES["deploy-model"].step, ["RegisterModel"])
    assert arguments["ElseSteps"] == []
    (parameter,) = (item for item in definition("training")["Parameters"] if item["Name"] == "Approval")
    assert parameter["EnumValues"] == ["Approved", "PendingManualApproval"]


def test_what_is_registered_is_what_would_be_deployed_and_names_all_that_a_deployment_needs():
    package = definition("training")["Steps"][-2]["Arguments"]["IfSteps"][0]["Arguments"]
    (container,) = package["InferenceSpecification"]["Containers"]
    deployed = job("training", STAGES["deploy-model"])["Arguments"]["ProcessingInputs"]
    places = {item["InputName"]: item["S3Input"]["S3Uri"] for item in deployed}
    assert container == {"Image": "fraudline/score:dev", "ModelDataUrl": places["model"]}
    assert (
        package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]["Std:Join"]["Values"][0] == places["evaluation"]
    )
    assert NEEDED["deployment"] <= set(package["CustomerMetadataProperties"])
    assert set(package["InferenceSpecification"]["SupportedContentTypes"]) == set(payload.PARSERS)
    assert package["ModelApprovalStatus"] == {"Get": "Parameters.Approval"}
    shape = get_session().get_service_model("sagemaker").shape_for("CreateModelPackageInput")
    report = ParamValidator().validate(_texts(package), shape)
    assert not report.has_errors(), report.generate_report()


def _texts(value: Any) -> Any:
    """Expressions stand for texts."""
    if isinstance(value, dict):
        return "text" if set(value) & {"Get", "Std:Join"} else {key: _texts(item) for key, item in value.items()}
    return [_texts(item) for item in value] if isinstance(value, list) else value


def test_no_condition_lies_within_another():
    """SageMaker takes none: "nested condition steps" are refused when the pipeline is created."""
    for workflow in WORKFLOWS:
        for step in definition(workflow)["Steps"]:
            inner = [*step["Arguments"].get("IfSteps", []), *step["Arguments"].get("ElseSteps", [])]
            assert "Condition" not in {item["Type"] for item in inner}


# What AWS's published JSON schema of definitions says of names and of what may stand where; it is older than joins,
# property files, retries and DependsOn, and would refuse all four, so it is not used whole.
NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}")
INNER = {"Training", "Fail", "Processing", "Transform", "RegisterModel"}


@each_workflow
def test_a_definition_is_made_of_what_the_service_knows(workflow: str):
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


@each_step
def test_a_job_is_tried_again_where_the_service_was_busy_or_full_and_nowhere_else(workflow: str, step: Step):
    """A stage that failed by itself would fail again, after an hour and for its price."""
    tried = {kind for policy in job(workflow, step.stage)["RetryPolicies"] for kind in policy["ExceptionType"]}
    assert tried == {
        "Step.SERVICE_FAULT",
        "Step.THROTTLING",
        "SageMaker.JOB_INTERNAL_ERROR",
        "SageMaker.CAPACITY_ERROR",
        "SageMaker.RESOURCE_LIMIT",
    }


@each_workflow
def test_a_site_of_its_own_is_that_of_every_job(workflow: str):
    """Key, network, role and tags: one job outside of them is a hole."""
    arguments = "--kms-key a-key --subnet subnet-1 --subnet subnet-2 --security-group sg-1 --tag team=risk --isolated"
    role = "arn:aws:iam::123456789012:role/other"
    ended = defined.run("definition", "--workflow", workflow, "--role", role, "--spot", *arguments.split())
    assert ended.returncode == 0, ended.stderr
    for step in defined.jobs(json.loads(ended.stdout)["Steps"]):
        request = step["Arguments"]
        training = step["Type"] == "Training"
        assert request["RoleArn"] == role
        assert {"Key": "team", "Value": "risk"} in request["Tags"]
        network = request if training else request["NetworkConfig"]
        assert network["VpcConfig"] == {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
        told = any(
            word in ("--input", "--output")
            for word in request.get("AppSpecification", {}).get("ContainerArguments", ())
        )
        assert bool(network.get("EnableNetworkIsolation")) is not told
        if training:
            assert request["ResourceConfig"]["VolumeKmsKeyId"] == request["OutputDataConfig"]["KmsKeyId"] == "a-key"
            assert request["EnableManagedSpotTraining"] is True
            assert "CheckpointConfig" in request
            assert (
                request["StoppingCondition"]["MaxWaitTimeInSeconds"]
                >= (request["StoppingCondition"]["MaxRuntimeInSeconds"])
            )
        else:
            assert request["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == "a-key"
            assert request["ProcessingOutputConfig"]["KmsKeyId"] == "a-key"


def test_an_endpoint_runs_where_the_jobs_run():
    """Named once: a model in another network, or under another key, than the jobs would be a surprise."""
    arguments = "--kms-key a-key --subnet subnet-1 --security-group sg-1 --set endpoint=fraud-detection-model-v1"
    ended = defined.run("definition", "--workflow", "deployment", "--role", "arn:aws:iam::1:role/r", *arguments.split())
    (step,) = json.loads(ended.stdout)["Steps"]
    words = step["Arguments"]["AppSpecification"]["ContainerArguments"]
    told = {word: words[at + 1] for at, word in enumerate(words) if str(word).startswith("--")}
    assert told["--endpoint"] == {"Get": "Parameters.Endpoint"}
    assert told["--serving-image"] == "fraudline/score:dev"
    assert [told[name] for name in ("--role", "--kms-key", "--subnets", "--security-groups")] == [
        "arn:aws:iam::1:role/r", "a-key", "subnet-1", "sg-1",
    ]  # fmt: skip


def test_settings_become_the_parameters_defaults_and_unknown_ones_are_refused():
    ended = defined.run(
        "definition", "--workflow", "daily", "--set", "Root=s3://ours", "--set", "threshold=0.7",
        "--set", "column=merchant=SHOP", "--set", "column=amount=SUM",
    )  # fmt: skip
    found = json.loads(ended.stdout)
    defaults = {item["Name"]: item.get("DefaultValue") for item in found["Parameters"]}
    assert (defaults["Root"], defaults["Threshold"]) == ("s3://ours", "0.7")
    etl = next(step for step in found["Steps"] if step["Name"] == "ETL")
    arguments = etl["Arguments"]["AppSpecification"]["ContainerArguments"]
    assert [arguments[at + 1] for at, word in enumerate(arguments) if word == "--column"] == [
        "merchant=SHOP",
        "amount=SUM",
    ]
    ended = defined.run("definition", "--workflow", "daily", "--set", "treshold=0.7")
    assert ended.returncode == 2
    assert ended.stderr.startswith("--set Treshold: fraud-detection-daily has no such parameter; it has ")


@each_step
def test_sagemaker_would_take_the_request(workflow: str, step: Step):
    """Against the service's own model: unknown or missing fields, types, and how long a text may be."""
    kind = "TrainingJob" if step.stage.platform == "training" else "ProcessingJob"
    shape = get_session().get_service_model("sagemaker").shape_for(f"Create{kind}Request")
    request = started(workflow)[step.stage.step] | {f"{kind}Name": "a-job"}
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()
    assert not list(_too_long(request, shape))


def _too_long(value: Any, shape: Any) -> Any:
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


# Python's own hook sees every look-up and connection, in every thread.
WATCH = """
import os, sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        os.write(2, f"{event} {arguments[1:]}".encode())
        os._exit(97)
sys.addaudithook(watch)
"""


@each_workflow
def test_a_definition_asks_nobody_and_is_the_same_everywhere(workflow: str, tmp_path: Path):
    """No network, no credentials; the order of sets, the region and the machine's own settings change no byte."""
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    settings = tmp_path / ".config" / "sagemaker" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("SageMaker: what the SDK would refuse\n")
    ended = defined.run(
        "definition",
        "--workflow",
        workflow,
        PYTHONPATH=f"{tmp_path}:{defined.REPOSITORY / 'src'}",
        PYTHONHASHSEED="1",
        HOME=str(tmp_path),
        AWS_DEFAULT_REGION="eu-central-1",
        AWS_PROFILE="nobody",
        FRAUDLINE_ML_ROOT="/elsewhere",
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == defined.printed(workflow)


@each_workflow
def test_images_are_pinned_by_the_digests_that_bake_wrote(workflow: str, tmp_path: Path):
    """A tag moves; a step cached under it would be an old image's."""
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
    ended = defined.run("definition", "--workflow", workflow, "--images", str(file))
    pinned = {name: f"registry.example:5000/fraudline/{name}@{built[name]['containerimage.digest']}" for name in names}
    text = definition(workflow) | json.loads(ended.stdout)
    used = {_image(step) for step in defined.jobs(text["Steps"])}
    assert used == set(pinned.values())
    assert ":1.2.3" not in ended.stdout


def _image(step: dict[str, Any]) -> str:
    arguments = step["Arguments"]
    image: str = (
        arguments["AlgorithmSpecification"]["TrainingImage"]
        if step["Type"] == "Training"
        else arguments["AppSpecification"]["ImageUri"]
    )
    return image


@pytest.mark.parametrize("content", [None, '{"etl": {}}'])
def test_a_wrong_file_of_images_is_told_in_a_sentence(content: str | None, tmp_path: Path):
    file = tmp_path / "bake.json"
    if content is not None:
        file.write_text(content)
    ended = defined.run("definition", "--workflow", "daily", "--images", str(file))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"--images {file}: expected what docker buildx bake --metadata-file writes")
    assert ended.stderr.count("\n") == 1
