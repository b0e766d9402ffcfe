"""Simulate the behavior of genuine customers: where they are, what they buy, when, and for how much."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from fraudline.catalog.days import DAY, HOUR
from fraudline.simulate.arrays import Floats, Ints, Rows, to_cents
from fraudline.simulate.population import CITY_COUNT, MEDIAN, SPREAD, STEP, USUAL_COUNT, USUAL_SHARE, Population

WEEKDAY = np.array([0.93, 0.93, 0.96, 1.0, 1.14, 1.2, 0.84])  # factor on visits, Monday first; the mean is 1
DEPARTURE = 0.008  # share of the customers at home who leave on a trip, per day
ANY_HOUR = 0.05  # share of visits at a uniformly random time of day
HOUR_SPREAD = 3.2  # standard deviation of the other visits, in hours around the customer's usual one
SPLURGE = 0.015  # share of visits that cost three to ten times the usual
REPEATED = 0.015  # share of visits that are repeated within minutes: top-ups, another round


@dataclass(frozen=True)
class Trips:
    """Where each customer is.

    Attributes:
        city: index of the city.
        days_left: days left there, 0 at home.
    """

    city: Ints
    days_left: Ints

    @classmethod
    def none(cls, population: Population) -> Trips:
        """Return a state in which everybody is at home."""
        home = population.customers.homes.city
        return cls(home, np.zeros_like(home))

    def next_day(self, population: Population, rng: Generator) -> Trips:
        """Return the next day's state: some customers come home, some leave for two to ten days."""
        count = len(self.city)
        days_left = np.maximum(self.days_left - 1, 0)
        city = np.where(days_left > 0, self.city, population.customers.homes.city)
        leaves = (days_left == 0) & (rng.random(count) < DEPARTURE)
        city = np.where(leaves, rng.integers(0, CITY_COUNT, count), city)
        return Trips(city, np.where(leaves, rng.integers(2, 11, count), days_left))


def genuine_transactions(population: Population, trips: Trips, weekday: int, rng: Generator) -> Rows:
    """Return a day's genuine transactions, not sorted by time; weekday is 0 on Mondays."""
    visits = rng.poisson(population.customers.rate * WEEKDAY[weekday])
    customer = np.repeat(np.arange(len(visits)), visits)
    merchant = _draw_merchants(population, trips, customer, rng)
    rows = Rows(
        customer,
        merchant,
        cents=_draw_amounts(population, customer, merchant, rng),
        second=_draw_times(population, customer, rng),
        kind=np.zeros_like(customer),
    )
    return rows.concat(_repeats(rows, rng))


def round_prices(population: Population, rows: Rows) -> Rows:
    """Round amounts to the price steps of their category; frauds, too, or odd cents would give them away."""
    step = STEP[population.merchants.category[rows.merchant]]
    return replace(rows, cents=to_cents(rows.cents, step))


def _draw_merchants(population: Population, trips: Trips, customer: Ints, rng: Generator) -> Ints:
    """Return a merchant for each visit: mostly a usual one at home; otherwise any one nearby."""
    customers = population.customers
    choice = rng.random(len(customer))[:, None]
    slot = np.minimum((customers.usual_edges[customer] < choice).sum(axis=1), USUAL_COUNT - 1)
    usual = customers.usual[customer, slot]
    nearby = population.nearby.draw(trips.city[customer], rng)
    returns = (trips.days_left[customer] == 0) & (rng.random(len(customer)) < USUAL_SHARE)
    return np.where(returns, usual, nearby)


def _draw_amounts(population: Population, customer: Ints, merchant: Ints, rng: Generator) -> Ints:
    count = len(customer)
    category = population.merchants.category[merchant]
    usual = MEDIAN[category] * population.merchants.price[merchant] * population.customers.scale[customer]
    splurge = np.where(rng.random(count) < SPLURGE, rng.uniform(3, 10, count), 1.0)
    return to_cents(usual * np.exp(SPREAD[category] * rng.standard_normal(count)) * splurge)


def _draw_times(population: Population, customer: Ints, rng: Generator) -> Ints:
    count = len(customer)
    hour: Floats = population.customers.hour[customer] + HOUR_SPREAD * rng.standard_normal(count)
    hour = np.where(rng.random(count) < ANY_HOUR, rng.uniform(0, 24, count), hour)
    return (hour * HOUR).astype(np.int64) % DAY


def _repeats(rows: Rows, rng: Generator) -> Rows:
    """Return repetitions of some visits: the same customer, merchant and price range, minutes later."""
    repeated = np.flatnonzero(rng.random(len(rows)) < REPEATED)
    repeats = rows.take(np.repeat(repeated, rng.integers(1, 6, len(repeated))))
    second = repeats.second + rng.integers(20, 1_500, len(repeats))
    cents = to_cents(repeats.cents * rng.uniform(0.5, 1.5, len(repeats)))
    return replace(repeats, second=second, cents=cents).take(second < DAY)
