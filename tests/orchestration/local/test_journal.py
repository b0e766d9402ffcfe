"""When a stage counts as finished, judged with stages that only write files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from fraudline.catalog.stage import SUMMARY, Stage
from fraudline.catalog.workflow import Execution
from fraudline.orchestration.local import runner
from fraudline.orchestration.local.launchers import Finished

FIRST, SECOND = date(2026, 6, 14), date(2026, 6, 21)


@dataclass
class Writer:
    """A launcher whose stages write their arguments into each output; it lists the stages that ran."""

    ran: list[str] = field(default_factory=list)

    def version(self, stage: Stage) -> str:
        return "1"

    def run(
        self, stage: Stage, inputs: Mapping[str, Path], outputs: Mapping[str, Path], arguments: Sequence[str], lock: int
    ) -> Finished:
        self.ran.append(stage.name)
        for name, path in outputs.items():
            file = {SUMMARY: "summary.json", "champion": "current.json"}.get(name, "part-0")
            (path / file).write_text(json.dumps({"champion": arguments}))
        return Finished(1, 0.1, 0.1, 1)


@pytest.fixture
def folders(tmp_path: Path) -> runner.Folders:
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "day").write_text("rows")
    return runner.Folders(tmp_path / "data", tmp_path / "root")


def ran(workflow: str, as_of: date, folders: runner.Folders) -> list[str]:
    writer = Writer()
    runner.run(Execution(workflow, as_of), folders, writer, [], lambda *_: None)
    return writer.ran


def test_a_deployment_lasts_until_the_champion_moves(folders: runner.Folders):
    """Going back to a model a second time deploys it again."""
    for as_of in (FIRST, SECOND, FIRST, SECOND):
        assert ran("deployment", as_of, folders) == ["deploy-model"]
        assert ran("deployment", as_of, folders) == []
        assert str(as_of) in folders.champion.read_text()


def test_a_training_stays_finished_when_the_champion_moves(folders: runner.Folders):
    """It judged the champion of its time; to go back to its model is what a deployment is for."""
    assert len(ran("training", FIRST, folders)) == 5
    assert len(ran("training", SECOND, folders)) == 5
    assert ran("training", FIRST, folders) == []
    assert str(SECOND) in folders.champion.read_text()
    assert ran("training", SECOND, folders) == []


def test_a_lost_output_of_any_stage_is_written_again(folders: runner.Folders):
    ran("training", FIRST, folders)
    folder = folders.execution(Execution("training", FIRST))
    (folder / "Features" / "test" / "part-0").unlink()
    assert ran("training", FIRST, folders) == ["feature-engineering", "train", "evaluate-model", "deploy-model"]
