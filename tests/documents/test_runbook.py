"""The runbook covers every signal that operators can receive."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from fraudline.catalog.exit_codes import ExitCode
from tests.documents.pages import REPOSITORY, first_cells
from tests.wiring import aws

RUNBOOK = REPOSITORY / "docs" / "runbook.md"
TEXT = RUNBOOK.read_text()
STATE_MACHINES = sorted((REPOSITORY / "glue" / "state_machines").glob("*.asl.json"))


def states(definition: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, state in definition["States"].items():
        yield name, state
        for inner in (*state.get("Branches", ()), *filter(None, [state.get("ItemProcessor")])):
            yield from states(inner)


def notices() -> Iterator[tuple[str, str]]:
    """Yield state machine and name of every state that publishes to the operations topic."""
    for path in STATE_MACHINES:
        for name, state in states(json.loads(path.read_text())):
            if "OperationsTopic" in json.dumps(state.get("Parameters", {}).get("TopicArn", "")):
                yield path.name.partition(".")[0].replace("_", "-"), name


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_is_in_the_runbook(code: ExitCode):
    assert re.search(rf"^\| {code.value} \| `{code.name}` ", TEXT, re.MULTILINE)


@pytest.mark.parametrize("alarm", aws.resources("CloudWatch::Alarm"))
def test_every_alarm_is_in_the_runbook(alarm: str):
    assert alarm in first_cells(RUNBOOK)


@pytest.mark.parametrize(("machine", "state"), sorted(set(notices())))
def test_every_notice_is_in_the_runbook(machine: str, state: str):
    assert re.search(rf"^\| `{state}` \|[^|]*`{machine}`", TEXT, re.MULTILINE)


@pytest.mark.parametrize("queue", [name for name in aws.resources("SQS::Queue") if "DeadLetters" in name])
def test_every_dead_letter_queue_is_in_the_runbook(queue: str):
    assert re.search(rf"^\| `{queue}` ", TEXT, re.MULTILINE)


def test_every_error_of_the_state_machines_is_in_the_runbook():
    errors = {
        state["Error"]
        for path in STATE_MACHINES
        for _, state in states(json.loads(path.read_text()))
        if "Error" in state
    }
    assert {error for error in errors if error not in TEXT} == set()
