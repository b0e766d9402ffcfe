"""The scripts outside of the package obey the direction of imports too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = [REPOSITORY / "pipeline.py", *sorted((REPOSITORY / "glue").rglob("*.py"))]
# Modules of the repository; everything else comes from a requirement.
OWN = {"fraudline", "tools", "tests", "benchmarks", "glue", "pipeline"}


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, lazily too."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
    return modules


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_only_the_package_and_the_tools(script: Path):
    own = {name.partition(".")[0] for name in imported(script)} & OWN
    assert own <= ({"fraudline", "tools"} if script.name == "pipeline.py" else {"fraudline"})


def test_no_module_imports_a_script():
    modules = [*(REPOSITORY / "src").rglob("*.py"), *(REPOSITORY / "tools").rglob("*.py")]
    assert not [path for path in modules if {"pipeline", "glue"} & {name.split(".")[0] for name in imported(path)}]
