"""What each feature brings: average precision without it, by walk-forward over weeks of some data and of made-up ones.

    python -m benchmarks.ablation --data FOLDER [--before DATE] [--write docs/ablation.json]

Each test week has a model of its own, trained on all that was known the day it begins. The same is done without each
feature, and without each group. Prints Markdown, progress to stderr; ``make docs`` shows what ``--write`` wrote.
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
LATEST_LABEL = timedelta(days=60)  # after the last transaction
EVERY = 14  # days from one test week to the next
ONE_IN = 4  # of the genuine rows a model learns one in so many, each weighing as many; and of the frauds all
DRAWS = 2  # such draws, whose results are averaged
FOREST: dict[str, Any] = {
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
    "places": (d.DistanceFromHome, d.DistanceFromPrevious, d.SpeedFromPrevious),
}

Ints = NDArray[np.int64]
Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class Fold:
    """A test week and what was known before it: rows by number."""

    train: Ints
    test: Ints


@dataclass(frozen=True)
class Table:
    """Rows x features with their labels (0 where none is known), and the folds over them, draws of a week together."""

    values: Floats32
    labels: NDArray[np.int8]
    weeks: list[list[Fold]]


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with raw/ and labeled/")
    parser.add_argument("--says", default="own data", help="what the data are, for the page [own data]")
    parser.add_argument("--before", type=date.fromisoformat, help="the last test week ends here [as late as labels go]")
    parser.add_argument("--weeks", type=int, default=4, help="test weeks, two weeks apart [4]")
    parser.add_argument("--write", type=Path, help="file for the result")
    options = parser.parse_args()
    measured = [_study(options.says, [_read(options.data)], options.before, options.weeks), _simulated()]
    sampling = {"label_delay_days": DELAY, "warmup_days": WARMUP, "genuine_one_in": ONE_IN, "draws": DRAWS}
    settings = {**sampling, "trees": ROUNDS, **FOREST}
    result = {"contract": contract(), "settings": settings, "studies": measured}
    print(ablation_page(result))
    if options.write:
        options.write.write_text(json.dumps(result, indent=1) + "\n")


def _read(data: Path) -> pl.DataFrame:
    """All of a folder's transactions and labels (schema DATASET); each label is used from its known_day on."""
    days = sorted(date.fromisoformat(path.name) for path in (data / "raw").glob("????-??-??"))
    as_of = days[-1] + LATEST_LABEL
    texts = {"as_of": str(as_of), "months": str((as_of - days[0]).days // 28 + 1), "label_delay_days": str(DELAY)}
    stage = STAGES["data-extraction"]
    with TemporaryDirectory() as scratch:
        outputs = {channel.name: f"{scratch}/{channel.name}" for channel in stage.writes}
        with Channels(stage, {"raw": str(data / "raw"), "labels": str(data / "labeled")}, outputs) as channels:
            channels.commit(call(stage, channels, parse(stage, texts)))
        return pl.read_parquet(f"{outputs['dataset']}/**/*.parquet").sort("timestamp", "transaction_id")


def _features(dataset: pl.DataFrame) -> Floats32:
    """Rows x features, each as of its own day: float32, NaN where null."""
    known = entity_history(dataset.lazy())
    last = dataset.get_column("timestamp").max().date()  # type: ignore[union-attr]
    computed = compute(dataset, pl.DataFrame(schema=EVENTS), known.entity_days(DELAY, known.first_day(), last))
    return np.column_stack([computed.get_column(name).to_numpy().astype(np.float32) for name in d.NAMES])


def _table(dataset: pl.DataFrame, weeks: Sequence[date]) -> Table:
    """Features, labels, and the folds of test weeks by their first days."""
    day = dataset.get_column("timestamp").dt.epoch("d").to_numpy()
    labels = dataset.get_column("is_fraud").fill_null(0).to_numpy()
    known = dataset.get_column("known_day").fill_null(np.iinfo(np.int32).max).to_numpy()
    draw = np.random.default_rng(7).integers(0, ONE_IN, len(day))
    folds = []
    for week in map(day_number, weeks):
        test = np.flatnonzero((day >= week) & (day < week + WEEK))
        before = (day >= day.min() + WARMUP) & (day < week) & (known < week)
        drawn = [np.flatnonzero(before & ((labels == 1) | (draw == sample))) for sample in range(DRAWS)]
        folds.append([Fold(train, test) for train in drawn])
    return Table(_features(dataset), labels, folds)


def _test_weeks(dataset: pl.DataFrame, before: date | None, count: int) -> list[date]:
    """First days of the test weeks, the earliest first; the last ends at ``before``, or where labels are still due."""
    last = dataset.get_column("timestamp").max()
    end = before or from_day_number(day_number(last.date()) + 1 - 4 * WEEK)  # type: ignore[union-attr]
    return [end - timedelta(days=WEEK + EVERY * back) for back in reversed(range(count))]


def _average_precisions(tables: Sequence[Table], columns: Ints, pool: ThreadPoolExecutor) -> NDArray[np.float64]:
    """With some of the features: of each test week one, the draws' mean."""
    jobs = [[pool.submit(_fit, one, fold, columns) for fold in week] for one in tables for week in one.weeks]
    return np.array([np.mean([job.result() for job in week]) for week in jobs])


def _fit(one: Table, fold: Fold, columns: Ints) -> float:
    labels = one.labels[fold.train]
    rows = one.values[np.ix_(fold.train, columns)]
    weights = np.where(labels == 1, 1.0, ONE_IN)
    # One thread each: models side by side wait for each other less than threads of one model do.
    learned = xgboost.QuantileDMatrix(rows, labels, weight=weights, max_bin=FOREST["max_bin"], nthread=1)
    settings = {"objective": "binary:logistic", "nthread": 1, "seed": 7, **FOREST}
    booster = xgboost.train(settings, learned, ROUNDS)
    margins = booster.inplace_predict(one.values[np.ix_(fold.test, columns)], predict_type="margin")
    return average_precision(one.labels[fold.test], margins)


def _study(says: str, datasets: Sequence[pl.DataFrame], before: date | None, count: int) -> dict[str, Any]:
    """Average precision with all features, and by test week what is lost without each feature or group."""
    weeks = _test_weeks(datasets[0], before, count)
    tables = [_table(dataset, weeks) for dataset in datasets]
    there = np.flatnonzero([not all(np.isnan(one.values[:, n]).all() for one in tables) for n in range(len(d.NAMES))])
    with ThreadPoolExecutor(2) as pool:
        whole = _average_precisions(tables, there, pool)
        print(f"{says}: all features {whole.mean():.4f}", file=sys.stderr, flush=True)

        def lost(left_out: Mapping[str, Sequence[int]]) -> dict[str, list[float]]:
            """By what is left out: the average precision lost in each test week."""
            losses = {}
            for name, columns in left_out.items():
                loss = whole - _average_precisions(tables, np.setdiff1d(there, columns), pool)
                print(f"{says}: without {name} {-loss.mean():+.4f}", file=sys.stderr, flush=True)
                losses[name] = loss.round(4).tolist()
            return losses

        alone, together = lost({d.NAMES[number]: [number] for number in there.tolist()}), lost(_groups(there))
    return {
        "data": says,
        "rows": sum(dataset.height for dataset in datasets),
        "frauds": int(sum(one.labels.sum() for one in tables)),
        "weeks": [week.isoformat() for week in weeks],
        "average_precision": whole.round(4).tolist(),
        "lost_without": alone,
        "lost_without_all_of": together,
    }


def _groups(there: Ints) -> dict[str, list[int]]:
    """The groups of which there are several features, by their names."""
    groups = {
        name: [n for n in there.tolist() if isinstance(d.FEATURES[n].aggregate, kinds)]
        for name, kinds in GROUPS.items()
    }
    return {name: numbers for name, numbers in groups.items() if len(numbers) > 1}


def _simulated() -> dict[str, Any]:
    datasets = []
    for seed in SEEDS:
        with TemporaryDirectory() as folder:
            simulate(Path(folder), seed=seed, **SIMULATED)  # type: ignore[arg-type]
            datasets.append(_read(Path(folder)))
    settings = f"{SIMULATED['days']} days, {SIMULATED['customers']:,} customers, {SIMULATED['merchants']:,} merchants"
    return _study(f"Made up by `fraudline simulate`: {settings}, seeds {', '.join(map(str, SEEDS))}", datasets, None, 2)


if __name__ == "__main__":
    main()
