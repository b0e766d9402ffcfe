"""Estimate the monthly cost on AWS from volumes, measured seconds, and dated list prices (prices.json)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fraudline.catalog.settings_table import SETTINGS
from fraudline.catalog.stages import STAGES
from tools import markdown

HOURS, DAYS, WEEKS = 730.0, 30.4, 52 / 12  # per month
GB = 1e9
NUMBERS = "---:"  # Markdown that aligns columns of numbers to the right

# For each function: seconds for MEASURED_ROWS rows (docs/measured.md), and the memory in GB that the stack gives it.
MEASURED_ROWS = 9_535
FUNCTION_GB = SETTINGS["aws", "function_memory"].default / 1024
FUNCTIONS = {
    "etl": (1.3, FUNCTION_GB),
    "feature-extraction": (1.8, FUNCTION_GB),
    "fraud-scoring": (3.7, FUNCTION_GB),
    "filter-high-risk": (0.9, FUNCTION_GB),
    "alert-and-store": (1.8, FUNCTION_GB),
}
GLUE_WORKERS, GLUE_START = 5, 180.0  # seconds; assumed
GLUE_ROW = 18e-6 / (GLUE_WORKERS * 4)  # seconds per row on 4 cores per worker (docs/scale.md)
JOB_START = 240.0  # seconds; assumed
TRAIN_ROW = 33e-6  # seconds; measured
ROW_BYTES = {"s3": 350, "table": 300}
INDEXED = 0.01  # share of scores above LOW; the index stores them a second time
# CloudWatch charges an alarm for each metric that it watches.
ALARM_METRICS, LOGS_GB, IMAGES_GB = 34, 0.3, 3.0
METRICS = sum(len(stage.metrics) for stage in STAGES.values()) + 1  # plus runs_rejected of the daily state machine


@dataclass(frozen=True)
class Line:
    """One line of the bill.

    Attributes:
        description: the service, and what it is used for.
        quantity: units per month.
        price: the name of the price per unit in ``prices.json``.
    """

    description: str
    quantity: float
    price: str

    def cost(self, prices: dict[str, float]) -> float:
        """Return the cost in dollars per month."""
        return self.quantity * prices[self.price]


def bill(transactions: int, *, months: int = 6, retention_days: int = 400, endpoint: bool = False) -> list[Line]:
    """Return the lines of a month's bill.

    Args:
        transactions: the number of transactions per day.
        months: the calendar months of data that a training reads.
        retention_days: the number of days for which rows are stored.
        endpoint: whether to include an endpoint that is always on; without it, scoring runs in process.
    """
    rows = transactions * DAYS * months
    glue = 2 * GLUE_WORKERS * (GLUE_START + rows * GLUE_ROW) / 3600
    jobs = (3 * JOB_START + rows * TRAIN_ROW) / 3600
    growth = max(1.0, transactions / MEASURED_ROWS)
    # Express executions are billed by their duration, and functions by duration times memory.
    gigabyte_seconds = sum(seconds * memory for seconds, memory in FUNCTIONS.values()) * growth
    stored = {store: transactions * retention_days * size / GB for store, size in ROW_BYTES.items()}
    return [
        Line("training: extraction and features on Glue", glue * WEEKS, "glue"),
        Line("training: training, evaluation, deployment as jobs", jobs * WEEKS, "ml.m5.xlarge"),
        Line("daily: five functions", gigabyte_seconds * DAYS, "lambda"),
        Line("daily: the EXPRESS state machine", sum(s for s, _ in FUNCTIONS.values()) * growth / 16 * DAYS, "express"),
        Line("scores written to DynamoDB", transactions * DAYS * (1 + INDEXED), "write"),
        Line("scores stored in DynamoDB", stored["table"], "table"),
        Line("raw data and results in S3", stored["s3"], "s3"),
        Line("alarms", ALARM_METRICS, "alarm"),
        Line("metrics", METRICS, "metric"),
        Line("logs", LOGS_GB, "logs"),
        Line("key", 1, "key"),
        Line("images in ECR, five releases", IMAGES_GB, "images"),
        *([Line("endpoint, always on", HOURS, "ml.m5.large")] if endpoint else []),
    ]


def prices() -> dict[str, float]:
    """Return the price in dollars of each unit, by name."""
    return {name: item["price"] for name, item in _price_list()["prices"].items()}


def _price_list() -> dict[str, dict[str, dict[str, float]]]:
    content: dict[str, dict[str, dict[str, float]]] = json.loads(Path(__file__).with_name("prices.json").read_text())
    return content


def total(lines: Iterable[Line]) -> float:
    """Return the total of the lines, in dollars per month."""
    return sum(line.cost(prices()) for line in lines)


def table(volumes: Sequence[int], *, endpoint: bool = False) -> list[tuple[str, ...]]:
    """Return the bills for several volumes side by side, as rows of text: the head, one row per line, and the total."""
    bills = [bill(volume, endpoint=endpoint) for volume in volumes]
    unit_prices = prices()
    rows = []
    for lines in zip(*bills, strict=True):
        costs = [f"{line.cost(unit_prices):.2f}" for line in lines]
        rows.append((lines[0].description, *costs))
    head = ("dollars a month", *(f"{volume:,} a day" for volume in volumes))
    return [head, *rows, ("**total**", *(f"**{total(lines):.2f}**" for lines in bills))]


def page() -> str:
    """Return the text of docs/cost.md."""
    price_list, volumes = _price_list(), (10_000, 50_000, 500_000)
    head, *rows = table(volumes)
    endpoint = HOURS * prices()["ml.m5.large"]
    price_rows = [
        (f"`{name}`", f"{item['price']:.10f}".rstrip("0").rstrip("."), str(item["per"]))
        for name, item in price_list["prices"].items()
    ]
    return f"""# Monthly cost

Generated by `make docs` from `tools/cost.py` and `tools/prices.json`. `make cost TRANSACTIONS=N` estimates the cost for
your volume. List prices of {price_list["region"]}, {price_list["date"]}, in dollars, typed in by hand: check them
before you rely on them. The estimate leaves out free tiers, discounts and taxes. Nothing ran on AWS, so none of it was
ever billed.

{markdown.table(head, rows, NUMBERS)}
The table has no endpoint that is always on, because bulk scoring needs none: the daily workflow scores in process, with
the same artifact. `Hosting=Endpoint` adds {endpoint:.0f} dollars a month for one ml.m5.large, at any volume. Also left
out are real-time transactions, and the endpoints or NAT of a VPC, which cost more than everything else if you use them.

## Assumptions

- A function takes as long as its stage took for {MEASURED_ROWS:,} rows ([measured](measured.md)), and proportionally
  longer for more rows. This overestimates large days, because much of that time is start-up.
- A Glue job starts in {GLUE_START:.0f} s and a SageMaker job in {JOB_START:.0f} s (assumed), and AWS bills both. Then
  {GLUE_WORKERS} Glue workers spend 18 µs of CPU per row ([scale](scale.md)), and training takes 33 µs per row.
- One training a week over six months. Rows are stored for 400 days, {ROW_BYTES["s3"]} bytes per row in S3 and
  {ROW_BYTES["table"]} in DynamoDB.

## Prices

{markdown.table(("name", "dollars", "per"), price_rows, NUMBERS)}"""


def main() -> None:
    """Print the monthly cost for a number of transactions per day."""
    parser = argparse.ArgumentParser(prog="make cost", description="Estimate the monthly cost on AWS.")
    parser.add_argument("--transactions", type=int, default=50_000, help="per day [%(default)s]")
    parser.add_argument("--endpoint", action="store_true", help="with an endpoint that is always on")
    options = parser.parse_args()
    for description, dollars in table([options.transactions], endpoint=options.endpoint):
        print(f"{dollars.strip('*'):>16}  {description.strip('*')}")


if __name__ == "__main__":
    main()
