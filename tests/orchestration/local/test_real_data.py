"""Training and seven days on the whole of some real data: make verify DATA=folder."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.orchestration.local.test_run import fraudline

pytestmark = [pytest.mark.slow, pytest.mark.docker]


def test_training_and_seven_days_are_equal_in_the_images(real_data: Path, tmp_path: Path):
    data = real_data
    last = date.fromisoformat(max(path.name for path in (data / "raw").iterdir()))
    first = last - timedelta(days=6)
    for launcher in ("process", "docker"):
        days = ["--as-of", str(first + timedelta(days=1)), "--until", str(last + timedelta(days=1))]
        for arguments in (["training", "--as-of", str(first)], ["daily", *days]):
            ended = fraudline("run", *arguments, "--in", launcher, data=data, root=tmp_path / launcher)
            assert ended.returncode == 0, ended.stderr
    for number in range(7):
        day = first + timedelta(days=number)
        path = f"scores/date={day}/*.parquet"
        processed, contained = (pl.read_parquet(tmp_path / launcher / path) for launcher in ("process", "docker"))
        assert_frame_equal(processed, contained, check_exact=True)
        assert processed.height == pl.read_parquet(data / "raw" / str(day) / "*.parquet").height
