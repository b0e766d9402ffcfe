"""Simulated transactions: their layout, bytes and rates, on which other tests and benchmarks rely."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraudline.catalog.errors import InputError
from fraudline.simulate import FRAUD_KINDS, Simulation, simulate

START, DAYS = date(2025, 2, 20), 60  # includes the end of February
SMALL = {"customers": 300, "merchants": 150}

INSTANT = pl.Datetime("us", "UTC")
TRANSACTIONS = {
    "transaction_id": pl.String,
    "customer_id": pl.String,
    "merchant": pl.String,
    "amount": pl.Float64,
    "timestamp": INSTANT,
    "merchant_category": pl.String,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "customer_latitude": pl.Float64,
    "customer_longitude": pl.Float64,
}
LABELS = {"transaction_id": pl.String, "is_fraud": pl.Int8, "labeled_at": INSTANT}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("simulated") / "input"


@pytest.fixture(scope="module")
def simulation(folder) -> Simulation:
    return simulate(folder, start=START, days=DAYS, **SMALL)


@pytest.fixture(scope="module")
def transactions(simulation, folder) -> pl.DataFrame:
    days = [START + timedelta(days=number) for number in range(DAYS)]
    tables = [pl.read_parquet(raw_file(folder, day)).with_columns(partition=day) for day in days]
    return pl.concat(tables)


@pytest.fixture(scope="module")
def labels(simulation, folder) -> pl.DataFrame:
    return pl.read_parquet(folder / "labeled" / "fraud_labels.parquet")


@pytest.fixture(scope="module")
def labeled(transactions, labels) -> pl.DataFrame:
    return transactions.join(labels, on="transaction_id", validate="1:1", maintain_order="left")


def raw_file(folder: Path, day: date) -> Path:
    return folder / "raw" / day.isoformat() / "transactions.parquet"


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_folder_holds_one_file_per_day_and_the_labels(simulation, folder):
    """Anything else, such as the kind of fraud, might be read as input by mistake."""
    days = {f"raw/{START + timedelta(days=number)}/transactions.parquet" for number in range(DAYS)}
    assert set(read_files(folder)) == days | {"labeled/fraud_labels.parquet"}
    assert not [path for path in folder.iterdir() if path.name not in ("raw", "labeled")]


def test_columns_are_those_of_the_pipelines_input(transactions, labels):
    assert transactions.drop("partition").schema == TRANSACTIONS
    assert labels.schema == LABELS
    assert sum(transactions.null_count().row(0)) + sum(labels.null_count().row(0)) == 0


def test_counts_match_the_files(simulation, transactions, labels):
    assert simulation.days == DAYS
    assert simulation.transactions == transactions.height == labels.height
    assert sum(simulation.frauds.values()) == labels["is_fraud"].sum()
    assert simulation.fraud_rate == pytest.approx(labels["is_fraud"].mean())


def test_equal_arguments_give_equal_bytes(tmp_path):
    """Golden files and benchmarks must stay comparable."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert simulate(first, start=START, days=12, **SMALL) == simulate(second, start=START, days=12, **SMALL)
    assert read_files(first) == read_files(second)


def test_another_seed_gives_another_population(tmp_path):
    for seed in (1, 2):
        simulate(tmp_path / str(seed), start=START, days=1, seed=seed, **SMALL)
    first, second = (pl.read_parquet(raw_file(tmp_path / str(seed), START)) for seed in (1, 2))
    assert not first["customer_latitude"].is_in(second["customer_latitude"].implode()).all()


@pytest.mark.parametrize("days", [1, 25])
def test_longer_run_begins_with_the_shorter_one(days, tmp_path, folder, simulation, labels):
    """A demonstration can then continue for another day with the same history."""
    shorter = simulate(tmp_path, start=START, days=days, **SMALL)
    for number in range(days):
        day = START + timedelta(days=number)
        assert raw_file(tmp_path, day).read_bytes() == raw_file(folder, day).read_bytes()
    shorter_labels = pl.read_parquet(tmp_path / "labeled" / "fraud_labels.parquet")
    assert_frame_equal(shorter_labels, labels.head(shorter.transactions))


def test_ids_are_unique_and_sorted_by_time(transactions, labels):
    """Unique across the whole run, because labels are joined by id."""
    assert transactions["transaction_id"].is_unique().all()
    assert transactions["transaction_id"].is_sorted()
    assert transactions["timestamp"].is_sorted()
    assert labels["transaction_id"].equals(transactions["transaction_id"])


def test_timestamps_are_whole_seconds_of_their_folders_day(transactions):
    """The pipeline rejects a row in another day's folder."""
    assert (transactions["timestamp"].dt.date() == transactions["partition"]).all()
    assert (transactions["timestamp"].dt.truncate("1s") == transactions["timestamp"]).all()


def test_amounts_are_positive_and_exact_cents(transactions):
    """The pipeline converts amounts to integer cents, and no cent may be lost."""
    amounts = transactions["amount"].to_list()
    assert min(amounts) >= 0.01
    assert all(round(amount, 2) == amount for amount in amounts)


def test_cash_amounts_are_multiples_of_ten_for_frauds_too(labeled):
    """Otherwise, odd cents would give a fraud away."""
    cash = labeled.filter(pl.col("merchant_category") == "cash")
    assert cash["is_fraud"].sum() > 0
    assert (cash["amount"] % 10 == 0).all()


def test_customers_and_merchants_never_move(transactions):
    homes = transactions.group_by("customer_id").agg(pl.struct("customer_latitude", "customer_longitude").n_unique())
    merchants = transactions.group_by("merchant").agg(
        pl.struct("latitude", "longitude", "merchant_category").n_unique()
    )
    assert set(homes["customer_latitude"]) == {1}
    assert set(merchants["latitude"]) == {1}


def test_every_kind_of_fraud_occurs(simulation):
    assert tuple(simulation.frauds) == FRAUD_KINDS
    assert set(FRAUD_KINDS) == {"stolen_card", "compromised_merchant", "account_takeover", "card_testing"}
    assert min(simulation.frauds.values()) >= 20


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_percent_is_fraud_from_the_first_week_on(seed, tmp_path):
    """Campaigns are running on the first day; otherwise, a model would learn that fraud is recent."""
    whole = simulate(tmp_path / "whole", start=START, days=60, customers=600, merchants=300, seed=seed)
    week = simulate(tmp_path / "week", start=START, days=7, customers=3000, merchants=1000, seed=seed)
    assert 0.008 <= whole.fraud_rate <= 0.012
    assert 0.006 <= week.fraud_rate <= 0.014


def test_labels_become_known_after_their_transactions(labeled):
    """Reports take hours to weeks; other transactions count as genuine after 7 days, the default label delay."""
    delay = labeled.select("is_fraud", delay=pl.col("labeled_at") - pl.col("timestamp"))
    genuine = delay.filter(is_fraud=0)["delay"]
    fraud = delay.filter(is_fraud=1)["delay"]
    assert set(genuine.unique()) == {timedelta(days=7)}
    assert timedelta(hours=2) <= fraud.min() < fraud.max() <= timedelta(days=25)
    assert timedelta(days=2.5) <= fraud.median() <= timedelta(days=3.5)


def test_no_amount_gives_fraud_away(labeled):
    """If a threshold on the amount caught half of the frauds, a model would have little to learn."""
    by_size = labeled.sort("amount", descending=True)
    frauds = by_size["is_fraud"].cum_sum()
    half = (frauds < frauds[-1] / 2).sum()
    assert frauds[half] / (half + 1) < 0.05


def test_customers_mostly_sleep_at_night(labeled):
    hour = labeled.filter(is_fraud=0)["timestamp"].dt.hour()
    assert 0.005 < (hour < 6).mean() < 0.06
    assert ((hour >= 11) & (hour < 18)).mean() > 0.5


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"days": 0}, "days must be at least 1, got 0"),
        ({"customers": 0}, "customers must be at least 1, got 0"),
        ({"merchants": 5}, "merchants must be at least 28, got 5"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_invalid_argument_is_named_and_nothing_written(wrong, text, tmp_path):
    with pytest.raises(InputError, match=text):
        simulate(tmp_path / "new", **{"start": START, "days": 1, **wrong})
    assert not (tmp_path / "new").exists()


def test_existing_data_is_never_mixed_with_new(folder, simulation):
    """Ids would collide, and a label would belong to two transactions."""
    original = read_files(folder)
    with pytest.raises(InputError, match="already holds 'raw'"):
        simulate(folder, start=START, days=1, **SMALL)
    assert read_files(folder) == original


def test_smallest_population_works(tmp_path):
    """A day without transactions is a table without rows, not a missing file."""
    simulation = simulate(tmp_path, start=START, days=20, customers=1, merchants=28)
    files = sorted(tmp_path.glob("raw/*/*.parquet"))
    heights = [pl.read_parquet(file).height for file in files]
    assert len(files) == 20
    assert min(heights) == 0
    assert sum(heights) == simulation.transactions
    assert all(pl.read_parquet_schema(file) == TRANSACTIONS for file in files)


def peak_memory(folder: Path, days: int) -> int:
    """Return the peak memory of a process that simulates so many days, in MB."""
    script = (
        "import resource, sys; from pathlib import Path; from datetime import date\n"
        "from fraudline.simulate import simulate\n"
        f"simulate(Path(sys.argv[1]), start=date(2026, 1, 1), days={days}, customers=6000, merchants=500, seed=1)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    return int(subprocess.run([sys.executable, "-c", script, folder], check=True, capture_output=True).stdout)


def test_memory_does_not_grow_with_the_days(tmp_path: Path):
    """Each day is written before the next is simulated, so memory does not limit the number of days."""
    assert peak_memory(tmp_path / "long", 80) < 1.3 * peak_memory(tmp_path / "short", 10)
