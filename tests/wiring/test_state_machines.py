"""What no linter finds in a state machine, and that each job of theirs is what the workflows and stages say."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from botocore.validate import ParamValidator

from fraudline.catalog.stage import SUMMARY
from fraudline.catalog.workflow import LABELS, RAW, WORKFLOWS, Execution, Step, dated
from fraudline.entrypoints import opt_ml, parameters
from fraudline.entrypoints.aws_lambda import InputRejected, StageFailed
from fraudline.entrypoints.glue import options
from fraudline.entrypoints.run import REFUSED, parser
from fraudline.orchestration.step_functions.state_machines import ENDPOINTS, SETTINGS, VERDICT
from tests.wiring import aws

AS_OF = date(2026, 6, 1)
DATA, ROOT = "s3://deliveries", "s3://results"
TRAINED = f"{ROOT}/executions/training-{AS_OF}/Model/model/a-job/output/model.tar.gz"
# What services have no room for at times; nothing else is worth a second attempt but a stage's own fault.
BUSY = re.compile(
    r"\w+\.\w*(Throttl|Limit|TooMany|Throughput|Service|SdkClient|AWSLambda|Internal|Concurrent|S3Exc|SageMakerExc|AWSGlueExc)"
)
WORKFLOW_OF = {"daily": "daily", "daily_standard": "daily", "training": "training"}
STEPS = [(name, step) for name, workflow in WORKFLOW_OF.items() for step in WORKFLOWS[workflow].steps]

each_machine = pytest.mark.parametrize("name", aws.MACHINES)
each_step = pytest.mark.parametrize(("name", "step"), STEPS, ids=[f"{name}-{step.stage.name}" for name, step in STEPS])


def follows(state: Mapping[str, Any]) -> set[str]:
    """Where a state may lead."""
    rules = [*state.get("Choices", []), *state.get("Catch", [])]
    return {it["Next"] for it in [state, *rules] if "Next" in it} | (
        {state["Default"]} if "Default" in state else set()
    )


@each_machine
def test_every_state_is_reached_and_every_next_is_there(name: str):
    for scope in aws.scopes(aws.machine(name)):
        reached, fresh = set(), {scope["StartAt"]}
        while fresh:
            reached |= fresh
            assert reached <= set(scope["States"]), reached - set(scope["States"])
            fresh = {after for state in fresh for after in follows(scope["States"][state])} - reached
        assert reached == set(scope["States"])


@each_machine
def test_express_waits_for_nothing(name: str):
    """EXPRESS takes neither .sync nor task tokens, which is told only when such a machine is made."""
    waits = {aws.action(task["Resource"])[2] for task in aws.tasks(aws.machine(name)).values()} - {""}
    kind = aws.made_as(name)["StateMachineType"]
    assert kind == "STANDARD" or not waits
    if kind == "EXPRESS":
        assert aws.machine(name)["TimeoutSeconds"] <= 300


def pairs(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    for each in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from pairs(each)


@each_machine
def test_a_path_is_told_from_a_text(name: str):
    """Without .$ at the end of its name, a path is passed on as the text "$.as_of"."""
    for state in aws.states(aws.machine(name)).values():
        for part in ("Parameters", "ResultSelector", "ItemSelector"):
            for key, value in pairs(state.get(part, {})):
                if isinstance(value, str):
                    assert key.endswith(".$") == value.startswith(("$.", "$$.", "$[", "States.")), (key, value)


@each_machine
def test_a_task_asks_what_its_service_has(name: str):
    """Against botocore's models: the operation, and every member of its request."""
    for state, task in aws.tasks(aws.machine(name)).items():
        shape = aws.operation(*aws.action(task["Resource"])[:2]).input_shape
        known = {member.lower() for member in shape.members}
        given = {key.removesuffix(".$").lower() for key in task["Parameters"]}
        assert given <= known, (state, given - known)
        assert {member.lower() for member in shape.required_members} <= given, state


@each_machine
def test_only_what_may_do_at_a_second_attempt_is_tried_again_and_not_all_at_once(name: str):
    for state in aws.states(aws.machine(name)).values():
        tells = state.get("Resource", "").rpartition(":::")[2].startswith(("sns:publish", "sqs:", "aws-sdk:cloudwatch"))
        for retry in state.get("Retry", []):
            names = retry["ErrorEquals"]
            assert (retry["BackoffRate"], retry["JitterStrategy"]) == (2.0, "FULL")
            assert retry["MaxAttempts"] <= 4
            again = [error for error in names if error != StageFailed.__name__ and not BUSY.match(error)]
            assert not again or (tells and again == ["States.TaskFailed"]), again


@each_machine
def test_no_failure_goes_unheard(name: str):
    """Each task of a workflow is caught and told; what starts executions fails for its pipe, which brings it again."""
    if name in ("start", "start_pipeline", "deployment"):
        return
    outer = aws.machine(name)["States"]
    for state in outer.values():
        working = state["Type"] in ("Parallel", "Map") or "lambda" in state.get("Resource", "")
        assert not working or any(caught["ErrorEquals"] == ["States.ALL"] for caught in state["Catch"])
    (heard,) = {caught["Next"] for state in outer.values() for caught in state.get("Catch", [])
                if caught["ErrorEquals"] == ["States.ALL"]}  # fmt: skip
    assert outer[heard]["Resource"].rpartition(":::")[2] in ("sns:publish", "sqs:sendMessage")
    assert "$.error" in json.dumps(outer[heard]["Parameters"])
    assert outer[outer[heard]["Next"]]["Type"] == "Fail"


def test_bad_input_ends_well_where_it_would_be_delivered_again():
    states = aws.machine("daily")["States"]
    for step in WORKFLOWS["daily"].steps:
        first, *_ = states[step.stage.step]["Catch"]
        assert first["ErrorEquals"] == [InputRejected.__name__]
        after = [first["Next"]]
        while "Next" in states[after[-1]]:
            after.append(states[after[-1]]["Next"])
        assert [states[name]["Type"] for name in after] == ["Task", "Task", "Pass"]  # counted, told, done
        assert states[after[-1]]["Parameters"]["status"] == "rejected"


@pytest.mark.parametrize("name", ["training", "daily_standard"])
def test_a_job_that_refuses_its_input_is_not_tried_again(name: str):
    """SageMaker and Glue call every failure States.TaskFailed: only its words tell a refusal from a fault."""
    for state in aws.machine(name)["States"].values():
        if state["Type"] != "Parallel":
            continue
        (branch,) = state["Branches"]
        (told,) = (inner for inner in branch["States"].values() if inner["Type"] == "Choice")
        (refusal,) = told["Choices"]
        assert refusal["StringMatches"] == f"*{REFUSED}*"
        ends = [branch["States"][each]["Error"] for each in (refusal["Next"], told["Default"])]
        assert ends == [InputRejected.__name__, StageFailed.__name__]
        assert [retry["ErrorEquals"] for retry in state["Retry"]] == [[StageFailed.__name__]]


def test_the_gate_reads_how_the_verdict_begins():
    states = aws.machine("training")["States"]
    judge = Path(__file__).parents[2] / "src/fraudline/train/evaluate_model.py"
    assert 'f"deploy_recommended={str(verdict.deploy).lower()}: ' in judge.read_text()
    (deploys,) = states["Gate"]["Choices"]
    assert deploys["StringMatches"] == VERDICT == "deploy_recommended=true*"
    assert (deploys["Next"], states["Gate"]["Default"]) == ("DeployModel", "Refused")
    assert states["Refused"]["Parameters"]["Cause.$"] == deploys["Variable"]


# Each job


def filled(content: Any) -> Any:
    """A definition with the stack's values in it, as far as a job's request depends on them."""
    given = {
        "Root": ROOT, "Data": DATA, "LabelDelayDays": "6", "Columns": "merchant=TERMINAL_ID,amount=AMOUNT",
        "Threshold": "0.7", "ReviewBudget": "50", "RetentionDays": "30", "ServingInstances": "2",
        "Network": b64encode(b'{"EnableNetworkIsolation": false}').decode(),
        "KeyArn": "arn:aws:kms:us-east-1:123456789012:key/k",
        "ProcessingInstance": "ml.m5.xlarge", "TrainingInstance": "ml.m5.xlarge",
    }  # fmt: skip
    role = "arn:aws:iam::123456789012:role/"
    return json.loads(
        re.sub(
            r"\$\{(\w+)\}",
            lambda found: given.get(found[1], role + found[1] if found[1].endswith("Role") else found[1]),
            json.dumps(content),
        )
    )


def request(name: str, step: Step) -> dict[str, Any]:
    """What a machine would ask for to run a step."""
    machine = filled(aws.machine(name))
    task = aws.tasks(machine)
    state = task.get(step.stage.step) or task[f"{step.stage.step} job"]
    told = machine["States"].get("Told", {}).get("Result")
    given = {"as_of": str(AS_OF), "told": told, "TrainModel": {"job": {"model": TRAINED}}}
    resolved: dict[str, Any] = aws.resolved(state["Parameters"], given)
    return resolved


def wired(name: str, step: Step) -> tuple[Counter[str], dict[str, str], dict[str, Any]]:
    """How often each channel is wired, each one's place, and the parameters' texts."""
    asked, stage = request(name, step), step.stage
    if "Payload" in asked:
        places = list({**asked["Payload"]["inputs"]}.items()), list(asked["Payload"]["outputs"].items())
        values = asked["Payload"]["arguments"]
    elif "JobName" in asked:
        assert {name.removeprefix("--") for name in asked["Arguments"]} <= {each[2:] for each in options(stage)}
        arguments = {name[2:]: value for name, value in asked["Arguments"].items()}
        places = tuple(
            [(key.removeprefix(kind), value) for key, value in arguments.items() if key.startswith(kind)]
            for kind in ("input-", "output-")
        )  # type: ignore[assignment]
        values = {
            key.replace("-", "_"): value
            for key, value in arguments.items()
            if not key.startswith(("input-", "output-"))
        }
    elif "TrainingJobName" in asked:
        mounted = [(it["ChannelName"], it["DataSource"]["S3DataSource"]["S3Uri"]) for it in asked["InputDataConfig"]]
        # Training leaves its summary in the artifact.
        kept = [(stage.writes[0].name, asked["OutputDataConfig"]["S3OutputPath"]), (SUMMARY, "")]
        places, values = (mounted, kept), asked["HyperParameters"]
    else:
        told = vars(parser(stage).parse_args(asked["AppSpecification"]["ContainerArguments"]))
        inputs = {it["InputName"]: it["S3Input"] for it in asked["ProcessingInputs"]}
        outputs = {it["OutputName"]: it["S3Output"] for it in asked["ProcessingOutputConfig"]["Outputs"]}
        assert all(opt_ml.inputs(stage)[key] == it["LocalPath"] for key, it in inputs.items())
        assert all(opt_ml.outputs(stage)[key] == it["LocalPath"] for key, it in outputs.items())
        places = (
            [(key, it["S3Uri"]) for key, it in inputs.items()] + (told.pop("input") or []),
            [(key, it["S3Uri"]) for key, it in outputs.items()] + (told.pop("output") or []),
        )
        values = {key: value for key, value in told.items() if value is not None}
    count = Counter(f"reads {key}" for key, _ in places[0]) + Counter(f"writes {key}" for key, _ in places[1])
    found = {f"reads {key}": at for key, at in places[0]} | {f"writes {key}": at for key, at in places[1]}
    return count, {key: dated(at, AS_OF) for key, at in found.items()}, values


@each_step
def test_every_channel_is_wired_once_where_the_execution_says(name: str, step: Step, monkeypatch: pytest.MonkeyPatch):
    """What a machine leaves is found by the same addresses as what a laptop leaves, and no channel is made up."""
    monkeypatch.delenv(opt_ml.ROOT_VARIABLE, raising=False)
    execution = Execution(WORKFLOW_OF[name], AS_OF)
    count, places, _ = wired(name, step)
    expected = {
        f"reads {key}": f"{DATA if step.reads[key] in (RAW, LABELS) else ROOT}/{at}"
        for key, at in execution.inputs(step).items()
    }
    expected |= {f"writes {key}": f"{ROOT}/{at}" for key, at in execution.outputs(step).items()}
    assert count == Counter(list(expected))
    for key, at in places.items():
        if step.stage.platform == "training" and key == f"writes {SUMMARY}":
            continue
        if at == TRAINED:  # below the channel's address Training put a job's name
            assert at.startswith(expected[key])
            continue
        assert at == expected[key], key


@each_step
def test_a_stage_gets_the_day_the_stacks_settings_and_else_its_own_defaults(name: str, step: Step):
    _, _, values = wired(name, step)
    taken = {parameter.name for parameter in step.stage.parameters}
    settings = {key for key in SETTINGS if key in taken} | (
        {"endpoint"} & taken if step.stage.name in ENDPOINTS else set()
    )
    execution = {"execution"} & taken
    assert set(values) == {"as_of"} | settings | execution
    parsed = parameters.parse(step.stage, values)
    assert parsed["as_of"] == AS_OF
    assert not execution or parsed["execution"] == f"{WORKFLOW_OF[name]}-{AS_OF}"
    assert "column" not in taken or parsed["column"] == (("merchant", "TERMINAL_ID"), ("amount", "AMOUNT"))


@each_step
def test_aws_would_take_the_request(name: str, step: Step):
    asked = request(name, step)
    kind = next((kind for kind in ("Training", "Processing") if f"{kind}JobName" in asked), None)
    if kind is None:
        return
    shape = aws.operation("sagemaker", f"create{kind}Job").input_shape
    report = ParamValidator().validate(asked, shape)
    assert not report.has_errors(), report.generate_report()
    assert re.fullmatch(shape.members[f"{kind}JobName"].metadata["pattern"], asked[f"{kind}JobName"])
    assert len(asked[f"{kind}JobName"]) <= 63


@each_step
def test_a_job_runs_its_stage_in_its_image(name: str, step: Step):
    asked = request(name, step)
    if "AppSpecification" in asked:
        assert asked["AppSpecification"]["ImageUri"] == f"{step.stage.image.title()}Image"
        assert asked["AppSpecification"]["ContainerEntrypoint"] == ["fraudline", step.stage.name]
    elif "AlgorithmSpecification" in asked:  # SageMaker itself says "train" to the image
        assert asked["AlgorithmSpecification"]["TrainingImage"] == f"{step.stage.image.title()}Image"
    elif "FunctionName" in asked:
        assert asked["FunctionName"] == f"{step.stage.step}Function"
    else:
        assert (name, step.stage.name) in {("training", "data-extraction"), ("training", "feature-engineering")}


@pytest.mark.parametrize("name", WORKFLOW_OF)
def test_the_stages_are_the_workflows_in_its_order(name: str):
    states = aws.machine(name)["States"]
    steps = [step.stage.step for step in WORKFLOWS[WORKFLOW_OF[name]].steps]
    assert [state for state in states if state in steps] == steps
    for earlier, later in pairwise(steps):
        after = states[earlier]["Next"]
        assert later in (after, *(follows(states[after]) if states[after]["Type"] == "Choice" else ()))


@each_machine
def test_what_passes_between_states_are_addresses_and_counts(name: str):
    """A payload is 256 KiB at most: results are selected, or dropped."""
    for state in aws.states(aws.machine(name)).values():
        if state["Type"] in ("Task", "Parallel") and "lambda" in json.dumps(state.get("Resource", "")):
            assert "ResultSelector" in state
    lambdas = [task for task in aws.tasks(aws.machine("daily")).values() if "lambda" in task["Resource"]]
    assert all(set(task["ResultSelector"]) == {"summary.$", "counts.$"} for task in lambdas)
