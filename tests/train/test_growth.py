"""Checkpoints: a training that loses its machine goes on, and nothing of them is left in what it makes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from fraudline.catalog.run import Run
from fraudline.catalog.stages import STAGES
from fraudline.runtime.channels import Channels
from fraudline.train import growth, train
from tests.train.test_train import features

PARAMETERS = {"algorithm": "xgboost", "rounds": 60, "max_depth": 4, "learning_rate": 0.05, "seed": 7}


class MachineGoneError(Exception):
    """Taken back without a word."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("features")
    return {
        "train": str(features(root / "train", "2026-01-01", "2026-01-21", 4000)),
        "validation": str(features(root / "validation", "2026-01-28", "2026-02-10", 2000)),
    }


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "CHECKPOINT_TREES", 10)


RUN = Run(date(2026, 3, 3), "unnamed", replace=False, now=datetime(2026, 3, 3, tzinfo=UTC))


def trained(inputs: dict[str, str], folder: Path, checkpoints: Path | None, **other: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    with Channels(STAGES["train"], inputs, {"model": str(folder)}, checkpoints) as channels:
        summary = train.run(channels, RUN, **PARAMETERS | other)
        channels.commit(summary)
    return summary


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def lose_the_machine(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    ours = growth.Growth.after_iteration

    def grow(self: Any, model: Any, epoch: int, evals_log: Any) -> bool:
        stop = ours(self, model, epoch, evals_log)
        if model.num_boosted_rounds() == after:
            raise MachineGoneError
        return stop

    monkeypatch.setattr(growth.Growth, "after_iteration", grow)


@pytest.fixture
def interrupted(inputs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Checkpoints of a training that lost its machine after 35 trees."""
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    with monkeypatch.context() as patch:
        lose_the_machine(patch, 35)
        with pytest.raises(MachineGoneError):
            trained(inputs, tmp_path / "lost", checkpoints)
    return checkpoints


def test_a_training_goes_on_where_it_lost_its_machine(
    inputs: dict[str, str], interrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """30 trees were kept, so that 30 are grown and no tree is grown twice."""
    grown: list[int] = []
    ours = growth.Growth.after_iteration

    def count(self: Any, model: Any, epoch: int, evals_log: Any) -> bool:
        grown.append(model.num_boosted_rounds())
        return ours(self, model, epoch, evals_log)

    monkeypatch.setattr(growth.Growth, "after_iteration", count)
    summary = trained(inputs, tmp_path / "model", interrupted)
    assert grown == list(range(31, 61))
    assert summary["status"] == "Completed"
    whole = trained(inputs, tmp_path / "whole", None)
    # Not the same bits: rows and columns are drawn anew from where it went on.
    for one in (summary, whole):
        assert one["validation"]["average_precision"] > 0.4


def test_a_checkpoint_of_other_rows_or_parameters_is_not_gone_on_from(
    inputs: dict[str, str], interrupted: Path, tmp_path: Path
):
    """A model of two days' rows would be nobody's."""
    trained(inputs, tmp_path / "one", interrupted, seed=8)
    trained(inputs, tmp_path / "two", None, seed=8)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_finished_training_leaves_nothing_to_go_on_from(inputs: dict[str, str], interrupted: Path, tmp_path: Path):
    """Trained again it gives the same bytes as a training that was never interrupted."""
    trained(inputs, tmp_path / "resumed", interrupted)
    trained(inputs, tmp_path / "again", interrupted)
    trained(inputs, tmp_path / "whole", None)
    assert files(tmp_path / "again") == files(tmp_path / "whole")


def test_a_model_tells_nothing_of_checkpoints(inputs: dict[str, str], interrupted: Path, tmp_path: Path):
    trained(inputs, tmp_path / "model", interrupted)
    model = (tmp_path / "model" / "model.ubj").read_bytes()
    assert all(name not in model for name in (b"best_score", b"best_trees", b"origin"))
