"""Clients follow the environment as the AWS CLI does, and failures to connect are sentences."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from botocore import exceptions

from fraudline.catalog.errors import InputError
from fraudline.runtime import aws
from fraudline.runtime.aws_errors import explained


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    aws.client.cache_clear()
    yield
    aws.client.cache_clear()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
    ],
)
@pytest.mark.parametrize("service", ["s3", "cloudformation"])
def test_both_variables_name_the_region(
    service: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert aws.client(service).meta.region_name == expected


def test_a_missing_region_names_the_variable():
    with pytest.raises(InputError, match="deploy: You must specify a region; set AWS_REGION"), explained("deploy"):
        aws.client("cloudformation")


def test_an_unreachable_endpoint_is_a_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    expected = "deploy: Could not connect to the endpoint URL: .*; check the network and the region"
    with pytest.raises(InputError, match=expected), explained("deploy"):
        aws.client("s3").list_buckets()


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ProxyConnectionError(proxy_url="http://proxy", error="refused"),
        exceptions.SSLError(endpoint_url="https://aws", error="certificate"),
        exceptions.HTTPClientError(error="reset"),
        exceptions.ProfileNotFound(profile="bank"),
        exceptions.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        exceptions.UnauthorizedSSOTokenError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_error_of_a_connection_ends_in_a_stack_trace(error: Exception):
    with pytest.raises(InputError, match=r"deploy: .*; (check|set|renew)"), explained("deploy"):
        raise error
