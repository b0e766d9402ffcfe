"""Who pays and who is paid: made-up cities, merchants and customers, drawn once per simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from fraudline.simulate.arrays import Floats, Ints, Stream


class Category(NamedTuple):
    """What a kind of shop sells: its share of visits, the usual price, and what a thief makes of it."""

    name: str
    share: float  # of all visits; the table's sum is scaled to 1
    median: float  # cents
    spread: float  # standard deviation of the logarithm of the price
    step: int  # prices are whole multiples of this, in cents
    resale: float  # how much a thief likes it, from 0 to 1
    remote: bool = False  # bought from home, so that distance does not matter


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

# Open sea, so that no made-up home is anybody's: degrees, the south-western corner and the extent.
SOUTH, WEST, HEIGHT, WIDTH = 40.0, -32.0, 5.0, 8.0
KM_PER_DEGREE = 111.2
CITY_COUNT = 24
CITY_RADIUS = 7.0  # km, standard deviation of a place around its city's centre
REACH = 12.0  # km over which a shop loses all but 1/e of its customers

USUAL_COUNT = 16  # merchants that a customer returns to
USUAL_SHARE = 0.82  # of a customer's visits at home that go there
RARE_COUNT = 3  # categories that a customer hardly ever pays for
VISITS_PER_DAY = 2.05  # the mean over customers


class Picker:
    """Draws merchants by weight, for many groups (cities, or categories) at once."""

    def __init__(self, weights: Floats) -> None:
        """Take weights of shape (groups, merchants); each group has a positive sum."""
        groups, self._merchants = weights.shape
        cumulative = np.cumsum(weights, axis=1)
        cumulative /= cumulative[:, -1:]
        self._edges = (cumulative + np.arange(groups)[:, None]).ravel()

    def draw(self, group: Ints, rng: Generator) -> Ints:
        """Return one merchant for each element of group."""
        found = np.searchsorted(self._edges, group + rng.random(len(group)), side="right")
        merchant: Ints = np.minimum(found - group * self._merchants, self._merchants - 1)
        return merchant


@dataclass(frozen=True)
class Places:
    """Points on the map, in degrees, each with the city it belongs to."""

    city: Ints
    latitude: Floats
    longitude: Floats


@dataclass(frozen=True)
class Merchants:
    """Merchants, one element each."""

    places: Places
    category: Ints
    popularity: Floats  # a weight with a heavy tail
    price: Floats  # factor on the category's prices


@dataclass(frozen=True)
class Customers:
    """Customers, one element (or row) each."""

    homes: Places
    rate: Floats  # visits per day
    scale: Floats  # factor on all prices
    hour: Floats  # of the day, around which visits gather
    usual: Ints  # (customers, USUAL_COUNT), merchants
    usual_edges: Floats  # (customers, USUAL_COUNT), cumulative shares of visits
    rare: Ints  # (customers, RARE_COUNT), categories
    typical: Floats  # cents, the middle of what a visit costs


@dataclass(frozen=True)
class Population:
    """All that stays the same from day to day."""

    customers: Customers
    merchants: Merchants
    volume: Floats  # expected visits per day, by merchant
    nearby: Picker  # by city: where its people go
    resale: Picker  # by city: where a thief goes
    anywhere: Picker  # by category, wherever it is


def populate(seed: int, customers: int, merchants: int) -> Population:
    """Draw the population; the same arguments always give the same one."""
    rng = Stream.POPULATION.generator(seed)
    cities = _cities(rng)
    shops = _merchants(rng, cities, merchants)
    visits = _visits(cities, shops)
    nearby = Picker(visits)
    people = _customers(rng, cities, customers, shops, nearby)
    by_category = np.where(shops.category == np.arange(len(CATEGORIES))[:, None], shops.popularity, 0.0)
    return Population(
        customers=people,
        merchants=shops,
        volume=_volume(people, visits),
        nearby=nearby,
        resale=Picker(visits * RESALE[shops.category]),
        anywhere=Picker(by_category),
    )


def _cities(rng: Generator) -> Places:
    return Places(
        city=np.arange(CITY_COUNT),
        latitude=SOUTH + HEIGHT * rng.random(CITY_COUNT),
        longitude=WEST + WIDTH * rng.random(CITY_COUNT),
    )


def _places(rng: Generator, cities: Places, count: int) -> Places:
    """Scatter points around the cities, of which the n-th is 1/n as large as the first."""
    size = 1 / (1 + cities.city)
    city = rng.choice(CITY_COUNT, count, p=size / size.sum())
    north, east = rng.normal(0, CITY_RADIUS / KM_PER_DEGREE, (2, count))
    latitude = cities.latitude[city] + north
    longitude = cities.longitude[city] + east / _narrowing(latitude)
    return Places(city, np.round(latitude, 4), np.round(longitude, 4))


def _narrowing(latitude: Floats) -> Floats:
    """How much shorter a degree of longitude is than one of latitude."""
    return np.cos(np.radians(latitude))


def _merchants(rng: Generator, cities: Places, count: int) -> Merchants:
    share = np.sqrt(SHARE)
    category = rng.choice(len(CATEGORIES), count, p=share / share.sum())
    category[: len(CATEGORIES)] = np.arange(len(CATEGORIES))  # none is left without a merchant
    return Merchants(
        places=_places(rng, cities, count),
        category=category,
        popularity=1 + rng.pareto(1.3, count),
        price=rng.lognormal(0, 0.25, count),
    )


def _visits(cities: Places, merchants: Merchants) -> Floats:
    """Return the share of each merchant in the visits of each city's people: (cities, merchants)."""
    there = merchants.places
    north = cities.latitude[:, None] - there.latitude
    east = (cities.longitude[:, None] - there.longitude) * _narrowing(there.latitude)
    distance = KM_PER_DEGREE * np.hypot(north, east)
    drawn = np.where(REMOTE[merchants.category], 1.0, np.exp(-distance / REACH) + 1e-6) * merchants.popularity
    of_category = drawn @ (merchants.category[:, None] == np.arange(len(CATEGORIES)))
    visits: Floats = drawn * (SHARE / of_category)[:, merchants.category]
    return visits


def _customers(rng: Generator, cities: Places, count: int, merchants: Merchants, nearby: Picker) -> Customers:
    homes = _places(rng, cities, count)
    taste = rng.gamma(1.5, 1 / 1.5, (count, len(CATEGORIES)))
    usual = nearby.draw(np.repeat(homes.city, USUAL_COUNT), rng).reshape(count, USUAL_COUNT)
    weight = np.take_along_axis(taste, merchants.category[usual], axis=1) * rng.gamma(0.8, 1.0, usual.shape)
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


def _volume(customers: Customers, visits: Floats) -> Floats:
    share = np.diff(customers.usual_edges, axis=1, prepend=0.0) * customers.rate[:, None]
    usual = np.bincount(customers.usual.ravel(), share.ravel(), minlength=visits.shape[1])
    of_city = np.bincount(customers.homes.city, customers.rate, minlength=CITY_COUNT)
    return USUAL_SHARE * usual + (1 - USUAL_SHARE) * (of_city @ visits)
