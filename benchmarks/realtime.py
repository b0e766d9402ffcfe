"""Measure the real-time path, event by event: three functions of the images in AWS's Lambda emulator.

    python -m benchmarks.realtime [--events 1000] [--version dev]

Scores the first transactions of a simulated day one after another, each with those before it in its history. Prints
Markdown: milliseconds by function, as its caller sees them. DynamoDB, S3 and SNS are moto's, in a process of their own
on this computer; the time of EventBridge and of the state machine itself is not included. Each event's features and
score are compared with those of the day's batch.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import numpy as np

from fraudline.catalog.contract import contract
from fraudline.catalog.environment import CHAMPION, HISTORY, TOPIC
from fraudline.catalog.features import NAMES
from fraudline.runtime import s3
from fraudline.simulate import simulate
from tests import batch, emulator, tables

START, DAYS = date(2026, 1, 1), 91
DAY = START + timedelta(days=DAYS - 1)
NEXT = DAY + timedelta(days=1)
# The image of each function, in the order in which the state machine calls them.
FUNCTIONS = {"realtime-features": "features", "realtime-score": "score", "realtime-history": "features"}


def main() -> None:
    """Run the benchmark and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1000, help="number of transactions [1000]")
    parser.add_argument("--version", default="dev", help="tag of the images [dev]")
    options = parser.parse_args()
    with TemporaryDirectory() as scratch, _aws(), ExitStack() as containers:
        root = Path(scratch)
        _run_batch(root)
        environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")} | _prepare(root)
        addresses = {
            name: containers.enter_context(
                emulator.function(f"fraudline/{image}:{options.version}", ["lambda", name], environment)
            )
            for name, image in FUNCTIONS.items()
        }
        expected = batch.scores(root, DAY)
        measured = [_time_event(addresses, event, expected) for event in batch.events(root, DAY)[: options.events]]
    # The first event starts each function and loads the champion.
    first, *others = measured
    print(f"{len(measured):,} events, features and scores equal to the batch's.\n")
    print("| milliseconds | p50 | p99 | longest | the first event |\n| --- | ---: | ---: | ---: | ---: |")
    for name in (*FUNCTIONS, "an event"):
        times = np.array([seconds.get(name, sum(seconds.values())) for seconds in others]) * 1000
        cold = first.get(name, sum(first.values())) * 1000
        print(f"| {name} | {np.median(times):.0f} | {np.percentile(times, 99):.0f} | {times.max():.0f} | {cold:,.0f} |")


def _time_event(
    addresses: dict[str, str], event: dict[str, Any], expected: dict[str, dict[str, Any]]
) -> dict[str, float]:
    """Return one event's seconds by function.

    Raises:
        AssertionError: a result differs from the batch's.
    """
    seconds: dict[str, float] = {}

    def call(name: str, payload: dict[str, Any]) -> dict[str, Any]:
        started = time.perf_counter()
        answer: dict[str, Any] = emulator.invoke(addresses[name], payload)
        seconds[name] = time.perf_counter() - started
        return answer

    served = call("realtime-features", event)
    scored = call("realtime-score", {**event, **served})
    appended = call("realtime-history", event)
    row = expected[event["transaction"]["transaction_id"]]
    np.testing.assert_array_equal(
        np.array(served["features"], np.float32), np.array([row[name] for name in NAMES], np.float32)
    )
    assert scored["fraud_score"] == row["fraud_score"], scored
    assert appended == {"appended": True}, appended
    return seconds


@contextmanager
def _aws() -> Iterator[None]:
    """Run a moto server, to which this process's AWS clients connect within the context."""
    port = emulator.free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while not _listens(port):
                time.sleep(0.1)
            os.environ |= {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "x",
                "AWS_SECRET_ACCESS_KEY": "x",
            }
            yield
        finally:
            server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _run_batch(root: Path) -> None:
    """Simulate data, train a model, and run the day's batch."""
    simulate(root / "data", start=START, days=DAYS, customers=900, merchants=300, seed=11)
    floors = ["--set", "min_average_precision=0.05", "--set", "min_card_precision=0"]
    folders = ["--data", str(root / "data"), "--root", str(root)]
    for arguments in (["training", "--as-of", str(DAY), *floors], ["daily", "--as-of", str(NEXT)]):
        command = [sys.executable, "-m", "fraudline", "run", *arguments, *folders]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _prepare(root: Path) -> dict[str, str]:
    """Store the champion and the history where the functions read them; return the functions' environment."""
    boto3.client("s3").create_bucket(Bucket="results")
    s3.upload(root / "champion", "s3://results/champion/", str)
    table = tables.create("history")
    history = f"history={root}/history/{contract()}/before={DAY}"
    command = [sys.executable, "-m", "fraudline", "publish-history", "--as-of", str(DAY), "--table", table]
    subprocess.run([*command, "--input", history], check=True, stdout=subprocess.DEVNULL)
    topic = boto3.client("sns").create_topic(Name="alerts")["TopicArn"]
    return {HISTORY.name: table, CHAMPION.name: "s3://results/champion/", TOPIC.name: topic}


if __name__ == "__main__":
    main()
