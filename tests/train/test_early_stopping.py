"""Checkpoints: a training that loses its instance continues on another, and its model shows no trace of them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from fraudline.catalog.run import Run
from fraudline.catalog.stages import STAGES
from fraudline.runtime.channels import Channels
from fraudline.train import early_stopping, train
from tests.train.test_train import features

PARAMETERS = {"algorithm": "xgboost", "rounds": 60, "max_depth": 4, "learning_rate": 0.05, "seed": 7}
RUN = Run(date(2026, 3, 3), "unnamed", replace=False, now=datetime(2026, 3, 3, tzinfo=UTC))


class InstanceLostError(Exception):
    """A spot instance taken back without a signal."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("features")
    return {
        "train": str(features(root / "train", "2026-01-01", "2026-01-21", 4000)),
        "validation": str(features(root / "validation", "2026-01-28", "2026-02-10", 2000)),
    }


@pytest.fixture(autouse=True)
def frequent_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_stopping, "CHECKPOINT_TREES", 10)


def run_training(inputs: dict[str, str], folder: Path, checkpoints: Path | None, **other: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    with Channels(STAGES["train"], inputs, {"model": str(folder)}, checkpoints) as channels:
        summary = train.run(channels, RUN, **PARAMETERS | other)
        channels.commit(summary)
    return summary


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def lose_instance(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    original = early_stopping.EarlyStopping.after_iteration

    def after_iteration(self: Any, model: Any, epoch: int, evals_log: Any) -> bool:
        stop = original(self, model, epoch, evals_log)
        if model.num_boosted_rounds() == after:
            raise InstanceLostError
        return stop

    monkeypatch.setattr(early_stopping.EarlyStopping, "after_iteration", after_iteration)


@pytest.fixture
def interrupted(inputs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Checkpoints of a training that lost its instance after 35 trees."""
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    with monkeypatch.context() as patch:
        lose_instance(patch, 35)
        with pytest.raises(InstanceLostError):
            run_training(inputs, tmp_path / "lost", checkpoints)
    return checkpoints


@pytest.mark.integration
def test_interrupted_training_continues_from_its_checkpoint(
    inputs: dict[str, str], interrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The checkpoint has 30 trees, so the other 30 are boosted and no tree twice."""
    boosted: list[int] = []
    original = early_stopping.EarlyStopping.after_iteration

    def after_iteration(self: Any, model: Any, epoch: int, evals_log: Any) -> bool:
        boosted.append(model.num_boosted_rounds())
        return original(self, model, epoch, evals_log)

    monkeypatch.setattr(early_stopping.EarlyStopping, "after_iteration", after_iteration)
    summary = run_training(inputs, tmp_path / "model", interrupted)
    assert boosted == list(range(31, 61))
    assert summary["status"] == "Completed"
    whole = run_training(inputs, tmp_path / "whole", None)
    # Not the same bits: the draws of rows and columns start again where the training continued.
    for one in (summary, whole):
        assert one["validation"]["average_precision"] > 0.4


def test_checkpoint_of_other_rows_or_parameters_is_ignored(inputs: dict[str, str], interrupted: Path, tmp_path: Path):
    """Else one model would mix the trees of two trainings."""
    run_training(inputs, tmp_path / "one", interrupted, seed=8)
    run_training(inputs, tmp_path / "two", None, seed=8)
    assert files(tmp_path / "one") == files(tmp_path / "two")


@pytest.mark.integration
def test_finished_training_leaves_no_checkpoint(inputs: dict[str, str], interrupted: Path, tmp_path: Path):
    """Training again gives the same bytes as a training that was never interrupted."""
    run_training(inputs, tmp_path / "resumed", interrupted)
    run_training(inputs, tmp_path / "again", interrupted)
    run_training(inputs, tmp_path / "whole", None)
    assert files(tmp_path / "again") == files(tmp_path / "whole")


def test_model_holds_no_attribute_of_checkpoints(inputs: dict[str, str], interrupted: Path, tmp_path: Path):
    run_training(inputs, tmp_path / "model", interrupted)
    model = (tmp_path / "model" / "model.ubj").read_bytes()
    assert all(name not in model for name in (b"best_score", b"best_trees", b"origin"))
