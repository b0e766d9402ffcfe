"""The pipelines in SageMaker's local mode, over all of some real data: make verify DATA=folder."""

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
def test_training_and_the_next_day_equal_the_local_run(real_data: Path, tmp_path: Path):
    last = date.fromisoformat(max(path.name for path in (real_data / "raw").glob("????-??-??")))
    local, root = tmp_path / "local", tmp_path / "pipelines"
    for workflow, as_of in (("training", last), ("daily", last + timedelta(days=1))):
        finished = run_local(workflow, as_of, real_data, root)
        assert finished.succeeded, finished.output
        fraudline("run", workflow, "--as-of", as_of, "--data", real_data, "--root", local)
    tables = [path.relative_to(local) for path in sorted(local.rglob("*.parquet"))]
    assert tables
    for path in tables:
        assert_frame_equal(pl.read_parquet(local / path), pl.read_parquet(root / path))
    for name in ("model.ubj", "probes.json"):  # the manifest also names the Python that trained
        path = Path("champion", f"v{last}", name)
        assert (local / path).read_bytes() == (root / path).read_bytes()
