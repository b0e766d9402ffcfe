"""Options and fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

from fraudline.runtime.aws import client

settings.register_profile("default", deadline=None, derandomize=True, database=None)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files again")
    parser.addoption("--engines", default="local", help="engines that the laws of the features run on, with commas")


def pytest_configure(config: pytest.Config) -> None:
    if find_spec("pyspark"):
        # Failures are not shrunk: a Spark job for every attempt at a smaller example takes minutes.
        settings.register_profile("spark", phases=(Phase.explicit, Phase.generate))
        settings.load_profile("spark")
        # Spark leaves its sockets to the garbage collector.
        config.addinivalue_line("filterwarnings", "ignore:unclosed <socket:ResourceWarning")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", metafunc.config.getoption("--engines").split(","), indirect=True)


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """A local Spark session, in the environment of make spark-setup."""
    from fraudline.entrypoints.glue import session  # noqa: PLC0415

    # For many short jobs, thorough compilation costs more than it saves.
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    spark = session()
    spark.conf.set("spark.sql.shuffle.partitions", "2")
    yield spark
    spark.stop()


@pytest.fixture
def real_data() -> Path:
    """The folder of make verify DATA=folder."""
    data = Path(os.environ.get("FRAUDLINE_DATA", ""))
    if not (data / "raw").is_dir():
        pytest.fail("name a folder with raw/ and labeled/: make verify DATA=folder")
    return data


@pytest.fixture(scope="session")
def aws_server() -> Iterator[str]:
    """The URL of an AWS API server on this computer."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - not in the environment of Spark

    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def aws(aws_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Direct every AWS client of the test to that server."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_server)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    client.cache_clear()
