"""The deployed stack as its operator sees it: resources by the names of its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fraudline.catalog import settings
from fraudline.catalog.errors import InputError
from fraudline.orchestration.stack.cloud import Cloud
from fraudline.orchestration.stack.deploy import stack_name


@dataclass(frozen=True)
class Stack:
    """A deployed stack.

    Attributes:
        name: of the CloudFormation stack.
        outputs: the stack's outputs by name.
    """

    name: str
    outputs: Mapping[str, str]

    def output(self, name: str) -> str:
        """Return one output.

        Raises:
            InputError: the stack was deployed by a version that did not have it.
        """
        if name not in self.outputs:
            raise InputError(
                f"stack '{self.name}' has no output {name}: an earlier version deployed it; run make deploy"
            )
        return self.outputs[name]

    def state_machine(self, name: str) -> str:
        """Return the ARN of a state machine by the name of its definition, such as daily_standard."""
        return self.output(f"{name.title().replace('_', '')}Machine")


def find(file: Path | None, name: str | None) -> Stack:
    """Return the stack that a settings file, or a name on the command line, stands for.

    Args:
        file: the settings file; None for ./fraudline.toml.
        name: prefix of every name in the stack; None for the file's.

    Raises:
        InputError: there is no such stack.
    """
    stack, cloud = stack_name(name or settings.load(file).name), Cloud()
    outputs = cloud.outputs(stack)
    if outputs is None:
        raise InputError(
            f"stack '{stack}' does not exist in {cloud.region}; create it with make deploy, "
            "or name another with --name and AWS_DEFAULT_REGION"
        )
    return Stack(stack, outputs)
