"""CloudFormation as strict as AWS: the joints of schemas, existing names, failed creations, imports and events.

moto reports resources of types that it does not know as created, keeps what a failed creation created, answers with an
error where AWS records an event, and ignores options of change sets. docs/offline.md lists what AWS documents.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from jsonschema import Draft7Validator, validators
from jsonschema.exceptions import ValidationError as Invalid
from moto.cloudformation import models, parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import ChangeSet, CloudFormationBackend, Event, Stack
from moto.cloudformation.parsing import OutputMap, ResourceMap
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.dynamodb.models import dynamodb_backends
from moto.ecr.models import ecr_backends
from moto.s3.models import s3_backends

REGION = "us-east-1"
PAGE = 20  # events; AWS's pages are larger, and so are its stacks' histories
BODY_BYTES = 51_200  # of a TemplateBody
RETAINED = ("Retain", "RetainExceptOnCreate")

Joint = tuple[Any, str, Any]

# The types whose names outlive a stack: the property with the name, and a function that returns the existing ones.
_NAMED: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "AWS::S3::Bucket": ("BucketName", lambda account, _region: s3_backends[account]["aws"].buckets),
    "AWS::DynamoDB::Table": ("TableName", lambda account, region: dynamodb_backends[account][region].tables),
    "AWS::ECR::Repository": ("RepositoryName", lambda account, region: ecr_backends[account][region].repositories),
}


# Schemas


def _is_number(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(r"-?\d+(\.\d+)?", text) is not None


# CloudFormation converts numbers and booleans from and to text.
_TYPES = (
    Draft7Validator.TYPE_CHECKER.redefine("string", lambda _, it: isinstance(it, str | int | float))
    .redefine("boolean", lambda _, it: isinstance(it, bool) or it in ("true", "false"))
    .redefine("integer", lambda _, it: isinstance(it, int) or _is_number(it))
    .redefine("number", lambda _, it: isinstance(it, int | float) or _is_number(it))
)


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[Invalid]:
    # Some patterns use properties of Unicode characters, which Python's expressions lack.
    with contextlib.suppress(re.error):
        if isinstance(value, str) and not re.search(pattern, value):
            yield Invalid(f"{value!r} does not match {pattern!r}")


def _bound(keyword: str) -> Callable[..., Iterator[Invalid]]:
    compare = Draft7Validator.VALIDATORS[keyword]

    def bound(validator: Any, limit: float, value: Any, schema: Any) -> Iterator[Invalid]:
        number = float(value) if _is_number(value) and schema.get("type") != "string" else value
        yield from compare(validator, limit, number, schema) or ()

    return bound


_KEYWORDS = {"pattern": _pattern, "minimum": _bound("minimum"), "maximum": _bound("maximum")}
_Validator = validators.extend(Draft7Validator, _KEYWORDS, type_checker=_TYPES)


def violations(kind: str, properties: Any) -> list[str]:
    """Return what a type's published schema, as cfn-lint ships it, does not allow of a resource's properties."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema
    return [
        f"{'/'.join(map(str, error.absolute_path)) or 'properties'}: {error.message}"
        for error in _Validator(schema).iter_errors(properties)
    ]


# Creation


class ResourceError(Exception):
    """The reason that CloudFormation records when a resource fails."""


@dataclass
class _Creation:
    """What a stack's creation has done so far.

    Attributes:
        imports: True to import existing resources.
        imported: logical ids of the imported ones, which a rollback leaves alone.
        failed: the resource that failed, and its type.
    """

    imports: bool = False
    imported: set[str] = field(default_factory=set)
    failed: tuple[str, str] | None = None


def _creation(resources: ResourceMap) -> _Creation:
    creation: _Creation = vars(resources).setdefault("creation", _Creation())
    return creation


def _create(create: Callable[..., Any], logical_id: str, resource: Any, resources: ResourceMap, **place: str) -> Any:
    """Create one resource, or import it; raise ResourceError where AWS refuses it."""
    condition = resource.get("Condition")
    if condition and not resources.lazy_condition_map[condition]:
        return None
    kind, creation = resource["Type"], _creation(resources)
    try:
        properties = parsing.clean_json(resource.get("Properties", {}), resources)
        if wrong := violations(kind, properties):
            raise ResourceError(f"Properties validation failed for resource {logical_id} with message: {wrong}")
        existing = _existing(kind, properties, place["account_id"], place["region_name"])
        if existing is None:
            return create(logical_id, resource, resources, **place)
        _check_import(resource, properties, existing, creation, place)
    except Exception:
        creation.failed = creation.failed or (logical_id, kind)
        raise
    creation.imported.add(logical_id)
    existing.cf_resource_type, existing.logical_resource_id = kind, logical_id
    return existing


def _existing(kind: str, properties: Any, account: str, region: str) -> Any:
    if kind not in _NAMED:
        return None
    key, existing = _NAMED[kind]
    return existing(account, region).get(properties.get(key))


def _check_import(resource: Any, properties: Any, existing: Any, creation: _Creation, place: dict[str, str]) -> None:
    """Raise ResourceError if an existing resource can't be imported.

    Its name must be a text of the template, not a function, its policy one of RETAINED, and no other stack may have it:
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-automatically.html
    """
    key = _NAMED[resource["Type"]][0]
    stacks = models.cloudformation_backends[place["account_id"]][place["region_name"]].stacks.values()
    owned = any(existing is it for stack in stacks for it in stack.resource_map._parsed_resources.values())
    static = isinstance(resource["Properties"][key], str)
    if not creation.imports or not static or owned or resource.get("DeletionPolicy") not in RETAINED:
        raise ResourceError(f"{properties[key]} already exists")


def _create_resources(stack: Stack) -> None:
    """Create every resource; after a failure, roll back instead of raising."""
    stack.status = "CREATE_IN_PROGRESS"
    on_failure = vars(stack).get("on_failure", "ROLLBACK")
    try:
        ready = stack.resource_map.create(stack.template_dict)
    except Exception as error:
        _roll_back(stack, error, on_failure)
        return
    stack.description = stack.template_dict.get("Description")
    if ready:
        stack.mark_creation_complete()


def _roll_back(stack: Stack, error: Exception, on_failure: str) -> None:
    failed = _creation(stack.resource_map).failed or (stack.name, "AWS::CloudFormation::Stack")
    _record(stack, *failed, "CREATE_FAILED", str(error))
    # What was being created at the same time is cancelled, with an event of its own after the first failure.
    others = [name for name in stack.resource_map.resources if name not in stack.resource_map._parsed_resources]
    for name in others:
        if name != failed[0]:
            kind = stack.template_dict["Resources"][name]["Type"]
            _record(stack, name, kind, "CREATE_FAILED", "Resource creation cancelled")
    state = "DELETE" if on_failure == "DELETE" else "ROLLBACK"
    stack._add_stack_event(f"{state}_IN_PROGRESS", f"The following resource(s) failed to create: [{failed[0]}].")
    _delete_resources(stack.resource_map, creating=True)
    _drop_outputs(stack)
    stack._add_stack_event(f"{state}_COMPLETE")
    stack.status = f"{state}_COMPLETE"
    if on_failure == "DELETE":
        backend = models.cloudformation_backends[stack.account_id][stack.region_name]
        backend.deleted_stacks[stack.stack_id] = backend.stacks.pop(stack.stack_id)


def _record(stack: Stack, logical_id: str, kind: str, status: str, reason: str) -> None:
    stack.events.append(Event(stack.stack_id, stack.name, logical_id, "", kind, status, reason, None))


def _delete_resources(resources: ResourceMap, *, creating: bool = False) -> None:
    """Delete a stack's resources but those that their policies retain.

    Retain keeps a resource even if its creation is rolled back; RetainExceptOnCreate keeps it otherwise:
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
    """
    imported, kept = _creation(resources).imported, RETAINED[:1] if creating else RETAINED
    for logical_id in reversed([name for name in resources._parsed_resources if name in resources.resources]):
        resource, parsed = resources._resource_json_map[logical_id], resources._parsed_resources.pop(logical_id)
        rolled_back = creating and logical_id in imported  # it existed before
        if parsed is not None and not rolled_back and resource.get("DeletionPolicy") not in kept:
            resources._delete_resource(parsed, resource)


def _drop_outputs(stack: Stack) -> None:
    """Forget the outputs of what was deleted: to read them would create it again."""
    stack.output_map = OutputMap(stack.resource_map, {}, stack.stack_id)


# Change sets


def _create_change_set(create: Callable[..., Any], response: CloudFormationResponse) -> ActionResult:
    """Create a change set, and remember the options that moto ignores."""
    _check_request(response)
    answer: ActionResult = create(response)
    change_set = response.cloudformation_backend.describe_change_set(answer.result["Id"])
    change_set.imports = response._get_bool_param("ImportExistingResources", False)
    change_set.on_failure = response._get_param("OnStackFailure") or "ROLLBACK"
    if change_set.on_failure == "DELETE" and change_set.change_set_type != "CREATE":
        raise ValidationError(message="OnStackFailure DELETE is only valid for change sets of type CREATE")
    return answer


def _check_request(response: CloudFormationResponse) -> None:
    """Raise ValidationError for what AWS refuses of a template and its parameters."""
    body = response._get_param("TemplateBody")
    if body and len(body.encode()) > BODY_BYTES:
        raise ValidationError(message=f"1 validation error detected: templateBody is longer than {BODY_BYTES}")
    text = body or response._get_stack_from_s3_url(response._get_param("TemplateURL"))
    declared = Stack.parse_template(text).get("Parameters", {})
    for it in response._get_param("Parameters", []):
        name, value = it["ParameterKey"], str(it["ParameterValue"])
        pattern, choices = (declared[name].get(key) for key in ("AllowedPattern", "AllowedValues"))
        if pattern and not re.fullmatch(pattern, value):
            raise ValidationError(message=f"Parameter {name} failed to satisfy constraint: {pattern}")
        if choices and value not in map(str, choices):
            raise ValidationError(message=f"Parameter '{name}' must be one of AllowedValues")


def _execute_change_set(execute: Callable[..., None], backend: CloudFormationBackend, name: str, stack: str) -> None:
    """Create a stack as CreateStack does, in the order of its dependencies; leave updates to moto."""
    change_set: Any = backend.describe_change_set(name)
    if change_set.change_set_type != "CREATE":
        execute(backend, name, stack)
        change_set.stack.parameters = change_set.parameters
        change_set.stack._parse_template()
        return
    created = change_set.stack
    created.template, created.parameters = change_set.template, change_set.parameters
    created._parse_template()
    created.resource_map = created._create_resource_map()
    created.output_map = created._create_output_map()
    created.on_failure = change_set.on_failure
    _creation(created.resource_map).imports = change_set.imports
    change_set.execution_status = "EXECUTE_COMPLETE"
    created._add_stack_event("CREATE_IN_PROGRESS", resource_status_reason="User Initiated")
    created.create_resources()


def _describe_change_set(backend: CloudFormationBackend, change_set_name: str) -> ChangeSet:
    """Return the newest change set of a name; several stacks may have one."""
    for change_set in reversed(backend.change_sets.values()):
        if change_set_name in (change_set.change_set_id, change_set.change_set_name):
            return change_set
    raise ValidationError(change_set_name)


def _describe_stack_events(response: CloudFormationResponse) -> ActionResult:
    """Answer a page of events, newest first; a deleted stack's by its id only."""
    events = response.cloudformation_backend.describe_stack_events(response._get_param("StackName"))[::-1]
    start = int(response._get_param("NextToken") or 0)
    more = {"NextToken": str(start + PAGE)} if len(events) > start + PAGE else {}
    return ActionResult({"StackEvents": events[start : start + PAGE], **more})


def joints() -> Iterator[Joint]:
    """Yield what replaces moto's own."""
    create, create_change_set = parsing.parse_and_create_resource, CloudFormationResponse.create_change_set
    execute, delete_stack = CloudFormationBackend.execute_change_set, Stack.delete

    def delete(stack: Stack) -> None:
        delete_stack(stack)
        _drop_outputs(stack)

    def create_resource(
        logical_id: str, resource: Any, resources: ResourceMap, account_id: str, region_name: str
    ) -> Any:
        return _create(create, logical_id, resource, resources, account_id=account_id, region_name=region_name)

    def execute_change_set(response: CloudFormationResponse) -> EmptyResult:
        names = response._get_param("ChangeSetName"), response._get_param("StackName")
        _execute_change_set(execute, response.cloudformation_backend, *names)
        return EmptyResult()

    yield parsing, "parse_and_create_resource", create_resource
    yield ResourceMap, "delete", _delete_resources
    yield Stack, "create_resources", _create_resources
    yield Stack, "delete", delete
    yield CloudFormationBackend, "describe_change_set", _describe_change_set
    yield CloudFormationResponse, "create_change_set", lambda response: _create_change_set(create_change_set, response)
    yield CloudFormationResponse, "execute_change_set", execute_change_set
    yield CloudFormationResponse, "_validate_different_update", lambda *_: None  # UpdateStack's; a change set fails
    yield CloudFormationResponse, "describe_stack_events", _describe_stack_events
