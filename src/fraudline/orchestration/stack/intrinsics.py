"""CloudFormation's intrinsic functions as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Value = Any  # a scalar, a list or a mapping, with functions in it


@dataclass(frozen=True)
class Noted:
    """A value with a comment, which stands above it in the written template."""

    comment: str
    value: Value


Resource = dict[str, Any]
Resources = dict[str, Resource | Noted]  # by logical id


def ref(name: str) -> Value:
    """Return a parameter's value, or what identifies a resource."""
    return {"Ref": name}


def attribute(resource: str, name: str = "Arn") -> Value:
    """Return an attribute of a resource."""
    return {"Fn::GetAtt": [resource, name]}


def sub(text: str, **values: Value) -> Value:
    """Return a text with its ``${…}`` filled in, from ``values`` or else from the template."""
    return {"Fn::Sub": [text, values] if values else text}


def join(separator: str, values: Value) -> Value:
    """Return a list as one text."""
    return {"Fn::Join": [separator, values]}


def choose(condition: str, then: Value, otherwise: Value) -> Value:
    """Return one of two values, depending on a condition of the template."""
    return {"Fn::If": [condition, then, otherwise]}


def equals(one: Value, other: Value) -> Value:
    """Return a condition."""
    return {"Fn::Equals": [one, other]}


def negate(condition: Value) -> Value:
    """Return the opposite of a condition."""
    return {"Fn::Not": [condition]}


def both(one: str, other: str) -> Value:
    """Return a condition that two conditions of the template hold."""
    return {"Fn::And": [{"Condition": one}, {"Condition": other}]}


def arn(service: str, resource: str) -> Value:
    """Return the ARN of a service's resource in the account and region of the stack."""
    return sub(f"arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{resource}")


NOTHING = ref("AWS::NoValue")
