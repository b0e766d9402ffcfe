"""Looking an entity's day up in a table is a search, only faster."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudline.features import entity_days
from fraudline.features.entity_days import Positions

SIZE = 50


@given(st.sets(st.integers(0, SIZE - 1)), st.lists(st.integers(0, SIZE), min_size=1))
def test_a_table_and_a_search_find_the_same(keys: set[int], asked: list[int]):
    """Which of them is used depends on how many merchants there are, and no feature may."""
    ordered, looked_up = np.array(sorted(keys), np.int64), np.array(asked)
    found = [Positions(ordered, SIZE)(looked_up)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entity_days, "TABLE_CELLS", 0)
        found.append(Positions(ordered, SIZE)(looked_up))
    assert found[0].tolist() == found[1].tolist() == [sum(key < one for key in keys) for one in asked]
