"""The table of SageMaker's rules names tests that there are, and every test of the contract has its row."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
NAMED = re.findall(r"`(test_\w+)` \|$", (REPOSITORY / "docs/container-contract.md").read_text(), re.MULTILINE)


def defined(*files: str) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", "".join((REPOSITORY / file).read_text() for file in files), re.MULTILINE))


def test_every_test_that_the_table_names_is_there():
    rooms = ("images/test_contract", "images/test_images", "images/test_lambda", "hosts/test_bad_input")
    files = [f"tests/{room}.py" for room in rooms]
    assert set(NAMED) <= defined(*files)


def test_every_test_of_the_contract_stands_in_the_table():
    beyond_sagemaker = {
        "test_a_terminal_is_told_in_plain_words",
        "test_no_log_names_a_customer_though_a_row_breaks_the_code",
    }
    assert defined("tests/images/test_contract.py") - beyond_sagemaker <= set(NAMED)
