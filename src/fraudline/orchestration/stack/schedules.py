"""From schedules to state machines: a schedule sends a message, a pipe invokes a state machine with it."""

from __future__ import annotations

from fraudline.catalog.plan import title
from fraudline.orchestration.stack.intrinsics import Noted, Resource, Resources, Value, attribute, choose, ref, sub
from fraudline.orchestration.stack.parameters import KEY
from fraudline.orchestration.stack.policies import OF_THIS_ACCOUNT, document, encrypt, role, statement
from fraudline.orchestration.step_functions.state_machines import DELIVERIES

_DAY = 86_400
_START = ref("StartMachine")
_BY_STEP_FUNCTIONS = {"training": _START, "daily": choose("Express", ref("DailyMachine"), _START)}
# The STANDARD state machine that StartMachine starts.
_STANDARD = {"training": "TrainingMachine", "daily": "DailyStandardMachine"}


def schedules() -> Resources:
    """Return queues, schedules and pipes."""
    return {
        "ScheduleDeadLetters": _dead_letters("schedule"),
        "RealtimeDeadLetters": _dead_letters("realtime"),
        **{f"{title(workflow)}Queue": _queue(workflow) for workflow in _STANDARD},
        "RealtimeDeadLettersPolicy": _admit_events("RealtimeDeadLetters"),
        "ScheduleRole": _schedule_role(),
        **{f"{title(workflow)}Schedule": _schedule(workflow) for workflow in _STANDARD},
        **{name: resource for workflow in _STANDARD for name, resource in _pipe(workflow).items()},
    }


def _dead_letters(name: str) -> Resource:
    return _sqs(f"{name}-dead-letters", {"MessageRetentionPeriod": 14 * _DAY})


def _queue(workflow: str) -> Resource:
    hidden = Noted(
        "Longer than a state machine that a pipe invokes, and than a day stays claimed by a run that died.", 960
    )
    redrive = {"deadLetterTargetArn": attribute("ScheduleDeadLetters"), "maxReceiveCount": DELIVERIES}
    return _sqs(workflow, {"VisibilityTimeout": hidden, "MessageRetentionPeriod": 4 * _DAY, "RedrivePolicy": redrive})


def _sqs(name: str, properties: dict[str, Value]) -> Resource:
    return {
        "Type": "AWS::SQS::Queue",
        "Properties": {"KmsMasterKeyId": KEY, "QueueName": sub(f"${{Name}}-{name}"), **properties},
    }


def _admit_events(queue: str) -> Resource:
    """Return a queue's policy that lets EventBridge send events that it could not deliver."""
    events = {"Service": "events.amazonaws.com"}
    send = statement("EventsThatReachNoMachine", "sqs:SendMessage", attribute(queue), OF_THIS_ACCOUNT, principal=events)
    return {"Type": "AWS::SQS::QueuePolicy", "Properties": {"Queues": [ref(queue)], "PolicyDocument": document(send)}}


def _schedule_role() -> Resource:
    queues = [attribute(queue) for queue in ("DailyQueue", "ScheduleDeadLetters", "TrainingQueue")]
    statements = [statement("Send", "sqs:SendMessage", queues), encrypt()]
    return role(["scheduler"], "send", statements, condition=OF_THIS_ACCOUNT)


def _schedule(workflow: str) -> Resource:
    name = title(workflow)
    return {
        "Type": "AWS::Scheduler::Schedule",
        "Properties": {
            "Name": sub(f"${{Name}}-{workflow}"),
            "ScheduleExpression": ref(f"{name}Cron"),
            "ScheduleExpressionTimezone": ref("Timezone"),
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": attribute(f"{name}Queue"),
                "RoleArn": attribute("ScheduleRole"),
                "Input": '{"scheduled": "<aws.scheduler.scheduled-time>"}',
                "RetryPolicy": {"MaximumRetryAttempts": 20, "MaximumEventAgeInSeconds": _DAY // 2},
                "DeadLetterConfig": {"Arn": attribute("ScheduleDeadLetters")},
            },
        },
    }


def _pipe(workflow: str) -> Resources:
    name = title(workflow)
    queue = attribute(f"{name}Queue")
    target = choose("Pipelines", ref("StartPipelineMachine"), _BY_STEP_FUNCTIONS[workflow])
    message = (
        f'{{"workflow": "{workflow}", "machine": "${{{_STANDARD[workflow]}}}", "scheduled": <$.body.scheduled>, '
        '"delivery": <$.attributes.ApproximateReceiveCount>}'
    )
    statements = [
        statement("Receive", ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"], queue),
        statement("Invoke", "states:StartSyncExecution", target),
        statement("Decrypt", "kms:Decrypt", KEY),
    ]
    pipe = {
        "Type": "AWS::Pipes::Pipe",
        "Properties": {
            "Name": sub(f"${{Name}}-{workflow}"),
            "RoleArn": attribute(f"{name}PipeRole"),
            "Source": queue,
            "SourceParameters": {"SqsQueueParameters": {"BatchSize": 1}},
            "Target": target,
            "TargetParameters": {
                "StepFunctionStateMachineParameters": Noted(
                    "The pipe waits: a message whose execution fails is delivered again, and set aside in the end.",
                    {"InvocationType": "REQUEST_RESPONSE"},
                ),
                "InputTemplate": sub(message),
            },
            "LogConfiguration": {
                "Level": "ERROR",
                "CloudwatchLogsLogDestination": {"LogGroupArn": attribute("PipesLogs")},
            },
        },
    }
    return {f"{name}PipeRole": role(["pipes"], "pipe", statements, condition=OF_THIS_ACCOUNT), f"{name}Pipe": pipe}
