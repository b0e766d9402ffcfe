"""All workflows as a user runs them, from the command line to the report; and in the images, equal."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pypdf import PdfReader

from fraudline.catalog.contract import contract
from fraudline.catalog.dictionary import SUMMARY_KEYS
from fraudline.catalog.stage import SUMMARY_FILE, WATCHED
from fraudline.catalog.workflow import WORKFLOWS
from fraudline.simulate import simulate
from tests.entrypoints import jobs

START, TRAINED, SCORED = date(2026, 1, 1), date(2026, 4, 1), date(2026, 4, 2)
AS_OF = {"training": TRAINED, "daily": SCORED, "deployment": TRAINED, "backfill": SCORED}
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
DAILY = ["run", "daily", "--as-of", str(SCORED)]


def call(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the fraudline command."""
    command = [sys.executable, "-m", "fraudline", *words]
    environment = os.environ | {"COLUMNS": "160"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=cwd)


def fraudline(*arguments: str, data: Path, root: Path) -> subprocess.CompletedProcess[str]:
    return call(*arguments, "--data", str(data), "--root", str(root))


def run_both(data: Path, root: Path, launcher: str) -> dict[str, str]:
    """Run training and a day; return what the terminal shows of each."""
    shown = {}
    for workflow, settings in (("training", SMALL), ("daily", [])):
        words = ["run", workflow, "--as-of", str(AS_OF[workflow]), *settings]
        ended = fraudline(*words, "--in", launcher, "--version", jobs.VERSION, data=data, root=root)
        assert ended.returncode == 0, ended.stderr
        shown[workflow] = ended.stdout
    return shown


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    simulate(folder, start=START, days=(SCORED - START).days, customers=900, merchants=300, seed=11)
    return folder


@pytest.fixture(scope="module")
def processed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("process")
    return root, run_both(data, root, "process")


@pytest.fixture
def root(processed: tuple[Path, dict[str, str]], tmp_path: Path) -> Path:
    """A copy of the root of both workflows, in a folder whose name has to be quoted."""
    return shutil.copytree(processed[0], tmp_path / "a root")


def scores(root: Path) -> pl.DataFrame:
    return pl.read_parquet(root / f"scores/date={TRAINED}/*.parquet")


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_every_workflow_ends_with_its_results(workflow: str, processed: tuple[Path, dict[str, str]], data: Path):
    root, shown = processed
    if workflow not in shown:
        ended = fraudline("run", workflow, "--as-of", str(AS_OF[workflow]), data=data, root=root)
        assert ended.returncode == 0, ended.stderr
        shown[workflow] = ended.stdout
    for step in WORKFLOWS[workflow].steps:
        assert step.stage.name in shown[workflow]
        folder = root / "executions" / f"{workflow}-{AS_OF[workflow]}" / step.stage.prefix
        assert (folder / "summary.json").is_file()
    results = {"training": "metrics", "daily": "report", "deployment": "model", "backfill": "history"}
    assert f"\n  {results[workflow]} " in shown[workflow]


def test_every_path_that_the_terminal_shows_exists(processed: tuple[Path, dict[str, str]]):
    _, shown = processed
    named = dict(
        line.split()
        for line in (shown["training"] + shown["daily"]).splitlines()
        if line.startswith(("  m", "  a", "  r")) and len(line.split()) == 2
    )
    assert set(named) == {"metrics", "model", "alerts", "report"}
    assert all(Path(path).is_file() for path in named.values())


@pytest.fixture(scope="module")
def alerted(
    processed: tuple[Path, dict[str, str]], data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, float, str]:
    """A copy of the root, a threshold with five alerts, and what the terminal shows of them."""
    root = shutil.copytree(processed[0], tmp_path_factory.mktemp("alerted") / "root")
    threshold = scores(root).get_column("fraud_score").sort(descending=True)[5]
    ended = fraudline(*DAILY, "--set", f"threshold={threshold}", data=data, root=root)
    assert ended.returncode == 0, ended.stderr
    return root, threshold, ended.stdout


def test_terminal_says_what_each_number_counts(alerted: tuple[Path, float, str]):
    """Alerts depend on the threshold, risk levels have bounds of their own."""
    root, threshold, shown = alerted
    levels = dict(scores(root).group_by("risk_level").len().iter_rows())
    high, medium = levels.get("HIGH", 0), levels.get("MEDIUM", 0)
    assert high != 5
    assert f"  5 alerts on {TRAINED}: transactions with a score above the threshold {threshold}\n" in shown
    assert f"all scores by risk level: {high} HIGH (above 0.8), {medium} MEDIUM (above 0.5), " in shown


def test_every_transaction_of_the_day_is_scored_once(processed: tuple[Path, dict[str, str]], data: Path):
    raw = pl.read_parquet(data / f"raw/{TRAINED}/*.parquet")
    assert sorted(scores(processed[0]).get_column("transaction_id")) == sorted(raw.get_column("transaction_id"))


def test_alerts_are_scores_above_the_threshold(alerted: tuple[Path, float, str]):
    """The report has the first of them, too."""
    root, threshold, _ = alerted
    path = root / f"executions/daily-{SCORED}/Results/results/alerts.jsonl"
    alerts = [json.loads(line)["transaction_id"] for line in path.read_text().splitlines()]
    above = scores(root).filter(pl.col("fraud_score") > threshold).sort("margin", descending=True)
    assert len(alerts) == 5
    assert alerts == above.get_column("transaction_id").to_list()
    report = "".join(
        page.extract_text() for page in PdfReader(root / f"reports/date={TRAINED}/fraud-daily-{TRAINED}.pdf").pages
    )
    assert all(transaction in report for transaction in alerts)


def test_published_outputs_have_addresses_of_their_own(processed: tuple[Path, dict[str, str]]):
    root, _ = processed
    histories = sorted(path.name for path in (root / "history" / contract()).iterdir())
    assert histories == [f"before={TRAINED}", f"before={SCORED}"]
    champion = json.loads((root / "champion/current.json").read_text())["champion"]
    assert champion["model_version"] == f"v{TRAINED}"
    assert (root / "models" / champion["model_version"] / "model.tar.gz").is_file()


def test_summaries_have_exactly_the_described_keys(processed: tuple[Path, dict[str, str]]):
    """docs/outputs.md promises these keys."""
    for workflow, as_of in (("training", TRAINED), ("daily", SCORED)):
        for step in WORKFLOWS[workflow].steps:
            folder = processed[0] / "executions" / f"{workflow}-{as_of}" / step.stage.prefix
            keys = set(json.loads((folder / SUMMARY_FILE).read_text()))
            assert keys - {WATCHED} == set(SUMMARY_KEYS[step.stage.name])


def test_a_rerun_ends_equal(processed: tuple[Path, dict[str, str]], data: Path):
    """A late redrive of a day must change nothing."""
    root, _ = processed
    expected = scores(root)
    assert fraudline(*DAILY, data=data, root=root).returncode == 0
    assert_frame_equal(scores(root), expected)


def test_next_training_is_judged_against_the_champion(root: Path, data: Path):
    ended = fraudline("run", "training", "--as-of", str(SCORED), *SMALL, data=data, root=root)
    evaluation = json.loads((root / f"executions/training-{SCORED}/Evaluation/summary.json").read_text())
    assert set(evaluation["comparison"]) == {"average_precision", "card_precision_at_100"}
    assert (ended.returncode == 0) == evaluation["deploy_recommended"], ended.stderr


def test_refused_challenger_leaves_the_champion(root: Path, data: Path):
    pointer = root / "champion/current.json"
    champion = pointer.read_text()
    ended = fraudline(
        "run", "training", "--as-of", str(TRAINED), *SMALL, "--set", "min_average_precision=0.999", data=data, root=root
    )
    assert ended.returncode == 2
    assert "is below the floor of 0.999" in ended.stderr
    assert pointer.read_text() == champion


def test_deployment_moves_the_champion_each_time(root: Path, data: Path):
    """Going back to a model works a second time too."""
    pointer = root / "champion/current.json"
    deployment = ["run", "deployment", "--as-of", str(TRAINED)]
    for _ in range(2):
        content = json.loads(pointer.read_text())
        content["champion"]["model_version"] = "v-another"  # as another execution moves it
        pointer.write_text(json.dumps(content))
        ended = fraudline(*deployment, data=data, root=root)
        assert ended.returncode == 0, ended.stderr
        assert "finished before" not in ended.stdout
        assert json.loads(pointer.read_text())["champion"]["model_version"] == f"v{TRAINED}"
    assert "finished before" in fraudline(*deployment, data=data, root=root).stdout


def test_a_day_without_a_champion_is_refused(data: Path, tmp_path: Path, processed: tuple[Path, dict[str, str]]):
    (tmp_path / "history").symlink_to(processed[0] / "history")
    ended = fraudline(*DAILY, data=data, root=tmp_path)
    assert ended.returncode == 2
    assert "there is no champion yet; run a training first" in ended.stderr


# What a user reads when something is wrong


def test_a_setting_that_no_stage_has_is_refused(data: Path, tmp_path: Path):
    ended = fraudline(*DAILY, "--set", "treshold=0.7", data=data, root=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("--set treshold: no stage of daily has it; they have ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "daily"], "fraudline run: the following arguments are required: --as-of; see fraudline run --help"),
        (["run", "weekly"], "fraudline run: argument WORKFLOW: invalid choice: 'weekly'"),
        (DAILY, "--data is missing: give it, or set data below [site] in fraudline.toml"),
        ([*DAILY, "--data", "s3://bucket/data"], "a run on this computer needs a folder, got s3://bucket/data"),
        ([*DAILY, "--until", "2026-04-01"], "--until 2026-04-01 lies before --as-of 2026-04-02"),
        (["demo", "--data", "nowhere"], "--data nowhere: expected raw/YYYY-MM-DD/ and labeled/"),
    ],
)
def test_a_users_error_is_a_sentence(words: list[str], message: str, tmp_path: Path):
    ended = call(*words, cwd=tmp_path)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "{" not in ended.stderr


def suggested(ended: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the words of the command that an error ends with, as a shell would."""
    assert ended.returncode == 2, ended.stderr
    match = re.search(r": fraudline (.*)\n\Z", ended.stderr)
    assert match, ended.stderr
    return shlex.split(match[1])


def renamed(data: Path, folder: Path) -> Path:
    """Copy data with another name for the column merchant."""
    for path in sorted(data.rglob("*.parquet")):
        target = folder / path.relative_to(data)
        target.parent.mkdir(parents=True)
        table = pl.read_parquet(path, hive_partitioning=False)
        table.rename({"merchant": "TERMINAL ID"}, strict=False).write_parquet(target)
    return folder


def test_suggested_commands_can_be_pasted(root: Path, data: Path, tmp_path: Path):
    """They have the user's folders, columns and settings, in the words of the user's command."""
    data = renamed(data, tmp_path / "my data")
    daily = [*DAILY, "--set", "column=merchant=TERMINAL ID", "--set", "threshold=0.9"]
    shutil.rmtree(next((root / "history").iterdir()) / f"before={TRAINED}")
    rebuild = suggested(fraudline(*daily, data=data, root=root))
    assert rebuild[:2] == ["run", "backfill"]
    assert (ended := call(*rebuild)).returncode == 0, ended.stderr
    assert (ended := fraudline(*daily, data=data, root=root)).returncode == 0, ended.stderr
    path = data / f"raw/{TRAINED}/transactions.parquet"
    pl.read_parquet(path).head(-1).write_parquet(path)  # the day is delivered again with other content
    replace = suggested(fraudline(*daily, data=data, root=root))
    assert replace[-2:] == ["--set", "replace=true"]
    assert (ended := call(*replace)).returncode == 0, ended.stderr
    assert scores(root).height == pl.read_parquet(path).height


# The settings file


def test_a_run_takes_folders_and_settings_from_the_file(root: Path, data: Path, tmp_path: Path):
    (tmp_path / "fraudline.toml").write_text(
        f'[site]\ndata = "{data}"\nroot = "a root"\n[parameters]\nthreshold = 0.9\nrounds = 3\n'
    )
    assert (ended := call(*DAILY, cwd=tmp_path)).returncode == 0, ended.stderr
    assert "above the threshold 0.9\n" in ended.stdout
    ended = call(*DAILY, "--set", "threshold=0.95", cwd=tmp_path)
    assert "above the threshold 0.95\n" in ended.stdout
    named = ["--settings", str(tmp_path / "fraudline.toml")]
    assert "finished before" in call(*DAILY, *named, "--set", "threshold=0.95", cwd=root).stdout


def test_init_writes_a_file_once(tmp_path: Path):
    assert call("init", cwd=tmp_path).returncode == 0
    assert "#threshold = 0.8" in (tmp_path / "fraudline.toml").read_text()
    refused = call("init", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == "fraudline.toml exists already; give --force to overwrite it, or another name\n"
    assert call("init", "--force", cwd=tmp_path).returncode == 0
    assert call("init", "other.toml", cwd=tmp_path).returncode == 0


# In the images


@pytest.mark.docker
def test_images_give_equal_results(processed: tuple[Path, dict[str, str]], data: Path, tmp_path: Path):
    """The images' Python is another, and the results are not."""
    run_both(data, tmp_path, "docker")
    assert_frame_equal(scores(tmp_path), scores(processed[0]), check_exact=True)
    for table in ("events", "counts", "frauds"):
        path = f"history/{contract()}/before={SCORED}/{table}.parquet"
        assert_frame_equal(pl.read_parquet(tmp_path / path), pl.read_parquet(processed[0] / path))
