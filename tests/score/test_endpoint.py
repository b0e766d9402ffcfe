"""Deployment to a SageMaker endpoint, over HTTP against moto as tests/hosting.py completes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import polars as pl
import pytest

from fraudline.catalog.errors import InputError, TemporaryError
from fraudline.model.artifact import probes
from fraudline.model.model import Model
from fraudline.score import client, deploy_model, endpoint, risk
from tests.artifacts import ROWS, write_artifact
from tests.hosting import Hosting, hosting
from tests.killing import Killed, killed_after
from tests.running import run_stage

pytestmark = pytest.mark.integration  # trains models and serves them over HTTP

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/fraudline/score@sha256:1"
ROLE = "arn:aws:iam::123456789012:role/fraud-model"
OLD, NEW = "v2026-02-01", "v2026-02-08"


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("artifacts")
    return {version: write_artifact(root / version, version, least) for version, least in ((OLD, 1), (NEW, 0))}


@pytest.fixture(scope="module")
def moto_hosting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosting]:
    with hosting(tmp_path_factory.mktemp("hosting")) as completed:
        yield completed


@pytest.fixture
def sagemaker(
    moto_hosting: Hosting, artifacts: dict[str, Path], aws: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hosting]:
    """An empty SageMaker. A model's local server starts once, not for every deployment."""
    boto3.client("s3").create_bucket(Bucket="models")
    monkeypatch.setattr(endpoint, "POLL", 0)

    @contextmanager
    def running_server(folder: Path) -> Iterator[str]:
        version = json.loads((folder / "manifest.json").read_text())["model_version"]
        if version not in moto_hosting.urls:
            moto_hosting.urls[version] = moto_hosting.servers.enter_context(start(folder))
        yield moto_hosting.urls[version]

    start = deploy_model.local_server
    monkeypatch.setattr(deploy_model, "local_server", running_server)
    yield moto_hosting
    moto_hosting.start_failures.clear()
    moto_hosting.operations.clear()
    moto_hosting.answer = lambda _model, answer: answer
    for resources in ("endpoints", "endpoint_configs", "_models"):
        getattr(moto_hosting.backend, resources).clear()


def deploy(artifacts: dict[str, Path], version: str, root: Path, name: str = "fraud", **texts: Any) -> dict[str, Any]:
    evaluation = root / "evaluation" / version
    evaluation.mkdir(parents=True, exist_ok=True)
    verdict = {"model_version": version, "deploy_recommended": True, "reasons": []}
    (evaluation / "verdict.json").write_text(json.dumps(verdict))
    outputs = {channel: root / channel for channel in ("deployment", "champion", "summary")}
    return run_stage(
        "deploy-model",
        {"model": artifacts[version], "evaluation": evaluation},
        outputs | {"models": f"s3://models/{root.name}/{version}/"},
        as_of=version[1:],
        **{"endpoint": name, "serving_image": IMAGE, "role": ROLE, "now": "2026-02-08T03:00"} | texts,
    )


def champion(root: Path) -> Any:
    path = root / "champion" / "current.json"
    return json.loads(path.read_text())["champion"] if path.is_file() else None


def test_first_model_is_served_and_becomes_champion(
    sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path, model: Model
):
    summary = deploy(artifacts, OLD, tmp_path)
    assert (summary["status"], summary["instance_type"], summary["model_version"]) == ("InService", "ml.m5.large", OLD)
    assert summary["endpoint_arn"] == "arn:aws:sagemaker:us-east-1:123456789012:endpoint/fraud"
    assert sagemaker.state("fraud") == ("InService", champion(tmp_path)["endpoint_configuration"])
    ids = pl.Series([str(number) for number in range(len(ROWS))])
    served = client.score("sagemaker://fraud", ids, ROWS, batch=100)
    assert served.scores.equals(risk.score(model, ids, ROWS))


def test_deployment_without_endpoint_names_none(sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path):
    """A name is the name of something that exists."""
    summary = deploy(artifacts, OLD, tmp_path, name="")
    assert summary["status"] == "Champion"
    for deployed in (summary, champion(tmp_path)):
        assert [deployed[key] for key in ("endpoint_name", "endpoint_arn", "instance_type")] == [None, None, None]
    assert sagemaker.operations == []


def test_parameters_reach_the_endpoint_configuration(sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path):
    deploy(
        artifacts,
        OLD,
        tmp_path,
        subnets="subnet-1",
        security_groups="sg-1",
        kms_key="arn:aws:kms:us-east-1:123456789012:key/k",
        serving_instance="ml.c5.xlarge",
        serving_instances=2,
    )
    configuration = boto3.client("sagemaker").describe_endpoint_config(EndpointConfigName=sagemaker.state("fraud")[1])
    (variant,) = configuration["ProductionVariants"]
    assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.c5.xlarge", 2)
    assert configuration["KmsKeyId"].endswith("key/k")
    described = boto3.client("sagemaker").describe_model(ModelName=variant["ModelName"])
    assert described["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert described["ExecutionRoleArn"] == ROLE
    assert described["PrimaryContainer"]["Image"] == IMAGE
    assert described["PrimaryContainer"]["ModelDataUrl"] == f"s3://models/{tmp_path.name}/{OLD}/model.tar.gz"


def test_rerun_changes_nothing(sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path):
    first = deploy(artifacts, OLD, tmp_path)
    created = set(sagemaker.backend._models), set(sagemaker.backend.endpoint_configs)
    assert deploy(artifacts, OLD, tmp_path) == first
    assert sagemaker.operations == ["create"]
    assert (set(sagemaker.backend._models), set(sagemaker.backend.endpoint_configs)) == created


def test_next_model_replaces_its_predecessor(sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path):
    deploy(artifacts, OLD, tmp_path)
    deploy(artifacts, NEW, tmp_path)
    assert sagemaker.operations == ["create", "update"]
    assert champion(tmp_path)["model_version"] == NEW
    rows, expected = probes(artifacts[NEW])
    served = client.score("sagemaker://fraud", pl.Series(["t"] * len(rows)), rows, batch=100).scores
    assert np.allclose(served.get_column("fraud_score"), expected, atol=1e-5)


def wrong_score(version: str) -> Any:
    """Answer with a score that is not the model's, as a wrong library in the image would."""

    def answer(name: str, original: tuple[int, str]) -> tuple[int, str]:
        if version not in name:
            return original
        content = json.loads(original[1])
        content["predictions"][0]["fraud_score"] += 0.01
        return 200, json.dumps(content)

    return answer


def test_model_with_wrong_scores_is_replaced_by_its_predecessor(
    sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path
):
    deploy(artifacts, OLD, tmp_path)
    previous = champion(tmp_path)
    sagemaker.answer = wrong_score(NEW)
    with pytest.raises(InputError, match=r"does not serve v2026-02-08: the smoke test failed.*differs by 0.01.*again"):
        deploy(artifacts, NEW, tmp_path)
    assert champion(tmp_path) == previous
    assert sagemaker.state("fraud") == ("InService", previous["endpoint_configuration"])


def test_new_endpoint_is_deleted_if_its_model_fails(sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path):
    sagemaker.answer = wrong_score(OLD)
    with pytest.raises(InputError, match="there was none before, and it is deleted"):
        deploy(artifacts, OLD, tmp_path)
    assert sagemaker.state("fraud") is None
    assert champion(tmp_path) is None


def test_container_that_does_not_start_is_reported_with_its_reason(
    sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path
):
    sagemaker.start_failures["bad"] = "The container did not pass the ping health check"
    with pytest.raises(InputError, match=r"did not pass the ping health check; the endpoint's log.*is deleted"):
        deploy(artifacts, OLD, tmp_path, serving_image="bad")
    assert sagemaker.state("fraud") is None
    deploy(artifacts, OLD, tmp_path)
    with pytest.raises(InputError, match=r"did not pass the ping health check.*is InService"):
        deploy(artifacts, NEW, tmp_path, serving_image="bad")
    assert sagemaker.state("fraud") == ("InService", champion(tmp_path)["endpoint_configuration"])


def test_lack_of_capacity_is_a_temporary_error(sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path):
    sagemaker.start_failures[IMAGE] = "Unable to provision requested ML compute capacity"
    with pytest.raises(TemporaryError, match="run the stage again later"):
        deploy(artifacts, OLD, tmp_path)
    sagemaker.start_failures.clear()
    assert deploy(artifacts, OLD, tmp_path)["status"] == "InService"


@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
def test_rerun_after_a_kill_at_any_call_ends_equal(
    sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path, good: bool
):
    """Also if the killed run was the only one that saw the previous model in service, and the new model is wrong."""
    expected = NEW if good else OLD
    for calls in range(100):
        root, name = tmp_path / str(calls), f"fraud-{calls}"
        sagemaker.answer = lambda _model, answer: answer
        deploy(artifacts, OLD, root, name)
        if not good:
            sagemaker.answer = wrong_score(NEW)
        finished = False
        try:
            with killed_after(calls):
                deploy(artifacts, NEW, root, name)
            finished = True
        except (Killed, InputError) as ended:
            finished = isinstance(ended, InputError)
        try:
            deploy(artifacts, NEW, root, name)
        except InputError:
            assert not good
        assert champion(root)["model_version"] == expected
        assert sagemaker.state(name) == ("InService", champion(root)["endpoint_configuration"])
        if finished:
            break
    assert calls > 12


def test_incomplete_hosting_is_refused_before_publishing(
    sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path
):
    for texts, reason in (
        ({"serving_image": ""}, "--serving-image is missing"),
        ({"role": ""}, "--role is missing"),
        ({"subnets": "subnet-1"}, "go together"),
    ):
        with pytest.raises(InputError, match=reason):
            deploy(artifacts, OLD, tmp_path, **texts)
    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket="models", Prefix=tmp_path.name)


def rows_with_broken(*broken: int) -> tuple[pl.Series, np.ndarray]:
    rows = ROWS[:250].copy()
    rows[list(broken)] = np.inf  # no JSON number
    return pl.Series([f"t{number}" for number in range(len(rows))]), rows


def test_broken_row_of_a_batch_is_refused_alone_with_its_reason(
    sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path, model: Model
):
    deploy(artifacts, OLD, tmp_path)
    ids, rows = rows_with_broken(17, 18, 120)
    scored = client.score("sagemaker://fraud", ids, rows, batch=100, max_refused=0.05)
    assert [row.transaction_id for row in scored.refused] == ["t17", "t18", "t120"]
    assert all("not JSON" in row.reason for row in scored.refused)
    kept = np.isfinite(rows).all(axis=1)
    assert scored.scores.equals(risk.score(model, ids.filter(pl.Series(kept)), rows[kept]))


def test_endpoint_that_refuses_too_many_rows_is_an_error(
    sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path
):
    """It serves another feature contract, say. Finding that out must not take a request for every row."""
    deploy(artifacts, OLD, tmp_path)
    requests: list[str] = []
    sagemaker.answer = lambda model, answer: (requests.append(model), answer)[1]
    with pytest.raises(
        InputError, match=r"refused 13 of 250 rows or more.*expected 3 features, got 2.*5.0% are allowed"
    ):
        client.score("sagemaker://fraud", pl.Series(["t"] * 250), ROWS[:250, :2], batch=100, max_refused=0.05)
    assert len(requests) < 40


@pytest.mark.parametrize("status", [500, 503])
def test_failing_container_is_called_again(sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path, status: int):
    deploy(artifacts, OLD, tmp_path)
    failures = [(status, "busy")] * 2
    sagemaker.answer = lambda _model, answer: failures.pop() if failures else answer
    assert client.score("sagemaker://fraud", pl.Series(["t"]), ROWS[:1], batch=100).scores.height == 1


@pytest.mark.parametrize(
    ("status", "code"), [(429, "ModelNotReadyException"), (400, "ThrottlingException"), (503, "ServiceUnavailable")]
)
def test_busy_sagemaker_is_called_again(
    sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path, status: int, code: str
):
    deploy(artifacts, OLD, tmp_path)
    sagemaker.refusals += [(status, code)] * 2
    assert client.score("sagemaker://fraud", pl.Series(["t"]), ROWS[:1], batch=100).scores.height == 1
    assert not sagemaker.refusals


def test_endpoint_that_keeps_failing_is_a_temporary_error(
    sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    deploy(artifacts, OLD, tmp_path)
    monkeypatch.setattr(client, "TRIES", 2)
    sagemaker.answer = lambda _model, _answer: (500, "out of memory")
    with pytest.raises(TemporaryError, match="failed with status 500: out of memory; run the stage again"):
        client.score("sagemaker://fraud", pl.Series(["t"]), ROWS[:1], batch=100)


def test_missing_endpoint_is_named_in_the_error(sagemaker: Hosting):
    with pytest.raises(InputError, match=r"sagemaker://nowhere.*not found.*check its name, region and status"):
        client.score("sagemaker://nowhere", pl.Series(["t"]), ROWS[:1], batch=100)


def test_day_scored_by_an_endpoint_lists_its_refused_rows(
    sagemaker: Hosting, artifacts: dict[str, Path], tmp_path: Path
):
    deploy(artifacts, OLD, tmp_path)
    names = ["amount", "velocity_1h", "hour_of_day"]
    ids, rows = rows_with_broken(17)
    keys = {"transaction_id": ids, "customer_id": "c", "timestamp": pl.datetime(2026, 2, 7, time_zone="UTC")}
    table = pl.DataFrame(rows, schema=names).with_columns(**{"transaction_id": ids, "customer_id": pl.lit("c")})
    table = table.with_columns(timestamp=keys["timestamp"].cast(pl.Datetime("us", "UTC")))
    (tmp_path / "features").mkdir()
    table.write_parquet(tmp_path / "features/part-0.parquet")
    (tmp_path / "features/contract.json").write_text(json.dumps({"features": names, "contract": "abc"}))
    outputs = {name: tmp_path / name for name in ("scores", "summary")}
    summary = run_stage(
        "fraud-scoring", {"features": tmp_path / "features"}, outputs, as_of="2026-02-08", endpoint="sagemaker://fraud"
    )
    assert (summary["record_count"], summary["refused_count"]) == (249, 1)
    assert summary["refused"][0]["transaction_id"] == "t17"
    (line,) = (tmp_path / "scores/refused.jsonl").read_text().splitlines()
    assert json.loads(line) == summary["refused"][0]
