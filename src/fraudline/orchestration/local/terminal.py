"""What a person sees of a run: its progress, and its results."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fraudline.catalog.plan import plan
from fraudline.catalog.risk import BOUNDS, HIGH, MEDIUM
from fraudline.catalog.stage import SUMMARY_FILE, Stage
from fraudline.catalog.templates import resolve
from fraudline.catalog.workflow import MODELS, REPORT, Execution
from fraudline.orchestration.local.launchers import Finished
from fraudline.orchestration.local.runner import Folders

ALERTS_SHOWN = 15
METRICS_SHOWN = ("average_precision", "card_precision_at_100", "precision", "recall", "auc")

View = Callable[[dict[str, Any], Folders, Execution], None]


class Terminal:
    """Progress while a workflow runs, and its results at the end."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._status: Any = None
        # By stage, so that every workflow shows what its stages have to show.
        self._views: Mapping[str, View] = {
            "evaluate-model": self._show_evaluation,
            "deploy-model": self._show_champion,
            "backfill-history": self._show_history,
            "alert-and-store": self._show_alerts,
        }

    def begin(self, execution: Execution, launcher: str) -> None:
        """Print the heading of an execution."""
        self._console.print(f"\n[bold]{execution.id}[/bold] in {launcher}")
        self._console.print(f"  {'stage':<22}{'rows':>12}{'seconds':>10}{'cpu':>8}{'peak MB':>9}", style="dim")

    def observe(self, stage: Stage, finished: Finished | None) -> None:
        """Show that a stage runs, or print its measurements when it has finished."""
        self.stop()
        if finished is None:
            self._status = self._console.status(stage.name)
            self._status.start()
            return
        rows = "" if finished.rows is None else f"{finished.rows:,}"
        figures = f"{rows:>12}{finished.seconds:>10.1f}{finished.cpu_seconds:>8.1f}{finished.peak_mb:>9,}"
        note = "  [dim]finished before[/dim]" if finished.skipped else ""
        self._console.print(f"  {stage.name:<22}{figures}{note}", highlight=False)

    def stop(self) -> None:
        """Remove the line of the stage that runs, even after an error."""
        if self._status:
            self._status.stop()

    def end(self, summaries: dict[str, Any], folders: Folders, execution: Execution) -> None:
        """Print the results of an execution, and where they lie."""
        for stage in summaries:
            if stage in self._views:
                self._views[stage](summaries, folders, execution)

    def _show_evaluation(self, summaries: dict[str, Any], folders: Folders, execution: Execution) -> None:
        evaluation = summaries["evaluate-model"]
        metrics = (f"{name} {evaluation['metrics'][name]:.3f}" for name in METRICS_SHOWN)
        self._line(", ".join(metrics))
        self._line(f"gate: {'; '.join(evaluation['reasons'])}")
        self._path("metrics", _summary_file(execution, folders, "evaluate-model"))

    def _show_champion(self, summaries: dict[str, Any], folders: Folders, execution: Execution) -> None:
        version = summaries["deploy-model"]["model_version"]
        champion = (json.loads(folders.champion.read_text())["champion"] or {}).get("model_version", "no model")
        if champion == version:
            self._line(f"{version} is the champion")
        else:  # another execution has moved the champion since this one finished
            self._line(f"{version} was deployed before; the champion is {champion} now")
        self._path("model", folders.root / resolve(MODELS.template, execution.as_of) / "model.tar.gz")

    def _show_history(self, summaries: dict[str, Any], folders: Folders, execution: Execution) -> None:
        history = summaries["backfill-history"]["history"]
        self._line(f"{history['rows']['events']:,} transactions in the history")
        self._path("history", folders.root / "history" / history["contract"] / f"before={history['before']}")

    def _show_alerts(self, summaries: dict[str, Any], folders: Folders, execution: Execution) -> None:
        scoring, threshold = summaries["fraud-scoring"], summaries["filter-high-risk"]["threshold"]
        alerts_file = _summary_file(execution, folders, "alert-and-store").parent / "results" / "alerts.jsonl"
        alerts = [json.loads(line) for line in alerts_file.read_text().splitlines()]
        self._line(
            f"{len(alerts):,} alerts on {execution.day}: transactions with a score above the threshold {threshold}"
        )
        if alerts:
            self._console.print(_alerts_table(alerts))
        if len(alerts) > ALERTS_SHOWN:
            self._line(f"and {len(alerts) - ALERTS_SHOWN:,} more")
        self._line(f"scored with {scoring['model_version']}; all scores by risk level: {_risk_levels(scoring)}")
        self._path("alerts", alerts_file)
        report = Path(summaries["alert-and-store"]["report_s3_path"]).name
        self._path("report", folders.root / resolve(REPORT.template, execution.as_of) / report)

    def _line(self, text: str) -> None:
        self._console.print(f"  {text}", highlight=False, soft_wrap=True)

    def _path(self, name: str, path: Path) -> None:
        self._line(f"{name:<8}{path}")


def _summary_file(execution: Execution, folders: Folders, stage: str) -> Path:
    job = next(job for job in plan(execution.workflow) if job.stage.name == stage)
    return folders.root / resolve(job.prefix, execution.as_of) / SUMMARY_FILE


def _risk_levels(scoring: Mapping[str, Any]) -> str:
    """Return the counts of the risk levels with their bounds, which the threshold for alerts does not move."""
    high, medium, low = (f"{scoring[f'{level}_risk_count']:,}" for level in ("high", "medium", "low"))
    return f"{high} HIGH (above {BOUNDS[HIGH]}), {medium} MEDIUM (above {BOUNDS[MEDIUM]}), {low} LOW"


def _alerts_table(alerts: list[dict[str, Any]]) -> Table:
    table = Table()
    for column in ("transaction", "merchant", "amount", "score", "priority", "reasons"):
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
