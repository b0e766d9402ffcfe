"""The pipelines over the whole of some real data: what SageMaker's local mode leaves is what a laptop leaves."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.tools.test_sagemaker_run import fraudline, run_local


@pytest.mark.slow
@pytest.mark.docker
@pytest.mark.pipeline
def test_a_training_and_the_day_after_it_are_those_of_a_laptop(real_data: Path, tmp_path: Path):
    last = date.fromisoformat(max(path.name for path in (real_data / "raw").glob("????-??-??")))
    laptop, root = tmp_path / "laptop", tmp_path / "pipelines"
    for workflow, as_of in (("training", last), ("daily", last + timedelta(days=1))):
        ended = run_local(workflow, as_of, real_data, root)
        assert ended.succeeded, ended.said
        fraudline("run", workflow, "--as-of", as_of, "--data", real_data, "--root", laptop)
    tables = [path.relative_to(laptop) for path in sorted(laptop.rglob("*.parquet"))]
    assert tables
    for path in tables:
        assert_frame_equal(pl.read_parquet(laptop / path), pl.read_parquet(root / path))
    for name in ("model.ubj", "probes.json"):  # the manifest also names the Python that trained
        path = Path("champion", f"v{last}", name)
        assert (laptop / path).read_bytes() == (root / path).read_bytes()
