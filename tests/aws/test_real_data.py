"""Training and the day after it through the machines, over the whole of some real data: make verify DATA=folder."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.aws.engine import Engine
from tests.aws.test_training import (
    SETTINGS,
    assert_day_is_equal,
    assert_glues_part_is_equal,
    assert_model_is_equal,
    holding,
)
from tests.running import run_workflow

pytestmark = [
    pytest.mark.slow,
    pytest.mark.docker,
    # That server leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:.*unclosed"),
]


def test_a_training_and_the_day_after_it_are_those_of_a_laptop(
    real_data: Path, cloud: Engine, deployed: Callable[..., dict[str, str]], tmp_path: Path
):
    last = date.fromisoformat(max(path.name for path in (real_data / "raw").glob("????-??-??")))
    with holding(real_data, cloud, deployed(**SETTINGS), tmp_path) as stack:
        ended = stack.run("training", last)
        assert ended["status"] == "SUCCEEDED", ended
        machine, laptop = stack.fetch(tmp_path / "machine"), tmp_path / "laptop"
        run_workflow("training", last, real_data, laptop, until="feature-engineering")
        assert_glues_part_is_equal(machine, laptop, last)
        assert_model_is_equal(machine, last, tmp_path / "model")
        ended = stack.run("daily", last + timedelta(days=1))
        assert ended["status"] == "SUCCEEDED", ended
        assert_day_is_equal(stack, real_data, last + timedelta(days=1), tmp_path / "day")
