"""CI publishes every image, calls existing targets, and pins what it uses."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github/workflows").glob("*.yml"))


def test_the_publisher_finds_the_images_of_the_catalog():
    """It runs without an environment, so the catalog must import with the standard library alone."""
    script = REPOSITORY / ".ci/publish"
    ended = subprocess.run(
        [sys.executable, "-I", "-S", script], capture_output=True, text=True, check=False, env={"PATH": ""}
    )
    assert (ended.returncode, ended.stderr.splitlines()[2]) == (2, "    .ci/publish REGISTRY VERSION")
    assert "from fraudline.catalog.stages import IMAGES" in script.read_text()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_existing_targets_and_scripts(workflow: Path):
    targets = re.findall(r"^\.PHONY: (\S+)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    text = workflow.read_text()
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= set(targets)
    assert all((REPOSITORY / script).is_file() for script in re.findall(r"\.ci/\w+", text))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_to_a_commit(workflow: Path):
    """A tag can be moved onto other code, which would then run with the role that publishes."""
    used = re.findall(r"uses: (\S+)", workflow.read_text())
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used)


def test_the_oldest_supported_python_is_tested():
    oldest = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["requires-python"]
    tested = re.search(r"python: \[(.*)\]", (REPOSITORY / ".github/workflows/test.yml").read_text())
    assert tested is not None
    assert oldest.removeprefix(">=") == re.findall(r"[\d.]+", tested[1])[0]


def test_pre_commit_hooks_are_local_and_installed():
    """A hook from elsewhere would download code that nothing pins by its hash."""
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    programs = [hook["entry"].split()[0] for hook in hooks[0]["hooks"]]
    assert programs
    assert all(program.startswith(".venv/bin/") for program in programs)
