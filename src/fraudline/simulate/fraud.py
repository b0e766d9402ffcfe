"""Simulate fraud: campaigns of four kinds, each with a fixed share of all transactions.

Every day, a kind's target grows by its share of the day's expected transactions. While the target exceeds the
expected frauds of its campaigns so far, new campaigns start, so populations of any size have the same fraud rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from fraudline.catalog.days import DAY, HOUR
from fraudline.simulate.arrays import Floats, Ints, Rows, to_cents
from fraudline.simulate.population import CATEGORIES, CITY_COUNT, RARE_COUNT, Population

MAX_CAMPAIGN_DAYS = 24
_DIGITAL = [category.name for category in CATEGORIES].index("digital")


@dataclass(frozen=True)
class Campaigns:
    """Campaigns of one kind, one element per campaign.

    Attributes:
        target: index of the customer, or of the merchant.
        city: where the thief uses the card.
        days_left: remaining days, today included.
        pace: frauds per day; at a compromised merchant, the share of its transactions.
        expected: expected number of frauds in total.
    """

    target: Ints
    city: Ints
    days_left: Ints
    pace: Floats
    expected: Floats

    @classmethod
    def none(cls) -> Campaigns:
        """Return an empty set of campaigns."""
        ints, floats = np.empty(0, np.int64), np.empty(0)
        return cls(ints, ints, ints, floats, floats)

    def take(self, mask: NDArray[np.bool_]) -> Campaigns:
        """Return the campaigns where the mask is True."""
        return Campaigns(*(column[mask] for column in self._columns()))

    def concat(self, other: Campaigns) -> Campaigns:
        """Return these campaigns followed by the other ones."""
        pairs = zip(self._columns(), other._columns(), strict=True)
        return Campaigns(*(np.concatenate(pair) for pair in pairs))

    def next_day(self) -> Campaigns:
        """Return the campaigns that continue, with one day fewer."""
        return replace(self, days_left=self.days_left - 1).take(self.days_left > 1)

    def _columns(self) -> tuple[NDArray[Any], ...]:
        return self.target, self.city, self.days_left, self.pace, self.expected


class Kind(NamedTuple):
    """A kind of fraud.

    Attributes:
        name: its name in ``Simulation.frauds``.
        share: its share of all transactions.
        plan: draws a number of candidate campaigns.
        commit: adds the campaigns' frauds to a day's rows, or turns rows into frauds.
    """

    name: str
    share: float
    plan: Callable[[Population, int, Generator], Campaigns]
    commit: Callable[[Population, Campaigns, Rows, int, Generator], Rows]


@dataclass(frozen=True)
class FraudState:
    """The state of fraud on one day.

    Attributes:
        missing: for each kind, the expected frauds that no campaign covers yet; negative if campaigns cover more.
        running: for each kind, its running campaigns.
    """

    missing: tuple[float, ...]
    running: tuple[Campaigns, ...]

    @classmethod
    def none(cls) -> FraudState:
        """Return a state without campaigns."""
        return cls((0.0,) * len(KINDS), (Campaigns.none(),) * len(KINDS))

    def next_day(self, population: Population, rng: Generator) -> FraudState:
        """Return the next day's state: some campaigns end, and new ones cover what is missing."""
        missing, running = [], []
        for kind, carried, campaigns in zip(KINDS, self.missing, self.running, strict=True):
            due = carried + kind.share * float(population.customers.rate.sum())
            started = _start(kind, population, due, rng)
            missing.append(due - float(started.expected.sum()))
            running.append(campaigns.next_day().concat(started))
        return FraudState(tuple(missing), tuple(running))

    def add_frauds(self, population: Population, rows: Rows, rng: Generator) -> Rows:
        """Return the day's rows with the frauds of all running campaigns."""
        for code, (kind, campaigns) in enumerate(zip(KINDS, self.running, strict=True), start=1):
            rows = kind.commit(population, campaigns, rows, code, rng)
        return rows


def _start(kind: Kind, population: Population, due: float, rng: Generator) -> Campaigns:
    """Return just enough new campaigns for their expected frauds to cover the number that is due."""
    if due <= 0:
        return Campaigns.none()
    # Nearly every campaign is expected to commit more than one fraud, so this many candidates suffice.
    candidates = kind.plan(population, 1 + int(due), rng)
    covered_before = np.cumsum(candidates.expected) - candidates.expected
    return candidates.take(covered_before < due)


def _target_customers(population: Population, days: Ints, pace: Floats, city: Ints, rng: Generator) -> Campaigns:
    target = rng.integers(0, len(population.customers.rate), len(days))
    return Campaigns(target, city, days, pace, expected=days * pace)


def _plan_stolen_card(population: Population, count: int, rng: Generator) -> Campaigns:
    city = rng.integers(0, CITY_COUNT, count)
    return _target_customers(population, rng.integers(1, 3, count), rng.uniform(3, 9, count), city, rng)


def _commit_stolen_card(population: Population, campaigns: Campaigns, rows: Rows, code: int, rng: Generator) -> Rows:
    """Add a burst of larger purchases within hours where goods can be resold, mostly far from home."""
    campaign = np.repeat(np.arange(len(campaigns.target)), 1 + rng.poisson(campaigns.pace - 1))
    customer = campaigns.target[campaign]
    home = population.customers.homes.city[campaigns.target]
    city = np.where(rng.random(len(home)) < 0.35, home, campaigns.city)[campaign]
    span = rng.uniform(1, 6, len(home)) * HOUR
    cents = population.customers.typical[customer] * rng.lognormal(np.log(3.0), 0.7, len(campaign))
    return rows.concat(
        Rows(
            customer,
            merchant=population.resale.draw(city, rng),
            cents=to_cents(cents),
            second=_draw_times(span, campaign, rng),
            kind=np.full(len(campaign), code),
        )
    )


def _plan_compromised_merchant(population: Population, count: int, rng: Generator) -> Campaigns:
    """Choose merchants of the upper half by volume, except the few that nearly every customer uses."""
    low, high = np.quantile(population.volume, [0.5, 0.95])
    target = rng.choice(np.flatnonzero((population.volume >= low) & (population.volume <= high)), count)
    days, share = rng.integers(12, MAX_CAMPAIGN_DAYS + 1, count), rng.uniform(0.3, 0.8, count)
    expected = days * share * population.volume[target]
    return Campaigns(target, population.merchants.coordinates.city[target], days, share, expected)


def _commit_compromised_merchant(
    population: Population, campaigns: Campaigns, rows: Rows, code: int, rng: Generator
) -> Rows:
    """Turn a share of the merchant's transactions into frauds, with up to 2.2 times their amounts."""
    share = np.zeros(len(population.volume))
    share[campaigns.target] = campaigns.pace
    hit = rng.random(len(rows)) < share[rows.merchant]
    raised = to_cents(rows.cents * rng.uniform(1.0, 2.2, len(rows)))
    return replace(rows, cents=np.where(hit, raised, rows.cents), kind=np.where(hit, code, rows.kind))


def _plan_account_takeover(population: Population, count: int, rng: Generator) -> Campaigns:
    days, pace = rng.integers(9, 21, count), rng.uniform(0.6, 1.8, count)
    return _target_customers(population, days, pace, rng.integers(0, CITY_COUNT, count), rng)


def _commit_account_takeover(
    population: Population, campaigns: Campaigns, rows: Rows, code: int, rng: Generator
) -> Rows:
    """Add purchases, at any hour, of categories rare for the customer, at 3 to 6 times the usual amount."""
    customer = np.repeat(campaigns.target, rng.poisson(campaigns.pace))
    count = len(customer)
    category = population.customers.rare[customer, rng.integers(0, RARE_COUNT, count)]
    return rows.concat(
        Rows(
            customer,
            merchant=population.anywhere.draw(category, rng),
            cents=to_cents(population.customers.typical[customer] * rng.uniform(3, 6, count)),
            second=rng.integers(0, DAY, count),
            kind=np.full(count, code),
        )
    )


def _plan_card_testing(population: Population, count: int, rng: Generator) -> Campaigns:
    days, pace = np.ones(count, np.int64), rng.integers(5, 14, count).astype(np.float64)
    return _target_customers(population, days, pace, rng.integers(0, CITY_COUNT, count), rng)


def _commit_card_testing(population: Population, campaigns: Campaigns, rows: Rows, code: int, rng: Generator) -> Rows:
    """Add many tiny amounts within minutes to test the card, and a large one within hours."""
    count = len(campaigns.target)
    campaign = np.repeat(np.arange(count), campaigns.pace.astype(np.int64) - 1)
    begin, until_large = rng.integers(0, DAY - 9_000, count), rng.integers(1_200, 9_000, count)
    shop = population.anywhere.draw(np.full(count, _DIGITAL), rng)
    tiny = Rows(
        customer=campaigns.target[campaign],
        merchant=shop[campaign],
        cents=rng.integers(50, 400, len(campaign)),
        second=begin[campaign] + rng.integers(0, 900, len(campaign)),
        kind=np.full(len(campaign), code),
    )
    large = Rows(
        customer=campaigns.target,
        merchant=population.resale.draw(campaigns.city, rng),
        cents=to_cents(population.customers.typical[campaigns.target] * rng.uniform(4, 12, count)),
        second=begin + until_large,
        kind=np.full(count, code),
    )
    return rows.concat(tiny).concat(large)


def _draw_times(span: Floats, campaign: Ints, rng: Generator) -> Ints:
    """Return a second of the day for each fraud; those of one campaign are within a span of time.

    Args:
        span: seconds, by campaign.
        campaign: each fraud's index into ``span``.
        rng: the day's generator.
    """
    begin = rng.random(len(span)) * (DAY - span)
    return (begin[campaign] + span[campaign] * rng.random(len(campaign))).astype(np.int64)


# The compromised merchant is first because it changes rows, and must change only genuine ones.
KINDS = (
    Kind("compromised_merchant", 0.0029, _plan_compromised_merchant, _commit_compromised_merchant),
    Kind("stolen_card", 0.0027, _plan_stolen_card, _commit_stolen_card),
    Kind("account_takeover", 0.0024, _plan_account_takeover, _commit_account_takeover),
    Kind("card_testing", 0.0020, _plan_card_testing, _commit_card_testing),
)
