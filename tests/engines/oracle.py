"""The oracle for every engine: the definitions computed naively, one transaction at a time, in plain Python."""

from math import asin, cos, inf, radians, sin, sqrt

DAY = 86_400
AXES = ("latitude", "longitude")


def feature(f, row, rows, delay):
    """Return feature ``f`` of one row, None where it has no value.

    A row has customer_id, merchant, merchant_category, second, cents, is_fraud, known_day, latitude, longitude,
    customer_latitude, customer_longitude; None where unknown.
    """
    today, x = row["second"] // DAY, row["cents"]
    seen = rows_of_customer(f, row, rows)
    cents, n = [r["cents"] for r in seen], len(seen)
    recent = [r["cents"] for r in seen if r["second"] >= row["second"] - getattr(f.aggregate, "recent", f.window)]
    last = max(seen, key=lambda r: (r["second"], *(inf if r[a] is None else r[a] for a in AXES)), default=None)
    far = last and distance(row, last)
    spread = n * sum(c * c for c in cents) - sum(cents) ** 2
    volume, frauds = days_of_entity(f, row, rows, delay)
    has_entity = None if f.entity not in ("transaction", "customer") and row[f.entity] is None else True
    answers = {
        "Amount": lambda: x / 100, "HourOfDay": lambda: row["second"] % DAY // 3600,
        "IsWeekend": lambda: (today + 3) % 7 >= 5, "IsNight": lambda: row["second"] % DAY < 3600 * f.aggregate.before,
        "DistanceFromHome": lambda: distance(row, {a: row["customer_" + a] for a in AXES}),
        "Count": lambda: n, "Sum": lambda: sum(cents) / 100,
        "RecentMaxToMean": lambda: max(recent) * n / sum(cents) if recent and sum(cents) else None,
        "ZScore": lambda: (n * x - sum(cents)) / sqrt(spread) if n > 1 and spread else None,
        "RatioToMean": lambda: x * n / sum(cents) if sum(cents) else None,
        "RatioToMax": lambda: x / max(cents) if any(cents) else None,
        "SincePrevious": lambda: last and row["second"] - last["second"],
        "IsFirstAtMerchant": lambda: all(r["merchant"] != row["merchant"] for r in seen),
        "DistanceFromPrevious": lambda: far,
        "SpeedFromPrevious": lambda: None if far is None else far / ((row["second"] - last["second"]) / 3600),
        "Volume": lambda: has_entity and volume, "Frauds": lambda: has_entity and len(frauds),
        "Risk": lambda: has_entity and (len(frauds) + f.aggregate.share * f.aggregate.strength)
        / (volume + f.aggregate.strength),
        "FraudRecency": lambda: today - max(frauds) if frauds else None,
        "FraudRun": lambda: max(frauds) - min(frauds) if frauds else None,
    }  # fmt: skip
    return answers[type(f.aggregate).__name__]()


def rows_of_customer(f, row, rows):
    """Return the rows of the row's customer in [second - window, second); none for features of other entities."""
    own = [r for r in rows if r["customer_id"] == row["customer_id"]] if f.entity == "customer" else []
    return [r for r in own if row["second"] - f.window <= r["second"] < row["second"]]


def days_of_entity(f, row, rows, delay):
    """Return the volume of the row's entity on the days [today - delay - window, today - delay), and its frauds' days.

    Only frauds known before today count.
    """
    today, key = row["second"] // DAY, row.get(f.entity)
    days = range(today - delay - f.window // DAY, today - delay)
    own = [r for r in rows if key is not None and r.get(f.entity) == key and r["second"] // DAY in days]
    return len(own), [r["second"] // DAY for r in own if r["is_fraud"] == 1 and r["known_day"] < today]


def distance(a, b):
    """Return the great-circle distance in km (haversine on the IUGG's mean radius), None if a coordinate is unknown."""
    if any(row[axis] is None for row in (a, b) for axis in AXES):
        return None
    (p, q), (s, t) = ([radians(row[axis]) for axis in AXES] for row in (a, b))
    return 2 * 6371.0088 * asin(sqrt(min(1, sin((s - p) / 2) ** 2 + cos(p) * cos(s) * sin((t - q) / 2) ** 2)))
