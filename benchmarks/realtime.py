"""The real-time path, event by event: three functions of the images under AWS's emulator of Lambda.

    python -m benchmarks.realtime [--events 1000] [--version dev]

scores the first transactions of a made-up day one after another, each seen by those after it, and prints Markdown:
milliseconds by function, as whoever invokes it waits. DynamoDB, S3 and SNS are moto's, in a process of its own on this
machine; neither the state machine's own time nor EventBridge's is in it. Each event's features and score are compared
with those of the day's batch.
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
# The images of the three functions, in the order in which the machine calls them.
FUNCTIONS = {"realtime-features": "features", "realtime-score": "score", "realtime-history": "features"}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1000, help="how many transactions [1000]")
    parser.add_argument("--version", default="dev", help="tag of the images [dev]")
    options = parser.parse_args()
    with TemporaryDirectory() as scratch, _aws(), ExitStack() as containers:
        root = Path(scratch)
        _day_by_batch(root)
        told = {name: value for name, value in os.environ.items() if name.startswith("AWS_")} | _stored(root)
        addresses = {
            name: containers.enter_context(
                emulator.function(f"fraudline/{image}:{options.version}", ["lambda", name], told)
            )
            for name, image in FUNCTIONS.items()
        }
        expected = batch.scored(root, DAY)
        measured = [_timed(addresses, event, expected) for event in batch.events(root, DAY)[: options.events]]
    first, *others = measured
    print(f"{len(measured):,} events, features and scores equal to the batch's.\n")
    print("| milliseconds | p50 | p99 | longest | the first event |\n| --- | ---: | ---: | ---: | ---: |")
    for name in (*FUNCTIONS, "an event"):
        times = np.array([each.get(name, sum(each.values())) for each in others]) * 1000
        cold = first.get(name, sum(first.values())) * 1000
        print(f"| {name} | {np.median(times):.0f} | {np.percentile(times, 99):.0f} | {times.max():.0f} | {cold:,.0f} |")


def _timed(addresses: dict[str, str], event: dict[str, Any], expected: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Seconds by function of one event; what is not as the batch has it raises AssertionError."""
    seconds: dict[str, float] = {}

    def call(name: str, given: dict[str, Any]) -> dict[str, Any]:
        began = time.perf_counter()
        answer: dict[str, Any] = emulator.invoke(addresses[name], given)
        seconds[name] = time.perf_counter() - began
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
    """moto's server, which whoever asks AWS in this process asks."""
    port = emulator.free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while not _listens(port):
                time.sleep(0.1)
            given = {"ENDPOINT_URL": f"http://127.0.0.1:{port}", "DEFAULT_REGION": "us-east-1"}
            for name, value in {**given, "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x"}.items():
                os.environ[f"AWS_{name}"] = value
            yield
        finally:
            server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def _day_by_batch(root: Path) -> None:
    simulate(root / "data", start=START, days=DAYS, customers=900, merchants=300, seed=11)
    floors = ["--set", "min_average_precision=0.05", "--set", "min_card_precision=0"]
    for words in (["training", "--as-of", str(DAY), *floors], ["daily", "--as-of", str(NEXT)]):
        command = [sys.executable, "-m", "fraudline", "run", *words, "--data", str(root / "data"), "--root", str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _stored(root: Path) -> dict[str, str]:
    """What the functions read, put where they look for it; their environment."""
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
