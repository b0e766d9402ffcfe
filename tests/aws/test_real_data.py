"""Training and the day after it through the state machines, over all of some real data: make verify DATA=folder."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.aws.engine import Engine
from tests.aws.test_training import (
    SETTINGS,
    assert_day_equals_local_run,
    assert_glue_outputs_equal,
    assert_model_equals_local_training,
    with_deliveries,
)
from tests.running import run_workflow

pytestmark = [
    pytest.mark.slow,
    pytest.mark.docker,
    # moto's server leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:.*unclosed"),
]


def test_training_and_the_next_day_equal_the_local_run(
    real_data: Path, cloud: Engine, deployed: Callable[..., dict[str, str]], tmp_path: Path
):
    last = date.fromisoformat(max(path.name for path in (real_data / "raw").glob("????-??-??")))
    with with_deliveries(real_data, cloud, deployed(**SETTINGS), tmp_path) as stack:
        execution = stack.run("training", last)
        assert execution["status"] == "SUCCEEDED", execution
        written, local = stack.fetch(tmp_path / "written"), tmp_path / "local"
        run_workflow("training", last, real_data, local, until="feature-engineering")
        assert_glue_outputs_equal(written, local, last)
        assert_model_equals_local_training(written, last, tmp_path / "model")
        execution = stack.run("daily", last + timedelta(days=1))
        assert execution["status"] == "SUCCEEDED", execution
        assert_day_equals_local_run(stack, real_data, last + timedelta(days=1), tmp_path / "day")
