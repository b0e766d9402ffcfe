"""Each command of ``fraudline aws`` as a user types it, against a deployed stack whose jobs end as a test says."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import boto3
import pytest

from fraudline import cli
from fraudline.catalog.exit_codes import ExitCode
from fraudline.catalog.plan import plan
from fraudline.orchestration.operations import dead_letters, executions
from tests.aws.engine import Engine, drain, queue_url
from tests.aws.jobs import Jobs, Outcome, create_glue_job, jobs

# moto's server leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:.*unclosed")

# The script or stage of each job, in order.
SCRIPTS = {"data-extraction": "fraud_data_extract", "feature-engineering": "fraud_feature_eng"}
REJECTED = Outcome("InputRejected: channel 'raw': nothing at 's3://…'", "AlgorithmError: exit code: 2")
SCHEDULED = '{"scheduled": "2026-05-31T06:00:00Z"}'


@dataclass
class Operator:
    """A user at a terminal.

    Attributes:
        cloud: the AWS in which the stack runs.
        outputs: the stack's outputs.
        jobs: the jobs that ran; every job succeeds unless a test says otherwise.
        capture: what the terminal shows.
    """

    cloud: Engine
    outputs: dict[str, str]
    jobs: Jobs
    capture: pytest.CaptureFixture[str]

    def run(self, command: str) -> tuple[int, str]:
        """Run a command; return its exit code, and all that it showed."""
        code = cli.main(["aws", *command.split()])
        shown = self.capture.readouterr()
        return code, shown.out + shown.err

    def executions(self, state_machine: str) -> list[dict[str, Any]]:
        """Return the ended executions of a state machine."""
        arn = self.outputs[f"{state_machine}Machine"]
        return [self.cloud.wait_for(execution["executionArn"]) for execution in self.cloud.executions(arn)]

    def deployed(self, *versions: str) -> None:
        """Write to S3 what trainings leave that deploy these models; the last one is the champion."""
        client, bucket = boto3.client("s3"), self.outputs["Root"].removeprefix("s3://")
        for version in versions:
            verdict = f"executions/training-{version[1:]}/Evaluation/evaluation/verdict.json"
            for key in (f"models/{version}/model.tar.gz", verdict):
                client.put_object(Bucket=bucket, Key=key, Body=b"{}")
        champion = {"model_version": versions[-1], "deployed_at": "2026-05-24T07:00:00+00:00", "execution": "training"}
        body = json.dumps({"champion": champion})
        client.put_object(Bucket=bucket, Key="champion/current.json", Body=body.encode())


@pytest.fixture(scope="module")
def outputs(deployed: Callable[..., dict[str, str]], cloud: Engine) -> dict[str, str]:
    outputs = deployed()
    for job in ("DataExtractJob", "FeatureEngJob"):
        create_glue_job(cloud.recorded[job])
    return outputs


@pytest.fixture
def operator(
    cloud: Engine,
    outputs: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Operator]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(executions, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(dead_letters, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(logging.getLogger("werkzeug"), "disabled", True)  # the server's own lines
    with jobs(tmp_path, {}) as running:
        for workflow in ("training", "daily", "backfill", "deployment"):
            for job in plan(workflow):
                name = SCRIPTS.get(job.stage.name, job.stage.name)
                verdict = "deploy_recommended=true: better" if name == "evaluate-model" else ""
                running.outcomes[name] = [Outcome(verdict) for _ in range(9)]
        capsys.readouterr()
        yield Operator(cloud, outputs, running, capsys)


# Executions


@pytest.mark.parametrize(
    ("command", "state_machine", "workflow"),
    [
        ("rerun --as-of 2026-06-01 --wait", "DailyStandard", "daily"),
        ("retrain --as-of 2026-05-31 --wait", "Training", "training"),
        ("backfill --as-of 2026-06-01 --wait", "Backfill", "backfill"),
    ],
)
def test_a_command_runs_its_workflow_and_replaces(operator: Operator, command: str, state_machine: str, workflow: str):
    code, shown = operator.run(command)
    assert code == ExitCode.OK, shown
    assert operator.jobs.ran == [SCRIPTS.get(job.stage.name, job.stage.name) for job in plan(workflow)]
    execution = operator.executions(state_machine)[-1]
    as_of = command.split()[2]
    assert json.loads(execution["input"]) == {"as_of": as_of, "replace": "true"}
    assert execution["executionArn"] in shown
    assert f"{execution['name']}: SUCCEEDED" in shown
    assert execution["name"].startswith(f"{workflow}-{as_of}-")  # the schedule's own execution has the plain name


def test_missed_days_are_scored_in_order_one_after_the_other(operator: Operator):
    code, _ = operator.run("rerun --as-of 2026-07-01 --until 2026-07-03 --wait --set threshold=0.9")
    assert code == ExitCode.OK
    ended = [it for it in operator.executions("DailyStandard") if it["name"].startswith("daily-2026-07")]
    contents = [json.loads(execution["input"]) for execution in ended]
    assert [content["as_of"] for content in contents] == ["2026-07-01", "2026-07-02", "2026-07-03"]
    assert {content["threshold"] for content in contents} == {"0.9"}
    assert all(before["stopDate"] <= after["startDate"] for before, after in pairwise(ended))


def test_a_day_that_fails_stops_the_days_after_it(operator: Operator):
    operator.jobs.outcomes["etl"] = [REJECTED]
    code, shown = operator.run("rerun --as-of 2026-08-01 --until 2026-08-02")
    assert code == ExitCode.INTERNAL_ERROR
    assert "FAILED: InputRejected: InputRejected: channel 'raw': nothing at" in shown
    assert "daily-2026-08-02" not in shown
    assert operator.jobs.ran == ["etl"]


def test_a_day_that_is_running_is_not_started_twice(operator: Operator):
    client, arn = boto3.client("stepfunctions"), operator.outputs["DailyStandardMachine"]
    waits = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 60, "End": True}}}
    definition = client.describe_state_machine(stateMachineArn=arn)["definition"]
    client.update_state_machine(stateMachineArn=arn, definition=json.dumps(waits))
    running = client.start_execution(stateMachineArn=arn, name="daily-2026-09-01", input="{}")["executionArn"]
    try:
        code, shown = operator.run("rerun --as-of 2026-09-01")
    finally:
        client.stop_execution(executionArn=running)
        client.update_state_machine(stateMachineArn=arn, definition=definition)
    assert code == ExitCode.INVALID_INPUT
    assert f"aws stepfunctions stop-execution --execution-arn {running}" in shown


@pytest.mark.parametrize("command", ["rerun", "retrain", "backfill"])
def test_a_dry_run_starts_nothing(operator: Operator, command: str):
    code, shown = operator.run(f"{command} --as-of 2026-10-01 --dry-run")
    assert code == ExitCode.OK
    assert '{"as_of": "2026-10-01", "replace": "true"}' in shown
    assert not operator.jobs.ran


# Models


def test_a_rollback_deploys_the_model_before_the_champion(operator: Operator):
    operator.deployed("v2026-05-10", "v2026-05-17", "v2026-05-24")
    code, shown = operator.run("rollback --wait")
    assert code == ExitCode.OK, shown
    assert operator.jobs.ran == ["deploy-model"]
    assert json.loads(operator.executions("Rollback")[-1]["input"]) == {"as_of": "2026-05-17"}
    names = boto3.client("sagemaker").list_processing_jobs(NameContains="deploy-model-2026-05-17")
    (job,) = names["ProcessingJobSummaries"]
    request = boto3.client("sagemaker").describe_processing_job(ProcessingJobName=job["ProcessingJobName"])
    (model,) = request["ProcessingInputs"]
    assert model["S3Input"]["S3Uri"] == f"{operator.outputs['Root']}/models/v2026-05-17/"


def test_a_rollback_to_a_named_model(operator: Operator):
    operator.deployed("v2026-05-10", "v2026-05-17", "v2026-05-24")
    code, shown = operator.run("rollback --to v2026-05-10 --dry-run")
    assert code == ExitCode.OK
    assert '{"as_of": "2026-05-10"}' in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--to v2026-01-01", "no such model was deployed; there are v2026-05-10, v2026-05-17, v2026-05-24"),
        ("--to v2026-05-24", "it is the champion already"),
    ],
)
def test_a_model_that_cannot_be_restored_is_refused(operator: Operator, options: str, message: str):
    operator.deployed("v2026-05-10", "v2026-05-17", "v2026-05-24")
    code, shown = operator.run(f"rollback {options}")
    assert code == ExitCode.INVALID_INPUT
    assert message in shown


def test_a_model_whose_verdict_expired_has_to_be_trained_again(operator: Operator):
    operator.deployed("v2026-05-17", "v2026-05-24")
    bucket = operator.outputs["Root"].removeprefix("s3://")
    key = "executions/training-2026-05-17/Evaluation/evaluation/verdict.json"
    boto3.client("s3").delete_object(Bucket=bucket, Key=key)
    code, shown = operator.run("rollback --to v2026-05-17")
    assert code == ExitCode.INVALID_INPUT
    assert "fraudline aws retrain --as-of 2026-05-17" in shown


# Dead letters


def test_dead_letters_go_back_to_the_queue_they_came_from(operator: Operator):
    sqs, name = boto3.client("sqs"), "fraud-training"
    source = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    sqs.send_message(QueueUrl=source, MessageBody=SCHEDULED)
    for _ in range(4):  # the fourth receipt would be one too many
        for message in sqs.receive_message(QueueUrl=source).get("Messages", []):
            sqs.change_message_visibility(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert operator.run("redrive --dry-run") == (0, "1 messages in ScheduleDeadLetters would be moved\n")
    code, shown = operator.run("redrive --wait")
    assert code == ExitCode.OK, shown
    assert [message["Body"] for message in drain(source)] == [SCHEDULED]
    assert operator.run("redrive") == (0, "0 messages in ScheduleDeadLetters\n")


def test_a_dead_letter_that_reached_no_queue_names_the_way_out(operator: Operator):
    """SQS moves back only what it set aside itself; the scheduler sends what it could not deliver directly."""
    queue = queue_url(operator.outputs["ScheduleDeadLetters"])
    boto3.client("sqs").send_message(QueueUrl=queue, MessageBody=SCHEDULED)
    code, shown = operator.run("redrive --wait")
    drain(queue)
    assert code == ExitCode.INVALID_INPUT
    assert "CouldNotDetermineMessageSource" in shown
    assert "fraudline aws rerun" in shown


# Status


def test_the_status_shows_champion_day_executions_letters_and_alarms(operator: Operator):
    operator.deployed("v2026-05-24")
    bucket = operator.outputs["Root"].removeprefix("s3://")
    boto3.client("s3").put_object(Bucket=bucket, Key="scores/date=2026-05-31/manifest.json", Body=b"{}")
    operator.run("backfill --as-of 2026-06-05 --wait")
    watch = boto3.client("cloudwatch")
    for name in ("fraud-stack-DriftAlarm-1ABC", "other-stack-DriftAlarm-2DEF"):
        watch.put_metric_alarm(
            AlarmName=name, AlarmDescription="A feature drifted", Namespace="Fraudline", MetricName="drift", Period=60,
            Statistic="Maximum", EvaluationPeriods=1, ComparisonOperator="GreaterThanThreshold", Threshold=0,
        )  # fmt: skip
    assert "alarms      none is in the state ALARM" in operator.run("status")[1]
    for name in ("fraud-stack-DriftAlarm-1ABC", "other-stack-DriftAlarm-2DEF"):
        watch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    code, shown = operator.run("status")
    assert code == ExitCode.OK
    assert "champion    v2026-05-24, deployed 2026-05-24T07:00:00+00:00 by training" in shown
    assert "last day    2026-05-31" in shown
    assert "SUCCEEDED" in next(line for line in shown.splitlines() if "backfill-2026-06-05-" in line)
    assert "messages    0 in ScheduleDeadLetters" in shown
    assert [line.partition(" since")[0] for line in shown.splitlines() if "ALARM" in line] == ["ALARM       DriftAlarm"]


# What a user mistypes


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("rerun", "--as-of"),
        ("rerun --as-of yesterday", "expected a date such as 2026-02-01, got 'yesterday'"),
        ("rerun --as-of 2026-06-02 --until 2026-06-01", "--until 2026-06-01 lies before --as-of 2026-06-02"),
        ("rerun --as-of 2026-06-01 --set thresold=0.9", "--set thresold: no stage of daily has it; they have batch,"),
        ("retrain --as-of 2026-06-01 --set rounds=many", "--set rounds: "),
        ("repeat --as-of 2026-06-01", "invalid choice: 'repeat'"),
        ("status --name typo", "stack 'typo-stack' does not exist in us-east-1; create it with make deploy"),
        ("status --settings missing.toml", "missing.toml"),
    ],
)
def test_a_wrong_command_is_answered_with_a_sentence(operator: Operator, command: str, message: str):
    code, shown = operator.run(command)
    assert code == ExitCode.INVALID_INPUT
    assert message in shown
    assert len(shown.splitlines()) == 1
    assert not operator.jobs.ran


def test_a_stack_of_an_earlier_version_has_to_be_deployed_again(operator: Operator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "fraudline.orchestration.stack.cloud.Cloud.outputs", lambda *_: {"Root": operator.outputs["Root"]}
    )
    code, shown = operator.run("backfill --as-of 2026-06-01")
    assert code == ExitCode.INVALID_INPUT
    assert "has no output BackfillMachine: an earlier version deployed it; run make deploy" in shown
