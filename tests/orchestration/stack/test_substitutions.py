"""A definition gets a value for each name it mentions."""

from __future__ import annotations

import pytest

from fraudline.orchestration.stack.substitutions import substitutions


def test_a_definition_gets_the_values_it_names():
    assert substitutions('{"a": "${Root}/x", "b": "${Threshold}", "c": "{as_of}"}') == {
        "Root": {"Fn::Sub": "s3://${ResultsBucket}"},
        "Threshold": {"Ref": "Threshold"},
    }


def test_a_name_without_a_value_is_an_error():
    with pytest.raises(ValueError, match=r"no value for \$\{Treshold\}; a definition may name .*, Threshold, "):
        substitutions('{"a": "${Treshold}"}')
