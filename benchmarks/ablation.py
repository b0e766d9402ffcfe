"""Measure what each feature adds: the average precision lost without it, on some data and on simulated data.

    python -m benchmarks.ablation --data FOLDER [--before DATE] [--write docs/ablation.json]

Evaluates walk-forward: each test week has its own model, trained on everything known on the day the week begins, with
all features, without each feature, and without each group. Prints Markdown, and progress to stderr; ``make docs``
renders the file that ``--write`` names.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import xgboost
from numpy.typing import NDArray

from fraudline.catalog import features as d
from fraudline.catalog import parsing
from fraudline.catalog.contract import contract
from fraudline.catalog.days import day_number, from_day_number
from fraudline.catalog.stages import STAGES
from fraudline.entrypoints.parameters import parse
from fraudline.entrypoints.run import call
from fraudline.features.history import EVENTS, entity_history
from fraudline.features.numpy_engine import compute
from fraudline.model.metrics import average_precision
from fraudline.runtime.channels import Channels
from fraudline.simulate import simulate
from tools.documents import ablation_page

DELAY, WARMUP, WEEK = 7, 14, 7
LATEST_LABEL = timedelta(days=60)  # after its transaction
WEEK_STEP = 14  # days from one test week to the next
ONE_IN = 4  # a model trains on every fourth genuine row, with weight 4, and on every fraud
DRAWS = 2  # samples of genuine rows per test week, whose results are averaged
TREES: dict[str, Any] = {
    "tree_method": "hist",
    "max_depth": 6,
    "learning_rate": 0.12,
    "min_child_weight": 5,
    "max_bin": 128,
}
ROUNDS = 80
SIMULATED = {"start": date(2026, 1, 1), "days": 150, "customers": 2500, "merchants": 1000}
SEEDS = (1, 2, 3)

GROUPS: dict[str, tuple[type[d.Aggregate], ...]] = {
    "the customer's own amounts": (d.ZScore, d.RatioToMean, d.RatioToMax, d.RecentMaxToMean),
    "velocity and spend": (d.Count, d.Sum),
    "time of day and week": (d.HourOfDay, d.IsWeekend, d.IsNight),
    "known frauds": (d.Risk, d.Frauds, d.FraudRecency, d.FraudRun),
    "recency and run of known frauds": (d.FraudRecency, d.FraudRun),
    "coordinates": (d.DistanceFromHome, d.DistanceFromPrevious, d.SpeedFromPrevious),
}

Ints = NDArray[np.int64]
Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class Fold:
    """The row indices of a test week, and of the rows to train on before it."""

    train: Ints
    test: Ints


@dataclass(frozen=True)
class Table:
    """Features, labels and folds of one data set.

    Attributes:
        values: features, of shape (rows, features).
        labels: 0 where no label is known.
        weeks: for each test week, one fold per draw.
    """

    values: Floats32
    labels: NDArray[np.int8]
    weeks: list[list[Fold]]


def main() -> None:
    """Run the benchmark, print the result, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with raw/ and labeled/")
    parser.add_argument("--description", default="own data", help="heading of the data's table [own data]")
    parser.add_argument("--before", type=parsing.argument(parsing.day), help="day after the last test week [automatic]")
    parser.add_argument("--weeks", type=int, default=4, help="number of test weeks, two weeks apart [4]")
    parser.add_argument("--write", type=Path, help="file for the result, as JSON")
    options = parser.parse_args()
    own = _study(options.description, [_read(options.data)], options.before, options.weeks)
    sampling = {"label_delay_days": DELAY, "warmup_days": WARMUP, "genuine_one_in": ONE_IN, "draws": DRAWS}
    settings = {**sampling, "trees": ROUNDS, **TREES}
    result = {"contract": contract(), "settings": settings, "studies": [own, _study_simulated()]}
    print(ablation_page(result))
    if options.write:
        options.write.write_text(json.dumps(result, indent=1) + "\n")


def _read(data: Path) -> pl.DataFrame:
    """Return all transactions and labels of a folder, schema DATASET; a label counts from its known_day on."""
    days = sorted(date.fromisoformat(path.name) for path in (data / "raw").glob("????-??-??"))
    as_of = days[-1] + LATEST_LABEL
    months = (as_of - days[0]).days // 28 + 1  # no month is shorter, so these reach back to the first day
    texts = {"as_of": str(as_of), "months": str(months), "label_delay_days": str(DELAY)}
    stage = STAGES["data-extraction"]
    with TemporaryDirectory() as scratch:
        outputs = {channel.name: f"{scratch}/{channel.name}" for channel in stage.writes}
        with Channels(stage, {"raw": str(data / "raw"), "labels": str(data / "labeled")}, outputs) as channels:
            channels.commit(call(stage, channels, parse(stage, texts)))
        return pl.read_parquet(f"{outputs['dataset']}/**/*.parquet").sort("timestamp", "transaction_id")


def _features(dataset: pl.DataFrame) -> Floats32:
    """Return the features, each row's as of its own day; of shape (rows, features), NaN where null."""
    history = entity_history(dataset.lazy())
    last = dataset.get_column("timestamp").max().date()  # type: ignore[union-attr]
    computed = compute(dataset, pl.DataFrame(schema=EVENTS), history.entity_days(DELAY, history.first_day(), last))
    return np.column_stack([computed.get_column(name).to_numpy().astype(np.float32) for name in d.NAMES])


def _table(dataset: pl.DataFrame, weeks: Sequence[date]) -> Table:
    """Return features, labels, and the folds of the test weeks that begin on these days."""
    day = dataset.get_column("timestamp").dt.epoch("d").to_numpy()
    labels = dataset.get_column("is_fraud").fill_null(0).to_numpy()
    known_day = dataset.get_column("known_day").fill_null(np.iinfo(np.int32).max).to_numpy()
    draw = np.random.default_rng(7).integers(0, ONE_IN, len(day))
    folds = []
    for first in map(day_number, weeks):
        test = np.flatnonzero((day >= first) & (day < first + WEEK))
        # The windows of the first days are not filled yet.
        trainable = (day >= day.min() + WARMUP) & (day < first) & (known_day < first)
        samples = [np.flatnonzero(trainable & ((labels == 1) | (draw == number))) for number in range(DRAWS)]
        folds.append([Fold(train, test) for train in samples])
    return Table(_features(dataset), labels, folds)


def _test_weeks(dataset: pl.DataFrame, before: date | None, count: int) -> list[date]:
    """Return the first days of the test weeks, in order; the last week ends before ``before``, or four weeks early."""
    last = dataset.get_column("timestamp").max()
    # By default, leave four weeks for the labels of the last test week.
    end = before or from_day_number(day_number(last.date()) + 1 - 4 * WEEK)  # type: ignore[union-attr]
    return [end - timedelta(days=WEEK + WEEK_STEP * back) for back in reversed(range(count))]


def _average_precisions(tables: Sequence[Table], columns: Ints, pool: ThreadPoolExecutor) -> NDArray[np.float64]:
    """Return the average precision of each test week with these features, the mean over its draws."""
    weeks = [(table, folds) for table in tables for folds in table.weeks]
    jobs = [[pool.submit(_fit, table, fold, columns) for fold in folds] for table, folds in weeks]
    return np.array([np.mean([job.result() for job in draws]) for draws in jobs])


def _fit(table: Table, fold: Fold, columns: Ints) -> float:
    """Train on a fold with these features; return the average precision on its test week."""
    labels = table.labels[fold.train]
    rows = table.values[np.ix_(fold.train, columns)]
    weights = np.where(labels == 1, 1.0, ONE_IN)
    # One thread per model: several models at a time use the cores better than several threads of one model.
    matrix = xgboost.QuantileDMatrix(rows, labels, weight=weights, max_bin=TREES["max_bin"], nthread=1)
    settings = {"objective": "binary:logistic", "nthread": 1, "seed": 7, **TREES}
    booster = xgboost.train(settings, matrix, ROUNDS)
    margins = booster.inplace_predict(table.values[np.ix_(fold.test, columns)], predict_type="margin")
    return average_precision(table.labels[fold.test], margins)


def _study(description: str, datasets: Sequence[pl.DataFrame], before: date | None, count: int) -> dict[str, Any]:
    """Return the average precision with all features, and what is lost without each feature or group.

    Args:
        description: heading of the data's table.
        datasets: of schema DATASET, with equal days; the test weeks of all of them count.
        before: the day after the last test week.
        count: test weeks of each data set.
    """
    weeks = _test_weeks(datasets[0], before, count)
    tables = [_table(dataset, weeks) for dataset in datasets]
    columns = _columns_with_values(tables)
    with ThreadPoolExecutor(2) as pool:
        complete = _average_precisions(tables, columns, pool)
        print(f"{description}: all features {complete.mean():.4f}", file=sys.stderr, flush=True)

        def losses(left_out: Mapping[str, Sequence[int]]) -> dict[str, list[float]]:
            """Return the average precision lost in each test week, by the name of what is left out."""
            result = {}
            for name, without in left_out.items():
                lost = complete - _average_precisions(tables, np.setdiff1d(columns, without), pool)
                print(f"{description}: without {name} {-lost.mean():+.4f}", file=sys.stderr, flush=True)
                result[name] = lost.round(4).tolist()
            return result

        lost_without = losses({d.NAMES[column]: [column] for column in columns.tolist()})
        lost_without_all_of = losses(_groups(columns))
    return {
        "data": description,
        "rows": sum(dataset.height for dataset in datasets),
        "frauds": int(sum(table.labels.sum() for table in tables)),
        "weeks": [week.isoformat() for week in weeks],
        "average_precision": complete.round(4).tolist(),
        "lost_without": lost_without,
        "lost_without_all_of": lost_without_all_of,
    }


def _columns_with_values(tables: Sequence[Table]) -> Ints:
    """Return the indices of the features that are not null everywhere; data may lack optional columns."""
    has_values = np.any([~np.isnan(table.values).all(axis=0) for table in tables], axis=0)
    return np.flatnonzero(has_values)


def _groups(columns: Ints) -> dict[str, list[int]]:
    """Return the columns of each group, by the group's name; groups of fewer than two columns are left out."""
    groups = {}
    for name, kinds in GROUPS.items():
        members = [column for column in columns.tolist() if isinstance(d.FEATURES[column].aggregate, kinds)]
        if len(members) > 1:
            groups[name] = members
    return groups


def _study_simulated() -> dict[str, Any]:
    datasets = []
    for seed in SEEDS:
        with TemporaryDirectory() as folder:
            simulate(Path(folder), seed=seed, **SIMULATED)  # type: ignore[arg-type]
            datasets.append(_read(Path(folder)))
    settings = f"{SIMULATED['days']} days, {SIMULATED['customers']:,} customers, {SIMULATED['merchants']:,} merchants"
    description = f"Simulated by `fraudline simulate`: {settings}, seeds {', '.join(map(str, SEEDS))}"
    return _study(description, datasets, None, 2)


if __name__ == "__main__":
    main()
