"""Amounts are exact and instants are in UTC, whatever the source format."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudline.etl import values

ALL_CENTS = pl.int_range(0, 10_000_001, dtype=pl.Int64, eager=True)
WRITTEN = {
    "float64": ALL_CENTS / 100,
    "float32": (ALL_CENTS / 100).cast(pl.Float32),
    "decimal": (ALL_CENTS.cast(pl.Decimal(20, 2)) / 100).cast(pl.Decimal(20, 2)),
    "decimal of another scale": (ALL_CENTS.cast(pl.Decimal(20, 4)) / 100).cast(pl.Decimal(20, 4)),
    "text": (ALL_CENTS // 100).cast(pl.String) + "." + (ALL_CENTS % 100).cast(pl.String).str.zfill(2),
    "text of a float": (ALL_CENTS / 100).cast(pl.String),
}


def _cents(written: pl.Series) -> pl.Series:
    return pl.select(values.cents(pl.lit(written), written.dtype)).to_series()


@pytest.mark.parametrize("kind", WRITTEN)
def test_every_allowed_amount_is_exact_to_the_cent(kind: str):
    """All ten million amounts are tested, because a sum of money that is almost right is wrong."""
    assert _cents(WRITTEN[kind]).equals(ALL_CENTS)


def test_whole_numbers_are_whole_units_of_currency():
    for dtype in (pl.Int64, pl.UInt8, pl.Int32):
        assert _cents(pl.Series([0, 7, 100], dtype=dtype)).to_list() == [0, 700, 10_000]


@given(st.decimals("0", "100000", places=5))
def test_fractions_of_a_cent_round_half_to_even(amount: Decimal):
    """Banker's rounding, as in Python's decimal module, so that totals do not drift."""
    expected = int((amount * 100).quantize(Decimal(1), ROUND_HALF_EVEN))
    assert _cents(pl.Series([format(amount, "f")])).to_list() == [expected]
    assert _cents(pl.Series([amount], dtype=pl.Decimal(20, 5))).to_list() == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [(" 7.5 ", 750), ("+3", 300), ("1e3", 100_000), ("0.285", 28), ("0.295", 30), ("-0.01", -1)]
    + [(text, None) for text in ("", "abc", "1,5", "nan", "inf", "0x10", "1_0", "9" * 45)],
)
def test_text_is_a_number_or_null(text: str, expected: int | None):
    assert _cents(pl.Series([text])).to_list() == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-10T12:30:05Z",
        "2026-01-10 12:30:05",
        "2026-01-10T12:30:05.000+00:00",
        "2026-01-10T14:30:05+02:00",
        "2026-01-10 14:30:05+02",
        " 2026-01-10T07:30:05-0500",
        "2026-01-11T00:00:05.0000001+1130",
    ],
)
def test_iso_8601_is_converted_to_utc(text: str):
    written = pl.Series([text])
    read = pl.select(values.instant(pl.lit(written), written.dtype)).to_series()
    assert read.to_list() == [datetime(2026, 1, 10, 12, 30, 5, tzinfo=UTC)]


@pytest.mark.parametrize("text", ["", "2026-01-10", "10.01.2026 12:30", "1768048205", "2026-13-10T12:30:05Z", "noon"])
def test_text_that_is_not_an_instant_is_null(text: str):
    written = pl.Series([text])
    assert pl.select(values.instant(pl.lit(written), written.dtype)).to_series().to_list() == [None]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_timestamps_of_any_unit_and_zone_become_utc(unit: str, zone: str | None):
    instant = datetime(2026, 1, 10, 12, 30, 5, tzinfo=UTC)
    written = pl.Series([instant]).dt.cast_time_unit(unit)  # type: ignore[arg-type]
    written = written.dt.convert_time_zone(zone) if zone else written.dt.replace_time_zone(None)
    read = pl.select(values.instant(pl.lit(written), written.dtype)).to_series()
    assert read.dtype == pl.Datetime("us", "UTC")
    assert read.to_list() == [instant]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("1", 1), ("1.0", 1), ("True", 1), ("false", 0), ("2", 2), ("0.5", None), ("", None)],
)
def test_text_flags_are_parsed(text: str, expected: int | None):
    written = pl.Series([text])
    assert pl.select(values.flag(pl.lit(written), written.dtype)).to_series().to_list() == [expected]
