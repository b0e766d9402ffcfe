"""What genuine customers do on a day: where they are, what they buy, when, and for how much."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from fraudline.simulate.arrays import DAY_SECONDS, Floats, Ints, Rows, to_cents
from fraudline.simulate.population import CITY_COUNT, MEDIAN, SPREAD, STEP, USUAL_COUNT, USUAL_SHARE, Population

WEEKDAY = np.array([0.93, 0.93, 0.96, 1.0, 1.14, 1.2, 0.84])  # Monday first; the mean is 1
DEPARTURE = 0.008  # of the customers at home, per day
ANY_HOUR = 0.05  # of visits come at any time of day
HOUR_SPREAD = 3.2  # hours, standard deviation of the others
SPLURGE = 0.015  # of visits cost three to ten times the usual
REPEATED = 0.015  # of visits are followed by more of the same within minutes: top-ups, another round


@dataclass(frozen=True)
class Trips:
    """Where each customer is: the city, and how many days are left there (0 at home)."""

    city: Ints
    left: Ints

    @classmethod
    def none(cls, population: Population) -> Trips:
        """Everybody is at home."""
        home = population.customers.homes.city
        return cls(home, np.zeros_like(home))

    def next_day(self, population: Population, rng: Generator) -> Trips:
        """Some come home, some leave for two to ten days."""
        count = len(self.city)
        left = np.maximum(self.left - 1, 0)
        city = np.where(left > 0, self.city, population.customers.homes.city)
        leaves = (left == 0) & (rng.random(count) < DEPARTURE)
        city = np.where(leaves, rng.integers(0, CITY_COUNT, count), city)
        return Trips(city, np.where(leaves, rng.integers(2, 11, count), left))


def genuine(population: Population, trips: Trips, weekday: int, rng: Generator) -> Rows:
    """Return the day's genuine transactions, in no order of time; weekday is 0 on Mondays."""
    visits = rng.poisson(population.customers.rate * WEEKDAY[weekday])
    customer = np.repeat(np.arange(len(visits)), visits)
    merchant = _where(population, trips, customer, rng)
    rows = Rows(
        customer,
        merchant,
        cents=_cost(population, customer, merchant, rng),
        second=_when(population, customer, rng),
        kind=np.zeros_like(customer),
    )
    return rows.joined(_repeats(rows, rng))


def priced(population: Population, rows: Rows) -> Rows:
    """Round amounts to prices of their category: a cash machine gives no cents, not even to thieves."""
    step = STEP[population.merchants.category[rows.merchant]]
    return replace(rows, cents=to_cents(rows.cents, step))


def _where(population: Population, trips: Trips, customer: Ints, rng: Generator) -> Ints:
    """Usual merchants at home; on a trip, and now and then at home, any merchant nearby."""
    customers = population.customers
    choice = rng.random(len(customer))[:, None]
    slot = np.minimum((customers.usual_edges[customer] < choice).sum(axis=1), USUAL_COUNT - 1)
    usual = customers.usual[customer, slot]
    nearby = population.nearby.draw(trips.city[customer], rng)
    returns = (trips.left[customer] == 0) & (rng.random(len(customer)) < USUAL_SHARE)
    return np.where(returns, usual, nearby)


def _cost(population: Population, customer: Ints, merchant: Ints, rng: Generator) -> Ints:
    count = len(customer)
    category = population.merchants.category[merchant]
    usual = MEDIAN[category] * population.merchants.price[merchant] * population.customers.scale[customer]
    splurge = np.where(rng.random(count) < SPLURGE, rng.uniform(3, 10, count), 1.0)
    return to_cents(usual * np.exp(SPREAD[category] * rng.standard_normal(count)) * splurge)


def _when(population: Population, customer: Ints, rng: Generator) -> Ints:
    count = len(customer)
    hour: Floats = population.customers.hour[customer] + HOUR_SPREAD * rng.standard_normal(count)
    hour = np.where(rng.random(count) < ANY_HOUR, rng.uniform(0, 24, count), hour)
    return (hour * 3600).astype(np.int64) % DAY_SECONDS


def _repeats(rows: Rows, rng: Generator) -> Rows:
    """Return what follows some of the visits: the same customer, merchant and price range, minutes later."""
    repeated = np.flatnonzero(rng.random(len(rows)) < REPEATED)
    again = rows.take(np.repeat(repeated, rng.integers(1, 6, len(repeated))))
    second = again.second + rng.integers(20, 1_500, len(again))
    cents = to_cents(again.cents * rng.uniform(0.5, 1.5, len(again)))
    return replace(again, second=second, cents=cents).take(second < DAY_SECONDS)
