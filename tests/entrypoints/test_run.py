"""What every platform relies on: exit codes, messages, parameters from arguments or hyperparameters, logs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from fraudline.catalog.contract import contract
from fraudline.catalog.environment import LOG, ML_ROOT
from fraudline.catalog.errors import InputError
from fraudline.catalog.exit_codes import ExitCode
from fraudline.catalog.stage import REQUIRED
from fraudline.catalog.stages import STAGES
from fraudline.entrypoints import parameters
from fraudline.entrypoints.platforms import input_folders, output_folders, platform_of
from fraudline.entrypoints.run import parser, run


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(ML_ROOT.name, str(tmp_path))
    return tmp_path


def fraudline(*arguments: str, root: Path, log: str = "json") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {ML_ROOT.name: str(root), LOG.name: log}
    return subprocess.run(
        [sys.executable, "-m", "fraudline", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_wrong_input_ends_with_2_and_a_message_for_processing(root: Path):
    ended = fraudline("data-extraction", "--as-of", "2026-02-01", root=root)
    assert ended.returncode == ExitCode.INVALID_INPUT == 2
    message = (root / "output" / "message").read_text()
    assert message.startswith("InputRejected: channel 'raw': nothing at")
    assert "InputRejected: " + json.loads(ended.stderr.splitlines()[-1])["message"] == message


@pytest.mark.integration
def test_a_training_leaves_its_first_failure(root: Path):
    assert fraudline("train", "--as-of", "2026-02-01", root=root).returncode == 2
    failure = root / "output" / "failure"
    assert failure.read_text().startswith("InputRejected: channel 'train': nothing at")
    failure.write_text("the first cause")
    assert fraudline("train", "--as-of", "2026-02-01", root=root).returncode == 2
    assert failure.read_text() == "the first cause"


def test_a_defect_ends_with_1_and_its_name(root: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("fraudline.etl.etl.run", broken)
    assert run(STAGES["etl"], ["--as-of", "2026-02-01"]) == ExitCode.INTERNAL_ERROR == 1
    assert (root / "output" / "message").read_text().startswith("ZeroDivisionError")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--as-of is missing"),
        (["--as-of", "yesterday"], "--as-of: got 'yesterday'"),
        (["--as-of", "2026-02-01", "--max-rejected", "7"], "expected a number from 0.0 to 1.0"),
        (["--as-of", "2026-02-01", "--colour", "red"], "unrecognized arguments: --colour red"),
        (["--as-of", "2026-02-01", "--column", "merchant"], "expected CANONICAL=SOURCE"),
        (["--as-of", "2026-02-01", "--input", "raw"], "argument --input: expected CHANNEL=URI, got 'raw'"),
        (["--as-of", "2026-02-01", "--input", "rwa=/somewhere"], "--input rwa=…: there is no such channel"),
    ],
)
def test_a_wrong_parameter_ends_with_2_and_is_named(root: Path, arguments: list[str], message: str):
    ended = fraudline("etl", *arguments, root=root)
    assert ended.returncode == 2
    assert message in (root / "output" / "message").read_text()


def test_messages_fit_into_1024_bytes_of_utf_8(root: Path):
    platform_of(STAGES["etl"]).leave_message("ü" * 2000, failed=True)
    content = (root / "output" / "message").read_bytes()
    assert len(content) <= 1024
    assert set(content.decode()) == {"ü"}


def test_hyperparameters_are_strings_and_arguments_win(root: Path):
    config = root / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps({"max-depth": "4", "as_of": "2026-02-01", "seed": "3"}))
    stage = STAGES["train"]
    arguments = vars(parser(stage).parse_args(["--seed", "5"]))
    texts = {name: value for name, value in arguments.items() if value is not None}
    values = parameters.parse(stage, platform_of(stage).hyperparameters() | texts)
    assert (values["max_depth"], values["as_of"], values["seed"]) == (4, date(2026, 2, 1), 5)


def test_an_unknown_parameter_is_refused():
    with pytest.raises(InputError, match="train has no parameter max_dept; it has as_of"):
        parameters.parse(STAGES["train"], {"as_of": "2026-02-01", "max_dept": "4"})


def test_each_platform_has_its_own_folders(root: Path):
    assert platform_of(STAGES["etl"]).inputs()["raw"] == f"{root}/processing/input/raw"
    assert platform_of(STAGES["etl"]).outputs()["labels"] == f"{root}/processing/output/labels"
    assert platform_of(STAGES["train"]).inputs()["train"] == f"{root}/input/data/train"
    assert platform_of(STAGES["train"]).outputs() == {"model": f"{root}/model"}
    assert platform_of(STAGES["serve"]).inputs() == {"model": f"{root}/model"}


@pytest.mark.usefixtures("root")
def test_folders_inside_a_container_ignore_this_environment():
    """Orchestrators write them into requests, whatever their own environment holds."""
    assert input_folders(STAGES["etl"])["raw"] == "/opt/ml/processing/input/raw"
    assert output_folders(STAGES["train"]) == {"model": "/opt/ml/model"}


def test_only_a_missing_mount_asks_for_a_mount(root: Path):
    """The hint would mislead a person who passed a folder of data to a command."""
    mounted = fraudline("etl", "--as-of", "2026-02-01", root=root, log="plain").stderr
    assert mounted.endswith("mount the data there, or pass its location with --input raw=URI\n")
    passed = fraudline("etl", "--as-of", "2026-02-01", "--input", "raw=/nowhere", root=root, log="plain").stderr
    assert passed.endswith("check that the data was delivered there\n")


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_help_describes_every_channel_and_parameter(stage):
    text = " ".join(parser(stage).format_help().split())
    inputs, outputs = text.split(" inputs: ")[1].split(" outputs: ")
    for channel in stage.reads:
        assert f"{channel.name} {channel.description}{'' if channel.required else ' (optional)'}" in inputs
    for channel in stage.writes:
        assert f"{channel.name} {channel.description}" in outputs
    for parameter in stage.parameters:
        unit = f" ({parameter.unit})" if parameter.unit else ""
        default = "required" if parameter.default is REQUIRED else parameter.default_text
        assert f"{parameter.description}{unit}" + (f" [{default}]" if default else "") in text
        assert parameter.option in text


def test_help_lists_every_stage_once(root: Path):
    lines = fraudline("--help", root=root).stdout.splitlines()
    for name, stage in STAGES.items():
        assert [line.split(maxsplit=1)[1] for line in lines if line.split()[:1] == [name]] == [stage.description]


def test_a_log_is_plain_unless_the_environment_asks_for_json(root: Path):
    """Also through a pipe: a person may read it there."""
    plain = fraudline("etl", "--as-of", "soon", root=root, log="").stderr
    (line,) = fraudline("etl", "--as-of", "soon", root=root, log="json").stderr.splitlines()
    assert plain == f"{json.loads(line)['message']}\n"
    assert plain.startswith("--as-of: got 'soon'")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--help"], ["etl", "--help"], ["--version"]])
def test_a_closed_pipe_ends_quietly(arguments: list[str], unbuffered: str):
    """As ``fraudline --help | head -1`` closes it."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "fraudline", *arguments]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    ended = subprocess.run(command, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert ended.stderr == ""
    assert ended.returncode == (0 if unbuffered else 128 + signal.SIGPIPE)  # argparse ignores an error of its write


def test_sigterm_is_obeyed_at_once_and_never_swallowed():
    """A container's first process has no default handler: without this one it would wait to be killed."""
    waits = "import time, fraudline.cli as c, sys; c.run = lambda *_: time.sleep(30); sys.exit(c.main(['etl']))"
    process = subprocess.Popen([sys.executable, "-c", f"print('up', flush=True); {waits}"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    while process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            continue
    process.stdout.close()
    assert process.returncode in (143, -signal.SIGTERM)


def test_a_location_may_hold_fields_of_the_day(root: Path):
    """A state machine can't compute dates, so the stage fills in the day before."""
    ended = fraudline("etl", "--as-of", "2026-02-01", "--input", "raw=/no/{day}/{as_of}/{contract}/x", root=root)
    assert ended.returncode == 2
    assert f"nothing at '/no/2026-01-31/2026-02-01/{contract()}/x'" in (root / "output" / "message").read_text()
