"""The stack and the state machines as data, for tests of their laws."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from botocore.session import get_session
from cfnlint.decode import decode

GLUE = Path(__file__).parents[2] / "glue"
DEFINITIONS = {
    path.name.removesuffix(".asl.json"): path for path in sorted((GLUE / "state_machines").glob("*.asl.json"))
}
# The names in tasks' ARNs that boto3 writes otherwise.
SERVICES = {"states": "stepfunctions", "sfn": "stepfunctions"}


@cache
def definition(name: str) -> dict[str, Any]:
    """Return a state machine's definition by the name of its file."""
    content: dict[str, Any] = json.loads(DEFINITIONS[name].read_text())
    return content


@cache
def stack() -> Mapping[str, Any]:
    """Return the stack's template."""
    template, errors = decode(str(GLUE / "stack.yaml"))
    assert not errors
    return template


def resources(kind: str) -> dict[str, Mapping[str, Any]]:
    """Return the properties of the stack's resources of a kind, by logical id."""
    entries = stack()["Resources"].items()
    return {name: resource["Properties"] for name, resource in entries if resource["Type"] == f"AWS::{kind}"}


def state_machine(name: str) -> Mapping[str, Any]:
    """Return the properties of the resource that deploys a definition."""
    state_machines = resources("StepFunctions::StateMachine").values()
    key = f"/{name}.asl.json"
    (properties,) = (it for it in state_machines if text(it["DefinitionS3Location"]["Key"]).endswith(key))
    return properties


def scopes(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a definition and every branch and iteration in it, since each has states of its own."""
    yield content
    for state in content["States"].values():
        for inner in (*state.get("Branches", []), *filter(None, [state.get("ItemProcessor")])):
            yield from scopes(inner)


def states(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return every state of a definition, by its name."""
    return {name: state for scope in scopes(content) for name, state in scope["States"].items()}


def tasks(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return every Task state of a definition, by its name."""
    return {name: state for name, state in states(content).items() if state["Type"] == "Task"}


def action(resource: str) -> tuple[str, str, str]:
    """Split a task's ARN into boto3's name of the service, the operation in camel case, and how the task waits."""
    match = re.fullmatch(r"arn:aws:states:::(?:aws-sdk:)?([\w-]+):(\w+)(?:\.(\w+))?", resource)
    assert match, resource
    return SERVICES.get(match[1], match[1]), match[2], match[3] or ""


def operation(service: str, name: str) -> Any:
    """Return an operation from botocore's model of a service; raise where the service lacks it."""
    model = get_session().get_service_model(service)
    (exact,) = (each for each in model.operation_names if each.lower() == name.lower())
    return model.operation_model(exact)


def text(value: Any) -> str:
    """Return a value of the template as one text, with references as ${…}."""
    if isinstance(value, Mapping):
        ((function, argument),) = value.items()
        if function == "Ref":
            return f"${{{argument}}}"
        if function == "Fn::GetAtt":
            return f"${{{'.'.join(argument) if isinstance(argument, list) else argument}}}"
        if function == "Fn::Sub":
            return argument if isinstance(argument, str) else argument[0]
        if function == "Fn::If":
            return text(argument[1])
    return str(value)


def as_list(value: Any) -> list[Any]:
    """Return a list, or a single value as a list of one."""
    return list(value) if isinstance(value, list) else [value]


def statements(role: str) -> list[Mapping[str, Any]]:
    """Return the statements of a role's own policies, without those that all roles of its kind share."""
    policies = resources("IAM::Role")[role].get("Policies", [])
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


def allowed_actions(role: str) -> set[str]:
    """Return the actions of a role's own policies."""
    return {action for statement in statements(role) for action in as_list(statement["Action"])}


# The intrinsic functions of Step Functions that these definitions use


def resolved(value: Any, state_input: Mapping[str, Any]) -> Any:
    """Return a state's parameters as Step Functions would send them."""
    if isinstance(value, Mapping):
        return {
            name.removesuffix(".$"): evaluated(each, state_input)
            if name.endswith(".$")
            else resolved(each, state_input)
            for name, each in value.items()
        }
    return [resolved(each, state_input) for each in value] if isinstance(value, list) else value


def evaluated(expression: str, state_input: Mapping[str, Any]) -> Any:
    """Return the value of a path, a literal or an intrinsic function."""
    if expression.startswith("$$."):
        return state_input.get("$$", {}).get(expression, expression)
    if expression in ("true", "false"):
        return expression == "true"
    if expression.startswith("$"):
        return _select(expression, state_input)
    if expression.startswith("'"):
        return expression[1:-1]
    call = re.fullmatch(r"States\.(\w+)\((.*)\)", expression)
    if not call:
        return int(expression)
    arguments = [evaluated(each, state_input) for each in _arguments(call[2])]
    functions: dict[str, Any] = {
        "Format": lambda form, *values: re.sub(r"{}", "%s", form) % values,
        "Array": lambda *values: list(values),
        "ArrayGetItem": lambda values, index: values[index],
        "StringSplit": lambda joined, by: joined.split(by),
        "StringToJson": json.loads,
        "Base64Decode": lambda encoded: b64decode(encoded).decode(),
        "JsonToString": json.dumps,
        "JsonMerge": lambda first, second, _deep: {**first, **second},
        "UUID": lambda: "0a1b2c3d-0000-0000-0000-000000000000",
        "Hash": lambda hashed, _: f"{hash(hashed):064x}",
    }
    return functions[call[1]](*arguments)


def _select(path: str, state_input: Mapping[str, Any]) -> Any:
    value: Any = state_input
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        value = value[int(index)] if index else value[name]
    return value


def _arguments(joined: str) -> list[str]:
    """Split arguments at commas outside of quotation marks and inner calls."""
    parts, depth, quoted = [""], 0, False
    for character in joined:
        quoted ^= character == "'"
        if not quoted:
            depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]
