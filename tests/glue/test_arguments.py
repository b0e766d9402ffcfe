"""Arguments of Glue jobs: Glue passes them among its own, and its own package reads them."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.etl.deliveries import GOOD, deliver
from tests.glue.jobs import JOBS, run_job
from tests.glue.test_fraud_data_extract import job_outputs

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]

# The arguments that Glue puts before and after the job's own.
BEFORE = ["--job-bookmark-option", "job-bookmark-disable", "--JOB_ID", "j_0a", "--JOB_RUN_ID", "jr_0b"]
BEFORE += ["--JOB_NAME", "fraud-data-extract", "--TempDir", "s3://bucket/temporary/"]
AFTER = ["--additional-python-modules", "s3://bucket/fraudline.whl,polars==2.1.0", "--enable-metrics", "true"]
AFTER += ["--conf", "spark.sql.shuffle.partitions=2", "--enable-job-insights", "--job-language", "python"]


def _run_on_glue(arguments: Sequence[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent / "stand_in")
        patch.setattr(sys, "argv", ["fraud_data_extract.py", *BEFORE, *arguments, *AFTER])
        try:
            runpy.run_path(str(JOBS / "fraud_data_extract.py"), run_name="__main__")
        finally:
            for name in ("awsglue", "awsglue.utils"):
                del sys.modules[name]


@pytest.mark.parametrize("form", ["apart", "joined"])
def test_job_arguments_are_read_among_those_of_glue(form: str, tmp_path: Path):
    """An argument that was missed would take its default without a word."""
    rows = [{**GOOD, "transaction_id": f"t{n}", "CARD": f"c{n}", "SHOP": "m"} for n in range(40)]
    for row in rows:
        del row["customer_id"], row["merchant"]
    inputs = deliver(tmp_path, rows)
    options = {f"--input-{name}": str(folder) for name, folder in inputs.items()}
    options |= {f"--output-{name}": str(folder) for name, folder in job_outputs(tmp_path).items()}
    options |= {"--as-of": "2026-02-01", "--column": "customer_id=CARD,merchant=SHOP", "--sample": "0.5"}
    options |= {"--label-delay-days": "3", "--months": "1", "--max-rejected": "0"}
    if form == "apart":
        _run_on_glue([text for pair in options.items() for text in pair])
    else:
        _run_on_glue([f"{option}={value}" for option, value in options.items()])
    glue = json.loads((tmp_path / "summary/summary.json").read_text())
    local = tmp_path / "local"
    run_job(
        "fraud_data_extract",
        inputs,
        job_outputs(local),
        as_of="2026-02-01",
        column="customer_id=CARD,merchant=SHOP",
        sample=0.5,
        label_delay_days=3,
        months=1,
        max_rejected=0,
    )
    assert glue == json.loads((local / "summary/summary.json").read_text())
    assert (glue["record_count"], glue["sample"]) == (40, 0.5)


def test_missing_argument_is_reported_by_its_option(tmp_path: Path):
    """Glue's package treats every requested option as required; the stage decides what is missing."""
    with pytest.raises(SystemExit, match="--as-of"):
        _run_on_glue(["--input-raw", str(tmp_path)])
