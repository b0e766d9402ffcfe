"""On AWS Glue a job's arguments come among Glue's own, and are read by Glue's own package."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.etl.deliveries import GOOD, deliver
from tests.glue.jobs import JOBS, run_job
from tests.glue.test_fraud_data_extract import places

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]

# What Glue puts before and after those of the job's own.
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
def test_among_glues_own_arguments_the_jobs_are_found(form: str, tmp_path: Path):
    """All of them: one that is passed over takes its default, and nobody hears of it."""
    rows = [{**GOOD, "transaction_id": f"t{n}", "CARD": f"c{n}", "SHOP": "m"} for n in range(40)]
    for row in rows:
        del row["customer_id"], row["merchant"]
    inputs = deliver(tmp_path, rows)
    options = {f"--input-{name}": str(place) for name, place in inputs.items()}
    options |= {f"--output-{name}": str(place) for name, place in places(tmp_path).items()}
    options |= {"--as-of": "2026-02-01", "--column": "customer_id=CARD,merchant=SHOP", "--sample": "0.5"}
    options |= {"--label-delay-days": "3", "--months": "1", "--max-rejected": "0"}
    pairs = options.items()
    _run_on_glue([part for pair in pairs for part in (pair if form == "apart" else ["=".join(pair)])])
    glue = json.loads((tmp_path / "summary/summary.json").read_text())
    here = tmp_path / "here"
    run_job(
        "fraud_data_extract",
        inputs,
        places(here),
        as_of="2026-02-01",
        column="customer_id=CARD,merchant=SHOP",
        sample=0.5,
        label_delay_days=3,
        months=1,
        max_rejected=0,
    )
    assert glue == json.loads((here / "summary/summary.json").read_text())
    assert (glue["record_count"], glue["sample"]) == (40, 0.5)


def test_what_is_missing_is_told_in_our_words(tmp_path: Path):
    """Glue's package takes all that it is asked for as required, and asks for none but what was given."""
    with pytest.raises(SystemExit, match="--as-of"):
        _run_on_glue(["--input-raw", str(tmp_path)])
