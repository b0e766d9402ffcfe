"""Environment variables: one table, whose values have defaults or are named when they are missing."""

from __future__ import annotations

import pytest

from fraudline.catalog.environment import BIND_TO_PORT, FUNCTION_THRESHOLD, HISTORY, ML_ROOT, TOPIC, VARIABLES


def test_each_variable_is_listed_once_with_a_description():
    names = [variable.name for variable in VARIABLES]
    assert len(set(names)) == len(names)
    assert all(variable.description for variable in VARIABLES)


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        (ML_ROOT, "/elsewhere", "/elsewhere"),
        (ML_ROOT, "", "/opt/ml"),
        (ML_ROOT, None, "/opt/ml"),
        (BIND_TO_PORT, "9000", 9000),
        (BIND_TO_PORT, None, None),
        (FUNCTION_THRESHOLD, "0.5", 0.5),
        (FUNCTION_THRESHOLD, None, 0.8),
        (TOPIC, None, ""),
    ],
)
def test_a_value_is_parsed_or_the_default(variable, text, value, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(variable.name, raising=False)
    if text is not None:
        monkeypatch.setenv(variable.name, text)
    assert variable.value() == value


@pytest.mark.parametrize("text", [None, ""])
def test_a_missing_variable_without_default_is_named(text: str | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(HISTORY.name, raising=False)
    if text is not None:
        monkeypatch.setenv(HISTORY.name, text)
    with pytest.raises(RuntimeError, match=r"FRAUDLINE_HISTORY is not set: the history of the real-time path"):
        HISTORY.value()
