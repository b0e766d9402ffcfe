"""Dead-letter queues: how many messages they hold, and the way back to their queues.

StartMessageMoveTask moves only what SQS itself set aside from another queue; one task may run per queue
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html).
"""

from __future__ import annotations

import time

from fraudline.runtime import aws

POLL_SECONDS = 2
# Outputs of the stack; only the first holds messages that SQS set aside.
SCHEDULE, REALTIME = "ScheduleDeadLetters", "RealtimeDeadLetters"


def count(queue: str) -> int:
    """Return about how many messages wait in a queue."""
    client = aws.client("sqs")
    url = client.get_queue_url(QueueName=queue.rpartition(":")[2])["QueueUrl"]
    name = "ApproximateNumberOfMessages"
    return int(client.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])


def move(queue: str) -> None:
    """Start to move all messages of a dead-letter queue back to the queues that they came from."""
    aws.client("sqs").start_message_move_task(SourceArn=queue)


def wait(queue: str) -> str:
    """Wait until the last move has ended; return why it failed, or empty if it did not."""
    client = aws.client("sqs")
    while (task := client.list_message_move_tasks(SourceArn=queue)["Results"][0])["Status"] == "RUNNING":
        time.sleep(POLL_SECONDS)
    return "" if task["Status"] == "COMPLETED" else str(task.get("FailureReason") or task["Status"])
