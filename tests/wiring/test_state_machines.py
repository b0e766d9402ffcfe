"""Laws of the state machines that no linter checks; each job is requested as its plan says."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from botocore.validate import ParamValidator

from fraudline.catalog.plan import JobPlan, plan, settings, title
from fraudline.catalog.stage import SUMMARY
from fraudline.catalog.templates import resolve
from fraudline.catalog.workflow import WORKFLOWS
from fraudline.entrypoints import parameters
from fraudline.entrypoints.aws_lambda import InputRejected, StageFailed
from fraudline.entrypoints.glue import options
from fraudline.entrypoints.platforms import input_folders, output_folders
from fraudline.entrypoints.run import INPUT_REJECTED, parser
from fraudline.orchestration.stack.functions import functions
from fraudline.orchestration.step_functions.state_machines import EXPRESS_SECONDS, VERDICT
from tests.wiring import aws

AS_OF = date(2026, 6, 1)
INIT_SECONDS = 10  # Lambda's limit for imports; it repeats them in the first invocation if they took longer
DATA, ROOT = "s3://deliveries", "s3://results"
TRAINED = f"{ROOT}/executions/training-{AS_OF}/Model/model/a-job/output/model.tar.gz"
# Errors of a busy service; beside a stage's own internal error, nothing else is worth a second attempt.
BUSY = re.compile(
    r"Lambda\.(Unknown|ClientExecutionTimeoutException)|Sandbox\.Timedout"  # a cold start that took too long
    r"|\w+\.\w*(Throttl|Limit|TooMany|Throughput|Service|SdkClient|AWSLambda|Internal|Concurrent|S3Exc|SageMakerExc|AWSGlueExc)"
)
WORKFLOW_OF = {
    "daily": "daily",
    "daily_standard": "daily",
    "training": "training",
    "backfill": "backfill",
    "rollback": "deployment",
}
PUBLISHED = f"{ROOT}/models/v{AS_OF}/"
JOBS = [(name, job) for name, workflow in WORKFLOW_OF.items() for job in plan(workflow)]

each_state_machine = pytest.mark.parametrize("name", aws.DEFINITIONS)
each_job = pytest.mark.parametrize(("name", "job"), JOBS, ids=[f"{name}-{job.stage.name}" for name, job in JOBS])


def follows(state: Mapping[str, Any]) -> set[str]:
    """Return the states that may follow a state."""
    rules = [*state.get("Choices", []), *state.get("Catch", [])]
    return {it["Next"] for it in [state, *rules] if "Next" in it} | (
        {state["Default"]} if "Default" in state else set()
    )


@each_state_machine
def test_every_state_is_reached_and_every_next_state_exists(name: str):
    for scope in aws.scopes(aws.definition(name)):
        reached, fresh = set(), {scope["StartAt"]}
        while fresh:
            reached |= fresh
            assert reached <= set(scope["States"]), reached - set(scope["States"])
            fresh = {after for state in fresh for after in follows(scope["States"][state])} - reached
        assert reached == set(scope["States"])


@each_state_machine
def test_express_waits_for_nothing(name: str):
    """EXPRESS accepts neither .sync nor task tokens, and says so only when the state machine is created."""
    waits = {aws.action(task["Resource"])[2] for task in aws.tasks(aws.definition(name)).values()} - {""}
    kind = aws.state_machine(name)["StateMachineType"]
    assert kind == "STANDARD" or not waits
    if kind == "EXPRESS":
        assert aws.definition(name)["TimeoutSeconds"] <= 300


def longest_seconds(scope: Mapping[str, Any], state: str) -> float:
    """Return the longest that the tasks on any way from a state to an end may take; these definitions have no loop."""
    tasks = scope["States"][state]
    own = tasks["TimeoutSeconds"] if tasks["Type"] == "Task" else 0
    return own + max((longest_seconds(scope, after) for after in follows(tasks)), default=0)


@pytest.mark.parametrize(
    "name", [name for name in aws.DEFINITIONS if aws.state_machine(name)["StateMachineType"] == "EXPRESS"]
)
def test_the_time_outs_of_express_add_up_to_less_than_its_own(name: str):
    """At its limit, an execution runs no Catch: nobody would hear of it."""
    definition = aws.definition(name)
    assert all(
        state["Type"] in ("Task", "Pass", "Choice", "Succeed", "Fail") for state in definition["States"].values()
    )
    assert longest_seconds(definition, definition["StartAt"]) < definition["TimeoutSeconds"] <= EXPRESS_SECONDS


def test_an_overrun_of_the_day_is_handed_over_to_its_standard_twin():
    states = aws.definition("daily")["States"]
    for step in WORKFLOWS["daily"].steps:
        overrun, *_ = states[step.stage.step]["Catch"]
        assert overrun["ErrorEquals"] == ["States.Timeout", "Sandbox.Timedout"]
        after = [overrun["Next"]]
        while "Next" in states[after[-1]]:
            after.append(states[after[-1]]["Next"])
        assert after == ["KeepDay", "StartStandard", "NotifyHandedOver", "HandedOver"]


def test_the_last_delivery_is_the_one_after_which_a_message_is_set_aside():
    (choice,) = aws.definition("daily")["States"]["CheckDelivery"]["Choices"]
    (queue,) = (it for name, it in aws.resources("SQS::Queue").items() if name == "DailyQueue")
    assert choice["And"][1]["StringEquals"] == str(queue["RedrivePolicy"]["maxReceiveCount"])


def pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every name with its value, at any depth."""
    if isinstance(value, Mapping):
        yield from value.items()
    for each in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from pairs(each)


@each_state_machine
def test_the_name_of_a_path_ends_with_a_dollar_sign(name: str):
    """Without .$ at the end of its name, a path is passed on as the text "$.as_of"."""
    for state in aws.states(aws.definition(name)).values():
        for part in ("Parameters", "ResultSelector", "ItemSelector"):
            for key, value in pairs(state.get(part, {})):
                if isinstance(value, str):
                    assert key.endswith(".$") == (value == "$" or value.startswith(("$.", "$$.", "$[", "States."))), (
                        key,
                        value,
                    )


@each_state_machine
def test_a_task_requests_what_its_service_offers(name: str):
    """Against botocore's models: the operation, and every member of its request."""
    for state, task in aws.tasks(aws.definition(name)).items():
        shape = aws.operation(*aws.action(task["Resource"])[:2]).input_shape
        allowed = {member.lower() for member in shape.members}
        sent = {key.removesuffix(".$").lower() for key in task["Parameters"]}
        assert sent <= allowed, (state, sent - allowed)
        assert {member.lower() for member in shape.required_members} <= sent, state


@each_state_machine
def test_only_temporary_failures_are_retried_and_spread(name: str):
    for state in aws.states(aws.definition(name)).values():
        notifies = (
            state.get("Resource", "").rpartition(":::")[2].startswith(("sns:publish", "sqs:", "aws-sdk:cloudwatch"))
        )
        for retry in state.get("Retry", []):
            names = retry["ErrorEquals"]
            assert (retry["BackoffRate"], retry["JitterStrategy"]) == (2.0, "FULL")
            assert retry["MaxAttempts"] <= 4
            others = [error for error in names if error != StageFailed.__name__ and not BUSY.match(error)]
            assert not others or (notifies and others == ["States.TaskFailed"]), others


def test_realtime_survives_slow_cold_starts():
    """However its functions fail, it ends by itself: an EXPRESS execution that is timed out keeps no event.

    A function that runs out of time or memory in its first phases ends as Sandbox.Timedout or Lambda.Unknown.
    https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
    https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html#troubleshooting-timeouts
    """
    definition, longest = aws.definition("realtime"), 0.0
    stack = functions()
    for state in definition["States"].values():
        retries = {error: retry for retry in state.get("Retry", []) for error in retry["ErrorEquals"]}
        for retry in state.get("Retry", []):
            attempts = range(retry["MaxAttempts"])
            longest += sum(retry["IntervalSeconds"] * retry["BackoffRate"] ** attempt for attempt in attempts)
        if "lambda" not in state.get("Resource", ""):
            continue
        assert {"Lambda.Unknown", "Sandbox.Timedout"} <= set(retries), state
        function = stack[state["Parameters"]["FunctionName"].strip("${}")]
        assert INIT_SECONDS < function["Properties"]["Timeout"] < state["TimeoutSeconds"]
        # A busy service refuses at once; each of the others may take the whole time.
        slow = sum(retries[error]["MaxAttempts"] for error in ("Sandbox.Timedout", "StageFailed"))
        longest += state["TimeoutSeconds"] * (1 + slow)
    assert longest <= definition["TimeoutSeconds"] < EXPRESS_SECONDS


@each_state_machine
def test_every_failure_notifies_somebody(name: str):
    """Each task of a workflow catches its failure; what starts executions fails for its pipe, which delivers again."""
    if name in ("start", "start_pipeline", "deployment"):
        return
    outer = aws.definition(name)["States"]
    for state in outer.values():
        working = state["Type"] in ("Parallel", "Map") or "lambda" in state.get("Resource", "")
        assert not working or any(catch["ErrorEquals"] == ["States.ALL"] for catch in state["Catch"])
    catches = [catch for state in outer.values() for catch in state.get("Catch", [])]
    (notice,) = {catch["Next"] for catch in catches if catch["ErrorEquals"] == ["States.ALL"]}
    assert outer[notice]["Resource"].rpartition(":::")[2] in ("sns:publish", "sqs:sendMessage")
    assert "$.error" in json.dumps(outer[notice]["Parameters"])
    assert outer[outer[notice]["Next"]]["Type"] == "Fail"


def test_rejected_input_ends_well_where_a_pipe_would_redeliver():
    states = aws.definition("daily")["States"]
    for step in WORKFLOWS["daily"].steps:
        _, first, *_ = states[step.stage.step]["Catch"]
        assert first["ErrorEquals"] == [InputRejected.__name__]
        after = [first["Next"]]
        while "Next" in states[after[-1]]:
            after.append(states[after[-1]]["Next"])
        assert [states[name]["Type"] for name in after] == ["Task", "Task", "Pass"]  # count, notify, end
        assert states[after[-1]]["Parameters"]["status"] == "rejected"


@pytest.mark.parametrize("name", ["training", "daily_standard", "backfill", "rollback"])
def test_a_job_that_rejects_its_input_is_not_retried(name: str):
    """SageMaker and Glue report every failure as States.TaskFailed; only its message holds the cause."""
    for state in aws.definition(name)["States"].values():
        if state["Type"] != "Parallel":
            continue
        (branch,) = state["Branches"]
        (classification,) = (inner for inner in branch["States"].values() if inner["Type"] == "Choice")
        (rejection,) = classification["Choices"]
        assert rejection["StringMatches"] == f"*{INPUT_REJECTED}*"
        ends = [branch["States"][each]["Error"] for each in (rejection["Next"], classification["Default"])]
        assert ends == [InputRejected.__name__, StageFailed.__name__]
        assert [retry["ErrorEquals"] for retry in state["Retry"]] == [[StageFailed.__name__]]


def test_the_gate_reads_the_beginning_of_the_exit_message():
    states = aws.definition("training")["States"]
    judge = Path(__file__).parents[2] / "src/fraudline/train/evaluate_model.py"
    assert 'f"deploy_recommended={str(verdict.deploy).lower()}: ' in judge.read_text()
    (deploys,) = states["Gate"]["Choices"]
    assert deploys["StringMatches"] == VERDICT == "deploy_recommended=true*"
    assert (deploys["Next"], states["Gate"]["Default"]) == ("DeployModel", "Refused")
    assert states["Refused"]["Parameters"]["Cause.$"] == deploys["Variable"]


# Each job


def filled(content: Any) -> Any:
    """Return a definition with the stack's values in it, as far as a job's request depends on them."""
    values = {title(name): parameter.default_text for name, parameter in settings().items()} | {
        "Root": ROOT,
        "Data": DATA,
        "LabelDelayDays": "6",
        "Column": "merchant=TERMINAL_ID,amount=AMOUNT",
        "Network": b64encode(b'{"EnableNetworkIsolation": false}').decode(),
        "KeyArn": "arn:aws:kms:us-east-1:123456789012:key/k",
        "ProcessingInstance": "ml.m5.xlarge",
        "TrainingInstance": "ml.m5.xlarge",
    }
    role = "arn:aws:iam::123456789012:role/"

    def value(match: re.Match[str]) -> str:
        name = match[1]
        return values.get(name, role + name if name.endswith("Role") else name)

    return json.loads(re.sub(r"\$\{(\w+)\}", value, json.dumps(content)))


def request(name: str, job: JobPlan, execution_input: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a state machine would request to run a job, for an execution with this input."""
    definition = filled(aws.definition(name))
    states, execution_input = definition["States"], {"as_of": str(AS_OF), **(execution_input or {})}
    data = {"as_of": str(AS_OF), "input": execution_input, "arguments": states["ResolveArguments"]["Result"]}
    data["$$"] = {"$$.Execution.Input": execution_input}
    if "LocateModel" in states:
        data["located"] = aws.resolved(states["LocateModel"]["Parameters"], data)
    applied = aws.resolved(states["ApplySettings"]["Parameters"], data)
    tasks = aws.tasks(definition)
    state = tasks.get(job.stage.step) or tasks[f"Run {job.stage.step}"]
    resolved: dict[str, Any] = aws.resolved(state["Parameters"], {**applied, "TrainModel": {"job": {"model": TRAINED}}})
    return resolved


@dataclass
class Wiring:
    """How a request wires a job: each channel's URI, in pairs so that none is lost, and the parameters' texts."""

    inputs: list[tuple[str, str]]
    outputs: list[tuple[str, str]]
    values: dict[str, str]


def wiring(name: str, job: JobPlan, execution_input: Mapping[str, Any] | None = None) -> Wiring:
    """Return how a state machine wires a job, on whichever service runs it."""
    body = request(name, job, execution_input)
    if "Payload" in body:
        payload = body["Payload"]
        return Wiring(list(payload["inputs"].items()), list(payload["outputs"].items()), payload["arguments"])
    if "JobName" in body:
        return glue_wiring(job, body["Arguments"])
    if "TrainingJobName" in body:
        inputs = [(it["ChannelName"], it["DataSource"]["S3DataSource"]["S3Uri"]) for it in body["InputDataConfig"]]
        # A Training job leaves its summary in the artifact.
        outputs = [(job.stage.writes[0].name, body["OutputDataConfig"]["S3OutputPath"]), (SUMMARY, "")]
        return Wiring(inputs, outputs, body["HyperParameters"])
    return processing_wiring(job, body)


def glue_wiring(job: JobPlan, arguments: Mapping[str, str]) -> Wiring:
    assert set(arguments) <= set(options(job.stage))
    channels: dict[str, list[tuple[str, str]]] = {"--input-": [], "--output-": []}
    values = {}
    for option, value in arguments.items():
        kind = next((kind for kind in channels if option.startswith(kind)), None)
        if kind:
            channels[kind].append((option.removeprefix(kind), value))
        else:
            values[option[2:].replace("-", "_")] = value
    return Wiring(channels["--input-"], channels["--output-"], values)


def processing_wiring(job: JobPlan, body: Mapping[str, Any]) -> Wiring:
    stage = job.stage
    arguments = body["AppSpecification"]["ContainerArguments"]
    assert all(1 <= len(argument) <= 256 for argument in arguments)
    values = vars(parser(stage).parse_args(arguments))
    inputs = {it["InputName"]: it["S3Input"] for it in body["ProcessingInputs"]}
    outputs = {it["OutputName"]: it["S3Output"] for it in body["ProcessingOutputConfig"]["Outputs"]}
    assert all(input_folders(stage)[key] == it["LocalPath"] for key, it in inputs.items())
    assert all(output_folders(stage)[key] == it["LocalPath"] for key, it in outputs.items())
    return Wiring(
        [(key, it["S3Uri"]) for key, it in inputs.items()] + (values.pop("input") or []),
        [(key, it["S3Uri"]) for key, it in outputs.items()] + (values.pop("output") or []),
        {key: value for key, value in values.items() if value is not None},
    )


@each_job
def test_each_channel_is_wired_once_where_the_plan_says(name: str, job: JobPlan):
    """A state machine writes to the same locations as a local run."""
    wired, bases = wiring(name, job), {"data": DATA, "root": ROOT}
    for channels, locations in ((wired.inputs, job.inputs), (wired.outputs, job.outputs)):
        assert Counter(key for key, _ in channels) == Counter(list(locations))
        for key, uri in channels:
            expected = f"{bases[locations[key].base]}/{resolve(locations[key].template, AS_OF)}"
            if locations[key].job_below and channels is wired.inputs and not locations[key].producer:
                assert uri == PUBLISHED  # what an earlier training published, not its own copy, which expires
            elif locations[key].job_below and channels is wired.inputs:
                assert uri == TRAINED
                assert uri.startswith(expected)
            elif not (job.stage.platform == "training" and key == SUMMARY):
                assert resolve(uri, AS_OF) == expected, key


@each_job
def test_a_stage_gets_its_day_and_every_setting(name: str, job: JobPlan):
    values = wiring(name, job).values
    assert set(values) == {parameter.name for parameter in job.stage.parameters}
    parsed = parameters.parse(job.stage, values)
    assert parsed["as_of"] == AS_OF
    assert parsed["execution"] == f"{WORKFLOW_OF[name]}-{AS_OF}"
    assert "column" not in values or parsed["column"] == (("merchant", "TERMINAL_ID"), ("amount", "AMOUNT"))


@each_job
def test_an_execution_may_replace_every_setting_of_the_stack(name: str, job: JobPlan):
    for setting, parameter in job.settings.items():
        value = wiring(name, job, {setting: "chosen"}).values[parameter.name]
        assert value in ("chosen", ["chosen"])  # a repeatable option parses to a list


@each_job
def test_aws_accepts_the_request(name: str, job: JobPlan):
    body = request(name, job)
    kind = next((kind for kind in ("Training", "Processing") if f"{kind}JobName" in body), None)
    if kind is None:
        return
    shape = aws.operation("sagemaker", f"create{kind}Job").input_shape
    report = ParamValidator().validate(body, shape)
    assert not report.has_errors(), report.generate_report()
    assert re.fullmatch(shape.members[f"{kind}JobName"].metadata["pattern"], body[f"{kind}JobName"])
    assert len(body[f"{kind}JobName"]) <= 63


@each_job
def test_a_job_runs_its_stage_in_its_image(name: str, job: JobPlan):
    body, image = request(name, job), f"{job.stage.image.title()}Image"
    if "AppSpecification" in body:
        assert body["AppSpecification"]["ImageUri"] == image
        assert body["AppSpecification"]["ContainerEntrypoint"] == ["fraudline", job.stage.name]
    elif "AlgorithmSpecification" in body:  # SageMaker itself passes "train" to the image
        assert body["AlgorithmSpecification"]["TrainingImage"] == image
    elif "FunctionName" in body:
        assert body["FunctionName"] == f"{job.stage.step}Function"
    else:
        assert (job.workflow, job.stage.name) in {
            ("training", "data-extraction"),
            ("training", "feature-engineering"),
            ("backfill", "data-extraction"),
        }


def test_a_rollback_may_name_another_artifact():
    (job,) = plan("deployment")
    assert dict(wiring("rollback", job, {"model": TRAINED}).inputs)["model"] == TRAINED


@pytest.mark.parametrize("name", WORKFLOW_OF)
def test_the_states_follow_the_order_of_the_workflow(name: str):
    states = aws.definition(name)["States"]
    steps = [step.stage.step for step in WORKFLOWS[WORKFLOW_OF[name]].steps]
    assert [state for state in states if state in steps] == steps
    for earlier, later in pairwise(steps):
        after = states[earlier]["Next"]
        assert later in (after, *(follows(states[after]) if states[after]["Type"] == "Choice" else ()))


@each_state_machine
def test_states_pass_on_locations_and_counts_only(name: str):
    """A payload holds at most 256 KiB: each state selects from its result, or drops it."""
    for state in aws.states(aws.definition(name)).values():
        if state["Type"] in ("Task", "Parallel") and "lambda" in json.dumps(state.get("Resource", "")):
            assert "ResultSelector" in state
    lambdas = [task for task in aws.tasks(aws.definition("daily")).values() if "lambda" in task["Resource"]]
    assert all(set(task["ResultSelector"]) == {"summary.$", "counts.$"} for task in lambdas)
