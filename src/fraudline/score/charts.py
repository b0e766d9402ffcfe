"""Bar charts as vector drawings: few shapes, readable in grey, the same bytes for the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl
from reportlab.graphics.shapes import Drawing, Group, Line, Rect, String
from reportlab.lib.colors import HexColor
from reportlab.pdfbase.pdfmetrics import stringWidth

from fraudline.catalog.risk import URGENT

INK, MUTED, RULE = HexColor("#17222d"), HexColor("#5a6977"), HexColor("#d8dfe5")
# Dark, middle, white: three greys when printed without colour.
STRONG, PLAIN, OPEN = HexColor("#8f1d16"), HexColor("#9fb3c6"), HexColor("#ffffff")
OUTLINE = HexColor("#6d8296")

_FONT, _SIZE = "Helvetica", 6.5
_LEFT, _BELOW, _ABOVE = 26.0, 13.0, 12.0
_MOST_TICKS = 4


def by_hour(alerts: pl.DataFrame, width: float) -> Drawing:
    """Alerts of each hour of the day; the URGENT ones are the dark part."""
    hours, urgent = alerts["timestamp"].dt.hour(), alerts["alert_priority"] == URGENT
    bars = []
    for hour in range(24):
        count, dark = int((hours == hour).sum()), int(((hours == hour) & urgent).sum())
        bars.append(Bar((dark, count - dark), f"{hour:02}" if hour % 3 == 0 else "", f"{count:,}" if count else ""))
    return bar_chart(bars, linear, width, 140, fills=(STRONG, PLAIN))


def by_score(scores: pl.DataFrame, threshold: float, width: float) -> Drawing:
    """Transactions in each tenth of the score; most lie in the first, so by powers of ten."""
    tenths = (scores["fraud_score"] * 10).floor().clip(0, 9).cast(pl.Int64)
    counts = [int((tenths == tenth).sum()) for tenth in range(10)]
    below = [*(f".{tenth}-.{tenth + 1}" for tenth in range(9)), ".9-1"]
    bars = [Bar((count,), word, f"{count:,}") for count, word in zip(counts, below, strict=True)]
    return bar_chart(bars, logarithmic, width, 140, marker=(threshold, "alerts >"))


def by_day(past: pl.DataFrame, today: date, alerts: int, days: int, width: float) -> Drawing:
    """Alerts of each earlier day and of today: fraud, no fraud, not known yet. A day without scores has a dash."""
    known = {row["day"]: row for row in past.iter_rows(named=True)}
    known[today] = {"alerts": alerts, "labelled": 0, "confirmed": 0}
    first, bars = min(known), []
    for back in range(days, -1, -1):
        day = today - timedelta(days=back)
        below = f"{day:%m-%d}" if back % 5 == 0 else ""
        absent = Bar((0, 0, 0), below, "-" if day > first else "")
        bars.append(_day(known[day], below) if day in known else absent)
    return bar_chart(bars, linear, width, 150, fills=(STRONG, PLAIN, OPEN))


def past_legend(width: float) -> Drawing:
    """What the parts of ``by_day`` mean."""
    return legend(((STRONG, "fraud"), (PLAIN, "no fraud"), (OPEN, "not known yet")), width)


def _day(row: dict[str, Any], below: str) -> Bar:
    alerts, labelled, confirmed = row["alerts"], row["labelled"], row["confirmed"]
    return Bar((confirmed, labelled - confirmed, alerts - labelled), below, f"{alerts:,}")


@dataclass(frozen=True)
class Bar:
    """One bar: its parts stacked from the bottom, the word below it and the word above it."""

    parts: tuple[int, ...]
    below: str = ""
    above: str = ""


@dataclass(frozen=True)
class Scale:
    """Where a count stands on the axis, from 0 at the bottom to 1 at the top, and which counts are marked."""

    ticks: tuple[int, ...]
    share: Callable[[float], float]


def linear(top: int) -> Scale:
    """From 0, with at most five round marks; whole numbers, since what is counted is whole."""
    step = next(step for step in _round_numbers() if step * _MOST_TICKS >= top)
    marks = max(1, math.ceil(top / step))
    return Scale(tuple(step * mark for mark in range(marks + 1)), lambda count: count / (step * marks))


def logarithmic(top: int) -> Scale:
    """By powers of ten. A count of one has a height of its own, and none has no height."""
    decades = len(str(max(top - 1, 1)))
    foot = 0.35
    return Scale(
        tuple(10**power for power in range(decades + 1)),
        lambda count: (math.log10(count) + foot) / (decades + foot) if count >= 1 else 0.0,
    )


def bar_chart(
    bars: Sequence[Bar],
    scale: Callable[[int], Scale],
    width: float,
    height: float,
    fills: Sequence[HexColor] = (PLAIN,),
    marker: tuple[float, str] | None = None,
) -> Drawing:
    """Bars beside each other.

    Args:
        bars: from left to right.
        scale: ``linear`` or ``logarithmic``; only the first keeps stacked parts in proportion.
        width: of the whole drawing, in points.
        height: of the whole drawing, in points.
        fills: the colour of each part.
        marker: a dashed line at this share of the axis, and the word beside it.
    """
    drawing = Drawing(width, height)
    plot = _Plot(width - _LEFT, height - _BELOW - _ABOVE, scale(max((sum(bar.parts) for bar in bars), default=0)))
    drawing.add(plot.grid())
    for position, bar in enumerate(bars):
        drawing.add(plot.bar(bar, position, len(bars), fills))
    if marker:
        drawing.add(plot.marker(*marker))
    return drawing


def legend(entries: Sequence[tuple[HexColor, str]], width: float) -> Drawing:
    """Small squares of colour, each with its word."""
    drawing, left = Drawing(width, 10), _LEFT
    for fill, word in entries:
        drawing.add(Rect(left, 1.5, 6, 6, fillColor=fill, strokeColor=OUTLINE, strokeWidth=0.5))
        drawing.add(_word(left + 9, 2, word, "start", INK))
        left += 9 + stringWidth(word, _FONT, _SIZE) + 14
    return drawing


@dataclass(frozen=True)
class _Plot:
    width: float
    height: float
    scale: Scale

    def y(self, count: float) -> float:
        return _BELOW + self.height * self.scale.share(count)

    def grid(self) -> Group:
        group = Group()
        for tick in self.scale.ticks:
            group.add(self._rule(self.y(tick), RULE))
            group.add(_word(_LEFT - 4, self.y(tick) - 2, f"{tick:,}", "end"))
        group.add(self._rule(_BELOW, OUTLINE))
        return group

    def bar(self, bar: Bar, position: int, of: int, fills: Sequence[HexColor]) -> Group:
        slot = self.width / of
        left, middle = _LEFT + slot * (position + 0.14), _LEFT + slot * (position + 0.5)
        group, total = Group(), 0
        for count, fill in zip(bar.parts, fills, strict=True):
            low, high = self.y(total) if total else _BELOW, self.y(total + count)
            if count:
                group.add(
                    Rect(left, low, slot * 0.72, high - low, fillColor=fill, strokeColor=OUTLINE, strokeWidth=0.5)
                )
            total += count
        group.add(_word(middle, (self.y(total) if total else _BELOW) + 2.5, bar.above, "middle", INK))
        group.add(_word(middle, _BELOW - 9, bar.below, "middle"))
        return group

    def marker(self, share: float, word: str) -> Group:
        x, top = _LEFT + self.width * share, _BELOW + self.height + 3
        line = Line(x, _BELOW, x, top, strokeColor=STRONG, strokeWidth=1, strokeDashArray=(3, 2))
        return Group(line, _word(x, top + 2, word, "end" if share > 0.5 else "start", STRONG))

    def _rule(self, y: float, colour: HexColor) -> Line:
        return Line(_LEFT, y, _LEFT + self.width, y, strokeColor=colour, strokeWidth=0.5)


def _word(x: float, y: float, text: str, anchor: str, colour: HexColor = MUTED) -> String:
    return String(x, y, text, textAnchor=anchor, fontName=_FONT, fontSize=_SIZE, fillColor=colour)


def _round_numbers() -> Sequence[int]:
    return [digit * 10**power for power in range(12) for digit in (1, 2, 5)]
