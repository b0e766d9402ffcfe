"""Deploy the stack, or delete it: make deploy, make destroy.

    python glue/deploy.py deploy [--dry-run] [--settings FILE] [--set PARAMETER=VALUE ...] [--images dist/images.json]
    python glue/deploy.py destroy [--dry-run] [--name fraud]

First comes the foundation: repositories, and a bucket for artifacts. Then the artifacts are uploaded below a hash of
their content, and the stack is created or updated, and with Engine=SageMakerPipelines its pipelines too. --dry-run
shows the differences instead.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from fraudline.catalog import parsing, settings
from fraudline.catalog.errors import InputError
from fraudline.catalog.exit_codes import ExitCode
from fraudline.catalog.parsing import argument
from fraudline.catalog.plan import title
from fraudline.orchestration.images import images
from fraudline.orchestration.stack import pipelines, preflight
from fraudline.orchestration.stack.cloud import Cloud
from fraudline.runtime.aws_errors import explained

FOUNDATION = "fraudline-foundation"
IMAGES, DIST = Path("dist/images.json"), Path("dist")
# Glue installs these besides the wheel, at the versions of the tests.
GLUE_MODULES = ("boto3", "numpy", "polars")


def deploy(
    cloud: Cloud,
    name: str,
    values: Mapping[str, str],
    *,
    glue: Path,
    image_file: Path,
    wheel: Path | None,
    settings_file: Path | None = None,
) -> None:
    """Create or update foundation, stack and pipelines, and print the stack's outputs.

    Args:
        cloud: the account.
        name: prefix of every name in the stack.
        values: the stack's parameters, other than those that a deployment fills in.
        glue: the folder with templates, definitions and scripts.
        image_file: the images, as make publish wrote them.
        wheel: the wheel; None for the one in dist/.
        settings_file: the settings file, as the command line names it.

    Raises:
        InputError: something is missing, with what to do.
    """
    stack = stack_name(name)
    current = cloud.parameters(stack)
    if problems := preflight.problems(name, {**current, **values}, new=not current):
        raise InputError("\n".join(["this account is not ready:", *(f"- {problem}" for problem in problems)]))
    has_pipelines = {**current, **values}.get("Engine") == pipelines.ENGINE
    if has_pipelines:
        pipelines.check_environment(glue.parent)
    names = {"BucketPrefix": name.lower(), "Name": name, "AWS::AccountId": cloud.account, "AWS::Region": cloud.region}
    cloud.apply(FOUNDATION, {"TemplateBody": with_names((glue / "foundation.yaml").read_text(), names)}, {})
    foundation = cloud.outputs(FOUNDATION)
    if foundation is None:  # the first dry run creates none
        print(f"{stack}: can be shown once {FOUNDATION} exists")
        return
    if not image_file.is_file():
        raise InputError(f"{image_file} is missing: make publish REGISTRY={foundation['Registry']} VERSION=… writes it")
    wheel = wheel or _built_wheel()
    bucket = foundation["ArtifactsBucket"]
    with TemporaryDirectory() as folder:
        template = Path(folder) / "stack.yaml"
        template.write_text(with_names((glue / "stack.yaml").read_text(), names))
        prefix = cloud.upload(bucket, {**artifacts(glue, wheel), template.name: template})
    deployed = {
        "Name": name,
        "BucketPrefix": name.lower(),
        "ArtifactsBucket": bucket,
        "ArtifactsPrefix": prefix,
        "Wheel": wheel.name,
        "GlueModules": ",".join(_locked(glue.parent / "requirements-spark.txt")),
        **{f"{image.title()}Image": uri for image, uri in images(image_file).items()},
    }
    if not cloud.outputs(stack) and (key := cloud.key_of(f"{name.lower()}-results-{cloud.account}-{cloud.region}")):
        deployed["KmsKeyArn"] = key  # an earlier stack of this name encrypted what it has left with this key
    # Larger than the 51,200 bytes that CloudFormation accepts in a request.
    url = f"https://{bucket}.s3.{cloud.region}.amazonaws.com/{prefix}/stack.yaml"
    cloud.apply(stack, {"TemplateURL": url}, {**deployed, **values})
    if not cloud.dry_run:
        outputs = cloud.outputs(stack) or {}
        cloud.create_pointer(outputs["Root"])
        for output, value in sorted(outputs.items()):
            print(f"{output}\t{value}")
    if has_pipelines and "PipelineRole" in (cloud.outputs(stack) or {}):
        pipelines.upsert(glue.parent, stack, {**deployed, **values}, settings_file, dry_run=cloud.dry_run)
    elif has_pipelines:
        print(f"{stack}: its pipelines can be shown once it is deployed")


def stack_name(name: str) -> str:
    """Return the name of the stack whose resources have this prefix."""
    return f"{name}-stack"


def with_names(template: str, values: Mapping[str, str]) -> str:
    """Return a template whose buckets and tables have their names as plain text.

    CloudFormation imports existing resources under no other names: a name that is a function does not count.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-automatically.html
    """

    def named(line: re.Match[str]) -> str:
        return line["key"] + re.sub(r"\$\{([\w:]+)\}", lambda variable: values[variable[1]], line["name"])

    return re.sub(r"^(?P<key> *(?:BucketName|TableName): )!Sub (?P<name>\S+)$", named, template, flags=re.MULTILINE)


def artifacts(glue: Path, wheel: Path) -> dict[str, Path]:
    """Return the files that a stack runs, other than its template, by their names below the artifacts' prefix."""
    return {
        wheel.name: wheel,
        **{f"jobs/{path.name}": path for path in (glue / "jobs").glob("*.py")},
        **{f"state_machines/{path.name}": path for path in (glue / "state_machines").glob("*.asl.json")},
    }


def _locked(requirements: Path) -> list[str]:
    """Return the modules that Glue installs, with their locked versions."""
    versions = dict(re.findall(r"^([\w.-]+)==([\w.]+)", requirements.read_text(), re.MULTILINE))
    return [f"{name}=={versions[name]}" for name in GLUE_MODULES]


def _built_wheel() -> Path:
    wheels = sorted(DIST.glob("fraudline-*.whl"))
    if len(wheels) != 1:
        raise InputError(
            f"expected one wheel in {DIST}/, found {len(wheels)}; make deploy builds it, or name it with --wheel"
        )
    return wheels[0]


def main(arguments: Sequence[str] | None = None, *, glue: Path) -> ExitCode:
    """Run one command; ``INVALID_INPUT`` means that the caller has to do something first."""
    options = _parser().parse_args(arguments)
    try:
        file = settings.load(options.settings_file)
        name = options.name or file.name
        with explained(f"{options.command} {stack_name(name)}"):
            cloud = Cloud(dry_run=options.dry_run)
            if options.command == "destroy":
                cloud.delete(stack_name(name))
            else:
                values = {**file.stack(), "Name": name, **settings.by_name(options.set)}
                image_file = options.images or file.images or IMAGES
                deploy(
                    cloud,
                    name,
                    values,
                    glue=glue,
                    image_file=image_file,
                    wheel=options.wheel,
                    settings_file=options.settings_file,
                )
    except InputError as error:
        print(error, file=sys.stderr)
        return ExitCode.INVALID_INPUT
    return ExitCode.OK


def _setting(text: str) -> tuple[str, str]:
    """Parse PARAMETER=VALUE, with the name as the stack or as the settings file writes it."""
    name, value = parsing.setting(text)
    return name if name[0].isupper() else title(name), value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="glue/deploy.py", description="Deploy the stack, or delete it; buckets, tables and the key stay."
    )
    parser.add_argument("command", choices=("deploy", "destroy"))
    parser.add_argument("--settings", dest="settings_file", type=Path, metavar="FILE", help="[./fraudline.toml]")
    parser.add_argument("--name", help="prefix of every name [the settings file's, else fraud]")
    parser.add_argument("--dry-run", action="store_true", help="show the change set, and change no stack")
    parser.add_argument(
        "--set",
        type=argument(_setting),
        action="append",
        default=[],
        metavar="PARAMETER=VALUE",
        help="a parameter of stack.yaml; replaces the settings file's",
    )
    parser.add_argument("--images", type=Path, metavar="FILE", help=f"as make publish wrote it [{IMAGES}]")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help=f"[the one in {DIST}/]")
    return parser
