"""Parse values that users write as text.

Each function returns a value or raises ValueError that says what it expected; the caller adds what came.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TypeVar

T = TypeVar("T")


def day(text: str) -> date:
    """Parse a date."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("expected a date such as 2026-02-01") from None


def instant(text: str) -> datetime:
    """Parse a time; one without a zone is UTC."""
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def boolean(text: str) -> bool:
    """Parse true or false."""
    values = {"true": True, "false": False}
    if text.lower() not in values:
        raise ValueError("expected true or false")
    return values[text.lower()]


def pair(text: str, expected: str = "NAME=VALUE") -> tuple[str, str]:
    """Parse a name and a value, split at the first equals sign; ``expected`` is the form that errors show."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ValueError(f"expected {expected}")
    return name, value


def setting(text: str) -> tuple[str, str]:
    """Parse PARAMETER=VALUE; the name may have hyphens or underscores, and the value may be empty."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError("expected PARAMETER=VALUE")
    return name.replace("-", "_"), value


def column(text: str) -> tuple[str, str]:
    """Parse the mapping of a canonical column to a source column."""
    return pair(text, "CANONICAL=SOURCE, such as merchant=TERMINAL_ID")


def number(kind: type[int] | type[float], low: float, high: float = float("inf")) -> Callable[[str], float]:
    """Return a parser of numbers from ``low`` to ``high``, both included."""

    def parse(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise ValueError(f"expected a number from {low} to {high}")
        return value

    return parse


def fraction(text: str) -> float:
    """Parse a share above 0, up to 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise ValueError("expected a number above 0, up to 1")
    return value


def argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return a parser whose errors argparse shows: what was expected, and what came."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{error}, got '{text}'") from error

    return parsed


def add_settings(parser: argparse.ArgumentParser, description: str) -> None:
    """Add the repeatable option ``--set``, whose pairs of name and value become ``settings``."""
    parser.add_argument(
        "--set",
        dest="settings",
        type=argument(setting),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=description,
    )
