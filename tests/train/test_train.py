"""Training: each algorithm leaves an artifact that checks itself, equal for equal seeds; and its evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraudline.catalog.errors import InputError
from fraudline.catalog.schema import FEATURE_KEYS
from fraudline.catalog.stages import STAGES
from fraudline.model.artifact import digest
from fraudline.model.histograms import psi
from fraudline.model.metrics import average_precision
from fraudline.model.model import Model, load
from fraudline.runtime.channels import Channels
from fraudline.train.calibration import platt
from tests.running import run_stage

NAMES = ["amount", "velocity_1h"]
RANDOM = np.random.default_rng(9)


def features(folder: Path, first: str, end: str, rows: int, contract: str = "abc") -> Path:
    folder.mkdir(parents=True)
    values = RANDOM.normal(size=(rows, 2)).astype(np.float32)
    labels = (values.sum(axis=1) + RANDOM.normal(size=rows) > 2.5).astype(np.int8)
    seconds = np.sort(RANDOM.integers(0, 20 * 86_400, rows)) + 1_767_225_600
    table = pl.DataFrame(
        {
            "transaction_id": [f"{first}-{number}" for number in range(rows)],
            "customer_id": [f"c{number % 50}" for number in range(rows)],
            "timestamp": pl.Series(seconds).cast(pl.Int64),
            NAMES[0]: values[:, 0],
            NAMES[1]: values[:, 1],
            "is_fraud": labels,
            "weight": pl.Series([1.0] * rows, dtype=pl.Float32),
        }
    ).with_columns(pl.from_epoch("timestamp").dt.replace_time_zone("UTC").cast(FEATURE_KEYS["timestamp"]))
    table.write_parquet(folder / "part-0.parquet")
    content = {"contract": contract, "definitions": {}, "features": NAMES, "first": first, "end": end}
    (folder / "contract.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("features")
    return {
        "train": features(root / "train", "2026-01-01", "2026-01-21", 4000),
        "validation": features(root / "validation", "2026-01-28", "2026-02-10", 2000),
        "test": features(root / "test", "2026-02-17", "2026-02-24", 2000),
    }


def train(inputs: dict[str, Path], folder: Path, **texts: object) -> Model:
    channels = {name: inputs[name] for name in ("train", "validation")}
    run_stage("train", channels, {"model": folder}, as_of="2026-03-03", rounds=40, **texts)
    with Channels(STAGES["serve"], {"model": str(folder)}, {}) as loaded:
        return load(loaded)


def evaluate(inputs: dict[str, Path], model: Path, champion: Path, folder: Path) -> dict:
    channels = {"model": model, "test": inputs["test"], "champion": champion}
    return run_stage("evaluate-model", channels, {"evaluation": folder}, as_of="2026-03-03", samples=50)


@pytest.mark.parametrize("algorithm", ["xgboost", "random-forest"])
def test_each_algorithm_learns_and_reproduces_its_probes(inputs, tmp_path: Path, algorithm: str):
    model = train(inputs, tmp_path, algorithm=algorithm)
    table = pl.read_parquet(inputs["test"] / "*.parquet")
    margins = model.margins(table.select(NAMES).to_numpy().astype(np.float32))
    assert average_precision(table.get_column("is_fraud").to_numpy(), margins) > 0.4
    probes = json.loads((tmp_path / "probes.json").read_text())
    assert len(probes["rows"]) == len(probes["scores"]) == 100
    assert model.manifest["train"]["end"] == "2026-01-21"
    assert not list(tmp_path.glob("*.pkl"))


def test_same_seed_gives_the_same_bytes(inputs, tmp_path: Path):
    """Otherwise a deployed model could not be checked against its data."""
    for name in ("one", "two"):
        train(inputs, tmp_path / name)
    for file in ("model.ubj", "manifest.json", "probes.json", "summary.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_summary_names_the_training_job(inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """SageMaker Training names its job in the environment; elsewhere there is no job to name."""
    names = {"TRAINING_JOB_NAME": "fraud-model-1", "TRAINING_JOB_ARN": "arn:aws:sagemaker:::training-job/fraud-model-1"}
    for folder, environment in (("here", {}), ("sagemaker", names)):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        train(inputs, tmp_path / folder)
        summary = json.loads((tmp_path / folder / "summary.json").read_text())
        expected = [environment.get(name) for name in names]
        assert [summary["training_job_name"], summary["training_job_arn"]] == expected


def test_equal_models_of_two_jobs_have_one_digest(inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Otherwise a training that is run again could not publish its model."""
    for name in ("one", "two"):
        monkeypatch.setenv("TRAINING_JOB_NAME", name)
        train(inputs, tmp_path / name)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    assert (tmp_path / "one/summary.json").read_bytes() != (tmp_path / "two/summary.json").read_bytes()


def _resampled(folder: Path, source: Path, weight: float | None) -> Path:
    """Keep every fraud and one in ten other rows, which get the weight, or 1."""
    folder.mkdir()
    (folder / "contract.json").write_text((source / "contract.json").read_text())
    table = pl.read_parquet(source / "part-0.parquet")
    genuine = pl.col("is_fraud") == 0
    kept = table.filter(~genuine | (pl.int_range(pl.len()) % 10 == 0))
    weights = pl.when(genuine).then(pl.lit(weight or 1.0)).otherwise(1.0).cast(pl.Float32)
    kept.with_columns(weights.alias("weight")).write_parquet(folder / "part-0.parquet")
    return folder


@pytest.mark.integration
def test_weights_keep_sampled_margins_calibrated(inputs, tmp_path: Path):
    """Without them a model trained on a sample predicts far too much fraud."""
    table = pl.read_parquet(inputs["test"] / "*.parquet")
    rows = table.select(NAMES).to_numpy().astype(np.float32)
    predicted = {}
    for name, weight in (("weighted", 10.0), ("bare", None)):
        sampled = inputs | {"train": _resampled(tmp_path / f"{name}-rows", inputs["train"], weight)}
        model = train(sampled, tmp_path / name)
        predicted[name] = float(np.mean(1 / (1 + np.exp(-model.margins(rows)))))
    truth = float(table.get_column("is_fraud").mean())  # type: ignore[arg-type]
    assert 0.75 * truth < predicted["weighted"] < 1.25 * truth
    assert predicted["bare"] > 2.5 * truth


@pytest.mark.integration
def test_histograms_of_a_sample_are_those_of_all_rows(inputs, tmp_path: Path):
    """Otherwise the first day after a training on a sample would look like drift."""
    whole = train(inputs, tmp_path / "whole").manifest["histograms"]["amount"]
    sampled = inputs | {"train": _resampled(tmp_path / "rows", inputs["train"], 10.0)}
    reference = train(sampled, tmp_path / "sampled").manifest["histograms"]["amount"]
    values = pl.read_parquet(inputs["train"] / "*.parquet").get_column("amount").to_numpy()
    assert psi(values, whole) < 1e-9
    assert psi(values, reference) < 0.05
    bare = inputs | {"train": _resampled(tmp_path / "bare-rows", inputs["train"], None)}
    assert psi(values, train(bare, tmp_path / "bare").manifest["histograms"]["amount"]) > 0.15


def test_unknown_algorithm_is_refused(inputs, tmp_path: Path):
    with pytest.raises(InputError, match="must be xgboost or random-forest, got 'magic'"):
        train(inputs, tmp_path, algorithm="magic")


def test_margins_that_do_not_rise_with_fraud_are_refused():
    margins = RANDOM.normal(size=500).astype(np.float32)
    with pytest.raises(InputError, match="frauds do not score above the rest"):
        platt(margins, (margins < -1).astype(np.int8))


def test_first_model_is_judged_by_floors_alone(inputs, tmp_path: Path):
    train(inputs, tmp_path / "model")
    (tmp_path / "current.json").write_text('{"champion": null}')
    alone = evaluate(inputs, tmp_path / "model", tmp_path, tmp_path / "evaluation")
    assert alone["deploy_recommended"]
    assert alone["comparison"] is None


def test_model_that_is_champion_already_equals_itself(inputs, tmp_path: Path):
    """A rerun after the deployment finds it there."""
    champion = tmp_path / "champion"
    train(inputs, tmp_path / "model")
    train(inputs, champion / "v2026-03-03")
    (champion / "current.json").write_text('{"champion": {"model_version": "v2026-03-03"}}')
    itself = evaluate(inputs, tmp_path / "model", champion, tmp_path / "evaluation")
    assert itself["comparison"]["average_precision"]["difference"] == 0
    assert itself["deploy_recommended"]
    assert len(itself["exit_message"].encode()) <= 1024


@pytest.mark.integration
def test_champion_trained_on_the_test_window_is_no_judge(inputs, tmp_path: Path):
    """It would win on days that it has learned."""
    train(inputs, tmp_path / "model")
    later = {"train": inputs["train"], "validation": features(tmp_path / "late", "2026-02-10", "2026-02-20", 2000)}
    champion = tmp_path / "champion"
    train(later, champion / "v2026-03-03")
    (champion / "current.json").write_text('{"champion": {"model_version": "v2026-03-03"}}')
    judged = evaluate(inputs, tmp_path / "model", champion, tmp_path / "evaluation")
    assert not judged["deploy_recommended"]
    assert "trained on days up to 2026-02-20, and the test window begins on 2026-02-17" in judged["reasons"][0]


def test_test_window_of_another_contract_is_refused(inputs, tmp_path: Path):
    train(inputs, tmp_path / "model")
    (tmp_path / "current.json").write_text('{"champion": null}')
    other = inputs | {"test": features(tmp_path / "test", "2026-02-17", "2026-02-24", 500, contract="xyz")}
    with pytest.raises(
        InputError,
        match="does not match channel 'test': feature contract abc, expected xyz: the features are in another order",
    ):
        evaluate(other, tmp_path / "model", tmp_path, tmp_path / "evaluation")
