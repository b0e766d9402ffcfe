"""What an operator asks first: the champion, the last day, executions, dead letters and alarms."""

from __future__ import annotations

from collections.abc import Iterator

from fraudline.catalog.workflow import PAST
from fraudline.orchestration.operations import alarms, dead_letters, executions, models, prefixes
from fraudline.orchestration.operations.stack import Stack

STATE_MACHINES = ("training", "daily_standard", "backfill", "rollback")  # EXPRESS keeps no list of executions
EXECUTIONS = 3


def lines(stack: Stack) -> Iterator[str]:
    """Yield the lines of a stack's status."""
    root = stack.output("Root")
    yield f"stack       {stack.name}"
    yield f"champion    {_champion(root)}"
    days = prefixes.names(f"{root}/{PAST.template}")
    yield f"last day    {days[-1].removeprefix('date=') if days else 'none was scored yet'}"
    for name in STATE_MACHINES:
        for execution in executions.last(stack.state_machine(name), EXECUTIONS):
            yield f"execution   {execution['status']:<10}{execution['startDate']:%Y-%m-%d %H:%M}  {execution['name']}"
    for queue in (dead_letters.SCHEDULE, dead_letters.REALTIME):
        yield f"messages    {dead_letters.count(stack.output(queue))} in {queue}"
    ringing = alarms.ringing(stack.name)
    for alarm in ringing:
        yield f"ALARM       {alarm.name} since {alarm.since:%Y-%m-%d %H:%M}: {alarm.description}"
    if not ringing:
        yield "alarms      none is in the state ALARM"


def _champion(root: str) -> str:
    champion = models.champion(root)
    if champion is None:
        return "none yet"
    return f"{champion['model_version']}, deployed {champion['deployed_at']} by {champion['execution']}"
