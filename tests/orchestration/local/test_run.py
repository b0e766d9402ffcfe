"""Both workflows as a user runs them, from the command line to the report; and in the images, equal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pypdf import PdfReader

from fraudline.catalog.contract import contract
from fraudline.catalog.workflow import WORKFLOWS
from fraudline.simulate import simulate
from tests.entrypoints import jobs

START, TRAINED, SCORED = date(2026, 1, 1), date(2026, 4, 1), date(2026, 4, 2)
SMALL = [
    "--set",
    "rounds=60",
    "--set",
    "samples=50",
    "--set",
    "min_average_precision=0.05",
    "--set",
    "min_card_precision=0",
]


def fraudline(*arguments: str, data: Path, root: Path) -> subprocess.CompletedProcess[str]:
    places = ["--data", str(data), "--root", str(root)]
    command = [sys.executable, "-m", "fraudline", *arguments, *places]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "160"})


def run_both(data: Path, root: Path, carrier: str) -> list[str]:
    outputs = []
    for arguments in (["training", "--as-of", str(TRAINED), *SMALL], ["daily", "--as-of", str(SCORED)]):
        ended = fraudline("run", *arguments, "--in", carrier, "--version", jobs.VERSION, data=data, root=root)
        assert ended.returncode == 0, ended.stderr
        outputs.append(ended.stdout)
    return outputs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    simulate(folder, start=START, days=(SCORED - START).days, customers=900, merchants=300, seed=11)
    return folder


@pytest.fixture(scope="module")
def processed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    root = tmp_path_factory.mktemp("process")
    return root, run_both(data, root, "process")


def scores(root: Path) -> pl.DataFrame:
    return pl.read_parquet(root / f"scores/date={TRAINED}/*.parquet")


def test_every_stage_is_told_with_rows_and_ends_with_a_summary(processed: tuple[Path, list[str]]):
    root, outputs = processed
    for workflow, as_of, output in zip(("training", "daily"), (TRAINED, SCORED), outputs, strict=True):
        for step in WORKFLOWS[workflow].steps:
            assert step.stage.name in output
            assert (root / "executions" / f"{workflow}-{as_of}" / step.stage.prefix / "summary.json").is_file()


def test_what_the_terminal_names_is_there(processed: tuple[Path, list[str]]):
    _, outputs = processed
    named = dict(
        line.split()
        for line in "".join(outputs).splitlines()
        if line.startswith(("  m", "  a", "  r")) and len(line.split()) == 2
    )
    assert set(named) == {"metrics", "model", "alerts", "report"}
    assert all(Path(path).is_file() for path in named.values())


def test_every_transaction_of_the_day_is_scored_once(processed: tuple[Path, list[str]], data: Path):
    raw = pl.read_parquet(data / f"raw/{TRAINED}/*.parquet")
    assert sorted(scores(processed[0]).get_column("transaction_id")) == sorted(raw.get_column("transaction_id"))


def test_alerts_are_the_scores_above_the_threshold_and_stand_in_the_report(processed: tuple[Path, list[str]]):
    root, _ = processed
    path = root / f"executions/daily-{SCORED}/Results/results/alerts.jsonl"
    alerts = [json.loads(line)["transaction_id"] for line in path.read_text().splitlines()]
    above = scores(root).filter(pl.col("fraud_score") > 0.8).sort("margin", descending=True)
    assert alerts == above.get_column("transaction_id").to_list()
    report = "".join(
        page.extract_text() for page in PdfReader(root / f"reports/date={TRAINED}/fraud-daily-{TRAINED}.pdf").pages
    )
    assert all(transaction in report for transaction in alerts[:25])


def test_what_outlives_its_execution_has_an_address_of_its_own(processed: tuple[Path, list[str]]):
    root, _ = processed
    histories = sorted(path.name for path in (root / "history" / contract()).iterdir())
    assert histories == [f"before={TRAINED}", f"before={SCORED}"]
    champion = json.loads((root / "champion/current.json").read_text())["champion"]
    assert champion["model_version"] == f"v{TRAINED}"
    assert (root / "models" / champion["model_version"] / "model.tar.gz").is_file()


def test_a_rerun_ends_equal(processed: tuple[Path, list[str]], data: Path):
    """A late redrive of a day must change nothing."""
    root, _ = processed
    before = scores(root)
    assert fraudline("run", "daily", "--as-of", str(SCORED), data=data, root=root).returncode == 0
    assert_frame_equal(scores(root), before)


def test_the_next_training_is_judged_against_the_champion(processed: tuple[Path, list[str]], data: Path):
    root, _ = processed
    ended = fraudline("run", "training", "--as-of", str(SCORED), *SMALL, data=data, root=root)
    evaluation = json.loads((root / f"executions/training-{SCORED}/Evaluation/summary.json").read_text())
    assert set(evaluation["comparison"]) == {"average_precision", "card_precision_at_100"}
    assert (ended.returncode == 0) == evaluation["deploy_recommended"], ended.stderr


def test_a_gate_that_refuses_leaves_the_champion_and_says_why(processed: tuple[Path, list[str]], data: Path):
    root, _ = processed
    pointer = root / "champion/current.json"
    before = pointer.read_text()
    ended = fraudline(
        "run", "training", "--as-of", str(TRAINED), *SMALL, "--set", "min_average_precision=0.999", data=data, root=root
    )
    assert ended.returncode == 2
    assert "is below the floor of 0.999" in ended.stderr
    assert pointer.read_text() == before


def test_without_a_champion_a_day_says_what_to_do(data: Path, tmp_path: Path, processed: tuple[Path, list[str]]):
    (tmp_path / "history").symlink_to(processed[0] / "history")
    ended = fraudline("run", "daily", "--as-of", str(SCORED), data=data, root=tmp_path)
    assert ended.returncode == 2
    assert "there is no champion yet; run a training first" in ended.stderr


def test_a_setting_that_no_stage_has_is_refused(data: Path, tmp_path: Path):
    ended = fraudline("run", "daily", "--as-of", str(SCORED), "--set", "treshold=0.7", data=data, root=tmp_path)
    assert ended.returncode == 2
    assert "--set treshold: no stage of daily has it" in ended.stderr


@pytest.mark.docker
def test_in_the_images_everything_comes_out_the_same(processed: tuple[Path, list[str]], data: Path, tmp_path: Path):
    """The images' Python is another, and the results are not."""
    run_both(data, tmp_path, "docker")
    assert_frame_equal(scores(tmp_path), scores(processed[0]), check_exact=True)
    for table in ("events", "counts", "frauds"):
        path = f"history/{contract()}/before={SCORED}/{table}.parquet"
        assert_frame_equal(pl.read_parquet(tmp_path / path), pl.read_parquet(processed[0] / path))
