"""The judge of every engine: the definitions read naively, one transaction at a time, in plain Python."""

from math import asin, cos, inf, radians, sin, sqrt

DAY, DELAY_FREE = 86_400, {"transaction", "customer"}


def feature(f, row, rows, delay):
    """One feature of one row. A row has customer_id, merchant, merchant_category, second, cents, is_fraud, known_day,
    latitude, longitude, customer_latitude, customer_longitude; None where unknown.
    """
    kind, today, key = type(f.aggregate).__name__, row["second"] // DAY, row.get(f.entity)
    own = [r for r in rows if r["customer_id"] == row["customer_id"]] if f.entity == "customer" else []
    seen = [r for r in own if row["second"] - f.window <= r["second"] < row["second"]]
    days = range(today - delay - f.window // DAY, today - delay)
    there = [r for r in rows if key is not None and r.get(f.entity) == key and r["second"] // DAY in days]
    known = [r["second"] // DAY for r in there if r["is_fraud"] == 1 and r["known_day"] < today]
    x, cents, n = row["cents"], [r["cents"] for r in seen], len(seen)
    last = max(seen, key=lambda r: (r["second"], *(inf if r[a] is None else r[a] for a in PLACE)), default=None)
    spread = n * sum(c * c for c in cents) - sum(cents) ** 2
    far = last and distance(row, last)
    recent = [r["cents"] for r in seen if r["second"] >= row["second"] - getattr(f.aggregate, "recent", f.window)]
    entity_known = None if f.entity not in DELAY_FREE and key is None else 1
    answers = {
        "Amount": lambda: x / 100, "HourOfDay": lambda: row["second"] % DAY // 3600,
        "IsWeekend": lambda: (today + 3) % 7 >= 5, "IsNight": lambda: row["second"] % DAY < 3600 * f.aggregate.before,
        "DistanceFromHome": lambda: distance(row, {a: row["customer_" + a] for a in PLACE}),
        "Count": lambda: n, "Sum": lambda: sum(cents) / 100,
        "RecentMaxToMean": lambda: max(recent) * n / sum(cents) if recent and sum(cents) else None,
        "ZScore": lambda: (n * x - sum(cents)) / sqrt(spread) if n > 1 and spread else None,
        "RatioToMean": lambda: x * n / sum(cents) if sum(cents) else None,
        "RatioToMax": lambda: x / max(cents) if any(cents) else None,
        "SincePrevious": lambda: last and row["second"] - last["second"],
        "IsFirstAtMerchant": lambda: all(r["merchant"] != row["merchant"] for r in seen),
        "DistanceFromPrevious": lambda: far,
        "SpeedFromPrevious": lambda: None if far is None else far / ((row["second"] - last["second"]) / 3600),
        "Volume": lambda: entity_known and len(there), "Frauds": lambda: entity_known and len(known),
        "Risk": lambda: entity_known and (len(known) + f.aggregate.share * f.aggregate.strength)
        / (len(there) + f.aggregate.strength),
        "FraudRecency": lambda: today - max(known) if known else None,
        "FraudRun": lambda: max(known) - min(known) if known else None,
    }  # fmt: skip
    return answers[kind]()


PLACE = ("latitude", "longitude")


def distance(a, b):
    """Great-circle distance in km (haversine on the IUGG's mean radius)."""
    if any(place[axis] is None for place in (a, b) for axis in PLACE):
        return None
    (p, q), (s, t) = ([radians(place[axis]) for axis in PLACE] for place in (a, b))
    return 2 * 6371.0088 * asin(sqrt(min(1, sin((s - p) / 2) ** 2 + cos(p) * cos(s) * sin((t - q) / 2) ** 2)))
