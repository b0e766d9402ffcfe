"""Options and fixtures that every room's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

from fraudline.runtime import aws as aws_clients

settings.register_profile("default", deadline=None, derandomize=True, database=None)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")
    parser.addoption("--engines", default="local", help="engines that the feature laws are put to, with commas")


def pytest_configure(config: pytest.Config) -> None:
    if find_spec("pyspark"):
        # What failed is told as it is: a job of Spark for every attempt at a smaller one takes minutes.
        settings.register_profile("spark", phases=(Phase.explicit, Phase.generate))
        settings.load_profile("spark")
        # It leaves its sockets to the garbage collector.
        config.addinivalue_line("filterwarnings", "ignore:unclosed <socket:ResourceWarning")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", metafunc.config.getoption("--engines").split(","), indirect=True)


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """A small Spark, in the environment that has one: make spark-setup."""
    from fraudline.entrypoints.glue import session  # noqa: PLC0415

    # Many short jobs: what a Java compiles well it would not use for long.
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    started = session()
    started.conf.set("spark.sql.shuffle.partitions", "2")
    yield started
    started.stop()


@pytest.fixture
def real_data() -> Path:
    """Some real data, by make verify DATA=folder."""
    data = Path(os.environ.get("FRAUDLINE_DATA", ""))
    if not (data / "raw").is_dir():
        pytest.fail("name a folder with raw/ and labeled/: make verify DATA=folder")
    return data


@pytest.fixture(scope="session")
def aws_server() -> Iterator[str]:
    """An AWS API server, over HTTP."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - not in the environment of Spark

    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def aws(aws_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks AWS in this test asks that server."""
    given = {"ENDPOINT_URL": aws_server, "DEFAULT_REGION": "us-east-1", "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x"}
    for name, value in given.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    aws_clients.client.cache_clear()
