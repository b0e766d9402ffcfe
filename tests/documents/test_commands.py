"""Every command that the documents show is one that exists, with its options."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from types import ModuleType

import botocore.session
import pytest
from botocore import xform_name

from fraudline import cli
from fraudline.catalog.errors import InputError
from fraudline.catalog.stages import IMAGES, STAGES
from fraudline.entrypoints import glue, parameters
from fraudline.entrypoints.run import parser
from tests.documents.pages import PAGES, REPOSITORY, Command, commands, inline_code

MAKEFILE = (REPOSITORY / "Makefile").read_text()
GLUE_JOBS = {"fraud_data_extract.py": STAGES["data-extraction"], "fraud_feature_eng.py": STAGES["feature-engineering"]}
# Words of the documents that stand for a value, where a parser accepts only real ones.
SUBSTITUTES = {"$workflow": "training", "$last": "2026-05-30", "$next": "2026-05-31", "A": "2026-05-31"}

# What can't be checked here, by the command's first word.
UNCHECKED = {
    "export": "sets the environment of the reader's shell",
    "pip": "downloads packages",
    "zip": "packs the wheels that pip downloads",
    "printf": "writes a file for zip",
    "cp": "copies the wheel for zip",
    "mkdir": "prepares folders",
    "echo": "writes a file; tests/images/test_stage_by_stage.py runs it",
    "for": "the shell's own",
    "do": "the shell's own",
    "done": "the shell's own",
    "local": "part of the function stage; tests/images/test_stage_by_stage.py runs it",
    "shift": "part of the function stage",
    "stage()": "defines the function stage",
    "}": "ends the function stage",
    "tail": "part of an assignment; tests/images/test_stage_by_stage.py runs it",
    "last=$(ls": "an assignment; tests/images/test_stage_by_stage.py runs it",
    "next=$(date": "an assignment; tests/images/test_stage_by_stage.py runs it",
}


def check_fraudline(arguments: Sequence[str]) -> None:
    """Parse the arguments of ``fraudline``, and the values of a stage's parameters."""
    if arguments[0] == "aws":
        cli._operations().parse_args(arguments[1:])
        return
    if arguments[0] not in STAGES:
        cli._parser().parse_args(arguments)
        return
    stage = STAGES[arguments[0]]
    options = vars(parser(stage).parse_args(arguments[1:]))
    channels = {channel.name for channel in (*stage.reads, *stage.writes)} | {"summary"}
    for kind in ("input", "output"):
        assert {name for name, _ in options.pop(kind) or ()} <= channels
    parameters.parse(stage, {name: text for name, text in options.items() if text is not None})


def check_docker(arguments: Sequence[str]) -> None:
    """Check a ``docker run`` of an image: the stage belongs to it, and takes the arguments."""
    if arguments[-1] == "$@":
        return  # inside of the function stage, whose calls are checked
    position = next(index for index, word in enumerate(arguments) if word.startswith("fraudline/"))
    image = arguments[position].removeprefix("fraudline/").partition(":")[0]
    check_image(image, arguments[position + 1 :])


def check_image(image: str, arguments: Sequence[str]) -> None:
    """Check that an image has a stage, and that the stage takes the arguments."""
    assert image in IMAGES
    assert STAGES[arguments[0]].image == image
    check_fraudline(arguments)


def check_make(words: Sequence[str]) -> None:
    """Check that targets exist and use the variables; print their recipes where that runs nothing."""
    targets = [word for word in words if "=" not in word]
    for target in targets:
        recipe = re.search(rf"^{re.escape(target)}:.*\n(?:\t.*\n|\n)*", MAKEFILE, re.MULTILINE)
        assert recipe, f"the Makefile has no target {target}"
        for variable in (word.partition("=")[0] for word in words if "=" in word):
            assert f"$({variable}" in MAKEFILE
        if "$(MAKE)" not in recipe[0]:  # make runs such lines even when it only prints
            subprocess.run(["make", "-n", target], cwd=REPOSITORY, check=True, capture_output=True)


@cache
def pipeline_parser() -> argparse.ArgumentParser:
    """Return the parser of pipeline.py, whose definitions need the SDK and its parser does not."""
    names = [f"fraudline.orchestration.sagemaker.{name}" for name in ("definition", "registry", "site")]
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            stub = ModuleType(name)
            stub.__dict__.update(ROLE="", Site=None)
            patch.setitem(sys.modules, name, stub)
        patch.delitem(sys.modules, "pipeline", raising=False)
        module = import_module("pipeline")
        patch.delitem(sys.modules, "pipeline")
    result: argparse.ArgumentParser = module.parser()
    return result


def check_python(words: Sequence[str]) -> None:
    """Check a script or a module of the repository by its own parser or its help."""
    if words[0] == "pipeline.py":
        pipeline_parser().parse_args(words[1:])
    elif words[0] == "-m":
        text = module_help(words[1])
        assert all(word in text for word in words[2:] if word.startswith("--"))
    else:
        check_glue_job(words[0].removeprefix("glue/jobs/"), words[1:])


def check_glue_job(script: str, arguments: Sequence[str]) -> None:
    """Check that a Glue job takes the arguments."""
    assert (REPOSITORY / "glue" / "jobs" / script).is_file()
    options = {word for word in arguments if word.startswith("--")}
    assert options <= set(glue.options(GLUE_JOBS[script]))


@cache
def module_help(module: str) -> str:
    if module == "benchmarks.spark":  # needs Spark, which .venv lacks
        return (REPOSITORY / "benchmarks" / "spark.py").read_text()
    command = [sys.executable, "-m", module, "--help"]
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout


def check_aws(words: Sequence[str]) -> None:
    """Check an operation and its parameters against botocore's model of the service."""
    service, operation, *rest = words
    if (service, operation) == ("logs", "tail"):
        return  # a command of the AWS CLI alone, without an operation of the service behind it
    model = botocore.session.get_session().get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    shape = model.operation_model(names[operation]).input_shape
    # The AWS CLI renames a parameter that would hide its own --output.
    members = ["task-output" if member == "output" else xform_name(member, "-") for member in shape.members]
    taken = {f"--{member}" for member in members} | {"--query"}
    assert {word for word in rest if word.startswith("--")} <= taken


CHECKS: dict[str, Callable[[Sequence[str]], None]] = {
    "fraudline": check_fraudline,
    ".venv/bin/fraudline": check_fraudline,
    "docker": check_docker,
    "stage": lambda words: check_image(words[0], words[1:]),
    "make": check_make,
    ".venv/bin/python": check_python,
    ".venv-pipeline/bin/python": check_python,
    ".venv-spark/bin/python": check_python,
    "python": check_python,
    "pipeline.py": lambda words: check_python(["pipeline.py", *words]),
    "fraud_feature_eng.py": lambda words: check_glue_job("fraud_feature_eng.py", words),
    "aws": check_aws,
}
SHOWN = [command for page in PAGES for command in commands(page)]


@pytest.mark.parametrize("command", SHOWN, ids=str)
def test_shown_command_is_valid(command: Command):
    program, *words = (word.rstrip(")") if word == "1)" else word for word in command.words)
    if program == "do" and words:
        program, *words = words
    if program in UNCHECKED:
        return
    assert program in CHECKS, "check this command, or list it in UNCHECKED with the reason"
    CHECKS[program]([substituted(word) for word in words])


def substituted(word: str) -> str:
    if word in SUBSTITUTES:
        return SUBSTITUTES[word]
    for name, value in SUBSTITUTES.items():
        if name.startswith("$"):
            word = word.replace(name, value)
    return word


def test_every_exception_is_still_needed():
    """An exception that no document needs any more would hide a new command."""
    first_words = {command.words[0] for command in SHOWN}
    assert {word for word in UNCHECKED if word not in first_words} <= {"do"}


INLINE = sorted(
    {
        (str(page.relative_to(REPOSITORY)), code)
        for page in PAGES
        for code in inline_code(page)
        if code.split()[0] in CHECKS and len(code.split()) > 1
    }
)


@pytest.mark.parametrize(("page", "code"), INLINE, ids=lambda text: str(text).replace("/", "."))
def test_command_in_a_sentence_exists(page: str, code: str):
    """Sentences shorten commands, so only their names and options are compared."""
    program, *words = shlex.split(code)
    if program == "make":
        check_make(words)
    elif program == "aws":
        check_aws(words)
    elif program in ("stage", "docker"):
        assert words
    elif words[0] == "-m":
        assert options_of(words) <= set(re.findall(r"--[\w-]+", module_help(words[1])))
    else:
        command = words if program.endswith("fraudline") else words[words[0] == "pipeline.py" :]
        name = " ".join(command[:2]) if command[0] == "aws" else command[0]
        help_text = help_of(program, name)
        assert options_of(command) <= set(re.findall(r"--[\w-]+", help_text))


def options_of(words: Sequence[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def help_of(program: str, command: str) -> str:
    """Return the help of a subcommand, with its options."""
    if program.endswith("fraudline"):
        if command in STAGES:
            return parser(STAGES[command]).format_help()
        if command.startswith("aws "):
            return choices(cli._operations())[command.removeprefix("aws ")].format_help()
        return choices(cli._parser())[command].format_help() if command not in ("STAGE", "COMMAND") else "--help"
    return choices(pipeline_parser())[command].format_help()


def choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    action = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


@pytest.mark.parametrize(
    "wrong", ["run daily --as-of 2026-05-31 --anewly", "etl --as-of 2026-05-31 --tresh 1", "rum", "aws rerum"]
)
def test_renamed_option_or_command_fails(wrong: str):
    with pytest.raises(InputError):
        check_fraudline(wrong.split())


def test_renamed_target_fails():
    with pytest.raises(AssertionError):
        check_make(["rum"])
