"""Step Functions as strict as AWS: errors that nothing catches, quotas, and how a request's body is encoded.

docs/offline.md lists each joint with its source; test_states.py checks them, against public recordings of AWS where one
exists.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.stepfunctions.parser.api import HistoryEventType, StateMachineType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.error_equals_decl import ErrorEqualsDecl
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import TimeoutSeconds
from moto.stepfunctions.parser.asl.component.program.program import Program
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
    StateTaskServiceAwsSdk,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.state_task import StateTask
from moto.stepfunctions.parser.asl.component.state.state import CommonStateField
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.backend.execution import Execution

# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
EXPRESS_SECONDS = 300
HISTORY_EVENTS = 25_000
PAYLOAD_BYTES = 262_144

_RUNTIME = StatesErrorNameType.StatesRuntime
_TOO_LARGE = StatesErrorNameType.StatesStatesDataLimitExceeded

Joint = tuple[Any, str, Any]  # the owner in moto, the attribute's name, its replacement


def joints() -> Iterator[Joint]:
    """Yield what makes moto's state machines as strict as AWS's."""
    yield ErrorEqualsDecl, "_eval_body", _matching_errors()
    yield Execution, "get_start_state_machine_details", _describing_type()
    yield Program, "eval", _evaluating_in_time()
    yield CommonStateField, "_eval_body", _counting_events()
    yield StateTask, "_eval_parameters", _limiting_parameters()
    yield StateTaskServiceAwsSdk, "_eval_service_task", _encoding_bodies()


def check_input(content: str | None) -> None:
    """Raise the API's error if an execution's input is above the quota."""
    if content and len(content.encode()) > PAYLOAD_BYTES:
        raise JsonRESTError(
            "ValidationException",
            "1 validation error detected: Value at 'input' failed to satisfy constraint: "
            f"Member must have length less than or equal to {PAYLOAD_BYTES}",
        )


def _matching_errors() -> Any:
    """Return how Retry and Catch match an error: States.Runtime never, a payload above the quota only by its name."""
    match = ErrorEqualsDecl._eval_body

    def match_error(declared: ErrorEqualsDecl, env: Environment) -> None:
        error = env.stack[-1].error_name
        match(declared, env)
        names = [name.error_name for name in declared.error_names]
        if error == _RUNTIME.to_name() or (error == _TOO_LARGE.to_name() and error not in names):
            env.stack[-1] = False

    return match_error


def _describing_type() -> Any:
    """Return what lets an execution know that its state machine is EXPRESS; in moto each is STANDARD."""
    describe = Execution.get_start_state_machine_details

    def details(execution: Execution) -> Any:
        described = describe(execution)
        described.typ = StateMachineType(execution.state_machine.type)
        return described

    return details


def _evaluating_in_time() -> Any:
    """Return what ends an EXPRESS execution as TIMED_OUT at the service's limit; no state runs after that."""
    evaluate = Program.eval

    def evaluate_in_time(program: Any, env: Environment) -> None:
        if env.execution_type == StateMachineType.EXPRESS and not env.is_frame():
            own = program.timeout_seconds.timeout_seconds if program.timeout_seconds else EXPRESS_SECONDS
            # Each execution parses its definition again, so this one belongs to it alone.
            program.timeout_seconds = TimeoutSeconds(min(own, EXPRESS_SECONDS))
        evaluate(program, env)

    return evaluate_in_time


def _counting_events() -> Any:
    """Return what fails a STANDARD execution that enters a state with a full history."""
    enter = CommonStateField._eval_body

    def enter_state(state: CommonStateField, env: Environment) -> None:
        if env.is_standard_workflow() and len(env.event_manager._history_event_list) >= HISTORY_EVENTS:
            cause = f"The execution reached the maximum number of history events ({HISTORY_EVENTS})."
            raise _failure(env, _RUNTIME, cause)
        enter(state, env)

    return enter_state


def _limiting_parameters() -> Any:
    """Return what refuses a task whose parameters are above the quota; moto checks results alone."""
    resolve = StateTask._eval_parameters

    def resolve_parameters(task: StateTask, env: Environment) -> Any:
        parameters = resolve(task, env)
        if len(json.dumps(parameters, ensure_ascii=False, default=str).encode()) > PAYLOAD_BYTES:
            cause = f"The parameters of the state '{task.name}' exceed the maximum number of bytes service limit."
            raise _failure(env, _TOO_LARGE, cause)
        return parameters

    return resolve_parameters


def _encoding_bodies() -> Any:
    """Return what encodes the Body of s3:putObject as JSON, a text included; moto stores a text as it is."""
    call = StateTaskServiceAwsSdk._eval_service_task

    def call_service(
        task: StateTaskServiceAwsSdk, env: Any, resource_runtime_part: Any, normalised_parameters: Any, **others: Any
    ) -> None:
        if (task.resource.api_name, task.resource.api_action) == ("s3", "putObject"):
            body = normalised_parameters["Body"]
            if isinstance(body, bytes):  # moto has encoded what is not a text
                body = json.loads(body)
            encoded = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
            normalised_parameters["Body"] = encoded
        call(task, env, resource_runtime_part, normalised_parameters, **others)

    return call_service


def _failure(env: Environment, error: StatesErrorNameType, cause: str) -> FailureEventException:
    details = EventDetails(taskFailedEventDetails=TaskFailedEventDetails(error=error.to_name(), cause=cause))
    return FailureEventException(FailureEvent(env, StatesErrorName(error), HistoryEventType.TaskFailed, details))
