"""The daily report: what an analyst can rely on when reading it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from typing import Any

import polars as pl
import pytest
from pypdf import PdfReader
from reportlab.graphics.shapes import Group, String
from reportlab.lib.colors import HexColor
from reportlab.pdfbase.pdfmetrics import stringWidth

from fraudline.catalog.schema import HIGH_RISK, SCORES
from fraudline.monitor.past_days import PAST_DAYS
from fraudline.score.alerts import mask
from fraudline.score.report.charts import STRONG, alerts_by_day, linear, logarithmic
from fraudline.score.report.compute import DailyReport
from fraudline.score.report.quality import WATCH
from fraudline.score.report.render import render

DAY = date(2026, 1, 31)
DAY_SCORES = {**SCORES, "timestamp": pl.Datetime("us", "UTC"), "cents": pl.Int64}
DRIFT = {"feature": pl.String, **dict.fromkeys(("psi", "usual", "missing", "missing_reference"), pl.Float64)}


def an_alert(number: int = 0, **changes: object) -> dict[str, object]:
    alert = {
        "transaction_id": f"tx-{number:05d}",
        "customer_id": f"customer-{number:05d}",
        "merchant": "Kiosk",
        "cents": 12_345,
        "timestamp": datetime(2026, 1, 31, number % 24, 5, 9, tzinfo=UTC),
        "fraud_score": 0.9,
        "expected_loss": 111.11,
        "alert_priority": "NORMAL",
        "reasons": [
            {"feature": "merchant_frauds_30d", "value": 7.0, "contribution": 2.0},
            {"feature": "amount_zscore", "value": None, "contribution": 1.0},
        ],
        "model_version": "v2026-01-04",
    }
    return alert | changes


def alerts(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dict(HIGH_RISK))


def scores(high: int, medium: int = 4, low: int = 200) -> pl.DataFrame:
    levels = [("HIGH", 0.9)] * high + [("MEDIUM", 0.6)] * medium + [("LOW", 0.01)] * low
    rows = [
        {
            "transaction_id": f"tx-{number:05d}",
            "fraud_score": score,
            "risk_level": level,
            "timestamp": datetime(2026, 1, 31, number % 24, tzinfo=UTC),
            "cents": 5_000,
        }
        for number, (level, score) in enumerate(levels)
    ]
    return pl.DataFrame(rows, schema=DAY_SCORES)


def past(days: int, alerts: int = 10, labeled: int = 8, confirmed: int = 6) -> pl.DataFrame:
    rows = [(DAY - timedelta(days=back), 1_000, alerts, labeled, confirmed) for back in range(days, 0, -1)]
    return pl.DataFrame(rows, schema=PAST_DAYS, orient="row")


def a_report(count: int = 3, **changes: object) -> DailyReport:
    drift = [
        ("amount", 0.31, 0.05, 0.02, 0.01),
        ("velocity_1h", 0.15, 0.05, 0.0, 0.0),
        ("is_weekend", 7.2, 7.2, 0.0, 0.0),
        ("is_night", 0.01, 0.05, 0.0, 0.0),
    ]
    report = DailyReport(
        day=DAY,
        model_version="v2026-01-04",
        threshold=0.8,
        scores=scores(count),
        alerts=alerts(*map(an_alert, range(count))),
        rejected={"amount is negative": 12},
        review_threshold=0.4312,
        review_budget=100,
        past=past(30),
        drift=pl.DataFrame(drift, schema=DRIFT, orient="row"),
    )
    return replace(report, **changes)


def an_empty_report() -> DailyReport:
    return a_report(
        0, scores=scores(0, 0, 0), rejected={}, review_threshold=None, past=past(0), drift=pl.DataFrame(schema=DRIFT)
    )


def pages(report: DailyReport) -> list[str]:
    # reportlab writes the bullet as code 127, which PDF viewers show and pypdf does not translate.
    return [page.extract_text().replace("\x7f", "•") for page in PdfReader(BytesIO(render(report))).pages]


def text(report: DailyReport) -> str:
    """Return the text of all pages on one line, since no test cares where a cell wraps."""
    return re.sub(r"\s+", " ", " ".join(pages(report)))


def test_equal_reports_give_equal_bytes():
    # A rerun of a finished day must change nothing, so the PDF holds no time and no random id.
    assert render(a_report()) == render(a_report())


def test_every_shown_alert_has_its_id():
    shown = text(a_report(25))
    assert all(f"tx-{number:05d}" in shown for number in range(25))


def test_alerts_beyond_the_table_are_counted_with_their_file():
    shown = text(a_report(60))
    assert "tx-00024" in shown
    assert "tx-00025" not in shown
    assert "and 35 more in alerts.jsonl" in shown


def test_alerts_keep_their_rank_order():
    shown = text(a_report(alerts=alerts(*(an_alert(number) for number in (7, 3, 5)))))
    assert shown.index("tx-00007") < shown.index("tx-00003") < shown.index("tx-00005")


def test_no_customer_is_named():
    # A report is mailed and printed; its readers must not learn a customer's identifier.
    shown = text(a_report(25))
    assert "customer-" not in shown
    assert "••••0024" in shown


@pytest.mark.parametrize("identifier", ["", "a", "ab", "1234", "12345678", "customer-00001"])
def test_mask_keeps_length_and_shows_at_most_four_or_half(identifier):
    masked = mask(identifier)
    assert len(masked) == len(identifier)
    assert len(masked.replace("•", "")) <= min(4, len(identifier) / 2)


@pytest.mark.parametrize("merchant", ["<b>Bold</b> & Sons", "</para>", "&amp;", "a < b"])
def test_markup_in_a_name_is_shown_literally(merchant):
    assert merchant in text(a_report(alerts=alerts(an_alert(merchant=merchant))))


def test_markup_in_any_text_from_the_data_is_shown_literally():
    shown = text(
        a_report(
            model_version="v<i>1",
            rejected={"amount < 0 & odd": 1},
            alerts=alerts(an_alert(transaction_id="t<b>1", customer_id="0000<&>9")),
            drift=pl.DataFrame([("a<b", 0.3, 0.05, 0.0, 0.0)], schema=DRIFT, orient="row"),
        )
    )
    assert all(name in shown for name in ("v<i>1", "amount < 0 & odd", "t<b>1", "<&>9", "a<b"))


def test_western_names_are_unchanged():
    name = "Café Müller, Ñandú €"
    assert name in text(a_report(alerts=alerts(an_alert(merchant=name))))


def test_letter_with_combining_accent_is_one_letter():
    assert "Café" in text(a_report(alerts=alerts(an_alert(merchant="Cafe\N{COMBINING ACUTE ACCENT}"))))


@pytest.mark.parametrize("merchant", ["日本カフェ", "Łódź", "\x00\x1b", "😀"])
def test_character_missing_in_the_font_leaves_a_mark_and_note(merchant):
    # A name that loses letters without a mark could be taken for another merchant's.
    shown = text(a_report(alerts=alerts(an_alert(merchant=f"[{merchant}]"))))
    name = re.search(r"\[(.+?)\]", shown)
    assert name is not None
    assert len(name[1]) == len(merchant)
    assert "?" in name[1]
    assert "a character that this report's font lacks" in shown


def test_question_mark_in_a_name_needs_no_note():
    assert "font lacks" not in text(a_report(alerts=alerts(an_alert(merchant="Who?"))))


@pytest.mark.parametrize("long", ["W" * 5_000, "word " * 1_000, "日" * 5_000, "<" * 5_000])
def test_long_texts_from_the_data_are_cut_to_fit(long):
    # reportlab raises an error for a row taller than a page, which would fail the day.
    rows = [an_alert(number, transaction_id=long, merchant=long, customer_id=long) for number in range(25)]
    rejected = {f"{number}{long}": 1 for number in range(30)}
    drift = pl.DataFrame([("merchant_fraud_recency", 0.3, 0.05, 0.0, 0.0)] * 25, schema=DRIFT, orient="row")
    report = a_report(alerts=alerts(*rows), rejected=rejected, model_version=long, drift=drift)
    assert len(pages(report)) <= 3


@pytest.mark.parametrize("count", [0, 1, 10, 25, 500])
def test_report_has_at_most_three_pages(count):
    assert len(pages(a_report(count))) <= 3


def test_every_page_has_its_number_model_and_threshold():
    shown = pages(a_report(25))
    for number, page in enumerate(shown, start=1):
        assert f"Page {number} of {len(shown)}" in page
        assert "scores of 2026-01-31 UTC · model v2026-01-04 · alerts above 0.80" in page


def test_day_without_alerts_offers_the_review_threshold():
    shown = text(a_report(0))
    assert "None of 204 transactions scored above 0.80" in shown
    assert "A threshold of 0.4312 would fill the budget" in shown


def test_few_alerts_are_called_few():
    assert "Only 3 of 207 transactions scored above 0.80" in text(a_report(3))


def test_more_alerts_than_the_budget_are_not_called_few():
    shown = text(a_report(120, review_threshold=0.91))
    assert "120 of 324 transactions scored above 0.80; the review budget is 100" in shown
    assert "Only" not in shown


def test_empty_day_is_still_a_report():
    shown = text(an_empty_report())
    assert "No transaction was scored for this day." in shown
    assert "No alerts." in shown
    assert "No earlier day is stored yet" in shown
    assert "No row was rejected." in shown
    assert "Not measured." in shown


def test_headline_figures_are_sums_of_the_tables():
    shown = text(a_report(past=past(0), alerts=alerts(an_alert(1), an_alert(2, alert_priority="URGENT"))))
    for figure in ("Scored 207", "Alerts (HIGH) 2", "URGENT of these 1", "MEDIUM 4", "Rejections 12"):
        assert figure in shown
    assert "Amount at risk 247" in shown
    assert "Expected loss 222" in shown


def test_wide_figure_is_smaller_and_complete():
    rich = alerts(an_alert(cents=10**17, expected_loss=1e15))
    assert "1,000,000,000,000,000" in text(a_report(alerts=rich))
    assert stringWidth("1,000,000,000,000,000", "Helvetica-Bold", 15) > 75


def test_reasons_have_feature_and_value_or_missing():
    shown = text(a_report(1))
    assert "merchant frauds 30d 7" in shown
    assert "amount zscore missing" in shown


@pytest.mark.parametrize("reasons", [None, []])
def test_alert_without_reasons_is_listed(reasons):
    assert "tx-00009" in text(a_report(alerts=alerts(an_alert(9, reasons=reasons))))


def test_confirmed_share_counts_known_labels_only():
    # Labels come late: an alert without one is neither a hit nor a false alarm.
    shown = text(a_report(past=past(2, alerts=10, labeled=4, confirmed=3)))
    assert "Of 20 earlier alerts, labels are known for 8: 6 were fraud (75%)" in shown
    assert "no label is known yet" in text(a_report(past=past(2, labeled=0, confirmed=0)))


def test_days_older_than_the_chart_do_not_count():
    assert "Of 300 earlier alerts" in text(a_report(past=past(90)))


def test_parts_of_a_day_add_up_to_its_alerts():
    bars = alerts_by_day(past(1, alerts=10, labeled=8, confirmed=6), DAY, 5, days=30, width=500)
    assert {"10", "5"} <= set(labels_of(bars))


def test_day_without_scores_differs_from_one_without_alerts():
    gap = past(5).filter(pl.col("day") != DAY - timedelta(days=2)).with_columns(alerts=0, labeled=0, confirmed=0)
    assert labels_of(alerts_by_day(gap, DAY, 0, days=30, width=500)).count("-") == 1
    assert "A dash: no scores of that day." in text(a_report(past=gap))
    assert "A dash" not in text(a_report(past=past(5)))


def test_alerts_of_another_threshold_are_not_called_high():
    # HIGH is a risk level, above 0.8 whatever the threshold of the day.
    assert "Alerts (HIGH)" in text(a_report())
    assert "Alerts (HIGH)" not in text(a_report(threshold=0.6))


def test_drift_is_written_in_words():
    # Colors do not survive every printer.
    shown = text(a_report())
    assert "amount 0.310 0.050 shifted" in shown
    assert "velocity 1h 0.150 0.050 watch" in shown
    assert "is night 0.010 0.050 stable" in shown


def test_large_psi_that_is_usual_reads_as_usual_with_a_reason():
    shown = text(a_report())
    assert "is weekend 7.200 7.200 as usual" in shown
    assert "As usual: more, but not more than usual (a day is one weekday)." in shown


def test_shading_of_drift_covers_the_verdict_and_no_number():
    report = a_report()
    assert shaded_texts(report, STRONG) == ["shifted"]
    assert shaded_texts(report, WATCH) == ["watch"]


def test_unmeasured_drift_is_not_called_shifted():
    unknown = pl.DataFrame([("amount", float("nan"), 0.0, 0.0, 0.0)], schema=DRIFT, orient="row")
    assert "Not measured." in text(a_report(drift=unknown))


def test_rejections_beyond_the_table_are_counted():
    shown = text(a_report(rejected={f"reason {number:02}": number + 1 for number in range(11)}))
    assert "reason 10 11" in shown
    assert "and 5 more reasons" in shown


@pytest.mark.parametrize("top", [0, 1, 3, 4, 5, 9, 10, 99, 100, 101, 47_660, 10**9])
@pytest.mark.parametrize("scale", [linear, logarithmic])
def test_scale_includes_its_largest_count(scale, top):
    axis = scale(top)
    assert axis.share(0) == 0
    assert 0 <= axis.share(top) <= 1
    assert axis.share(axis.ticks[-1]) == 1
    assert list(axis.ticks) == sorted(set(axis.ticks))
    assert axis.share(1) > 0


def labels_of(group: Group) -> list[str]:
    labels = []
    for shape in group.contents:
        if isinstance(shape, Group):
            labels += labels_of(shape)
        elif isinstance(shape, String):
            labels.append(shape.text)
    return labels


def shaded_texts(report: DailyReport, fill: HexColor) -> list[str]:
    """Return the texts on rectangles of a color on the last page, which has the drift table."""
    rectangles: list[tuple[float, float, float, float]] = []
    color: list[float] = []
    texts = []

    def see_operand(operator: bytes, operands: list[Any], matrix: list[float], _text_matrix: list[float]) -> None:
        if operator == b"rg":
            color[:] = map(float, operands)
        if operator == b"re" and color == pytest.approx(fill.rgb(), abs=1e-4):
            x, y, width, height = map(float, operands)
            left, right = sorted((x + matrix[4], x + matrix[4] + width))
            bottom, top = sorted((y + matrix[5], y + matrix[5] + height))
            rectangles.append((left, bottom, right, top))

    def see_text(text: str, matrix: list[float], text_matrix: list[float], *_: Any) -> None:
        x, y = text_matrix[4] + matrix[4], text_matrix[5] + matrix[5]
        for left, bottom, right, top in rectangles:
            if text.strip() and left <= x <= right and bottom <= y <= top:
                texts.append(text.strip())

    page = PdfReader(BytesIO(render(report))).pages[-1]
    page.extract_text(visitor_operand_before=see_operand, visitor_text=see_text)
    return texts
