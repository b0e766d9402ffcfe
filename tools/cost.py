"""What a month costs on AWS: volumes, what one machine here took, and list prices with their date (prices.json)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fraudline.catalog.stages import STAGES

HOURS, DAYS, WEEKS = 730.0, 30.4, 52 / 12  # of a month
GB = 1e9

# Seconds for 9,535 rows, as the README has them, and the memory that the stack gives each function, in GB.
MEASURED_ROWS = 9_535
FUNCTIONS = {
    "etl": (1.3, 6.0),
    "feature-extraction": (1.8, 4.0),
    "fraud-scoring": (3.7, 4.0),
    "filter-high-risk": (0.9, 2.0),
    "alert-and-store": (1.8, 3.0),
}
GLUE_WORKERS, GLUE_START, GLUE_ROW = 5, 180.0, 18e-6 / (5 * 4)  # seconds; a row's on all cores (docs/scale.md)
JOB_START, TRAIN_ROW = 240.0, 33e-6  # seconds; assumed, and measured
BYTES_OF_A_ROW = {"s3": 350, "table": 300}
INDEXED = 0.01  # share of scores above LOW, which are written twice
# An alarm costs by the metrics that it looks at.
ALARMED, LOGS_GB, IMAGES_GB = 30, 0.3, 3.0
METRICS = sum(len(stage.metrics) for stage in STAGES.values()) + 1  # and the refusals that the daily machine counts


@dataclass(frozen=True)
class Line:
    """One line of the bill: so many units of what has a price."""

    what: str
    quantity: float
    price: str

    def cost(self, prices: dict[str, float]) -> float:
        """Dollars a month."""
        return self.quantity * prices[self.price]


def bill(transactions: int, *, months: int = 6, retention_days: int = 400, endpoint: bool = False) -> list[Line]:
    """A month's lines.

    Args:
        transactions: a day.
        months: how far back a training reads.
        retention_days: how long rows are kept.
        endpoint: whether one is always on; else scoring is in process.
    """
    rows = transactions * DAYS * months
    glue = 2 * GLUE_WORKERS * (GLUE_START + rows * GLUE_ROW) / 3600
    jobs = (3 * JOB_START + rows * TRAIN_ROW) / 3600
    growth = max(1.0, transactions / MEASURED_ROWS)
    gigabyte_seconds = sum(seconds * memory for seconds, memory in FUNCTIONS.values()) * growth
    kept = {where: transactions * retention_days * size / GB for where, size in BYTES_OF_A_ROW.items()}
    return [
        Line("training: extraction and features on Glue", glue * WEEKS, "glue"),
        Line("training: training, evaluation, deployment as jobs", jobs * WEEKS, "ml.m5.xlarge"),
        Line("daily: five functions", gigabyte_seconds * DAYS, "lambda"),
        Line("daily: the EXPRESS machine", sum(s for s, _ in FUNCTIONS.values()) * growth / 16 * DAYS, "express"),
        Line("scores written to DynamoDB", transactions * DAYS * (1 + INDEXED), "write"),
        Line("scores kept in DynamoDB", kept["table"], "table"),
        Line("raw data and results in S3", kept["s3"], "s3"),
        Line("alarms", ALARMED, "alarm"),
        Line("metrics", METRICS, "metric"),
        Line("logs", LOGS_GB, "logs"),
        Line("key", 1, "key"),
        Line("images in ECR, five releases", IMAGES_GB, "images"),
        *([Line("endpoint, always on", HOURS, "ml.m5.large")] if endpoint else []),
    ]


def prices() -> dict[str, float]:
    """Dollars by what is bought."""
    return {name: item["price"] for name, item in _listed()["prices"].items()}


def _listed() -> dict[str, dict[str, dict[str, float]]]:
    content: dict[str, dict[str, dict[str, float]]] = json.loads(Path(__file__).with_name("prices.json").read_text())
    return content


def total(lines: Iterable[Line]) -> float:
    """Dollars a month."""
    return sum(line.cost(prices()) for line in lines)


def table(volumes: Sequence[int], *, endpoint: bool = False) -> list[tuple[str, ...]]:
    """The bills of some volumes side by side, as rows of text, the head first and the sum last."""
    bills = [bill(volume, endpoint=endpoint) for volume in volumes]
    known = prices()
    rows = [(same[0].what, *(f"{line.cost(known):.2f}" for line in same)) for same in zip(*bills, strict=True)]
    head = ("dollars a month", *(f"{volume:,} a day" for volume in volumes))
    return [head, *rows, ("**all**", *(f"**{total(lines):.2f}**" for lines in bills))]


def plan(transactions: int) -> list[tuple[str, ...]]:
    """The plan's own figures and what they add up to, beside what is reckoned here."""
    lines = bill(transactions)
    run = total(line for line in lines if line.what.startswith("training")) / WEEKS
    day = total(line for line in lines if line.what.startswith(("daily", "scores written"))) / DAYS
    sums = [
        (f"${each} a run, ${daily} a day", f"${each * WEEKS + daily * DAYS:.0f} a month, not $144")
        for each in (50, 1.65)
        for daily in (5, 3)
    ]
    return [
        ("the plan", "adds up to"),
        *sums,
        (f"here, {transactions:,} a day", f"${run:.2f} a run, ${day:.2f} a day, ${total(lines):.0f} a month in all"),
    ]


def page() -> str:
    """docs/cost.md."""
    listed, volumes = _listed(), (10_000, 50_000, 500_000)
    saved = HOURS * prices()["ml.m5.large"]
    bought = [
        (f"`{name}`", f"{item['price']:.10f}".rstrip("0").rstrip("."), str(item["per"]))
        for name, item in listed["prices"].items()
    ]
    return f"""# What a month costs

Written by `make docs` from `tools/cost.py` and `prices.json`; `make cost TRANSACTIONS=N` estimates
it for your volume. List prices of {listed["region"]}, {listed["date"]}, in dollars, put down by hand: look them up
before you rely on them. No free tier, no discount, no tax; nothing of this was ever billed: nothing ran on AWS.

{_markdown(table(volumes))}
Without an endpoint that is always on, because bulk scoring needs none: a day's rows are scored in process, by the same
artifact. `Hosting=Endpoint` adds {saved:.0f} dollars a month for one ml.m5.large, whatever the volume. Single
transactions are not in here, nor are a VPC's endpoints or NAT, which cost more than all the rest where you choose one.

## The plan's own figures

{_markdown(plan(50_000))}
They contradict each other: no pair of them gives $144 a month. $50 a run would be some 110 hours of Glue worker or 220
of ml.m5.xlarge, $1.65 is within reach; $5 a day is 20 hours of an ml.m5.xlarge, for minutes of work.

## What is assumed

- A function takes as long as its stage took here for {MEASURED_ROWS:,} rows (README), and grows with the rows from
  there: too much for large days, since a good part of it is the start.
- A Glue job starts in {GLUE_START:.0f} s and a SageMaker job in {JOB_START:.0f} s, which is assumed, and both are paid
  for. Then {GLUE_WORKERS} workers do 18 µs of CPU a row ([scale](scale.md)), and training takes 33 µs a row.
- A training a week over six months; rows are kept for 400 days, {BYTES_OF_A_ROW["s3"]} bytes of them in S3 and
  {BYTES_OF_A_ROW["table"]} in DynamoDB.

## Prices

{_markdown([("what", "dollars", "per"), *bought])}"""


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *rest = rows
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rest))


def main() -> None:
    """Print the monthly cost of a volume."""
    parser = argparse.ArgumentParser(prog="make cost", description="Estimate the monthly cost on AWS.")
    parser.add_argument("--transactions", type=int, default=50_000, help="per day [%(default)s]")
    parser.add_argument("--endpoint", action="store_true", help="with an endpoint that is always on")
    options = parser.parse_args()
    for what, dollars in table([options.transactions], endpoint=options.endpoint):
        print(f"{dollars.strip('*'):>16}  {what.strip('*')}")


if __name__ == "__main__":
    main()
