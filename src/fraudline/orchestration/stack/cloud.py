"""An AWS account as a deployment sees it: CloudFormation's stacks, and buckets."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from fraudline.catalog.errors import InputError
from fraudline.catalog.stage import NO_CHAMPION, POINTER_FILE
from fraudline.catalog.workflow import CHAMPION
from fraudline.runtime import aws, aws_errors

CHANGE_SET = "make-deploy"
_POLL = {"Delay": 5, "MaxAttempts": 1440}  # two hours
# All that can be done with such a stack is to delete it.
_ABANDONED = ("CREATE_FAILED", "DELETE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED")
_TRY_AGAIN = "correct this, and run make deploy again"
# What to do about the reason of a failure, by a part of its text.
_REMEDIES = (
    (
        "already exists|AlreadyExists|already owned",
        "another stack, a person or another account has this name: delete that, or choose another prefix with --name",
    ),
    ("MemorySize", "run make deploy ARGS='--set FunctionMemory=3008', or ask AWS Support for more memory"),
    ("quota|limit", "raise it: aws service-quotas list-service-quotas --service-code SERVICE; then make deploy again"),
    ("not authorized|AccessDenied|Access denied", "grant the deploying identity this action, then make deploy again"),
    ("not empty", "empty it, or keep it: aws cloudformation delete-stack --retain-resources, then run it again"),
)


class Cloud:
    """The account that this computer's credentials give access to.

    Args:
        dry_run: show what would change instead of changing stacks.
    """

    def __init__(self, *, dry_run: bool = False) -> None:
        self.dry_run = dry_run
        self._formation = aws.client("cloudformation")
        self._s3 = aws.client("s3")

    @cached_property
    def account(self) -> str:
        """Return the account's number."""
        return str(aws.client("sts").get_caller_identity()["Account"])

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

    def parameters(self, stack: str) -> dict[str, str]:
        """Return a stack's parameters, none where the stack does not exist."""
        description = self._describe(stack)
        return {} if description is None else _parameters(description)

    def apply(self, stack: str, template: Mapping[str, str], values: Mapping[str, str]) -> None:
        """Create a stack from a template, or update it.

        Args:
            stack: its name.
            template: ``TemplateBody`` or ``TemplateURL``.
            values: parameters; one that is left out keeps its value, or has the template's default.

        Raises:
            InputError: a parameter is unknown or needs a value, or CloudFormation failed.
        """
        description = self._settled(stack)
        current = {} if description is None else _parameters(description)
        parameters = self._merged(template, current, values)
        operation = "CREATE" if description is None else "UPDATE"
        request = {"StackName": stack, "Capabilities": ["CAPABILITY_IAM"], "Parameters": parameters, **template}
        change_set = self._change_set(request, operation)
        if change_set is None:
            print(f"{stack}: up to date")
        elif self.dry_run:
            self._show_changes(stack, change_set, new=description is None)
        else:
            self._formation.execute_change_set(ChangeSetName=change_set["Id"], StackName=stack)
            self._wait(change_set["StackId"], operation)

    def delete(self, stack: str) -> None:
        """Delete a stack; resources that its template retains stay."""
        description = self._describe(stack)
        if description is None:
            print(f"{stack}: does not exist")
        elif self.dry_run:
            self._show_resources(stack)
        else:
            self._formation.delete_stack(StackName=stack)
            self._wait(description["StackId"], "DELETE")

    def _describe(self, stack: str) -> dict[str, Any] | None:
        try:
            description: dict[str, Any] = self._formation.describe_stacks(StackName=stack)["Stacks"][0]
        except ClientError as error:
            # CloudFormation has no code of its own for this.
            if "does not exist" in str(error):
                return None
            raise
        return description

    def _settled(self, stack: str) -> dict[str, Any] | None:
        """Return the description of a stack that can be updated, None where it must be created.

        Raises:
            InputError: a change is in progress, or a person has to end one.
        """
        description = self._describe(stack)
        if description is None or description["StackStatus"] == "REVIEW_IN_PROGRESS":
            return None  # in review is a stack that has only ever been shown
        status, named = description["StackStatus"], f"--stack-name {stack}"
        if status in _ABANDONED and not self.dry_run:
            print(f"{stack}: {status}; deleting what is left of it")
            self.delete(stack)
            return None
        todo = ""
        if status in _ABANDONED:
            todo = "make deploy deletes what is left of it, and creates it again"
        elif status == "UPDATE_ROLLBACK_FAILED":
            todo = f"run aws cloudformation continue-update-rollback {named}, then make deploy again"
        elif status.endswith("_IN_PROGRESS"):
            todo = f"run make deploy again when that has ended: aws cloudformation describe-stacks {named}"
        if todo:
            raise InputError(f"stack '{stack}' is {status}; {todo}")
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

    def _change_set(self, request: Mapping[str, Any], operation: str) -> dict[str, str] | None:
        """Return the ids of a change set and its stack, None where nothing would change.

        It imports existing buckets, tables and repositories: those that an earlier stack of this name has left.
        """
        name = f"{CHANGE_SET}-{time.time_ns()}"
        on_failure = {"OnStackFailure": "DELETE"} if operation == "CREATE" else {}
        change_set: dict[str, str] = self._formation.create_change_set(
            **request, **on_failure, ChangeSetName=name, ChangeSetType=operation, ImportExistingResources=True
        )
        try:
            waiter = self._formation.get_waiter("change_set_create_complete")
            waiter.wait(ChangeSetName=change_set["Id"], WaiterConfig=_POLL)
        except WaiterError as error:
            self._forget(change_set, new=operation == "CREATE")
            reason = error.last_response.get("StatusReason", str(error))
            if re.search("didn't contain changes|No updates", reason):
                return None
            raise InputError(f"stack '{request['StackName']}': {_with_remedy(reason)}") from error
        return change_set

    def _show_changes(self, stack: str, change_set: Mapping[str, str], *, new: bool) -> None:
        """Print what a change set would change, and delete it."""
        pages = self._formation.get_paginator("describe_change_set").paginate(ChangeSetName=change_set["Id"])
        for page in pages:
            for change in page["Changes"]:
                print(f"{stack}: {_change_text(change['ResourceChange'])}")
        self._forget(change_set, new=new)

    def _forget(self, change_set: Mapping[str, str], *, new: bool) -> None:
        self._formation.delete_change_set(ChangeSetName=change_set["Id"])
        if new:  # a change set of a new stack leaves an empty stack
            self._formation.delete_stack(StackName=change_set["StackId"])

    def _show_resources(self, stack: str) -> None:
        for page in self._formation.get_paginator("list_stack_resources").paginate(StackName=stack):
            for resource in page["StackResourceSummaries"]:
                print(f"{stack}: Remove {resource['ResourceType']} {resource['LogicalResourceId']}, or retain it")

    def _wait(self, stack_id: str, operation: str) -> None:
        """Wait until an operation has ended; by id, because a deleted stack has no name."""
        try:
            waiter = self._formation.get_waiter(f"stack_{operation.lower()}_complete")
            waiter.wait(StackName=stack_id, WaiterConfig=_POLL)
        except WaiterError as error:
            reason = self._first_failure(stack_id, f"{operation}_IN_PROGRESS") or str(error)
            raise InputError(f"stack '{_name_of(stack_id)}' failed: {_with_remedy(reason)}") from error

    def _first_failure(self, stack_id: str, start: str) -> str:
        """Return why the first resource failed, which is the reason of all later failures.

        Args:
            stack_id: the stack.
            start: the stack's own status with which the operation began; earlier events belong to earlier operations.
        """
        first = ""
        for page in self._formation.get_paginator("describe_stack_events").paginate(StackName=stack_id):
            for event in page["StackEvents"]:  # the newest first
                if event["PhysicalResourceId"] == stack_id and event["ResourceStatus"] == start:
                    return first
                if event["ResourceStatus"].endswith("FAILED"):
                    first = f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}"
        return first

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

    def key_of(self, bucket: str) -> str:
        """Return the key that encrypts a bucket, empty if the bucket does not exist or has none."""
        try:
            encryption = self._s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
        except ClientError as error:
            if aws_errors.code(error) in ("NoSuchBucket", "ServerSideEncryptionConfigurationNotFoundError"):
                return ""
            raise
        (rule,) = encryption["Rules"]
        return str(rule["ApplyServerSideEncryptionByDefault"].get("KMSMasterKeyID", ""))


def _name_of(stack_id: str) -> str:
    return stack_id.split("/")[1]


def _with_remedy(reason: str) -> str:
    """Return the reason of a failure, and what to do about it."""
    todo = next((todo for pattern, todo in _REMEDIES if re.search(pattern, reason, re.IGNORECASE)), _TRY_AGAIN)
    return f"{reason.rstrip('.')}; {todo}"


def _parameters(description: Mapping[str, Any]) -> dict[str, str]:
    return {it["ParameterKey"]: it["ParameterValue"] for it in description.get("Parameters", [])}


def _change_text(change: Mapping[str, Any]) -> str:
    replaced = ", replaced" if change.get("Replacement") == "True" else ""
    return f"{change['Action']} {change['ResourceType']} {change['LogicalResourceId']}{replaced}"
