"""Errors of AWS and the system, explained, with the exit code by which orchestrators retry."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from fraudline.catalog.environment import ML_ROOT
from fraudline.catalog.errors import InputError, TemporaryError
from fraudline.catalog.stages import STAGES
from fraudline.entrypoints.run import run
from fraudline.runtime import faults
from fraudline.runtime.aws_errors import explained


def answer(code: str, status: int = 400) -> ClientError:
    response = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Publish")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        answer("ThrottlingException"),
        answer("ProvisionedThroughputExceededException"),
        answer("Throttled", 429),
        answer("ExecutionLimitExceeded"),
        answer("InternalServerError", 500),
        answer("ServiceUnavailable", 503),
        EndpointConnectionError(endpoint_url="https://sns.example"),
    ],
)
def test_a_temporary_error_ends_with_1(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A state machine runs such a stage again, and one that ended with 2 it does not."""

    def busy(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setenv(ML_ROOT.name, str(tmp_path))
    monkeypatch.setattr("fraudline.etl.etl.run", busy)
    assert isinstance(faults.explain(error, {}), TemporaryError)
    assert run(STAGES["etl"], ["--as-of", "2026-02-01"]) == 1
    assert (tmp_path / "output/message").read_text().endswith(("run it again in a minute", "and run it again"))


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("AuthorizationError", "grant the calling role"),
        ("AccessDeniedException", "grant the calling role"),
        ("NotFound", "check the topic's ARN"),
        ("StateMachineDoesNotExist", "check the state machine's ARN"),
        ("ResourceNotFoundException", "check the table's name"),
        ("ResourceLimitExceeded", "raise that quota in Service Quotas"),
    ],
)
def test_a_lasting_error_is_the_users_to_fix(code: str, remedy: str):
    explanation = faults.explain(answer(code), {})
    assert isinstance(explanation, InputError)
    assert f"AWS answered Publish with {code}; {remedy}" in str(explanation)


def test_an_unforeseen_error_is_not_explained():
    assert faults.explain(answer("ValidationException"), {}) is None
    assert faults.explain(ZeroDivisionError(), {}) is None


def test_a_full_disk_names_the_outputs_on_it():
    explanation = faults.explain(OSError(errno.ENOSPC, "full"), {"a": "/a", "b": "s3://b"})
    assert isinstance(explanation, InputError)
    assert str(explanation) == "outputs a '/a', b 's3://b': No space left on device; give the job a larger volume"


def test_a_command_shows_the_answer_and_the_remedy():
    with pytest.raises(InputError) as throttled, explained("start x"):
        raise answer("Throttling")
    assert str(throttled.value) == "start x: AWS answered Throttling: m; run it again in a minute"
    with pytest.raises(InputError) as unknown, explained("start x"):
        raise answer("Odd")
    assert str(unknown.value) == "start x: AWS answered Odd: m; look the code up in the service's API reference"
    with pytest.raises(ZeroDivisionError), explained("start x"):
        raise ZeroDivisionError
