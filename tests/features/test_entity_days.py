"""Positions of entity days: the table and the search give the same answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudline.features import entity_days
from fraudline.features.entity_days import Positions

SIZE = 50


@given(st.sets(st.integers(0, SIZE - 1)), st.lists(st.integers(0, SIZE), min_size=1))
def test_table_and_search_give_the_same_positions(keys: set[int], queries: list[int]):
    """The number of merchants decides which one is used, and must not change a feature."""
    ordered, looked_up = np.array(sorted(keys), np.int64), np.array(queries)
    by_table = Positions(ordered, SIZE)(looked_up)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entity_days, "TABLE_CELLS", 0)
        by_search = Positions(ordered, SIZE)(looked_up)
    assert by_table.tolist() == by_search.tolist() == [sum(key < query for key in keys) for query in queries]
