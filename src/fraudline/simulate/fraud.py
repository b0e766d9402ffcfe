"""What fraudsters do: campaigns of four kinds, each with its own share of all transactions.

A kind is owed its share of each day's expected transactions; when it is owed something, it starts
campaigns until their expected frauds cover that. So the fraud rate holds for any size of population.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from fraudline.simulate.arrays import DAY_SECONDS, Floats, Ints, Rows, to_cents
from fraudline.simulate.population import CATEGORIES, CITY_COUNT, RARE_COUNT, Population

LONGEST = 24  # days that a campaign can last
_DIGITAL = next(position for position, category in enumerate(CATEGORIES) if category.name == "digital")


@dataclass(frozen=True)
class Campaigns:
    """Campaigns of one kind, one element each."""

    target: Ints  # the customer, or the merchant
    city: Ints  # where the thief goes
    left: Ints  # days, today included
    pace: Floats  # frauds per day; at a compromised merchant, the share of its transactions
    expected: Floats  # frauds in all

    @classmethod
    def none(cls) -> Campaigns:
        """No campaign."""
        whole, real = np.empty(0, np.int64), np.empty(0)
        return cls(whole, whole, whole, real, real)

    def take(self, where: NDArray[np.bool_]) -> Campaigns:
        """Return the campaigns where the mask is true."""
        return Campaigns(self.target[where], self.city[where], self.left[where], self.pace[where], self.expected[where])

    def joined(self, other: Campaigns) -> Campaigns:
        """Return these campaigns and then the other ones."""
        return Campaigns(
            np.concatenate([self.target, other.target]),
            np.concatenate([self.city, other.city]),
            np.concatenate([self.left, other.left]),
            np.concatenate([self.pace, other.pace]),
            np.concatenate([self.expected, other.expected]),
        )

    def next_day(self) -> Campaigns:
        """Return those that go on, with a day less to go."""
        return replace(self, left=self.left - 1).take(self.left > 1)


class Kind(NamedTuple):
    """A kind of fraud: how campaigns are planned, and what they add to (or change in) a day's rows."""

    name: str
    share: float  # of all transactions
    plan: Callable[[Population, int, Generator], Campaigns]
    commit: Callable[[Population, Campaigns, Rows, int, Generator], Rows]


@dataclass(frozen=True)
class Underworld:
    """The state that fraud carries from day to day: by kind, what it is owed and what is running."""

    owed: tuple[float, ...]
    running: tuple[Campaigns, ...]

    @classmethod
    def quiet(cls) -> Underworld:
        """Nothing is running."""
        return cls((0.0,) * len(KINDS), (Campaigns.none(),) * len(KINDS))

    def next_day(self, population: Population, rng: Generator) -> Underworld:
        """End what has run its time, and start what is owed."""
        owed, running = [], []
        for kind, before, old in zip(KINDS, self.owed, self.running, strict=True):
            due = before + kind.share * float(population.customers.rate.sum())
            new = _start(kind, population, due, rng)
            owed.append(due - float(new.expected.sum()))
            running.append(old.next_day().joined(new))
        return Underworld(tuple(owed), tuple(running))

    def strike(self, population: Population, rows: Rows, rng: Generator) -> Rows:
        """Return the day's rows with its frauds."""
        for code, (kind, campaigns) in enumerate(zip(KINDS, self.running, strict=True), start=1):
            rows = kind.commit(population, campaigns, rows, code, rng)
        return rows


def _start(kind: Kind, population: Population, due: float, rng: Generator) -> Campaigns:
    """Return as many new campaigns as it takes for their expected frauds to cover what is due."""
    if due <= 0:
        return Campaigns.none()
    offered = kind.plan(population, 1 + int(due), rng)
    covered = np.cumsum(offered.expected) - offered.expected
    return offered.take(covered < due)


def _of_customers(population: Population, left: Ints, pace: Floats, city: Ints, rng: Generator) -> Campaigns:
    target = rng.integers(0, len(population.customers.rate), len(left))
    return Campaigns(target, city, left, pace, expected=left * pace)


def _plan_stolen_card(population: Population, count: int, rng: Generator) -> Campaigns:
    city = rng.integers(0, CITY_COUNT, count)
    return _of_customers(population, rng.integers(1, 3, count), rng.uniform(3, 9, count), city, rng)


def _commit_stolen_card(population: Population, campaigns: Campaigns, rows: Rows, code: int, rng: Generator) -> Rows:
    """Spend as much as will pass within hours, where goods can be sold on, most often far from home."""
    each = np.repeat(np.arange(len(campaigns.target)), 1 + rng.poisson(campaigns.pace - 1))
    customer = campaigns.target[each]
    home = population.customers.homes.city[campaigns.target]
    city = np.where(rng.random(len(home)) < 0.35, home, campaigns.city)[each]
    span = rng.uniform(1, 6, len(home)) * 3_600
    cents = population.customers.typical[customer] * rng.lognormal(np.log(3.0), 0.7, len(each))
    return rows.joined(
        Rows(
            customer,
            merchant=population.resale.draw(city, rng),
            cents=to_cents(cents),
            second=_within(span, each, rng),
            kind=np.full(len(each), code),
        )
    )


def _plan_compromised_merchant(population: Population, count: int, rng: Generator) -> Campaigns:
    """Choose among merchants in the upper half by volume, but for the few that everybody goes to."""
    low, high = np.quantile(population.volume, [0.5, 0.95])
    target = rng.choice(np.flatnonzero((population.volume >= low) & (population.volume <= high)), count)
    left, share = rng.integers(12, LONGEST + 1, count), rng.uniform(0.3, 0.8, count)
    expected = left * share * population.volume[target]
    return Campaigns(target, population.merchants.places.city[target], left, share, expected)


def _commit_compromised_merchant(
    population: Population, campaigns: Campaigns, rows: Rows, code: int, rng: Generator
) -> Rows:
    """Turn a share of the merchant's transactions into fraud, some of them for more than was due."""
    share = np.zeros(len(population.volume))
    share[campaigns.target] = campaigns.pace
    hit = rng.random(len(rows)) < share[rows.merchant]
    more = to_cents(rows.cents * rng.uniform(1.0, 2.2, len(rows)))
    return replace(rows, cents=np.where(hit, more, rows.cents), kind=np.where(hit, code, rows.kind))


def _plan_account_takeover(population: Population, count: int, rng: Generator) -> Campaigns:
    left, pace = rng.integers(9, 21, count), rng.uniform(0.6, 1.8, count)
    return _of_customers(population, left, pace, rng.integers(0, CITY_COUNT, count), rng)


def _commit_account_takeover(
    population: Population, campaigns: Campaigns, rows: Rows, code: int, rng: Generator
) -> Rows:
    """Buy, at any hour, what this customer hardly ever buys, at three to six times the customer's usual."""
    each = np.repeat(np.arange(len(campaigns.target)), rng.poisson(campaigns.pace))
    count, customer = len(each), campaigns.target[each]
    category = population.customers.rare[customer, rng.integers(0, RARE_COUNT, count)]
    return rows.joined(
        Rows(
            customer,
            merchant=population.anywhere.draw(category, rng),
            cents=to_cents(population.customers.typical[customer] * rng.uniform(3, 6, count)),
            second=rng.integers(0, DAY_SECONDS, count),
            kind=np.full(count, code),
        )
    )


def _plan_card_testing(population: Population, count: int, rng: Generator) -> Campaigns:
    left, pace = np.ones(count, np.int64), rng.integers(5, 14, count).astype(np.float64)
    return _of_customers(population, left, pace, rng.integers(0, CITY_COUNT, count), rng)


def _commit_card_testing(population: Population, campaigns: Campaigns, rows: Rows, code: int, rng: Generator) -> Rows:
    """Try the card with tiny amounts within minutes, and then, within two hours, with a large one."""
    count = len(campaigns.target)
    each = np.repeat(np.arange(count), campaigns.pace.astype(np.int64) - 1)
    begin, last = rng.integers(0, DAY_SECONDS - 9_000, count), rng.integers(1_200, 9_000, count)
    shop = population.anywhere.draw(np.full(count, _DIGITAL), rng)
    tiny = Rows(
        customer=campaigns.target[each],
        merchant=shop[each],
        cents=rng.integers(50, 400, len(each)),
        second=begin[each] + rng.integers(0, 900, len(each)),
        kind=np.full(len(each), code),
    )
    large = Rows(
        customer=campaigns.target,
        merchant=population.resale.draw(campaigns.city, rng),
        cents=to_cents(population.customers.typical[campaigns.target] * rng.uniform(4, 12, count)),
        second=begin + last,
        kind=np.full(count, code),
    )
    return rows.joined(tiny).joined(large)


def _within(span: Floats, each: Ints, rng: Generator) -> Ints:
    """Return seconds of the day; those of one campaign lie within its span, which is in seconds."""
    begin = rng.random(len(span)) * (DAY_SECONDS - span)
    return (begin[each] + span[each] * rng.random(len(each))).astype(np.int64)


# The first changes rows, so it comes before those that add some.
KINDS = (
    Kind("compromised_merchant", 0.0029, _plan_compromised_merchant, _commit_compromised_merchant),
    Kind("stolen_card", 0.0027, _plan_stolen_card, _commit_stolen_card),
    Kind("account_takeover", 0.0024, _plan_account_takeover, _commit_account_takeover),
    Kind("card_testing", 0.0020, _plan_card_testing, _commit_card_testing),
)
