"""Turn what a stage suggests into commands that a user can paste as they stand.

A stage names its own options, such as ``--replace true``, and short commands, such as ``fraudline run backfill --as-of
2026-04-01``: it does not know how it was started. Here both become the words of ``fraudline run``, with the user's
folders and settings.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from fraudline.catalog.plan import plan
from fraudline.catalog.settings import overridden
from fraudline.catalog.stage import Parameter, Stage
from fraudline.catalog.stages import REPLACE
from fraudline.catalog.workflow import WORKFLOWS, Execution
from fraudline.orchestration.local.runner import Folders

_COMMAND = re.compile(
    rf"fraudline run (?P<workflow>{'|'.join(WORKFLOWS)}) --as-of (?P<as_of>\d{{4}}-\d\d-\d\d)"
    r"(?P<settings>(?: --set \w+=[\w.]+)*)"
)
# An option's value follows only where it can't be a word of the sentence.
_VALUE = r"(?: (true|false|\d[\d.]*\b|\S+(?:=|://)\S*))?"
_REPLACE = (REPLACE.name, "true")


@dataclass(frozen=True)
class Invocation:
    """How the user runs workflows.

    Attributes:
        folders: of data and results.
        settings: the stage settings of the command line.
        options: other options that the user gave, as words.
    """

    folders: Folders
    settings: Sequence[tuple[str, str]]
    options: Sequence[str] = ()

    def command(self, execution: Execution, settings: Sequence[tuple[str, str]]) -> str:
        """Return the command that runs an execution in the same way, with further settings."""
        names = {name for job in plan(execution.workflow) for name in job.settings}
        words = ["fraudline", "run", execution.workflow, "--as-of", str(execution.as_of)]
        words += ["--data", str(self.folders.data), "--root", str(self.folders.root), *self.options]
        for name, value in overridden(self.settings, settings):
            if name in names:  # others belong to the workflow that the user ran
                words += ["--set", f"{name}={value}"]
        return shlex.join(words)


def pasteable(text: str, stage: Stage, execution: Execution, invocation: Invocation) -> str:
    """Return a stage's message with its suggestions in the words of the user's own command.

    Args:
        text: the message.
        stage: which stage wrote it.
        execution: in which execution.
        invocation: how the user ran that.
    """
    job = next(job for job in plan(execution.workflow) if job.stage == stage)
    for name, parameter in job.settings.items():
        text = _with_setting(text, name, parameter)
    text, completed = _COMMAND.subn(lambda match: _completed(match, invocation), text)
    if text.endswith(_set(*_REPLACE)) and not completed:
        return f"{text}: {invocation.command(execution, [_REPLACE])}"
    return text


def _with_setting(text: str, name: str, parameter: Parameter) -> str:
    """Return a text with a stage's option as the setting that sets it."""
    pattern = rf"(?<![\w-]){parameter.option}\b(?!-){_VALUE}"
    return re.sub(pattern, lambda match: _set(name, match[1]), text)


def _completed(match: re.Match[str], invocation: Invocation) -> str:
    execution = Execution(match["workflow"], date.fromisoformat(match["as_of"]))
    pairs = [pair.partition("=") for pair in match["settings"].split(" --set ") if pair]
    return invocation.command(execution, [(name, value) for name, _, value in pairs])


def _set(name: str, value: str | None) -> str:
    return f"--set {name}" if value is None else f"--set {name}={value}"
