"""Draw the population: cities, merchants and customers, once per simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from fraudline.simulate.arrays import Floats, Ints, Stream


class Category(NamedTuple):
    """A merchant category.

    Attributes:
        name: the value of ``merchant_category``.
        share: its share of all visits; the shares are scaled to a sum of 1.
        median: median price in cents.
        spread: standard deviation of the logarithm of the price.
        step: prices are multiples of this, in cents.
        resale: how attractive it is to a thief, from 0 to 1.
        remote: bought from home, so that distance does not matter.
    """

    name: str
    share: float
    median: float
    spread: float
    step: int
    resale: float
    remote: bool = False


CATEGORIES = (
    Category("groceries", 0.24, 2_800, 0.7, 1, 0.10),
    Category("restaurant", 0.14, 2_200, 0.6, 10, 0.10),
    Category("online_retail", 0.10, 3_500, 0.9, 1, 1.00, remote=True),
    Category("transport", 0.09, 600, 0.7, 10, 0.10),
    Category("fuel", 0.08, 4_500, 0.4, 1, 0.60),
    Category("digital", 0.06, 450, 0.8, 1, 0.30, remote=True),
    Category("clothing", 0.06, 4_800, 0.7, 1, 0.80),
    Category("cash", 0.05, 6_000, 0.6, 1_000, 0.90),
    Category("pharmacy", 0.05, 1_700, 0.6, 1, 0.10),
    Category("entertainment", 0.05, 2_500, 0.6, 50, 0.20),
    Category("home", 0.04, 6_000, 0.9, 1, 0.30),
    Category("electronics", 0.03, 11_000, 0.9, 1, 1.00),
    Category("health", 0.03, 5_500, 0.8, 1, 0.05),
    Category("travel", 0.02, 16_000, 0.8, 1, 0.60),
)
SHARE = np.array([c.share for c in CATEGORIES]) / sum(c.share for c in CATEGORIES)
MEDIAN = np.array([c.median for c in CATEGORIES])
SPREAD = np.array([c.spread for c in CATEGORIES])
STEP = np.array([c.step for c in CATEGORIES], dtype=np.int64)
RESALE = np.array([c.resale for c in CATEGORIES])
REMOTE = np.array([c.remote for c in CATEGORIES])

# A rectangle in the open sea, in degrees, so that no simulated home is a real one.
SOUTH, WEST, HEIGHT, WIDTH = 40.0, -32.0, 5.0, 8.0
KM_PER_DEGREE = 111.2
CITY_COUNT = 24
CITY_RADIUS = 7.0  # km, standard deviation of the distance from the city's center, north and east
REACH = 12.0  # km over which the number of a merchant's customers falls to 1/e

USUAL_COUNT = 16  # merchants that a customer returns to
USUAL_SHARE = 0.82  # share of a customer's visits at home that go to them
RARE_COUNT = 3  # categories that a customer hardly ever buys
VISITS_PER_DAY = 2.05  # mean over customers


class Picker:
    """A weighted draw of merchants, for many groups (cities or categories) at once."""

    def __init__(self, weights: Floats) -> None:
        """Take weights of shape (groups, merchants), whose sum is positive in each group."""
        # The cumulative weights of group g, scaled to [g, g + 1], so that one binary search draws for all groups.
        groups, self._merchants = weights.shape
        cumulative = np.cumsum(weights, axis=1)
        cumulative /= cumulative[:, -1:]
        self._edges = (cumulative + np.arange(groups)[:, None]).ravel()

    def draw(self, group: Ints, rng: Generator) -> Ints:
        """Return the index of one merchant for each element of ``group``."""
        positions = np.searchsorted(self._edges, group + rng.random(len(group)), side="right")
        merchant: Ints = np.minimum(positions - group * self._merchants, self._merchants - 1)
        return merchant


@dataclass(frozen=True)
class Coordinates:
    """Points on the map, one element each, in degrees; ``city`` is the index of the city that each belongs to."""

    city: Ints
    latitude: Floats
    longitude: Floats


@dataclass(frozen=True)
class Merchants:
    """Merchants, one element each.

    Attributes:
        coordinates: where they are.
        category: index of the category.
        popularity: weight in draws, with a heavy tail.
        price: factor on the category's prices.
    """

    coordinates: Coordinates
    category: Ints
    popularity: Floats
    price: Floats


@dataclass(frozen=True)
class Customers:
    """Customers, one element or row each.

    Attributes:
        homes: where they live.
        rate: expected visits per day.
        scale: factor on all prices.
        hour: mean hour of the day of their visits.
        usual: usual merchants, of shape (customers, USUAL_COUNT).
        usual_edges: cumulative shares of visits to them, of the same shape.
        rare: rarest categories, of shape (customers, RARE_COUNT).
        typical: typical cost of a visit in cents, the geometric mean over categories.
    """

    homes: Coordinates
    rate: Floats
    scale: Floats
    hour: Floats
    usual: Ints
    usual_edges: Floats
    rare: Ints
    typical: Floats


@dataclass(frozen=True)
class Population:
    """Everything that stays the same from day to day.

    Attributes:
        customers: who pays.
        merchants: who is paid.
        volume: expected visits per day, by merchant.
        nearby: draws merchants by city, as its people visit them.
        resale: draws merchants by city, as thieves do.
        anywhere: draws merchants by category, in any city.
    """

    customers: Customers
    merchants: Merchants
    volume: Floats
    nearby: Picker
    resale: Picker
    anywhere: Picker


def populate(seed: int, customers: int, merchants: int) -> Population:
    """Draw a population; equal arguments give equal populations."""
    rng = Stream.POPULATION.generator(seed)
    cities = _draw_cities(rng)
    shops = _draw_merchants(rng, cities, merchants)
    visits = _visits(cities, shops)
    nearby = Picker(visits)
    people = _draw_customers(rng, cities, customers, shops, nearby)
    by_category = np.where(shops.category == np.arange(len(CATEGORIES))[:, None], shops.popularity, 0.0)
    return Population(
        customers=people,
        merchants=shops,
        volume=_expected_volume(people, visits),
        nearby=nearby,
        resale=Picker(visits * RESALE[shops.category]),
        anywhere=Picker(by_category),
    )


def _draw_cities(rng: Generator) -> Coordinates:
    return Coordinates(
        city=np.arange(CITY_COUNT),
        latitude=SOUTH + HEIGHT * rng.random(CITY_COUNT),
        longitude=WEST + WIDTH * rng.random(CITY_COUNT),
    )


def _scatter(rng: Generator, cities: Coordinates, count: int) -> Coordinates:
    """Return points around the cities; the n-th city gets 1/n as many as the first."""
    size = 1 / (1 + cities.city)
    city = rng.choice(CITY_COUNT, count, p=size / size.sum())
    north, east = rng.normal(0, CITY_RADIUS / KM_PER_DEGREE, (2, count))
    latitude = cities.latitude[city] + north
    longitude = cities.longitude[city] + east / _longitude_scale(latitude)
    return Coordinates(city, np.round(latitude, 4), np.round(longitude, 4))


def _longitude_scale(latitude: Floats) -> Floats:
    """Return the length of a degree of longitude, relative to one of latitude."""
    return np.cos(np.radians(latitude))


def _draw_merchants(rng: Generator, cities: Coordinates, count: int) -> Merchants:
    # Categories with many visits have fewer, larger merchants, hence the root.
    share = np.sqrt(SHARE)
    category = rng.choice(len(CATEGORIES), count, p=share / share.sum())
    category[: len(CATEGORIES)] = np.arange(len(CATEGORIES))  # every category gets a merchant
    return Merchants(
        coordinates=_scatter(rng, cities, count),
        category=category,
        popularity=1 + rng.pareto(1.3, count),
        price=rng.lognormal(0, 0.25, count),
    )


def _visits(cities: Coordinates, merchants: Merchants) -> Floats:
    """Return the share of each merchant in the visits of each city's people, of shape (cities, merchants)."""
    shops = merchants.coordinates
    north = cities.latitude[:, None] - shops.latitude
    east = (cities.longitude[:, None] - shops.longitude) * _longitude_scale(shops.latitude)
    distance = KM_PER_DEGREE * np.hypot(north, east)
    weight = np.where(REMOTE[merchants.category], 1.0, np.exp(-distance / REACH) + 1e-6) * merchants.popularity
    of_category = weight @ (merchants.category[:, None] == np.arange(len(CATEGORIES)))
    visits: Floats = weight * (SHARE / of_category)[:, merchants.category]
    return visits


def _draw_customers(rng: Generator, cities: Coordinates, count: int, merchants: Merchants, nearby: Picker) -> Customers:
    homes = _scatter(rng, cities, count)
    taste = rng.gamma(1.5, 1 / 1.5, (count, len(CATEGORIES)))
    usual = nearby.draw(np.repeat(homes.city, USUAL_COUNT), rng).reshape(count, USUAL_COUNT)
    weight = np.take_along_axis(taste, merchants.category[usual], axis=1) * rng.gamma(0.8, 1.0, usual.shape)
    # A customer may like none of the usual merchants; the sum must still be positive.
    edges = np.cumsum(weight + 1e-9, axis=1)
    spending = taste * SHARE
    scale = rng.lognormal(0, 0.35, count)
    return Customers(
        homes=homes,
        rate=rng.gamma(2.5, VISITS_PER_DAY / 2.5, count),
        scale=scale,
        hour=rng.normal(14.5, 2.0, count),
        usual=usual,
        usual_edges=edges / edges[:, -1:],
        rare=np.argsort(spending, axis=1)[:, :RARE_COUNT],
        typical=scale * np.exp(spending @ np.log(MEDIAN) / spending.sum(axis=1)),
    )


def _expected_volume(customers: Customers, visits: Floats) -> Floats:
    share = np.diff(customers.usual_edges, axis=1, prepend=0.0) * customers.rate[:, None]
    usual = np.bincount(customers.usual.ravel(), share.ravel(), minlength=visits.shape[1])
    of_city = np.bincount(customers.homes.city, customers.rate, minlength=CITY_COUNT)
    return USUAL_SHARE * usual + (1 - USUAL_SHARE) * (of_city @ visits)
