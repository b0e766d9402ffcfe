"""The table of SageMaker's rules in docs/container-contract.md names existing tests, and every test of the contract."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
LISTED = re.findall(r"`(test_\w+)` \|$", (REPOSITORY / "docs/container-contract.md").read_text(), re.MULTILINE)


def defined(*files: str) -> set[str]:
    """Return the names of the tests that the files define."""
    source = "".join((REPOSITORY / "tests" / file).read_text() for file in files)
    return set(re.findall(r"^def (test_\w+)", source, re.MULTILINE))


def test_every_listed_test_exists():
    assert set(LISTED) <= defined(
        "images/test_contract.py", "images/test_images.py", "images/test_lambda.py", "entrypoints/test_bad_input.py"
    )


def test_every_test_of_the_contract_is_listed():
    beyond_sagemaker = {"test_a_container_may_log_in_plain_words", "test_no_log_quotes_a_row_of_an_unforeseen_error"}
    assert defined("images/test_contract.py") - beyond_sagemaker <= set(LISTED)
