"""What AWS answers, told in a sentence, with the exit code that says whether to try again."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from fraudline.catalog.environment import ML_ROOT
from fraudline.catalog.errors import InputError, TemporaryError
from fraudline.catalog.stages import STAGES
from fraudline.entrypoints.run import run
from fraudline.runtime import faults


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
def test_what_may_be_gone_at_the_next_attempt_ends_with_1(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A state machine tries such a stage again, and one that ended with 2 it does not."""

    def busy(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setenv(ML_ROOT.name, str(tmp_path))
    monkeypatch.setattr("fraudline.etl.etl.run", busy)
    assert isinstance(faults.explain(error, {}), TemporaryError)
    assert run(STAGES["etl"], ["--as-of", "2026-02-01"]) == 1
    assert (tmp_path / "output/message").read_text().endswith(("run it again in a minute", "and run it again"))


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("AuthorizationError", "grant the calling role"),
        ("AccessDeniedException", "grant the calling role"),
        ("NotFound", "check the topic's ARN"),
        ("StateMachineDoesNotExist", "check the state machine's ARN"),
        ("ResourceNotFoundException", "check the table's name"),
        ("ResourceLimitExceeded", "raise that quota in Service Quotas"),
    ],
)
def test_what_would_be_refused_again_is_the_users_to_mend(code: str, says: str):
    told = faults.explain(answer(code), {})
    assert isinstance(told, InputError)
    assert f"AWS answered Publish with {code}; {says}" in str(told)


def test_what_nobody_foresaw_is_told_as_ours():
    assert faults.explain(answer("ValidationException"), {}) is None
    assert faults.explain(ZeroDivisionError(), {}) is None
