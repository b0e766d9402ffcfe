"""Deploys the stack, or takes it away: make deploy, make destroy.

    python glue/deploy.py deploy [--dry-run] [--name fraud] [--set PARAMETER=VALUE ...] [--images dist/images.json]
    python glue/deploy.py destroy [--dry-run] [--name fraud]

The foundation (repositories and a bucket) comes first; then what is deployed is uploaded under a hash of its content;
then the stack is made or changed; --dry-run shows that by a change set, and drops it. What was set stays set.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError, WaiterError

from fraudline.catalog.errors import InputError
from fraudline.catalog.stage import NO_CHAMPION, POINTER_FILE
from fraudline.orchestration.images import images

GLUE = Path(__file__).parent
FOUNDATION, CHANGE_SET = "fraudline-foundation", "make-deploy"
GLUE_MODULES = ("boto3", "numpy", "polars")  # what Glue installs beside the wheel, as its lock has them


class Cloud:
    """The account as this deploys into it."""

    def __init__(self, name: str, *, dry_run: bool) -> None:
        self.name, self.dry_run = name, dry_run
        self.formation: Any = boto3.client("cloudformation")
        self.s3: Any = boto3.client("s3")

    def outputs(self, stack: str) -> dict[str, str] | None:
        """A stack's outputs; None where there is no such stack."""
        found = self._described(stack)
        if found is None:
            return None
        return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}

    def change(self, stack: str, template: Mapping[str, str], given: Mapping[str, str]) -> None:
        """Bring a stack to a template; what is not given keeps its value, or has the template's own.

        Raises:
            InputError: a parameter is unknown or has to be given, or CloudFormation could not do it.
        """
        found = self._described(stack)
        before = {it["ParameterKey"]: it["ParameterValue"] for it in found.get("Parameters", [])} if found else {}
        parameters = self._parameters(template, before, given)
        request = {"StackName": stack, "Capabilities": ["CAPABILITY_IAM"], "Parameters": parameters, **template}
        if self.dry_run:
            self._show(request, fresh=found is None)
            return
        try:
            if found is None:
                self.formation.create_stack(**request, OnFailure="DELETE")
            else:
                self.formation.update_stack(**request)
        except ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise
            print(f"{stack}: as it should be")
            return
        self._await(stack, "stack_create_complete" if found is None else "stack_update_complete")

    def delete(self, stack: str) -> None:
        """Delete a stack; what it is told to retain stays."""
        if self._described(stack) is None:
            print(f"{stack}: there is none")
            return
        if self.dry_run:
            for page in self.formation.get_paginator("list_stack_resources").paginate(StackName=stack):
                for resource in page["StackResourceSummaries"]:
                    print(f"{stack}: Remove {resource['ResourceType']} {resource['LogicalResourceId']}, or retain it")
            return
        self.formation.delete_stack(StackName=stack)
        self._await(stack, "stack_delete_complete")

    def upload(self, bucket: str, files: Mapping[str, Path]) -> str:
        """Put files below a prefix made from their content, so that a stack never runs what changed under it."""
        digest = hashlib.sha256()
        for name in sorted(files):
            digest.update(f"{name}\0".encode() + files[name].read_bytes())
        prefix = f"fraudline/{digest.hexdigest()[:16]}"
        for name in sorted(files):
            self.s3.upload_file(str(files[name]), bucket, f"{prefix}/{name}")
        return prefix

    def begin(self, root: str) -> None:
        """Say that there is no champion yet, unless there is a pointer: without one, stages refuse to go on."""
        bucket = root.removeprefix("s3://")
        try:
            self.s3.put_object(
                Bucket=bucket, Key=f"champion/{POINTER_FILE}", Body=NO_CHAMPION.encode(), IfNoneMatch="*"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise

    def _described(self, stack: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.formation.describe_stacks(StackName=stack)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return found

    def _parameters(
        self, template: Mapping[str, str], before: Mapping[str, str], given: Mapping[str, str]
    ) -> list[dict[str, str]]:
        declared = {it["ParameterKey"]: it for it in self.formation.get_template_summary(**template)["Parameters"]}
        if unknown := sorted(set(given) - set(declared)):
            raise InputError(f"--set {', '.join(unknown)}: no such parameter; there are {', '.join(sorted(declared))}")
        values = {name: value for name, value in {**before, **given}.items() if name in declared}
        if missing := [name for name in declared if "DefaultValue" not in declared[name] and name not in values]:
            raise InputError(f"--set {', '.join(missing)}: has no value yet; give it one")
        return [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()]

    def _show(self, request: Mapping[str, Any], *, fresh: bool) -> None:
        """Print what a request would change, by a change set that is dropped again."""
        stack, named = request["StackName"], {"StackName": request["StackName"], "ChangeSetName": CHANGE_SET}
        self.formation.create_change_set(**(request | named), ChangeSetType="CREATE" if fresh else "UPDATE")
        try:
            self.formation.get_waiter("change_set_create_complete").wait(**named)
            for page in self.formation.get_paginator("describe_change_set").paginate(**named):
                for change in (it["ResourceChange"] for it in page["Changes"]):
                    replaced = ", replaced" if change.get("Replacement") == "True" else ""
                    print(
                        f"{stack}: {change['Action']} {change['ResourceType']} {change['LogicalResourceId']}{replaced}"
                    )
        except WaiterError as error:
            reason = error.last_response.get("StatusReason", str(error))
            if not re.search("didn't contain changes|No updates", reason):
                raise InputError(f"stack '{stack}': {reason}") from error
            print(f"{stack}: as it should be")
        finally:
            self.formation.delete_change_set(**named)
            if fresh:  # it leaves the stack's name behind
                self.formation.delete_stack(StackName=stack)

    def _await(self, stack: str, state: str) -> None:
        try:
            self.formation.get_waiter(state).wait(StackName=stack)
        except WaiterError as error:
            raise InputError(f"stack '{stack}' did not get there: {self._first_failure(stack) or error}") from error

    def _first_failure(self, stack: str) -> str:
        events = self.formation.describe_stack_events(StackName=stack)["StackEvents"]
        failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
        return f"{failed[-1]['LogicalResourceId']}: {failed[-1].get('ResourceStatusReason')}" if failed else ""


def deploy(cloud: Cloud, settings: Mapping[str, str], image_file: Path, wheel: Path) -> None:
    """Deploy foundation and stack.

    Raises:
        InputError: something is missing, and what to do.
    """
    stack = f"{cloud.name}-stack"
    cloud.change(FOUNDATION, {"TemplateBody": (GLUE / "foundation.yaml").read_text()}, {})
    built = cloud.outputs(FOUNDATION)
    if built is None:  # a dry run of the first time
        print(f"{stack}: can be shown once {FOUNDATION} is there")
        return
    if not image_file.is_file():
        raise InputError(f"{image_file} is missing: make publish REGISTRY={built['Registry']} VERSION=… writes it")
    bucket = built["ArtifactsBucket"]
    files = {
        "stack.yaml": GLUE / "stack.yaml",
        wheel.name: wheel,
        **{f"jobs/{path.name}": path for path in (GLUE / "jobs").glob("*.py")},
        **{f"state_machines/{path.name}": path for path in (GLUE / "state_machines").glob("*.asl.json")},
    }
    prefix = cloud.upload(bucket, files)
    given = {
        "Name": cloud.name,
        "ArtifactsBucket": bucket,
        "ArtifactsPrefix": prefix,
        "Wheel": wheel.name,
        "GlueModules": ",".join(_locked(GLUE.parent / "requirements-spark.txt")),
        **{f"{name.title()}Image": uri for name, uri in images(image_file).items()},
    }
    region = cloud.s3.meta.region_name
    url = f"https://{bucket}.s3.{region}.amazonaws.com/{prefix}/stack.yaml"
    cloud.change(stack, {"TemplateURL": url}, {**given, **settings})
    if not cloud.dry_run:
        outputs = cloud.outputs(stack) or {}
        cloud.begin(outputs["Root"])
        for name, value in sorted(outputs.items()):
            print(f"{name}\t{value}")


def destroy(cloud: Cloud) -> None:
    """Delete the stack; buckets, tables and the key stay, and so does the foundation."""
    cloud.delete(f"{cloud.name}-stack")


def _locked(requirements: Path) -> list[str]:
    """The modules that Glue installs, pinned."""
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)", requirements.read_text(), re.MULTILINE))
    return [f"{name}=={pinned[name]}" for name in GLUE_MODULES]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; exit code 2 where something has to be done first."""
    parser = argparse.ArgumentParser(prog="glue/deploy.py", description="Deploys the stack, or takes it away.")
    parser.add_argument("command", choices=("deploy", "destroy"))
    parser.add_argument("--name", default="fraud", help="how every name begins [%(default)s]")
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would change, and change nothing of the stack"
    )
    parser.add_argument("--set", action="append", default=[], metavar="PARAMETER=VALUE", help="of stack.yaml")
    parser.add_argument("--images", type=Path, default=Path("dist/images.json"), help="as make publish wrote it")
    parser.add_argument("--wheel", type=Path, help="[the one in dist/]")
    options = parser.parse_args(arguments)
    try:
        settings = dict(_setting(text) for text in options.set)
        cloud = Cloud(options.name, dry_run=options.dry_run)
        if options.command == "destroy":
            destroy(cloud)
        else:
            deploy(cloud, settings, options.images, options.wheel or _wheel())
    except InputError as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 2
    except (ClientError, NoCredentialsError, NoRegionError) as error:
        print(f"{options.command}: AWS: {error}; check credentials, region and rights", file=sys.stderr)
        return 2
    return 0


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise InputError(f"--set: expected PARAMETER=VALUE, got '{text}'")
    return name, value


def _wheel() -> Path:
    found = sorted(Path("dist").glob("fraudline-*.whl"))
    if len(found) != 1:
        raise InputError(
            f"expected one wheel in dist/, found {len(found)}; make deploy builds it, or name it by --wheel"
        )
    return found[0]


if __name__ == "__main__":
    raise SystemExit(main())
