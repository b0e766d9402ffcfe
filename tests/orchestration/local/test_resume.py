"""A run continues after the last finished stage; killed at any point, it ends as if it had not been."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudline.catalog.errors import InputError
from fraudline.catalog.stage import Stage
from fraudline.catalog.workflow import WORKFLOWS, Execution
from fraudline.orchestration.local import runner
from fraudline.orchestration.local.journal import locked
from fraudline.orchestration.local.launchers import ProcessLauncher
from fraudline.simulate import simulate
from tests.entrypoints import jobs

TESTED = ("training", "daily")
START, TRAINED, SCORED = date(2026, 1, 1), date(2026, 4, 1), date(2026, 4, 2)
SMALL = [("rounds", "40"), ("samples", "20"), ("min_average_precision", "0.02"), ("min_card_precision", "0")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    simulate(folder, start=START, days=(SCORED - START).days, customers=700, merchants=300, seed=11)
    return folder


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which both workflows ran to their end, undisturbed."""
    root = tmp_path_factory.mktemp("whole")
    run("training", data, root)
    run("daily", data, root)
    return root


def execution(workflow: str) -> Execution:
    return Execution(workflow, {"training": TRAINED, "daily": SCORED}[workflow])


def run(workflow: str, data: Path, root: Path, *settings: tuple[str, str]) -> list[str]:
    """Run a workflow, and return the stages that ran."""
    ran: list[str] = []

    def observe(stage: Stage, finished: Any) -> None:
        if finished and not finished.skipped:
            ran.append(stage.name)

    folders = runner.Folders(data, root)
    runner.run(execution(workflow), folders, ProcessLauncher(), [*SMALL, *settings], observe)
    return ran


def command(workflow: str, data: Path, root: Path, launcher: str = "process") -> list[str]:
    words = ["run", workflow, "--as-of", str(execution(workflow).as_of), "--data", str(data), "--root", str(root)]
    words += ["--in", launcher, "--version", jobs.VERSION]
    if workflow == "training":
        words += [word for name, value in SMALL for word in ("--set", f"{name}={value}")]
    return [sys.executable, "-m", "fraudline", *words]


def state(root: Path) -> dict[str, str]:
    """Return every file's content, without the files that say when something ran."""
    excluded = ("journal.json", "lock", "current.json")
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name not in excluded]
    return {str(path.relative_to(root)): content(path) for path in files}


def content(path: Path) -> str:
    if path.name == "summary.json":
        summary = json.loads(path.read_text())
        summary.pop("deployed_at", None)
        summary.pop("report_s3_path", None)  # each root has its own
        return json.dumps(summary)
    if path.suffix == ".pdf":
        return "a report"
    if path.suffix == ".parquet":
        return hashlib.sha256(pl.read_parquet(path, hive_partitioning=False).write_json().encode()).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names(workflow: str) -> list[str]:
    return [step.stage.name for step in WORKFLOWS[workflow].steps]


@pytest.mark.parametrize("workflow", TESTED)
def test_a_finished_execution_runs_no_stage_again(workflow: str, data: Path, whole: Path):
    assert run(workflow, data, whole) == []


def test_a_changed_setting_repeats_from_the_first_stage_with_it(data: Path, whole: Path):
    stages = names("daily")
    assert run("daily", data, whole, ("threshold", "0.7")) == stages[stages.index("filter-high-risk") :]
    assert run("daily", data, whole) == stages[stages.index("filter-high-risk") :]  # and back


@pytest.mark.parametrize(
    ("lost", "first"),
    [
        ("executions/daily-2026-04-02/ETL/transactions/part-0.parquet", "etl"),
        ("executions/daily-2026-04-02/Scores/summary.json", "fraud-scoring"),
        ("scores/date=2026-04-01/manifest.json", "alert-and-store"),
        ("reports/date=2026-04-01/fraud-daily-2026-04-01.pdf", "alert-and-store"),
    ],
)
def test_a_lost_output_is_written_again_with_all_that_follow(lost: str, first: str, data: Path, whole: Path):
    expected = state(whole)
    (whole / lost).unlink()
    assert run("daily", data, whole)[0] == first
    assert state(whole) == expected


def test_changed_input_is_read_again(data: Path, whole: Path):
    """A day that is delivered again must not be skipped because an earlier delivery was read."""
    run("daily", data, whole)
    path = next((data / f"raw/{TRAINED}").glob("*.parquet"))
    os.utime(path)
    assert run("daily", data, whole) == names("daily")


def killed_in(stage: str, workflow: str, data: Path, root: Path, kill: Callable[[int], None]) -> None:
    """Start a run, and kill it while a stage is running."""
    journal = root / "executions" / execution(workflow).id / "journal.json"
    with subprocess.Popen(
        command(workflow, data, root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        while process.poll() is None and not (journal.is_file() and stage in json.loads(journal.read_text())):
            time.sleep(0.02)
        time.sleep(0.5)  # into its work
        kill(process.pid)


def wait_until_unlocked(folder: Path) -> None:
    """Wait for a killed process, which takes some time to end."""
    for _ in range(200):
        try:
            with locked(folder):
                return
        except InputError:
            time.sleep(0.05)
    raise AssertionError("a process still holds the lock")


def fresh(workflow: str, whole: Path, root: Path) -> Path:
    """Return a root as it is before a workflow first runs: a daily run needs the training's model and history."""
    if workflow == "daily":
        shutil.copytree(whole, root, dirs_exist_ok=True, copy_function=shutil.copy2)
        for path in (f"executions/daily-{SCORED}", "scores", "reports"):
            shutil.rmtree(root / path)
        shutil.rmtree(next((root / "history").iterdir()) / f"before={SCORED}")
    return root


def kills() -> list[Any]:
    """Return every stage; those in the middle of a workflow take long and show little more."""
    always = ("train", "deploy-model", "etl", "fraud-scoring", "alert-and-store")
    stages = [(workflow, name) for workflow in TESTED for name in names(workflow)]
    return [pytest.param(*stage, marks=() if stage[1] in always else pytest.mark.slow) for stage in stages]


@pytest.mark.parametrize(("workflow", "stage"), kills())
def test_a_rerun_after_a_kill_in_any_stage_ends_equal(
    workflow: str, stage: str, data: Path, whole: Path, tmp_path: Path
):
    root = fresh(workflow, whole, tmp_path / "root")
    killed_in(stage, workflow, data, root, lambda pid: os.killpg(pid, signal.SIGKILL))
    wait_until_unlocked(root / "executions" / execution(workflow).id)
    again = run(workflow, data, root)
    assert set(again) <= set(names(workflow)[names(workflow).index(stage) :])  # finished stages do not run again
    if workflow == "training":
        run("daily", data, root)
    assert state(root) == state(whole)


def test_a_stage_that_outlives_its_run_keeps_others_out(data: Path, tmp_path: Path):
    """Two writers of one folder would mix what they write."""
    groups = []

    def kill(pid: int) -> None:
        groups.append(pid)
        os.killpg(pid, signal.SIGSTOP)  # so that the stage stays alive
        os.kill(pid, signal.SIGKILL)

    killed_in("data-extraction", "training", data, tmp_path, kill)
    refused = subprocess.run(command("training", data, tmp_path), capture_output=True, text=True, check=False)
    os.killpg(groups[0], signal.SIGKILL)
    assert refused.returncode == 2
    assert "'training-2026-04-01' is running already, or a stage of a killed run still is" in refused.stderr


def test_a_stopped_run_stops_its_stage(data: Path, tmp_path: Path):
    killed_in("data-extraction", "training", data, tmp_path, lambda pid: os.kill(pid, signal.SIGTERM))
    wait_until_unlocked(tmp_path / "executions" / "training-2026-04-01")


@pytest.mark.docker
def test_next_run_removes_a_container_that_outlived_its_run(data: Path, whole: Path, tmp_path: Path):
    root = fresh("daily", whole, tmp_path / "root")
    detached = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(command("daily", data, root, "docker"), **detached) as process:
        time.sleep(3)
        os.killpg(process.pid, signal.SIGKILL)
    ended = subprocess.run(command("daily", data, root, "docker"), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    listed = ["docker", "ps", "-a", "--no-trunc", "--format", "{{.Mounts}}"]
    assert str(root) not in subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    assert state(root) == state(whole)
