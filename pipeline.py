"""The command line of the SageMaker pipelines, which are defined in src/fraudline/orchestration/sagemaker/.

python pipeline.py definition --workflow training --images dist/images.json
python pipeline.py upsert --workflow training --images dist/images.json --role ARN --set Root=s3://bucket/fraud
python pipeline.py upsert --stack fraud-stack
python pipeline.py start --workflow training --as-of 2026-05-24 --set DataVersion=17 --wait
python pipeline.py run-local --workflow training --as-of 2026-05-24 --data DATA --root var/pipelines
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fraudline.catalog import parsing, settings
from fraudline.catalog.errors import InputError
from fraudline.catalog.parsing import argument
from fraudline.catalog.plan import title
from fraudline.catalog.stages import IMAGES
from fraudline.catalog.workflow import WORKFLOWS, Execution
from fraudline.orchestration.images import images
from fraudline.orchestration.sagemaker import service
from fraudline.orchestration.stack.cloud import Cloud
from fraudline.orchestration.stack.parameters import parameters as stack_parameters
from fraudline.runtime.aws_errors import explained

gc.disable()  # searching the SDK's two thousand modules for garbage takes one second of five, and frees nothing
from fraudline.orchestration.sagemaker import definition  # noqa: E402 - it imports the SDK
from fraudline.orchestration.sagemaker.site import ROLE, Site  # noqa: E402

Command = Callable[[argparse.Namespace], bool]


def build(options: argparse.Namespace) -> Any:
    """Return the pipeline that the command line and the settings file describe."""
    file = settings.load(options.settings_file)
    site = Site.of(file, **_chosen(options))
    return definition.build(options.workflow, images(options.images or file.images), site, options.settings)


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    """Return the command line options that replace values of the settings file."""
    values = {
        "name": options.name,
        "role": options.role,
        "kms_key": options.kms_key,
        "subnets": tuple(options.subnet),
        "security_groups": tuple(options.security_group),
        "network_isolation": options.isolated,
        "spot": options.spot,
        "tags": dict(options.tag),
    }
    return {name: value for name, value in values.items() if value}


def _define(options: argparse.Namespace) -> bool:
    print(definition.as_json(build(options)))
    return True


def _named(options: argparse.Namespace) -> Site:
    """Return the site, as far as commands need it that only name pipelines."""
    file = settings.load(options.settings_file)
    return Site.of(file, name=options.name or file.name)


def _upsert(options: argparse.Namespace) -> bool:
    if options.stack:
        return _upsert_of_stack(options)
    if not options.workflow:
        raise InputError("--workflow is missing: name one, or all of a stack with --stack")
    site = Site.of(settings.load(options.settings_file), **_chosen(options))
    if site.role == ROLE:
        raise InputError(
            "--role is missing: give the role that the jobs run as, or set it in fraudline.toml: [aws] role"
        )
    name, content = site.pipeline(options.workflow), definition.as_json(build(options))
    print(service.upsert(name, content, site.role, site.tags, dry_run=options.dry_run))
    return True


def _upsert_of_stack(options: argparse.Namespace) -> bool:
    """Upsert every pipeline with a stack's images, settings and role; --set replaces the stack's parameters."""
    changed = dict(options.settings)
    if unknown := sorted(set(changed) - set(stack_parameters())):
        raise InputError(f"--set {', '.join(unknown)}: the stack has no such parameter")
    with explained(f"describe {options.stack}"):
        cloud = Cloud()
        deployed, outputs = cloud.parameters(options.stack), cloud.outputs(options.stack)
    if outputs is None:
        raise InputError(f"--stack {options.stack}: there is no such stack; make deploy creates it")
    values = deployed | changed
    site = Site.of_stack(settings.load(options.settings_file), values, outputs)
    pinned: dict[str, str] = {image: values[f"{image.title()}Image"] for image in IMAGES}
    for workflow in WORKFLOWS:
        content = definition.as_json(definition.build(workflow, pinned, site))
        print(service.upsert(site.pipeline(workflow), content, site.role, site.tags, dry_run=options.dry_run))
    return True


def _start(options: argparse.Namespace) -> bool:
    execution = Execution(options.workflow, options.as_of)
    values = dict(options.settings) | {"AsOf": str(options.as_of)}
    arn = service.start(_named(options).pipeline(options.workflow), execution.id, values)
    print(arn)
    return service.watch(arn, print) if options.wait else True


def _status(options: argparse.Namespace) -> bool:
    if options.execution:
        return service.watch(options.execution, print) if options.wait else service.show(options.execution, print)
    for summary in service.executions(_named(options).pipeline(options.workflow)):
        print(service.execution_line(summary))
    return True


def _run_local(options: argparse.Namespace) -> bool:
    from tools.sagemaker_local import run  # noqa: PLC0415 - only this command needs a server and the local mode

    pipeline = build(options)
    values = {"Root": run.ROOT, "Data": run.DATA, "DataVersion": "local", "AsOf": str(options.as_of)}
    defined = {parameter.name for parameter in pipeline.parameters}
    with run.local_aws(options.data, options.root) as scratch:
        return run.execute(pipeline, {name: values[name] for name in values if name in defined}, scratch)


def _serve_local(options: argparse.Namespace) -> bool:
    from tools.sagemaker_local import run  # noqa: PLC0415

    with run.local_aws(None, options.root) as scratch:
        return run.serve(_named(options).model_packages, options.port, scratch)


def _setting(text: str) -> tuple[str, str]:
    """Parse NAME=VALUE, with the name in the style of settings (as_of) or of pipelines (AsOf)."""
    name, value = parsing.setting(text)
    return name if name[0].isupper() else title(name), value


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="pipeline.py", description="The SageMaker pipelines of all workflows.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Command, description: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = commands.add_parser(name, help=description, description=description)
        added.set_defaults(run=run)
        return added

    define = command("definition", _define, "print a pipeline's definition, without asking AWS")
    upsert = command("upsert", _upsert, "create a pipeline, or update it if it differs")
    start = command("start", _start, "start an execution")
    status = command("status", _status, "list a pipeline's executions, or the steps of one")
    local = command("run-local", _run_local, "run a pipeline on this computer: images in Docker, AWS by moto")
    serve = command("serve-local", _serve_local, "serve the last registered model on this computer, in the score image")

    for each in (define, upsert, start, status, local):
        needed = each not in (upsert, status)  # a stack's pipelines are upserted together
        default = "training" if each is status else None
        each.add_argument("--workflow", choices=WORKFLOWS, required=needed, default=default)
    for each in (define, upsert, start, status, local, serve):
        each.add_argument("--settings", dest="settings_file", type=Path, metavar="FILE", help="[./fraudline.toml]")
        each.add_argument("--name", help="prefix of the pipeline's name [the settings file's, else fraud]")
    for each in (define, upsert, local):
        _add_site(each)
    for each in (define, upsert, start, local):
        each.add_argument(
            "--set",
            dest="settings",
            type=argument(_setting),
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="set a parameter of the pipeline: its value in an execution, or its default in a definition",
        )
    for each in (start, local):
        each.add_argument(
            "--as-of", type=argument(parsing.day), required=True, help="UTC date; only rows before it are visible"
        )
    upsert.add_argument(
        "--stack", metavar="STACK", help="upsert all pipelines, with the images, settings and role of this stack"
    )
    upsert.add_argument("--dry-run", action="store_true", help="show the difference and change nothing")
    for each in (start, status):
        each.add_argument("--wait", action="store_true", help="report each step until the execution has ended")
    status.add_argument("--execution", metavar="ARN", help="list the steps of this execution")
    local.add_argument("--data", type=Path, required=True, help="folder with raw/ and labeled/")
    for each in (local, serve):
        each.add_argument("--root", type=Path, required=True, help="folder for everything that is written")
    serve.add_argument("--port", type=int, default=8080, help="[%(default)s]")
    return parser


def _add_site(command: argparse.ArgumentParser) -> None:
    """Add the options for the site that runs the jobs; they override the settings file."""
    command.add_argument(
        "--images", type=Path, metavar="FILE", help="file of docker buildx bake --metadata-file, which pins the images"
    )
    command.add_argument("--role", metavar="ARN", help="role that the jobs run as")
    command.add_argument("--kms-key", metavar="KEY", help="key of the jobs' volumes and outputs")
    command.add_argument(
        "--subnet", action="append", default=[], metavar="ID", help="subnet of the jobs; may be repeated"
    )
    command.add_argument(
        "--security-group",
        action="append",
        default=[],
        metavar="ID",
        help="security group of the jobs; may be repeated",
    )
    command.add_argument("--isolated", action="store_true", help="no network for jobs that need none")
    command.add_argument("--spot", action="store_true", help="train on spot instances, with checkpoints")
    command.add_argument(
        "--tag",
        type=argument(parsing.pair),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="tag; may be repeated",
    )


def main() -> int:
    """Run one command; return 0 for success, 1 if an execution failed, 2 if the input is wrong."""
    options = parser().parse_args()
    try:
        return 0 if options.run(options) else 1
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
