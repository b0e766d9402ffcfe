"""What a person sees of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fraudline.catalog.stage import Stage
from fraudline.catalog.workflow import Execution
from fraudline.orchestration.local.launchers import Finished
from fraudline.orchestration.local.runner import Places

ALERTS_SHOWN = 15


class Terminal:
    """Progress while a workflow runs, and what came of it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._status: Any = None

    def begin(self, execution: Execution, carrier: str) -> None:
        """Head one execution."""
        self._console.print(f"\n[bold]{execution.id}[/bold] in {carrier}")
        self._console.print(f"  {'stage':<22}{'rows':>12}{'seconds':>10}{'cpu':>8}{'peak MB':>9}", style="dim")

    def observe(self, stage: Stage, finished: Finished | None) -> None:
        """Show a stage as it starts, and its figures when it has finished."""
        if self._status:
            self._status.stop()
        if finished is None:
            self._status = self._console.status(stage.name)
            self._status.start()
            return
        rows = "" if finished.rows is None else f"{finished.rows:,}"
        figures = f"{rows:>12}{finished.seconds:>10.1f}{finished.cpu_seconds:>8.1f}{finished.peak_mb:>9,}"
        before = "  [dim]finished before[/dim]" if finished.before else ""
        self._console.print(f"  {stage.name:<22}{figures}{before}", highlight=False)

    def stop(self) -> None:
        """Leave the line, whatever came."""
        if self._status:
            self._status.stop()

    def end(self, summaries: dict[str, Any], places: Places, execution: Execution) -> None:
        """What came out of an execution, and where it lies."""
        show = {"training": self._trained, "daily": self._detected, "backfill": self._backfilled}
        show[execution.workflow](summaries, places, execution)

    def _backfilled(self, summaries: dict[str, Any], places: Places, execution: Execution) -> None:
        history = summaries["backfill-history"]["history"]
        self._console.print(f"  {history['rows']['events']:,} transactions in the history", highlight=False)
        self._path("history", places.root / "history" / history["contract"] / f"before={history['before']}")

    def _trained(self, summaries: dict[str, Any], places: Places, execution: Execution) -> None:
        """The verdict, the metrics and where the model lies."""
        evaluation, deployment = summaries["evaluate-model"], summaries["deploy-model"]
        metrics = evaluation["metrics"]
        shown = ("average_precision", "card_precision_at_100", "precision", "recall", "auc")
        self._console.print("  " + ", ".join(f"{name} {metrics[name]:.3f}" for name in shown), highlight=False)
        self._console.print(f"  {deployment['model_version']} is the champion: {'; '.join(evaluation['reasons'])}")
        self._path("metrics", places.root / "executions" / execution.id / "Evaluation" / "summary.json")
        self._path("model", places.root / "models" / deployment["model_version"] / "model.tar.gz")

    def _detected(self, summaries: dict[str, Any], places: Places, execution: Execution) -> None:
        """The day's alerts and where the report lies."""
        scoring, results = summaries["fraud-scoring"], summaries["alert-and-store"]
        prefix = places.root / "executions" / execution.id
        alerts = [
            json.loads(line) for line in (prefix / "Results" / "results" / "alerts.jsonl").read_text().splitlines()
        ]
        self._console.print(_alerts_table(alerts, f"{len(alerts)} alerts on {summaries['etl']['date']}"))
        if len(alerts) > ALERTS_SHOWN:
            self._console.print(f"  and {len(alerts) - ALERTS_SHOWN} more")
        counts = ", ".join(f"{scoring[f'{level}_risk_count']:,} {level}" for level in ("high", "medium", "low"))
        self._console.print(f"  scored with {scoring['model_version']}: {counts}", highlight=False)
        self._path("alerts", prefix / "Results" / "results" / "alerts.jsonl")
        report = Path(results["report_s3_path"]).name
        self._path("report", places.root / "reports" / f"date={summaries['etl']['date']}" / report)

    def _path(self, name: str, path: Path) -> None:
        self._console.print(f"  {name:<8}{path}", highlight=False, soft_wrap=True)


def _alerts_table(alerts: list[dict[str, Any]], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("transaction", "merchant", "amount", "score", "priority", "because of"):
        table.add_column(column, justify="right" if column in ("amount", "score") else "left")
    for alert in alerts[:ALERTS_SHOWN]:
        table.add_row(
            alert["transaction_id"],
            alert["merchant"],
            f"{alert['amount']:,.2f}",
            f"{alert['fraud_score']:.3f}",
            alert["alert_priority"],
            ", ".join(reason["feature"] for reason in alert["reasons"] or []),
        )
    return table
