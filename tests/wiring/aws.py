"""The stack and the state machines as data, for the laws that hold them to the stages and workflows."""

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
MACHINES = {path.name.removesuffix(".asl.json"): path for path in sorted((GLUE / "state_machines").glob("*.asl.json"))}
# What a machine calls a service by, as boto3 does.
SERVICES = {"states": "stepfunctions", "sfn": "stepfunctions"}


@cache
def machine(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(MACHINES[name].read_text())
    return content


@cache
def stack() -> Mapping[str, Any]:
    template, faults = decode(str(GLUE / "stack.yaml"))
    assert not faults
    return template


def resources(kind: str) -> dict[str, Mapping[str, Any]]:
    """The properties of the stack's resources of a kind, by their logical name."""
    found = stack()["Resources"].items()
    return {name: resource["Properties"] for name, resource in found if resource["Type"] == f"AWS::{kind}"}


def made_as(name: str) -> Mapping[str, Any]:
    """What the stack makes of a machine's file."""
    found = resources("StepFunctions::StateMachine").values()
    (made,) = (it for it in found if text(it["DefinitionS3Location"]["Key"]).endswith(f"/{name}.asl.json"))
    return made


def scopes(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The machine, and every branch and iteration inside of it: what has states of its own."""
    yield content
    for state in content["States"].values():
        for inner in (*state.get("Branches", []), *filter(None, [state.get("ItemProcessor")])):
            yield from scopes(inner)


def states(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {name: state for scope in scopes(content) for name, state in scope["States"].items()}


def tasks(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {name: state for name, state in states(content).items() if state["Type"] == "Task"}


def action(resource: str) -> tuple[str, str, str]:
    """What a task asks: boto3's name of the service, the operation in camel case, and how it waits."""
    found = re.fullmatch(r"arn:aws:states:::(?:aws-sdk:)?([\w-]+):(\w+)(?:\.(\w+))?", resource)
    assert found, resource
    return SERVICES.get(found[1], found[1]), found[2], found[3] or ""


def operation(service: str, name: str) -> Any:
    """An operation in botocore's model of a service; what is not there raises KeyError or an error of botocore's."""
    model = get_session().get_service_model(service)
    (known,) = (each for each in model.operation_names if each.lower() == name.lower())
    return model.operation_model(known)


def text(value: Any) -> str:
    """A value of the template as one text, with what it refers to in its place as ${…}."""
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


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def statements(role: str) -> list[Mapping[str, Any]]:
    """What a role's own policies allow; not what the service does on behalf of any role of its kind."""
    policies = resources("IAM::Role")[role].get("Policies", [])
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


def allowed(role: str) -> set[str]:
    return {each for statement in statements(role) for each in listed(statement["Action"])}


# A machine's functions, as far as these machines use them


def resolved(value: Any, given: Mapping[str, Any]) -> Any:
    """A state's parameters as the service would send them, from the state's input."""
    if isinstance(value, Mapping):
        return {
            name.removesuffix(".$"): evaluated(each, given) if name.endswith(".$") else resolved(each, given)
            for name, each in value.items()
        }
    return [resolved(each, given) for each in value] if isinstance(value, list) else value


def evaluated(expression: str, given: Mapping[str, Any]) -> Any:
    if expression.startswith("$$."):
        return given.get("$$", {}).get(expression, expression)
    if expression in ("true", "false"):
        return expression == "true"
    if expression.startswith("$"):
        return _at(expression, given)
    if expression.startswith("'"):
        return expression[1:-1]
    found = re.fullmatch(r"States\.(\w+)\((.*)\)", expression)
    if not found:
        return int(expression)
    arguments = [evaluated(each, given) for each in _arguments(found[2])]
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
    return functions[found[1]](*arguments)


def _at(path: str, given: Mapping[str, Any]) -> Any:
    found: Any = given
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        found = found[int(index)] if index else found[name]
    return found


def _arguments(joined: str) -> list[str]:
    """Arguments split at the commas that are neither quoted nor an inner function's."""
    parts, depth, quoted = [""], 0, False
    for character in joined:
        quoted ^= character == "'"
        depth += 0 if quoted else (character == "(") - (character == ")")
        if character == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]
