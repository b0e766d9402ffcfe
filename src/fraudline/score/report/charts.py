"""Bar charts as vector drawings: few shapes, readable in gray, equal bytes for equal numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count as count_up
from typing import Any

import polars as pl
from reportlab.graphics.shapes import Drawing, Group, Line, Rect, String
from reportlab.lib.colors import HexColor
from reportlab.pdfbase.pdfmetrics import stringWidth

from fraudline.catalog.risk import URGENT

INK, MUTED, RULE = HexColor("#17222d"), HexColor("#5a6977"), HexColor("#d8dfe5")
# Dark, medium, white: three grays when printed without color.
STRONG, PLAIN, OPEN = HexColor("#8f1d16"), HexColor("#9fb3c6"), HexColor("#ffffff")
OUTLINE = HexColor("#6d8296")

# All sizes are points of 1/72 inch, PDF's own unit.
_FONT, _SIZE = "Helvetica", 6.5
_AXIS_WIDTH, _BELOW, _ABOVE = 26.0, 13.0, 12.0
_MAX_STEPS = 4
# The height of a count of one on the logarithmic scale, in decades. log10(1) is 0, but one must not look like none.
_ONE_HEIGHT = 0.35
_BAR_SHARE = 0.72  # width of a bar, as a share of its width with gaps


@dataclass(frozen=True)
class Bar:
    """One bar: its parts stacked from the bottom, the label below it and the label above it."""

    parts: tuple[int, ...]
    below: str = ""
    above: str = ""


@dataclass(frozen=True)
class Scale:
    """The axis of counts.

    Attributes:
        ticks: the marked counts.
        share: the height of a count, from 0 at the bottom to 1 at the top.
    """

    ticks: tuple[int, ...]
    share: Callable[[float], float]


def alerts_by_hour(alerts: pl.DataFrame, width: float) -> Drawing:
    """Draw the number of alerts in each hour of the day; the dark part is URGENT."""
    hours, urgent = alerts["timestamp"].dt.hour(), alerts["alert_priority"] == URGENT
    bars = []
    for hour in range(24):
        in_hour = hours == hour
        total, dark = int(in_hour.sum()), int((in_hour & urgent).sum())
        below = f"{hour:02}" if hour % 3 == 0 else ""
        bars.append(Bar((dark, total - dark), below, f"{total:,}" if total else ""))
    return bar_chart(bars, linear, width, 140, fills=(STRONG, PLAIN))


def transactions_by_score(scores: pl.DataFrame, threshold: float, width: float) -> Drawing:
    """Draw the number of transactions in each tenth of the score, logarithmic because most are in the first."""
    # A score of exactly 1 belongs to the last tenth.
    tenths = (scores["fraud_score"] * 10).floor().clip(0, 9).cast(pl.Int64)
    counts = [int((tenths == tenth).sum()) for tenth in range(10)]
    labels = [*(f".{tenth}-.{tenth + 1}" for tenth in range(9)), ".9-1"]
    bars = [Bar((count,), label, f"{count:,}") for count, label in zip(counts, labels, strict=True)]
    return bar_chart(bars, logarithmic, width, 140, marker=(threshold, "alerts >"))


def alerts_by_day(past: pl.DataFrame, today: date, alerts: int, days: int, width: float) -> Drawing:
    """Draw the alerts of each earlier day and of today: fraud, no fraud, not known yet.

    A day without scores has a dash, except before the first day with scores.
    """
    rows = {row["day"]: row for row in past.iter_rows(named=True)}
    rows[today] = {"alerts": alerts, "labeled": 0, "confirmed": 0}
    first = min(rows)
    bars = []
    for back in range(days, -1, -1):
        day = today - timedelta(days=back)
        below = f"{day:%m-%d}" if back % 5 == 0 else ""
        if day in rows:
            bars.append(_day_bar(rows[day], below))
        else:
            bars.append(Bar((0, 0, 0), below, "-" if day > first else ""))
    return bar_chart(bars, linear, width, 150, fills=(STRONG, PLAIN, OPEN))


def past_legend(width: float) -> Drawing:
    """Draw the legend of ``alerts_by_day``."""
    return legend(((STRONG, "fraud"), (PLAIN, "no fraud"), (OPEN, "not known yet")), width)


def linear(largest: int) -> Scale:
    """Return a scale from 0 to at least ``largest``, with at most five round, whole ticks."""
    step = next(step for step in _round_numbers() if step * _MAX_STEPS >= largest)
    steps = max(1, math.ceil(largest / step))
    return Scale(tuple(step * tick for tick in range(steps + 1)), lambda count: count / (step * steps))


def logarithmic(largest: int) -> Scale:
    """Return a logarithmic scale from 1 to at least ``largest``; unlike 0, a count of 1 has some height."""
    decades = len(str(max(largest - 1, 1)))

    def share(count: float) -> float:
        return (math.log10(count) + _ONE_HEIGHT) / (decades + _ONE_HEIGHT) if count >= 1 else 0.0

    return Scale(tuple(10**power for power in range(decades + 1)), share)


def bar_chart(
    bars: Sequence[Bar],
    scale: Callable[[int], Scale],
    width: float,
    height: float,
    fills: Sequence[HexColor] = (PLAIN,),
    marker: tuple[float, str] | None = None,
) -> Drawing:
    """Draw bars side by side.

    Args:
        bars: the bars from left to right.
        scale: ``linear`` or ``logarithmic``; only the first keeps stacked parts in proportion.
        width: width of the drawing, in points.
        height: height of the drawing, in points.
        fills: one color for each part of a bar.
        marker: a dashed vertical line: its share of the width, and its label.
    """
    drawing = Drawing(width, height)
    largest = max((sum(bar.parts) for bar in bars), default=0)
    plot = _Plot(width - _AXIS_WIDTH, height - _BELOW - _ABOVE, scale(largest))
    drawing.add(plot.grid())
    for position, bar in enumerate(bars):
        drawing.add(plot.bar(bar, position, len(bars), fills))
    if marker:
        drawing.add(plot.marker(*marker))
    return drawing


def legend(entries: Sequence[tuple[HexColor, str]], width: float) -> Drawing:
    """Draw small squares of color, each with its label."""
    drawing, left = Drawing(width, 10), _AXIS_WIDTH
    for fill, label in entries:
        drawing.add(Rect(left, 1.5, 6, 6, fillColor=fill, strokeColor=OUTLINE, strokeWidth=0.5))
        drawing.add(_text(left + 9, 2, label, "start", INK))
        left += 9 + stringWidth(label, _FONT, _SIZE) + 14
    return drawing


def hex_code(color: HexColor) -> str:
    """Return a color in the form of reportlab markup, #rrggbb."""
    return f"#{color.hexval()[2:]}"


@dataclass(frozen=True)
class _Plot:
    """The area of the bars, in points; its lower left corner is at (_AXIS_WIDTH, _BELOW)."""

    width: float
    height: float
    scale: Scale

    def y(self, count: float) -> float:
        return _BELOW + self.height * self.scale.share(count)

    def grid(self) -> Group:
        group = Group()
        for tick in self.scale.ticks:
            group.add(self._horizontal(self.y(tick), RULE))
            group.add(_text(_AXIS_WIDTH - 4, self.y(tick) - 2, f"{tick:,}", "end"))
        group.add(self._horizontal(_BELOW, OUTLINE))
        return group

    def bar(self, bar: Bar, position: int, bar_count: int, fills: Sequence[HexColor]) -> Group:
        slot = self.width / bar_count
        left = _AXIS_WIDTH + slot * (position + (1 - _BAR_SHARE) / 2)
        middle = _AXIS_WIDTH + slot * (position + 0.5)
        group, total = Group(), 0
        for count, fill in zip(bar.parts, fills, strict=True):
            bottom, top = self._bar_y(total), self.y(total + count)
            if count:
                group.add(
                    Rect(
                        left,
                        bottom,
                        slot * _BAR_SHARE,
                        top - bottom,
                        fillColor=fill,
                        strokeColor=OUTLINE,
                        strokeWidth=0.5,
                    )
                )
            total += count
        group.add(_text(middle, self._bar_y(total) + 2.5, bar.above, "middle", INK))
        group.add(_text(middle, _BELOW - 9, bar.below, "middle"))
        return group

    def marker(self, share: float, label: str) -> Group:
        x, top = _AXIS_WIDTH + self.width * share, _BELOW + self.height + 3
        line = Line(x, _BELOW, x, top, strokeColor=STRONG, strokeWidth=1, strokeDashArray=(3, 2))
        return Group(line, _text(x, top + 2, label, "end" if share > 0.5 else "start", STRONG))

    def _bar_y(self, count: int) -> float:
        return self.y(count) if count else _BELOW

    def _horizontal(self, y: float, color: HexColor) -> Line:
        return Line(_AXIS_WIDTH, y, _AXIS_WIDTH + self.width, y, strokeColor=color, strokeWidth=0.5)


def _day_bar(row: dict[str, Any], below: str) -> Bar:
    alerts, labeled, confirmed = row["alerts"], row["labeled"], row["confirmed"]
    return Bar((confirmed, labeled - confirmed, alerts - labeled), below, f"{alerts:,}")


def _text(x: float, y: float, text: str, anchor: str, color: HexColor = MUTED) -> String:
    return String(x, y, text, textAnchor=anchor, fontName=_FONT, fontSize=_SIZE, fillColor=color)


def _round_numbers() -> Iterator[int]:
    """Yield 1, 2, 5, 10, 20, 50, ..."""
    for power in count_up():
        for digit in (1, 2, 5):
            yield digit * 10**power
