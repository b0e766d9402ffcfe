"""A rerun leaves nothing of an earlier run, and no summary stands over a running job, on every platform."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest

from fraudline.catalog.environment import ML_ROOT
from fraudline.catalog.errors import InputError
from fraudline.catalog.plan import plan
from fraudline.catalog.stage import SUMMARY_FILE
from fraudline.catalog.stages import STAGES
from fraudline.entrypoints import aws_lambda
from fraudline.entrypoints import run as entrypoint
from fraudline.runtime import aws, s3
from fraudline.simulate import simulate
from tests.aws.jobs import Container, run_processing_job
from tests.wiring import test_pipeline, test_state_machines
from tests.wiring.test_state_machines import AS_OF

ETL = next(job for job in plan("daily") if job.stage.name == "etl")
# What the state machines and the pipelines of these tests call their buckets.
BUCKETS = {"state machine": ("s3://deliveries", "s3://results"), "pipeline": ("s3://delivered", "s3://written/fraud")}
PREFIX = f"executions/daily-{AS_OF}/{ETL.stage.prefix}"
OLD = ("transactions/part-9.parquet", "transactions/old/part-0.parquet", "rejected/part-9.parquet", "labels/more")

Run = Callable[[], None]


def in_this_process(container: Container, ml: Path, patch: pytest.MonkeyPatch) -> int:
    """Run a container's command in this process, with its folder instead of /opt/ml."""
    configuration = ml / "config/processingjobconfig.json"
    configuration.write_text(configuration.read_text().replace("/opt/ml/", f"{ml}/"))
    with patch.context() as patched:
        patched.setenv(ML_ROOT.name, str(ml))
        return entrypoint.run(STAGES[container.entrypoint[1]], container.arguments)


def job_of(request: Mapping[str, Any], folder: Path, patch: pytest.MonkeyPatch) -> Run:
    """Return what runs a request of CreateProcessingJob, each time on a new disk."""
    disks = iter(range(10))

    def run() -> None:
        ended = run_processing_job(request, folder / f"ml-{next(disks)}", partial(in_this_process, patch=patch))
        assert not ended.failure, ended

    return run


def function() -> None:
    """Invoke the stage's Lambda function."""
    payload = test_state_machines.request("daily", ETL, {"column": ""})["Payload"]
    aws_lambda.handle(ETL.stage, payload)


def process(root: Path) -> None:
    """Run the stage over folders, as processes and Docker do."""
    locations = [
        *(f"--input={name}={root}/data/{location.template}" for name, location in ETL.inputs.items()),
        *(f"--output={name}={root}/{location.template}" for name, location in ETL.outputs.items()),
    ]
    for location in ETL.outputs.values():
        Path(f"{root}/{location.template}".format(as_of=AS_OF)).mkdir(parents=True, exist_ok=True)
    assert entrypoint.run(ETL.stage, [f"--as-of={AS_OF}", *locations]) == 0


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("delivered")
    simulate(folder, start=AS_OF - timedelta(days=9), days=9, customers=60, merchants=60, seed=2)
    return folder


def create_buckets(data: str, root: str, delivered: Path) -> None:
    for uri in (data, root):
        boto3.client("s3").create_bucket(Bucket=uri.split("/")[2])
    s3.upload(delivered, data, str)


def files_below(location: str) -> set[str]:
    """Return the names of all files below a folder or an s3:// prefix."""
    if s3.is_uri(location):
        return {uri.removeprefix(f"{location}/") for uri in s3.list_objects(location)}
    return {str(path.relative_to(location)) for path in Path(location).rglob("*") if path.is_file()}


def write(location: str, name: str, text: str) -> None:
    if s3.is_uri(location):
        s3.write(location, name, text)
    else:
        path = Path(location, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def buckets(aws: None) -> Iterator[None]:
    """Delete the buckets of a test after it."""
    yield
    client = boto3.client("s3")
    for bucket in sorted({uri.split("/")[2] for uris in BUCKETS.values() for uri in uris}):
        with suppress(client.exceptions.NoSuchBucket):
            for uri in s3.list_objects(f"s3://{bucket}"):
                client.delete_object(Bucket=bucket, Key=uri.removeprefix(f"s3://{bucket}/"))
            client.delete_bucket(Bucket=bucket)


@pytest.fixture(params=["process", "function", "state machine", pytest.param("pipeline", marks=pytest.mark.pipeline)])
def platform(
    request: pytest.FixtureRequest, delivered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Run, str]:
    """Return what runs the stage on a platform, and the location of its outputs."""
    if request.param == "process":
        (tmp_path / "data").symlink_to(delivered)
        return partial(process, tmp_path), f"{tmp_path}/{PREFIX}"
    request.getfixturevalue("buckets")
    orchestrator = "pipeline" if request.param == "pipeline" else "state machine"
    data, root = BUCKETS[orchestrator]
    create_buckets(data, root, delivered)
    if request.param == "function":
        return function, f"{root}/{PREFIX}"
    if orchestrator == "pipeline":
        body = test_pipeline.requests("daily", (("AsOf", str(AS_OF)),))[ETL.stage.step]
    else:
        body = test_state_machines.request("daily_standard", ETL, {"column": ""})
    return job_of(body, tmp_path, monkeypatch), f"{root}/{PREFIX}"


@pytest.fixture
def files_during_run(platform: tuple[Run, str], monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Return a list that gets the files below the stage's prefix, as they are while its code runs."""
    seen: list[set[str]] = []
    call, (_, prefix) = entrypoint.call, platform

    def watched(*arguments: Any) -> Any:
        seen.append(files_below(prefix))
        return call(*arguments)

    monkeypatch.setattr(entrypoint, "call", watched)
    return seen


def test_a_rerun_leaves_exactly_its_own_files(platform: tuple[Run, str], files_during_run: list[set[str]]):
    run, prefix = platform
    run()
    expected = files_below(prefix)
    assert {"summary.json", "transactions/part-0.parquet"} <= expected
    for name in OLD:
        write(prefix, name, "an earlier run had more files")
    write(prefix, SUMMARY_FILE, "{}")
    run()
    assert SUMMARY_FILE not in files_during_run[-1]
    assert files_below(prefix) == expected
    summary = s3.read(prefix, SUMMARY_FILE) if s3.is_uri(prefix) else Path(prefix, SUMMARY_FILE).read_text()
    assert json.loads(str(summary))["record_count"] > 0


def test_a_rerun_that_fails_keeps_what_the_earlier_run_left(platform: tuple[Run, str], monkeypatch: pytest.MonkeyPatch):
    """Nothing was changed, so the summary still describes what lies there."""
    run, prefix = platform
    run()
    expected = files_below(prefix)

    def refuse(*_: Any) -> Any:
        raise InputError("the labels are broken")

    monkeypatch.setattr(entrypoint, "call", refuse)
    with pytest.raises((AssertionError, aws_lambda.InputRejected)):
        run()
    assert files_below(prefix) == expected


@pytest.mark.usefixtures("aws")
def test_an_isolated_job_ends_with_what_to_do(delivered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Such a container has neither a network nor credentials, so it can't remove what an earlier run left."""
    body = test_state_machines.request("daily_standard", ETL, {"column": ""})
    arguments = [word for word in body["AppSpecification"]["ContainerArguments"] if "--input" not in word]
    folders = [f"--input={name}={delivered}/{location.template}" for name, location in ETL.inputs.items()]
    body["AppSpecification"]["ContainerArguments"] = [*arguments, *folders]

    def isolated(container: Container, ml: Path) -> int:
        with monkeypatch.context() as patch:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                patch.delenv(name)
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
            patch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the credentials that it has found
            aws.client.cache_clear()
            try:
                return in_this_process(container, ml, patch)
            finally:
                aws.client.cache_clear()

    ended = run_processing_job(body, tmp_path / "ml", isolated)
    assert "NoCredentialsError" in ended.message
    assert "isolated jobs get none" in ended.message
    assert ended.failure.endswith("exit code: 2")
