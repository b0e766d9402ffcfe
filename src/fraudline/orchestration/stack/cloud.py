"""An AWS account as a deployment sees it: CloudFormation's stacks, and buckets."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from fraudline.catalog.errors import InputError
from fraudline.catalog.stage import NO_CHAMPION, POINTER_FILE
from fraudline.catalog.workflow import CHAMPION
from fraudline.runtime import aws, aws_errors

CHANGE_SET = "make-deploy"


class Cloud:
    """The account that this computer's credentials give access to.

    Args:
        dry_run: show what would change instead of changing stacks.
    """

    def __init__(self, *, dry_run: bool = False) -> None:
        self.dry_run = dry_run
        self._formation = aws.client("cloudformation")
        self._s3 = aws.client("s3")

    @property
    def region(self) -> str:
        """Return the region's name."""
        return str(self._s3.meta.region_name)

    # Stacks

    def outputs(self, stack: str) -> dict[str, str] | None:
        """Return a stack's outputs, None where the stack does not exist."""
        description = self._describe(stack)
        if description is None:
            return None
        return {output["OutputKey"]: output["OutputValue"] for output in description.get("Outputs", [])}

    def apply(self, stack: str, template: Mapping[str, str], values: Mapping[str, str]) -> None:
        """Create a stack from a template, or update it.

        Args:
            stack: its name.
            template: ``TemplateBody`` or ``TemplateURL``.
            values: parameters; one that is left out keeps its value, or has the template's default.

        Raises:
            InputError: a parameter is unknown or needs a value, or CloudFormation failed.
        """
        description = self._describe(stack)
        current = {} if description is None else _parameters(description)
        parameters = self._merged(template, current, values)
        request = {"StackName": stack, "Capabilities": ["CAPABILITY_IAM"], "Parameters": parameters, **template}
        if self.dry_run:
            self._show_changes(request, new=description is None)
        elif description is None:
            self._formation.create_stack(**request, OnFailure="DELETE")
            self._wait(stack, "stack_create_complete")
        elif self._starts_update(request):
            self._wait(stack, "stack_update_complete")
        else:
            print(f"{stack}: up to date")

    def delete(self, stack: str) -> None:
        """Delete a stack; resources that its template retains stay."""
        if self._describe(stack) is None:
            print(f"{stack}: does not exist")
        elif self.dry_run:
            self._show_resources(stack)
        else:
            self._formation.delete_stack(StackName=stack)
            self._wait(stack, "stack_delete_complete")

    def _describe(self, stack: str) -> dict[str, Any] | None:
        try:
            description: dict[str, Any] = self._formation.describe_stacks(StackName=stack)["Stacks"][0]
        except ClientError as error:
            # CloudFormation has no code of its own for this.
            if "does not exist" in str(error):
                return None
            raise
        return description

    def _merged(
        self, template: Mapping[str, str], current: Mapping[str, str], values: Mapping[str, str]
    ) -> list[dict[str, str]]:
        """Return the parameters of a request: new values over current ones, of those that the template declares."""
        declared = {it["ParameterKey"]: it for it in self._formation.get_template_summary(**template)["Parameters"]}
        if unknown := sorted(set(values) - set(declared)):
            raise InputError(f"--set {', '.join(unknown)}: no such parameter; there are {', '.join(sorted(declared))}")
        merged = {name: value for name, value in {**current, **values}.items() if name in declared}
        if missing := [name for name in declared if "DefaultValue" not in declared[name] and name not in merged]:
            raise InputError(f"--set {', '.join(missing)}: has no value yet; set one")
        return [{"ParameterKey": name, "ParameterValue": value} for name, value in merged.items()]

    def _starts_update(self, request: Mapping[str, Any]) -> bool:
        """Return False where there is nothing to update."""
        try:
            self._formation.update_stack(**request)
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return False
            raise
        return True

    def _show_changes(self, request: Mapping[str, Any], *, new: bool) -> None:
        """Print what a request would change, from a change set that is deleted afterwards."""
        stack = request["StackName"]
        change_set = {"StackName": stack, "ChangeSetName": CHANGE_SET}
        self._formation.create_change_set(**{**request, **change_set}, ChangeSetType="CREATE" if new else "UPDATE")
        try:
            self._formation.get_waiter("change_set_create_complete").wait(**change_set)
            for page in self._formation.get_paginator("describe_change_set").paginate(**change_set):
                for change in page["Changes"]:
                    print(f"{stack}: {_change_text(change['ResourceChange'])}")
        except WaiterError as error:
            reason = error.last_response.get("StatusReason", str(error))
            if not re.search("didn't contain changes|No updates", reason):
                raise InputError(f"stack '{stack}': {reason}") from error
            print(f"{stack}: up to date")
        finally:
            self._formation.delete_change_set(**change_set)
            if new:  # a change set of a new stack leaves an empty stack
                self._formation.delete_stack(StackName=stack)

    def _show_resources(self, stack: str) -> None:
        for page in self._formation.get_paginator("list_stack_resources").paginate(StackName=stack):
            for resource in page["StackResourceSummaries"]:
                print(f"{stack}: Remove {resource['ResourceType']} {resource['LogicalResourceId']}, or retain it")

    def _wait(self, stack: str, state: str) -> None:
        try:
            self._formation.get_waiter(state).wait(StackName=stack)
        except WaiterError as error:
            raise InputError(f"stack '{stack}' failed: {self._first_failure(stack) or error}") from error

    def _first_failure(self, stack: str) -> str:
        """Return why the first resource failed, which is the reason of all later failures."""
        events = self._formation.describe_stack_events(StackName=stack)["StackEvents"]
        failures = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
        if not failures:
            return ""
        first = failures[-1]  # events come newest first
        return f"{first['LogicalResourceId']}: {first.get('ResourceStatusReason')}"

    # Buckets

    def upload(self, bucket: str, files: Mapping[str, Path]) -> str:
        """Upload files, by name, and return their prefix.

        The prefix is a hash of their content: a deployed stack never runs files that changed later.
        """
        digest = hashlib.sha256()
        for name in sorted(files):
            digest.update(f"{name}\0".encode() + files[name].read_bytes())
        prefix = f"fraudline/{digest.hexdigest()[:16]}"
        for name in sorted(files):
            self._s3.upload_file(str(files[name]), bucket, f"{prefix}/{name}")
        return prefix

    def create_pointer(self, root: str) -> None:
        """Write that there is no champion yet, unless the pointer exists; stages fail without a pointer."""
        bucket, key = root.removeprefix("s3://"), f"{CHAMPION.template}{POINTER_FILE}"
        try:
            self._s3.put_object(Bucket=bucket, Key=key, Body=NO_CHAMPION.encode(), IfNoneMatch="*")
        except ClientError as error:
            if aws_errors.code(error) != "PreconditionFailed":
                raise


def _parameters(description: Mapping[str, Any]) -> dict[str, str]:
    return {it["ParameterKey"]: it["ParameterValue"] for it in description.get("Parameters", [])}


def _change_text(change: Mapping[str, Any]) -> str:
    replaced = ", replaced" if change.get("Replacement") == "True" else ""
    return f"{change['Action']} {change['ResourceType']} {change['LogicalResourceId']}{replaced}"
