"""A stage's suggestions in the words of the user's command."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from fraudline.catalog.stages import STAGES
from fraudline.catalog.workflow import Execution
from fraudline.orchestration.local.runner import Folders
from fraudline.orchestration.local.suggestions import Invocation, pasteable

EXECUTION = Execution("daily", date(2026, 4, 2))
INVOCATION = Invocation(
    Folders(Path("my data"), Path("root")),
    [("threshold", "0.9"), ("column", "merchant=SHOP")],
    ["--in", "docker", "--version", "dev"],
)
SAME = "--data 'my data' --root root --in docker --version dev"


@pytest.mark.parametrize(
    ("stage", "text", "expected"),
    [
        (
            "feature-extraction",
            "a gap; rebuild it: fraudline run backfill --as-of 2026-04-01",
            f"a gap; rebuild it: fraudline run backfill --as-of 2026-04-01 {SAME} --set column=merchant=SHOP",
        ),
        (
            "feature-extraction",
            "stale; rebuild it: fraudline run backfill --as-of 2026-04-01 --set replace=true",
            f"stale; rebuild it: fraudline run backfill --as-of 2026-04-01 {SAME} --set column=merchant=SHOP"
            " --set replace=true",
        ),
        (
            "alert-and-store",
            "other content; find out why, or overwrite it with --replace true",
            "other content; find out why, or overwrite it with --set replace=true: fraudline run daily"
            f" --as-of 2026-04-02 {SAME} --set threshold=0.9 --set column=merchant=SHOP --set replace=true",
        ),
        ("etl", "map another with --column merchant=…", "map another with --set column=merchant=…"),
        ("etl", "with --max-rejected 1 a run succeeds", "with --set max_rejected=1 a run succeeds"),
        ("etl", "--max-rejected: got '2'", "--set max_rejected: got '2'"),
        ("etl", "shorten --label-delay-days or wait", "shorten --set label_delay_days or wait"),
        (
            "fraud-scoring",
            "--endpoint sagemaker://a refused 3 rows",
            "--set fraud_scoring_endpoint=sagemaker://a refused 3 rows",
        ),
        ("etl", "name it with --input raw=…; 9 --columns", "name it with --input raw=…; 9 --columns"),
    ],
)
def test_suggestion_is_in_the_users_words(stage: str, text: str, expected: str):
    assert pasteable(text, STAGES[stage], EXECUTION, INVOCATION) == expected
