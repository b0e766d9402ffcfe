"""Alarms, all of which notify operations."""

from __future__ import annotations

from fraudline.catalog.stage import Alarm
from fraudline.catalog.stages import STAGES
from fraudline.orchestration.stack.intrinsics import Resource, Resources, Value, attribute, ref
from fraudline.orchestration.stack.machines import MACHINES

_DAY, _HOUR, _MINUTES = 86_400, 3_600, 300
_SIDES = {"above": ("Maximum", "GreaterThanThreshold"), "below": ("Minimum", "LessThanThreshold")}


def alarms() -> Resources:
    """Return the alarms on metrics of stages, and on the services that run them."""
    return {**_metric_alarms(), **_platform_alarms()}


def _metric_alarms() -> Resources:
    return {
        f"{metric.alarm.name}Alarm": _metric_alarm(stage.name, metric.name, metric.alarm)
        for stage in STAGES.values()
        for metric in stage.metrics
        if metric.alarm
    }


def _metric_alarm(stage: str, metric: str, alarm: Alarm) -> Resource:
    statistic, comparison = _SIDES[alarm.breach]
    return _alarm(
        alarm.description,
        _metric("Fraudline", metric, Stage=stage),
        statistic,
        alarm.threshold,
        period=_DAY,
        comparison=comparison,
    )


def _platform_alarms() -> Resources:
    rejected = _metric("Fraudline", "runs_rejected", Workflow="daily")
    errors = _metric("AWS/SageMaker", "Invocation5XXErrors", EndpointName=ref("EndpointName"), VariantName="model")
    return {
        "DailyRunLateAlarm": _alarm(
            "No day was scored within 26 hours",
            _metric("Fraudline", "scored", Stage="alert-and-store"),
            "SampleCount",
            1,
            period=_HOUR,
            periods=26,
            comparison="LessThanThreshold",
            missing="breaching",
        ),
        "RunRejectedAlarm": _alarm("A day's input was rejected; the operations topic has the reason", rejected, "Sum"),
        "EndpointErrorsAlarm": {
            **_alarm("The endpoint failed on more than 10 requests in 5 minutes", errors, "Sum", 10),
            "Condition": "HasEndpoint",
        },
        "ScheduleDeadLettersAlarm": _waiting(
            "ScheduleDeadLetters", "A schedule's message failed three times and was set aside"
        ),
        "RealtimeDeadLettersAlarm": _waiting("RealtimeDeadLetters", "A transaction could not be scored in real time"),
        # A metric math alarm holds at most 10 metrics, so the two kinds of state machine have an alarm each.
        "ExecutionsFailedAlarm": _executions("STANDARD", "ExecutionsFailed", "failed"),
        "ExecutionsTimedOutAlarm": _executions("STANDARD", "ExecutionsTimedOut", "timed out"),
        "ExpressExecutionsFailedAlarm": _executions("EXPRESS", "ExecutionsFailed", "failed"),
        "ExpressExecutionsTimedOutAlarm": _executions("EXPRESS", "ExecutionsTimedOut", "timed out"),
    }


def _alarm(
    description: str,
    metric: dict[str, Value],
    statistic: str,
    threshold: float = 0,
    *,
    period: int = _MINUTES,
    periods: int = 1,
    comparison: str = "GreaterThanThreshold",
    missing: str = "notBreaching",
) -> Resource:
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmDescription": description,
            **metric,
            "Statistic": statistic,
            "Period": period,
            "EvaluationPeriods": periods,
            "ComparisonOperator": comparison,
            "Threshold": threshold,
            "TreatMissingData": missing,
            "AlarmActions": [ref("OperationsTopic")],
        },
    }


def _metric(namespace: str, name: str, **dimensions: Value) -> dict[str, Value]:
    return {
        "Namespace": namespace,
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
    }


def _waiting(queue: str, description: str) -> Resource:
    metric = _metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", QueueName=attribute(queue, "QueueName"))
    return _alarm(description, metric, "Maximum")


def _executions(kind: str, metric: str, ended: str) -> Resource:
    """Return an alarm on the sum over all state machines of a kind."""
    total = {"Id": "all", "Expression": "SUM(METRICS())", "Label": "executions", "ReturnData": True}
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmDescription": f"An execution of a {kind} state machine {ended}",
            "EvaluationPeriods": 1,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 0,
            "TreatMissingData": "notBreaching",
            "AlarmActions": [ref("OperationsTopic")],
            "Metrics": [
                total,
                *(
                    {
                        "Id": machine.name,
                        "ReturnData": False,
                        "MetricStat": {
                            "Metric": _metric("AWS/States", metric, StateMachineArn=ref(machine.logical_id)),
                            "Period": _MINUTES,
                            "Stat": "Sum",
                        },
                    }
                    for machine in MACHINES
                    if machine.kind == kind
                ),
            ],
        },
    }
