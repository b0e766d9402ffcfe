"""The stack fits what it deploys: machines, functions, rights, alarms and the SageMaker pipelines."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from fraudline.catalog.stages import STAGES
from fraudline.catalog.workflow import HISTORY_BEFORE_AS_OF, LABELS, RAW, WORKFLOWS, Step, inputs, outputs
from fraudline.entrypoints import realtime
from fraudline.orchestration.step_functions.state_machines import SETTINGS
from fraudline.runtime.channels import MANIFEST_FILE
from tests.wiring import aws

REPOSITORY = Path(__file__).parents[2]
STEPS = [(workflow, step) for workflow in ("training", "daily") for step in WORKFLOWS[workflow].steps]
each_step = pytest.mark.parametrize(("workflow", "step"), STEPS, ids=[step.stage.name for _, step in STEPS])
each_machine = pytest.mark.parametrize("name", aws.MACHINES)

# What a stage asks of AWS beside reading and writing its channels. S3's part is reckoned from the channels.
CALLS = {
    "deploy-model": {
        *(f"sagemaker:Create{what}" for what in ("Model", "EndpointConfig", "Endpoint")),
        *(f"sagemaker:Describe{what}" for what in ("Model", "EndpointConfig", "Endpoint")),
        "sagemaker:UpdateEndpoint",
        "sagemaker:DeleteEndpoint",
        "sagemaker:InvokeEndpoint",  # the smoke test
        "iam:PassRole",  # the endpoint's
    },
    "fraud-scoring": {"sagemaker:InvokeEndpoint"},
    "alert-and-store": {
        *(f"dynamodb:{name}" for name in ("BatchGetItem", "BatchWriteItem", "PutItem", "DeleteItem")),
        "sns:Publish",
        "states:StartExecution",
    },
}
# What a task needs beyond the right of its own name, as Step Functions' documents have it.
SYNC = {
    "glue": {"glue:GetJobRun", "glue:GetJobRuns", "glue:BatchStopJobRun"},
    "sagemaker": {"sagemaker:AddTags", "iam:PassRole", "events:PutTargets", "events:PutRule", "events:DescribeRule"},
}
RIGHTS = {"lambda:Invoke": "lambda:InvokeFunction"}
# Who writes to an encrypted topic, queue, table or bucket needs its key.
KEY_USE = {"kms:Decrypt", "kms:GenerateDataKey"}
SAGEMAKER_KEY_USE = {"kms:CreateGrant", "kms:DescribeKey"}


# Machines


@each_machine
def test_a_machine_gets_a_value_for_every_placeholder_and_no_other(name: str):
    """A placeholder that nobody fills in stays in the definition as it stands."""
    named = set(re.findall(r"\$\{(\w+)\}", aws.MACHINES[name].read_text()))
    given = set(aws.made_as(name).get("DefinitionSubstitutions", ()))
    assert given == named


@each_machine
def test_no_value_breaks_the_text_that_it_is_filled_into(name: str):
    """A definition is a text to the stack: a quotation mark in a value would end one of its strings."""
    for value in aws.made_as(name).get("DefinitionSubstitutions", {}).values():
        assert "Fn::Base64" in value or '"' not in aws.text(value)


def test_the_stack_makes_every_machine_there_is():
    made = aws.resources("StepFunctions::StateMachine").values()
    files = [aws.text(machine["DefinitionS3Location"]["Key"]).rpartition("/")[2] for machine in made]
    assert sorted(files) == sorted(path.name for path in aws.MACHINES.values())


def used(name: str) -> set[str]:
    """The rights without which a machine's tasks fail."""
    rights: set[str] = set()
    for task in aws.tasks(aws.machine(name)).values():
        service, asked, waits = aws.action(task["Resource"])
        right = f"{'states' if service == 'stepfunctions' else service}:{aws.operation(service, asked).name}"
        rights.add(RIGHTS.get(right, right))
        if waits == "sync":
            rights |= SYNC[service]
            if service == "sagemaker":
                kind = asked.removeprefix("create")
                rights |= {f"sagemaker:Describe{kind}", f"sagemaker:Stop{kind}"} | SAGEMAKER_KEY_USE
        if service in ("sns", "sqs", "dynamodb", "s3"):
            rights |= KEY_USE
    return rights


@each_machine
def test_a_machine_may_do_what_it_does_and_nothing_else(name: str):
    role = aws.text(aws.made_as(name)["RoleArn"]).removeprefix("${").removesuffix(".Arn}")
    assert aws.allowed(role) == used(name)


@each_machine
def test_a_machine_reaches_what_it_names_and_nothing_else(name: str):
    """Functions, topics, tables and roles: what the definition is given, and its role allows."""
    role = aws.text(aws.made_as(name)["RoleArn"]).removeprefix("${").removesuffix(".Arn}")
    kinds = ("Lambda::Function", "SNS::Topic", "SQS::Queue", "DynamoDB::Table", "IAM::Role", "Glue::Job")
    known = {logical for kind in kinds for logical in aws.resources(kind)}
    mentioned = set(re.findall(r"\$\{(\w+)\}", aws.MACHINES[name].read_text())) & known
    reached = {
        found
        for statement in aws.statements(role)
        for resource in aws.listed(statement["Resource"])
        for found in re.findall(r"\$\{(\w+?)(?:\.\w+)?\}", aws.text(resource))
        if found in known
    }
    assert reached == mentioned - set(SETTINGS.values())  # which it only passes on to stages


@pytest.mark.parametrize("role", aws.resources("IAM::Role"))
def test_no_role_may_do_everything_or_anywhere_what_has_a_place(role: str):
    for statement in aws.statements(role):
        assert not [action for action in aws.listed(statement["Action"]) if "*" in action]
        if "*" in [aws.text(resource) for resource in aws.listed(statement["Resource"])]:
            assert aws.listed(statement["Action"]) == ["cloudwatch:PutMetricData"]  # has no resource, but a namespace
            assert statement["Condition"]


# Stages


def wild(place: str) -> str:
    """An address for any day; of histories a stage also looks at the one before the one that it reads."""
    pattern = re.sub(r"\{\w+\}", "*", place)
    return "history/*" if pattern.startswith("history/") else f"{pattern}*"


def granted(role: str, action: str, bucket: str) -> set[str]:
    """Below which prefixes of a bucket a role may do something."""
    found = set()
    for statement in aws.statements(role):
        if action in aws.listed(statement["Action"]):
            resources = [aws.text(resource) for resource in aws.listed(statement["Resource"])]
            if action == "s3:ListBucket":
                if resources == [f"${{{bucket}.Arn}}"]:
                    found |= set(statement["Condition"]["StringLike"]["s3:prefix"])
            else:
                below = f"${{{bucket}.Arn}}/"
                found |= {place.removeprefix(below) for place in resources if place.startswith(below)}
    return found


@each_step
def test_a_stage_reads_and_writes_its_channels_and_nothing_else(workflow: str, step: Step):
    reads, writes = inputs(workflow, step), outputs(workflow, step)
    deliveries = {wild(place) for place in reads.values() if place in (RAW.template, LABELS.template)}
    read = {wild(place) for place in reads.values()} - deliveries
    # A stage's own outputs lie below its summary's prefix.
    written = {wild(place) for name, place in writes.items() if name in step.writes or name == "summary"}
    role = f"{step.stage.step}Role"
    for action in ("s3:GetObject", "s3:ListBucket"):
        assert granted(role, action, "DataBucket") == deliveries
        assert granted(role, action, "ResultsBucket") == read | written
    for action in ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"):
        assert granted(role, action, "ResultsBucket") == written
        assert not granted(role, action, "DataBucket")


@each_step
def test_a_stage_may_ask_of_aws_what_it_asks_and_nothing_else(workflow: str, step: Step):
    allowed = {action for action in aws.allowed(f"{step.stage.step}Role") if not action.startswith("s3:")}
    assert allowed == CALLS.get(step.stage.name, set())


@each_step
def test_a_role_is_taken_by_what_runs_its_stage_alone(workflow: str, step: Step):
    trust = aws.resources("IAM::Role")[f"{step.stage.step}Role"]["AssumeRolePolicyDocument"]["Statement"]
    services = {
        service.removesuffix(".amazonaws.com") for each in trust for service in aws.listed(each["Principal"]["Service"])
    }
    on_glue = {"data-extraction", "feature-engineering"}
    expected = (
        {"glue"} if step.stage.name in on_glue else {"sagemaker", "lambda"} if workflow == "daily" else {"sagemaker"}
    )
    assert services == expected


@pytest.mark.parametrize("step", WORKFLOWS["daily"].steps, ids=lambda step: step.stage.name)
def test_a_days_stages_are_functions_of_their_images(step: Step):
    function = aws.resources("Lambda::Function")[f"{step.stage.step}Function"]
    assert function["ImageConfig"]["Command"] == ["lambda", step.stage.name]
    assert aws.text(function["Code"]["ImageUri"]) == f"${{{step.stage.image.title()}Image}}"
    assert aws.text(function["Role"]) == f"${{{step.stage.step}Role.Arn}}"
    assert function["Timeout"] <= aws.machine("daily")["TimeoutSeconds"]


def test_every_function_has_a_machine_that_invokes_it():
    named = {name for path in aws.MACHINES.values() for name in re.findall(r"\$\{(\w+Function)\}", path.read_text())}
    assert named == set(aws.resources("Lambda::Function"))


# Alarms


def watched() -> dict[str, set[str]]:
    """The names of metrics by their dimension's value: of stages, and of the machine that counts refusals."""
    stages = {name: {metric.name for metric in stage.metrics} for name, stage in STAGES.items()}
    counted = re.findall(r'"MetricName": "(\w+)"', aws.MACHINES["daily"].read_text())
    return {**stages, "daily": set(counted)}


@pytest.mark.parametrize("function", ["RealtimeFeaturesFunction", "RealtimeScoreFunction", "RealtimeHistoryFunction"])
def test_a_real_time_function_is_told_what_it_asks_its_environment_for(function: str):
    """What is misspelt would be a default in silence, or a failure with the first transaction."""
    properties = aws.resources("Lambda::Function")[function]
    name = properties["ImageConfig"]["Command"][1]
    given = set(properties["Environment"]["Variables"])
    asked = {realtime.HISTORY, realtime.CHAMPION, realtime.TOPIC, *realtime.SETTINGS}
    assert name in realtime.FUNCTIONS
    assert given <= asked
    needed = {
        "realtime-features": {realtime.HISTORY, "FRAUDLINE_LABEL_DELAY_DAYS"},
        "realtime-score": {realtime.CHAMPION, realtime.TOPIC, "FRAUDLINE_THRESHOLD"},
        "realtime-history": {realtime.HISTORY},
    }
    assert given == needed[name]


def test_a_published_history_is_loaded_from_where_the_workflows_publish_it():
    """Its manifest is written last: a history is whole once it is there."""
    (rule,) = (rule for rule in aws.resources("Events::Rule").values() if "aws.s3" in rule["EventPattern"]["source"])
    (key,) = rule["EventPattern"]["detail"]["object"]["key"]
    place = f"{HISTORY_BEFORE_AS_OF.template}{MANIFEST_FILE}"
    assert fnmatch(place.format(contract="abc", as_of="2026-05-31"), key["wildcard"])
    words = re.split("[/=]", place)
    named = aws.machine("publish_history")["States"]["Named"]["Parameters"]
    assert f"StringSplit($.detail.object.key, '/='), {words.index('{as_of}')})" in named["as_of.$"]
    history = named["history.$"]
    assert "'s3://{}/history/{}/before={}/'" in history
    assert re.findall(r"'/='\), (\d)", history) == [str(words.index(name)) for name in ("{contract}", "{as_of}")]
    bucket = aws.resources("S3::Bucket")["ResultsBucket"]
    assert bucket["NotificationConfiguration"]["EventBridgeConfiguration"]["EventBridgeEnabled"] is True


def test_an_alarm_watches_what_is_measured():
    """An alarm on a metric that nobody sends is silent for ever."""
    for name, alarm in aws.resources("CloudWatch::Alarm").items():
        if alarm.get("Namespace") == "Fraudline":
            (dimension,) = alarm["Dimensions"]
            assert dimension["Name"] in ("Stage", "Workflow")
            assert alarm["MetricName"] in watched()[dimension["Value"]], name


def test_every_alarm_that_was_promised_is_there_and_tells_the_people_who_run_this():
    alarms = aws.resources("CloudWatch::Alarm")
    assert {(name, alarm["Threshold"]) for name, alarm in alarms.items()} >= {
        ("FraudRateAlarm", 0.02),
        ("AccuracyAlarm", 0.85),
        ("ExecutionsFailedAlarm", 0),
        ("EndpointErrorsAlarm", 10),
        ("ScheduleDeadLettersAlarm", 0),
    }
    assert all(
        [aws.text(action) for action in alarm["AlarmActions"]] == ["${OperationsTopic}"] for alarm in alarms.values()
    )


@pytest.mark.parametrize("kind", ["Failed", "TimedOut"])
def test_a_failure_of_any_machine_is_an_alarm(kind: str):
    metrics = aws.resources("CloudWatch::Alarm")[f"Executions{kind}Alarm"]["Metrics"]
    machines = [it["MetricStat"]["Metric"]["Dimensions"][0]["Value"] for it in metrics if "MetricStat" in it]
    assert sorted(map(aws.text, machines)) == sorted(
        f"${{{name}}}" for name in aws.resources("StepFunctions::StateMachine")
    )


# Schedules


def targets(pipe: str, choices: dict[str, bool]) -> str:
    """What a pipe invokes under the stack's conditions."""
    value: Any = aws.resources("Pipes::Pipe")[pipe]["Target"]
    while "Fn::If" in value:
        condition, then, otherwise = value["Fn::If"]
        value = then if choices[condition] else otherwise
    return str(value["Ref"])


@pytest.mark.parametrize(
    ("pipelines", "express", "training", "daily"),
    [
        (False, True, "StartMachine", "DailyMachine"),
        (False, False, "StartMachine", "StartMachine"),
        (True, True, "StartPipelineMachine", "StartPipelineMachine"),
        (True, False, "StartPipelineMachine", "StartPipelineMachine"),
    ],
)
def test_one_engine_is_started_and_never_both(pipelines: bool, express: bool, training: str, daily: str):
    choices = {"Pipelines": pipelines, "Express": express}
    assert targets("TrainingPipe", choices) == training
    assert targets("DailyPipe", choices) == daily


@pytest.mark.parametrize("pipe", ["Training", "Daily"])
def test_a_pipe_waits_for_a_machine_that_is_express_and_may_invoke_it(pipe: str):
    """Only EXPRESS can be waited for, and only what is waited for is delivered again when it fails."""
    made = aws.resources("Pipes::Pipe")[f"{pipe}Pipe"]
    assert made["TargetParameters"]["StepFunctionStateMachineParameters"]["InvocationType"] == "REQUEST_RESPONSE"
    (invoke,) = (each for each in aws.statements(f"{pipe}PipeRole") if each["Action"] == "states:StartSyncExecution")
    assert invoke["Resource"] == made["Target"]
    machines = aws.resources("StepFunctions::StateMachine")
    for pipelines in (True, False):
        for express in (True, False):
            invoked = targets(f"{pipe}Pipe", {"Pipelines": pipelines, "Express": express})
            assert machines[invoked]["StateMachineType"] == "EXPRESS"


@pytest.mark.parametrize("queue", ["TrainingQueue", "DailyQueue"])
def test_a_message_stays_hidden_for_longer_than_a_machine_runs(queue: str):
    made = aws.resources("SQS::Queue")[queue]
    assert made["VisibilityTimeout"] > 2 * max(aws.machine(name).get("TimeoutSeconds", 0) for name in aws.MACHINES)
    assert made["RedrivePolicy"]["maxReceiveCount"] == 3


@pytest.mark.parametrize("schedule", ["TrainingSchedule", "DailySchedule"])
def test_a_schedules_message_holds_its_own_time(schedule: str):
    """So that a message that comes late does the day it was meant for."""
    target = aws.resources("Scheduler::Schedule")[schedule]["Target"]
    assert target["Input"] == '{"scheduled": "<aws.scheduler.scheduled-time>"}'


def test_what_is_started_by_name_is_what_pipeline_py_makes():
    """The names of SageMaker's pipelines and of the group of model packages stand in two places."""
    text = (REPOSITORY / "pipeline.py").read_text()
    given = {
        **aws.made_as("start_pipeline")["DefinitionSubstitutions"],
        **aws.made_as("deployment")["DefinitionSubstitutions"],
    }
    for workflow in ("training", "daily", "deployment"):
        assert f'"{workflow}": "{given[f"{workflow.title()}Pipeline"]}"' in text
    (group,) = aws.resources("Events::Rule")["ModelApprovedRule"]["EventPattern"]["detail"]["ModelPackageGroupName"]
    assert f'MODEL_PACKAGES = "{group}"' in text


# What is kept


@pytest.mark.parametrize("bucket", ["DataBucket", "ResultsBucket"])
def test_a_bucket_is_encrypted_versioned_and_reached_over_tls_alone(bucket: str):
    made = aws.resources("S3::Bucket")[bucket]
    (rule,) = made["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert made["VersioningConfiguration"]["Status"] == "Enabled"
    assert set(made["PublicAccessBlockConfiguration"].values()) == {True}
    (policy,) = (it for it in aws.resources("S3::BucketPolicy").values() if aws.text(it["Bucket"]) == f"${{{bucket}}}")
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


@pytest.mark.parametrize(
    ("table", "expires"), [("ScoresTable", "expires_at"), ("HistoryTable", "expires"), ("CasesTable", None)]
)
def test_a_table_is_keyed_as_the_code_has_it_and_can_be_restored(table: str, expires: str | None):
    made = aws.resources("DynamoDB::Table")[table]
    assert made["KeySchema"] == [{"AttributeName": "key", "KeyType": "HASH"}]
    assert made["BillingMode"] == "PAY_PER_REQUEST"
    assert made["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert made.get("TimeToLiveSpecification", {}).get("AttributeName") == expires


@pytest.mark.parametrize(
    ("kind", "member"),
    [("SQS::Queue", "KmsMasterKeyId"), ("SNS::Topic", "KmsMasterKeyId"), ("Logs::LogGroup", "KmsKeyId")],
)
def test_queues_topics_and_logs_are_encrypted(kind: str, member: str):
    assert all(member in made for made in aws.resources(kind).values())


def test_no_machine_logs_what_passes_between_its_states():
    for made in aws.resources("StepFunctions::StateMachine").values():
        assert made["LoggingConfiguration"]["IncludeExecutionData"] is False
        assert made["TracingConfiguration"]["Enabled"] is True
