"""moto's Step Functions evaluates each job's request to what tests/wiring expects, with and without settings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from fraudline.catalog.plan import JobPlan
from tests.aws.engine import Engine, engine
from tests.wiring import aws
from tests.wiring.test_state_machines import AS_OF, JOBS, TRAINED, filled, request

# moto's server leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:.*unclosed")

ROLE = "arn:aws:iam::123456789012:role/any"
# An operator may write a number without quotation marks.
SETTINGS = {"threshold": 0.9, "rounds": 40, "column": "merchant=SHOP", "label_delay_days": "5"}


@pytest.fixture(scope="module")
def cloud() -> Iterator[Engine]:
    with engine() as started:
        yield started


def definition_of(name: str, job: JobPlan) -> dict[str, Any]:
    """Return a definition that resolves the arguments as the state machine does, and outputs the job's request."""
    definition = filled(aws.definition(name))
    tasks = aws.tasks(definition)
    task = tasks.get(job.stage.step) or tasks[f"Run {job.stage.step}"]
    arguments = ("ReadMessage", "ResolveArguments", "LocateModel", "ApplySettings")
    states = {state: definition["States"][state] for state in arguments if state in definition["States"]}
    states["ApplySettings"] |= {"Next": "SetModel"}
    states["SetModel"] = {
        "Type": "Pass",
        "Result": {"model": TRAINED},
        "ResultPath": "$.TrainModel.job",
        "Next": "OutputRequest",
    }
    states["OutputRequest"] = {"Type": "Pass", "Parameters": task["Parameters"], "End": True}
    return {"StartAt": next(iter(states)), "States": states}


def without_unique_name(content: Any) -> Any:
    """Return a request without the random end of its job's name."""
    return json.loads(re.sub(r'("\w+JobName": ".*?)-[0-9a-f]{8}"', r'\1"', json.dumps(content)))


@pytest.mark.parametrize("settings", [{}, SETTINGS], ids=["defaults", "settings"])
@pytest.mark.parametrize(("name", "job"), JOBS, ids=[f"{name}-{job.stage.name}" for name, job in JOBS])
def test_a_request_is_evaluated_as_expected(cloud: Engine, name: str, job: JobPlan, settings: dict[str, Any]):
    client, definition = boto3.client("stepfunctions"), json.dumps(definition_of(name, job))
    unique = f"{name}-{job.stage.name}-{len(settings)}"
    arn = client.create_state_machine(name=unique, definition=definition, roleArn=ROLE)["stateMachineArn"]
    content: Any = {"as_of": str(AS_OF), **settings}
    if name == "daily":  # its pipe delivers an array of messages
        content = [{"scheduled": f"{AS_OF}T06:00:00Z", **settings}]
    started = client.start_execution(stateMachineArn=arn, input=json.dumps(content))
    execution = cloud.wait_for(started["executionArn"])
    assert execution["status"] == "SUCCEEDED", execution
    assert without_unique_name(json.loads(execution["output"])) == without_unique_name(request(name, job, settings))
