"""Parse source values into canonical ones: identifiers, exact cents, numbers, instants.

Text that can't be parsed becomes null; a rule then rejects its row.
"""

from __future__ import annotations

import polars as pl

_INTEGERS = pl.datatypes.group.INTEGER_DTYPES
NUMBERS = (pl.Float64, pl.Float32, pl.Decimal, *_INTEGERS)
IDENTIFIERS = (pl.String, pl.Categorical, pl.Enum, *_INTEGERS)

# A single format can parse all timestamps only if each has a zone, so Z is added to those without one.
_ISO = "%Y-%m-%dT%H:%M:%S%.f%#z"
_ZONE = r"([Zz]|[+-]\d\d(:?\d\d)?)$"


def cents(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return amounts as whole cents, rounded half to even.

    Text and decimals never become floating point. A float is the double nearest to the decimal amount that was
    written, so rounding its product with 100 is exact up to 10^13.

    Args:
        column: amounts in the currency's unit.
        dtype: the column's type.
    """
    if isinstance(dtype, pl.String | pl.Decimal):
        text = column.str.strip_chars() if isinstance(dtype, pl.String) else column
        # The physical value of a decimal with two digits is its number of cents.
        return text.cast(pl.Decimal(38, 2), strict=False).to_physical().cast(pl.Int64, strict=False)
    if dtype.is_integer():
        return column.cast(pl.Int64, strict=False) * 100
    return (column.cast(pl.Float64) * 100).round().cast(pl.Int64, strict=False)


def number(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return numbers as Float64."""
    text = column.str.strip_chars() if isinstance(dtype, pl.String) else column
    return text.cast(pl.Float64, strict=False)


def instant(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return timestamps (of any time unit, or ISO 8601 text) in UTC and microseconds; those without a zone are UTC."""
    if isinstance(dtype, pl.Datetime):
        utc = column.dt.convert_time_zone("UTC") if dtype.time_zone else column.dt.replace_time_zone("UTC")
        return utc.dt.cast_time_unit("us")
    text = column.str.strip_chars().str.replace(" ", "T", literal=True)
    zoned = pl.when(text.str.contains(_ZONE)).then(text).otherwise(text + "Z")
    return zoned.str.strptime(pl.Datetime("us", "UTC"), _ISO, strict=False)


def flag(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return flags as Int64: whole numbers, booleans, or either as text (0, 1.0, true)."""
    if not isinstance(dtype, pl.String):
        return column.cast(pl.Int64)
    text = column.str.strip_chars().str.to_lowercase().str.replace(r"\.0*$", "")
    return text.replace({"true": "1", "false": "0"}).cast(pl.Int64, strict=False)
