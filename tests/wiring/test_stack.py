"""Laws of the stack: state machines, functions, roles, alarms, schedules and storage fit what they deploy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from fnmatch import fnmatch
from typing import Any

import pytest

from fraudline.catalog import environment
from fraudline.catalog.plan import JobPlan, plan, settings, title
from fraudline.catalog.stages import STAGES
from fraudline.catalog.templates import resolve
from fraudline.catalog.workflow import HISTORY_BEFORE_AS_OF, MODEL_PACKAGES, WORKFLOWS
from fraudline.entrypoints import realtime
from fraudline.orchestration.stack.parameters import KNOWN, PER_EXECUTION
from fraudline.runtime.channels import MANIFEST_FILE
from tests.wiring import aws

AS_OF = date(2026, 6, 1)
JOBS = {job.stage.name: job for workflow in reversed(WORKFLOWS) for job in plan(workflow)}
BUCKETS = {"data": "DataBucket", "root": "ResultsBucket"}
each_job = pytest.mark.parametrize("job", JOBS.values(), ids=list(JOBS))
each_machine = pytest.mark.parametrize("name", aws.DEFINITIONS)

# The services that a stage calls beside S3.
SERVICES = {
    "deploy-model": {"sagemaker", "iam"},
    "fraud-scoring": {"sagemaker"},
    "alert-and-store": {"dynamodb", "sns", "states"},
}
# Actions that a task needs besides its own, from the documents of Step Functions.
SYNC = {
    "glue": {"glue:GetJobRun", "glue:GetJobRuns", "glue:BatchStopJobRun"},
    "sagemaker": {"sagemaker:AddTags", "iam:PassRole", "events:PutTargets", "events:PutRule", "events:DescribeRule"},
}
ACTIONS = {"lambda:Invoke": "lambda:InvokeFunction"}
# Writing to an encrypted topic, queue, table or bucket takes its key.
KEY_USE = {"kms:Decrypt", "kms:GenerateDataKey"}
SAGEMAKER_KEY_USE = {"kms:CreateGrant", "kms:DescribeKey"}


# Parameters


def test_every_setting_is_a_parameter_or_known_to_the_stack():
    parameters = set(aws.stack()["Parameters"])
    for name in settings():
        assert [title(name) in parameters, name in KNOWN, name in PER_EXECUTION].count(True) == 1, name


def test_pipelines_and_packages_are_named_after_the_stack():
    """Two stacks of an account must not start each other's pipelines, or deploy each other's models."""
    for workflow in WORKFLOWS.values():
        name = f"{title(workflow.name)}Pipeline"
        for machine in aws.resources("StepFunctions::StateMachine").values():
            value = machine.get("DefinitionSubstitutions", {}).get(name)
            assert value is None or aws.text(value) == f"${{BucketPrefix}}-{workflow.pipeline}"
    detail = aws.resources("Events::Rule")["ModelApprovedRule"]["EventPattern"]["detail"]
    assert [aws.text(group) for group in detail["ModelPackageGroupName"]] == [f"${{BucketPrefix}}-{MODEL_PACKAGES}"]
    for role in ("PipelineRole", "DeploymentMachineRole", "StartPipelineMachineRole"):
        for statement in aws.statements(role):
            for resource in map(aws.text, aws.as_list(statement["Resource"])):
                kind = resource.rpartition(":")[2].partition("/")[0]
                own = kind not in ("pipeline", "model-package", "model-package-group")
                assert own or "/${BucketPrefix}-" in resource


# State machines


@each_machine
def test_no_value_breaks_the_text_that_it_fills(name: str):
    """The stack replaces placeholders in the text of a definition: a quotation mark would end one of its strings."""
    for value in aws.state_machine(name).get("DefinitionSubstitutions", {}).values():
        assert "Fn::Base64" in value or '"' not in aws.text(value)


@each_machine
def test_each_placeholder_has_a_value(name: str):
    """CloudFormation leaves a placeholder without a value in the definition as it is."""
    values = aws.state_machine(name).get("DefinitionSubstitutions", ())
    assert set(values) == set(re.findall(r"\$\{(\w+)\}", aws.DEFINITIONS[name].read_text()))


def test_the_stack_creates_every_state_machine():
    resources = aws.resources("StepFunctions::StateMachine").values()
    files = [aws.text(machine["DefinitionS3Location"]["Key"]).rpartition("/")[2] for machine in resources]
    assert sorted(files) == sorted(path.name for path in aws.DEFINITIONS.values())


def needed_actions(name: str) -> set[str]:
    """Return the actions without which a state machine's tasks fail."""
    actions: set[str] = set()
    for task in aws.tasks(aws.definition(name)).values():
        service, operation, pattern = aws.action(task["Resource"])
        prefix = "states" if service == "stepfunctions" else service
        action = f"{prefix}:{aws.operation(service, operation).name}"
        actions.add(ACTIONS.get(action, action))
        if pattern == "sync":
            actions |= SYNC[service]
            if service == "sagemaker":
                kind = operation.removeprefix("create")
                actions |= {f"sagemaker:Describe{kind}", f"sagemaker:Stop{kind}"} | SAGEMAKER_KEY_USE
        if service in ("sns", "sqs", "dynamodb", "s3"):
            actions |= KEY_USE
    return actions


def role_of(name: str) -> str:
    return aws.text(aws.state_machine(name)["RoleArn"]).removeprefix("${").removesuffix(".Arn}")


@each_machine
def test_a_state_machine_may_call_what_it_calls_only(name: str):
    assert aws.allowed_actions(role_of(name)) == needed_actions(name)


@each_machine
def test_a_state_machine_reaches_what_it_names_only(name: str):
    """Functions, topics, queues, tables, roles and jobs: those that the definition names, and its role allows."""
    kinds = ("Lambda::Function", "SNS::Topic", "SQS::Queue", "DynamoDB::Table", "IAM::Role", "Glue::Job")
    targets = {logical_id for kind in kinds for logical_id in aws.resources(kind)}
    named = set(re.findall(r"\$\{(\w+)\}", aws.DEFINITIONS[name].read_text()))
    resources = [it for statement in aws.statements(role_of(name)) for it in aws.as_list(statement["Resource"])]
    reached = {target for it in resources for target in re.findall(r"\$\{(\w+?)(?:\.\w+)?\}", aws.text(it))}
    assert reached & targets == named & targets


# Roles


@pytest.mark.parametrize("role", aws.resources("IAM::Role"))
def test_no_role_may_do_everything_or_everywhere(role: str):
    for statement in aws.statements(role):
        assert not [action for action in aws.as_list(statement["Action"]) if "*" in action]
        if "*" in [aws.text(resource) for resource in aws.as_list(statement["Resource"])]:
            # This action has no resource; the namespace limits it.
            assert aws.as_list(statement["Action"]) == ["cloudwatch:PutMetricData"]
            assert statement["Condition"]


def patterns(role: str, action: str, bucket: str) -> Iterator[str]:
    """Yield the patterns of keys for which a role may do something in a bucket."""
    for statement in aws.statements(role):
        if action not in aws.as_list(statement["Action"]):
            continue
        for resource in map(aws.text, aws.as_list(statement["Resource"])):
            if action == "s3:ListBucket" and resource == f"${{{bucket}.Arn}}":
                yield from statement["Condition"]["StringLike"]["s3:prefix"]
            elif resource.startswith(f"${{{bucket}.Arn}}/"):
                yield resource.partition("/")[2]


def every_key() -> list[tuple[str, str]]:
    """Return an object of every channel of every workflow: its base and its key."""
    locations = [it for name in WORKFLOWS for job in plan(name) for it in (*job.inputs.values(), *job.outputs.values())]
    return sorted({(it.base, f"{resolve(it.template, AS_OF)}part.parquet") for it in locations})


def below(key: tuple[str, str], locations: Any) -> bool:
    """Return True where an object belongs to a channel; histories of all days are one channel."""
    base, name = key
    for location in locations:
        prefix = resolve(location.template, AS_OF)
        if base == location.base and name.startswith("history/" if prefix.startswith("history/") else prefix):
            return True
    return False


@each_job
@pytest.mark.parametrize("key", every_key(), ids="/".join)
def test_a_stage_reads_and_writes_its_channels_only(job: JobPlan, key: tuple[str, str]):
    """Its channels in all workflows: one role runs the stage in each."""
    role, base, name = f"{job.stage.step}Role", *key
    jobs = [other for workflow in WORKFLOWS for other in plan(workflow) if other.stage is job.stage]
    writes = any(below(key, each.outputs.values()) for each in jobs)
    reads = writes or any(below(key, each.inputs.values()) for each in jobs)
    for action in ("s3:GetObject", "s3:ListBucket"):
        assert any(fnmatch(name, it) for it in patterns(role, action, BUCKETS[base])) == reads
    for action in ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"):
        assert any(fnmatch(name, it) for it in patterns(role, action, BUCKETS[base])) == writes


EVERY_JOB = [job for workflow in WORKFLOWS for job in plan(workflow)]


@pytest.mark.parametrize("key", every_key(), ids="/".join)
def test_pipelines_read_and_write_what_their_stages_do(key: tuple[str, str]):
    """One role runs every job of a pipeline, so it may do what any stage may do, and no more."""
    base, name = key
    writes = any(below(key, job.outputs.values()) for job in EVERY_JOB)
    reads = writes or any(below(key, job.inputs.values()) for job in EVERY_JOB)
    assert reads
    for action in ("s3:GetObject", "s3:ListBucket"):
        assert any(fnmatch(name, it) for it in patterns("PipelineRole", action, BUCKETS[base]))
    for action in ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"):
        assert any(fnmatch(name, it) for it in patterns("PipelineRole", action, BUCKETS[base])) == writes


@pytest.mark.parametrize("key", ["labeled/part.csv", "raw/2026-05-31/part.csv", "elsewhere/a", "executions/other/a"])
def test_pipelines_write_no_deliveries_and_nothing_elsewhere(key: str):
    for bucket in BUCKETS.values():
        assert not any(fnmatch(key, it) for it in patterns("PipelineRole", "s3:PutObject", bucket))


def calls(role: str) -> set[tuple[str, str]]:
    """Return each action of a role, other than on objects in S3, with the resource that it is for."""
    return {
        (action, aws.text(resource))
        for statement in aws.statements(role)
        for action in aws.as_list(statement["Action"])
        for resource in aws.as_list(statement["Resource"])
        if not action.startswith("s3:")
    }


def test_pipelines_call_what_their_stages_call():
    """Beside that, they run jobs as themselves and register models."""
    of_stages = {call for job in EVERY_JOB for call in calls(f"{job.stage.step}Role")}
    own = calls("PipelineRole") - of_stages
    assert calls("PipelineRole") >= of_stages
    jobs = {f"{verb}{kind}Job" for verb in ("Create", "Describe", "Stop") for kind in ("Processing", "Training")}
    packages = {f"{verb}ModelPackage{kind}" for verb in ("Create", "Describe") for kind in ("", "Group")}
    actions = {action.partition(":")[2] for action, _ in own}
    assert actions == {*jobs, *packages, "AddTags", "PassRole"}
    assert not [resource for _, resource in own if resource.endswith(":*")]


@each_job
def test_a_stage_calls_its_own_services_only(job: JobPlan):
    services = {action.partition(":")[0] for action in aws.allowed_actions(f"{job.stage.step}Role")} - {"s3"}
    assert services == SERVICES.get(job.stage.name, set())


@each_job
def test_a_role_is_assumed_by_what_runs_its_stage_only(job: JobPlan):
    """SageMaker where a state machine passes the role, Lambda and Glue where a function or job has it."""
    role = f"{job.stage.step}Role"
    definitions = "".join(path.read_text() for path in aws.DEFINITIONS.values())
    users = {"lambda": "Lambda::Function", "glue": "Glue::Job"}
    runners = {
        service
        for service, kind in users.items()
        if any(aws.text(it["Role"]) == f"${{{role}.Arn}}" for it in aws.resources(kind).values())
    }
    runners |= {"sagemaker"} if f"${{{role}}}" in definitions else set()
    (trust,) = aws.resources("IAM::Role")[role]["AssumeRolePolicyDocument"]["Statement"]
    assert {it.removesuffix(".amazonaws.com") for it in aws.as_list(trust["Principal"]["Service"])} == runners


# Functions


@pytest.mark.parametrize("name", aws.resources("Lambda::Function"))
def test_a_function_runs_a_command_of_its_image(name: str):
    function = aws.resources("Lambda::Function")[name]
    entrypoint, command = function["ImageConfig"]["Command"]
    assert entrypoint == "lambda"
    if command in realtime.FUNCTIONS:
        return
    stage = STAGES[command]
    assert aws.text(function["Code"]["ImageUri"]) == f"${{{stage.image.title()}Image}}"
    assert name == f"{stage.step}Function"


@pytest.mark.parametrize("name", aws.resources("Lambda::Function"))
def test_the_memory_of_a_function_fits_a_new_account(name: str):
    """Many new accounts refuse more than 3,008 MB."""
    parameter = aws.resources("Lambda::Function")[name]["MemorySize"]["Ref"]
    assert aws.stack()["Parameters"][parameter]["Default"] <= 3008


def test_every_function_is_invoked_and_ends_before_its_state_machine():
    invoked = set()
    for name, path in aws.DEFINITIONS.items():
        for function in re.findall(r"\$\{(\w+Function)\}", path.read_text()):
            invoked.add(function)
            assert aws.resources("Lambda::Function")[function]["Timeout"] <= aws.definition(name)["TimeoutSeconds"]
    assert invoked == set(aws.resources("Lambda::Function"))


@pytest.mark.parametrize(
    ("function", "needed"),
    [
        ("RealtimeFeaturesFunction", {environment.HISTORY.name, environment.FUNCTION_LABEL_DELAY.name}),
        (
            "RealtimeScoreFunction",
            {
                environment.CHAMPION.name,
                environment.TOPIC.name,
                environment.FUNCTION_THRESHOLD.name,
                environment.FUNCTION_URGENT_LOSS.name,
            },
        ),
        ("RealtimeHistoryFunction", {environment.HISTORY.name}),
    ],
)
def test_a_real_time_function_gets_the_variables_it_reads(function: str, needed: set[str]):
    """A misspelled variable would be a silent default, or a failure with the first transaction."""
    properties = aws.resources("Lambda::Function")[function]
    assert properties["ImageConfig"]["Command"][1] in realtime.FUNCTIONS
    assert set(properties["Environment"]["Variables"]) == needed
    assert needed <= {variable.name for variable in environment.REAL_TIME}


# Events


def test_a_published_history_is_loaded_from_its_own_address():
    """Its manifest is written last: a history is complete once it exists."""
    (rule,) = (rule for rule in aws.resources("Events::Rule").values() if "aws.s3" in rule["EventPattern"]["source"])
    (key,) = rule["EventPattern"]["detail"]["object"]["key"]
    address = f"{HISTORY_BEFORE_AS_OF.template}{MANIFEST_FILE}"
    assert fnmatch(address.format(contract="abc", as_of="2026-05-31"), key["wildcard"])
    words = re.split("[/=]", address)
    event = aws.definition("publish_history")["States"]["ReadEvent"]["Parameters"]
    assert f"StringSplit($.detail.object.key, '/='), {words.index('{as_of}')})" in event["as_of.$"]
    history = event["history.$"]
    assert "'s3://{}/history/{}/before={}/'" in history
    assert re.findall(r"'/='\), (\d)", history) == [str(words.index(name)) for name in ("{contract}", "{as_of}")]
    bucket = aws.resources("S3::Bucket")["ResultsBucket"]
    assert bucket["NotificationConfiguration"]["EventBridgeConfiguration"]["EventBridgeEnabled"] is True


# Alarms


def reported_metrics() -> dict[str, set[str]]:
    """Return the names of metrics by the value of their dimension: stages, and the workflow that counts rejections."""
    stages = {name: {metric.name for metric in stage.metrics} for name, stage in STAGES.items()}
    counted = re.findall(r'"MetricName": "(\w+)"', aws.DEFINITIONS["daily"].read_text())
    return {**stages, "daily": set(counted)}


def test_an_alarm_watches_a_metric_that_is_reported():
    """An alarm on a metric that nobody reports stays silent forever."""
    for name, alarm in aws.resources("CloudWatch::Alarm").items():
        if alarm.get("Namespace") == "Fraudline":
            (dimension,) = alarm["Dimensions"]
            assert dimension["Name"] in ("Stage", "Workflow")
            assert alarm["MetricName"] in reported_metrics()[dimension["Value"]], name


def test_every_metric_with_an_alarm_has_its_alarm():
    alarms = aws.resources("CloudWatch::Alarm")
    for stage in STAGES.values():
        for metric in stage.metrics:
            if metric.alarm:
                alarm = alarms[f"{metric.alarm.name}Alarm"]
                assert (alarm["MetricName"], alarm["Threshold"]) == (metric.name, metric.alarm.threshold)
                assert alarm["Dimensions"] == [{"Name": "Stage", "Value": stage.name}]
                # One breach within the day is enough.
                side = {"above": ("Maximum", "GreaterThan"), "below": ("Minimum", "LessThan")}[metric.alarm.breach]
                assert (alarm["Statistic"], alarm["ComparisonOperator"]) == (side[0], f"{side[1]}Threshold")


def test_every_alarm_notifies_operations():
    alarms = aws.resources("CloudWatch::Alarm")
    assert {(name, alarm["Threshold"]) for name, alarm in alarms.items()} >= {
        ("FraudRateAlarm", 0.02),
        ("AccuracyAlarm", 0.85),
        ("ExecutionsFailedAlarm", 0),
        ("EndpointErrorsAlarm", 10),
        ("ScheduleDeadLettersAlarm", 0),
    }
    for alarm in alarms.values():
        assert [aws.text(action) for action in alarm["AlarmActions"]] == ["${OperationsTopic}"]


@pytest.mark.parametrize("kind", ["Failed", "TimedOut"])
def test_a_failure_of_any_state_machine_is_an_alarm(kind: str):
    alarms = [aws.resources("CloudWatch::Alarm")[f"{prefix}Executions{kind}Alarm"] for prefix in ("", "Express")]
    metrics = [metric for alarm in alarms for metric in alarm["Metrics"]]
    machines = [it["MetricStat"]["Metric"]["Dimensions"][0]["Value"] for it in metrics if "MetricStat" in it]
    names = [f"${{{name}}}" for name in aws.resources("StepFunctions::StateMachine")]
    assert sorted(map(aws.text, machines)) == sorted(names)


def test_no_alarm_holds_more_than_ten_metrics():
    """CloudWatch's limit: https://github.com/aws/aws-cdk/issues/27144."""
    for name, alarm in aws.resources("CloudWatch::Alarm").items():
        assert sum("MetricStat" in it for it in alarm.get("Metrics", [])) <= 10, name


# Schedules


def target(pipe: str, conditions: dict[str, bool]) -> str:
    """Return what a pipe invokes under the stack's conditions."""
    value: Any = aws.resources("Pipes::Pipe")[pipe]["Target"]
    while "Fn::If" in value:
        condition, then, otherwise = value["Fn::If"]
        value = then if conditions[condition] else otherwise
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
def test_one_engine_starts_never_both(pipelines: bool, express: bool, training: str, daily: str):
    conditions = {"Pipelines": pipelines, "Express": express}
    assert target("TrainingPipe", conditions) == training
    assert target("DailyPipe", conditions) == daily


@pytest.mark.parametrize("name", ["Training", "Daily"])
def test_a_pipe_waits_for_an_express_state_machine(name: str):
    """Only EXPRESS can be waited for, and only then does a pipe deliver a message again that failed."""
    pipe = aws.resources("Pipes::Pipe")[f"{name}Pipe"]
    assert pipe["TargetParameters"]["StepFunctionStateMachineParameters"]["InvocationType"] == "REQUEST_RESPONSE"
    (invoke,) = (it for it in aws.statements(f"{name}PipeRole") if it["Action"] == "states:StartSyncExecution")
    assert invoke["Resource"] == pipe["Target"]
    machines = aws.resources("StepFunctions::StateMachine")
    for pipelines in (True, False):
        for express in (True, False):
            invoked = target(f"{name}Pipe", {"Pipelines": pipelines, "Express": express})
            assert machines[invoked]["StateMachineType"] == "EXPRESS"


@pytest.mark.parametrize("name", ["TrainingQueue", "DailyQueue"])
def test_a_message_stays_hidden_longer_than_an_execution(name: str):
    queue = aws.resources("SQS::Queue")[name]
    assert queue["VisibilityTimeout"] > 2 * max(aws.definition(it).get("TimeoutSeconds", 0) for it in aws.DEFINITIONS)
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 3


@pytest.mark.parametrize("name", ["TrainingSchedule", "DailySchedule"])
def test_a_message_names_the_time_of_its_schedule(name: str):
    """A late message then starts the day that it was meant for."""
    schedule = aws.resources("Scheduler::Schedule")[name]
    assert schedule["Target"]["Input"] == '{"scheduled": "<aws.scheduler.scheduled-time>"}'


# Storage


@pytest.mark.parametrize("name", ["DataBucket", "ResultsBucket"])
def test_a_bucket_is_encrypted_versioned_and_tls_only(name: str):
    bucket = aws.resources("S3::Bucket")[name]
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert bucket["VersioningConfiguration"]["Status"] == "Enabled"
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    (policy,) = (it for it in aws.resources("S3::BucketPolicy").values() if aws.text(it["Bucket"]) == f"${{{name}}}")
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


@pytest.mark.parametrize(
    ("name", "expiry"), [("ScoresTable", "expires_at"), ("HistoryTable", "expires"), ("CasesTable", None)]
)
def test_a_table_has_the_key_of_the_code_and_can_be_restored(name: str, expiry: str | None):
    table = aws.resources("DynamoDB::Table")[name]
    assert table["KeySchema"] == [{"AttributeName": "key", "KeyType": "HASH"}]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert table.get("TimeToLiveSpecification", {}).get("AttributeName") == expiry


@pytest.mark.parametrize("kind", ["S3::Bucket", "DynamoDB::Table", "KMS::Key"])
def test_what_is_stored_outlives_the_stack(kind: str):
    for resource in aws.stack()["Resources"].values():
        if resource["Type"] == f"AWS::{kind}":
            policies = resource["DeletionPolicy"], resource["UpdateReplacePolicy"]
            assert policies == ("RetainExceptOnCreate", "Retain")


@pytest.mark.parametrize(
    ("kind", "member"),
    [("SQS::Queue", "KmsMasterKeyId"), ("SNS::Topic", "KmsMasterKeyId"), ("Logs::LogGroup", "KmsKeyId")],
)
def test_queues_topics_and_logs_are_encrypted(kind: str, member: str):
    assert all(member in resource for resource in aws.resources(kind).values())


def test_no_state_machine_logs_what_passes_between_states():
    for machine in aws.resources("StepFunctions::StateMachine").values():
        assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False
        assert machine["TracingConfiguration"]["Enabled"] is True
