"""What moto lacks of the services that run the stack, joined to its server: a stack in it really runs.

docs/offline.md lists the joints, each with what moto does instead and the shape that AWS documents, and what is not
shown by any of this. Each stands in one place here, and test_engine.py holds it to that shape.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import boto3
from botocore.config import Config
from moto.awslambda.models import ImageConfig, LambdaFunction
from moto.cloudformation import parsing
from moto.core.config import default_user_config
from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult
from moto.events.models import Rule
from moto.moto_api._internal.models import moto_api_backend
from moto.s3.models import FakeBucket, s3_backends
from moto.server import ThreadedMotoServer
from moto.stepfunctions.models import StateMachine
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import (
    StateTaskServiceSfn,
)
from moto.stepfunctions.parser.asl.eval.callback.callback import (
    CallbackConsumerTimeout,
    CallbackNotifyConsumerError,
    CallbackOutcomeSuccess,
)
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str
from moto.stepfunctions.parser.backend.execution import Execution
from moto.stepfunctions.parser.models import StepFunctionsParserBackend, stepfunctions_parser_backends
from moto.stepfunctions.responses import StepFunctionResponse

from fraudline.runtime import aws as aws_clients
from tests import emulator
from tests.entrypoints.jobs import tagged
from tests.wiring.aws import operation

ACCOUNT, REGION = "123456789012", "us-east-1"
EXPRESS_AT_MOST = 300  # seconds

Properties = Mapping[str, Any]


@dataclass
class Functions:
    """The stack's functions, each in one container, which is started when it is invoked for the first time."""

    containers: ExitStack
    environment: Mapping[str, str]
    answered: Callable[[str, Any], None] = lambda _name, _answer: None  # told of each answer, before the machine is
    _running: dict[str, tuple[str, threading.Lock]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def address(self, function: LambdaFunction) -> tuple[str, threading.Lock]:
        with self._lock:
            if function.function_name not in self._running:
                told = {
                    "NAME": function.function_name,
                    "TIMEOUT": function.timeout,
                    "MEMORY_SIZE": function.memory_size,
                }
                environment = {f"AWS_LAMBDA_FUNCTION_{name}": str(value) for name, value in told.items()}
                environment |= {**self.environment, **function.environment_vars}
                (image,) = re.findall(r"fraudline/(\w+)[@:]", function.code["ImageUri"])
                started = emulator.function(tagged(image), function.image_config.cmd, environment)
                self._running[function.function_name] = self.containers.enter_context(started), threading.Lock()
            return self._running[function.function_name]

    def invoke(self, function: LambdaFunction, event: Any = None) -> tuple[str, bool, str]:
        """Payload, whether it tells of an error, and the log."""
        address, lock = self.address(function)
        with lock:
            answer = emulator.invoke(address, event, function.timeout + 5)
        self.answered(function.function_name, answer)
        return json.dumps(answer), isinstance(answer, dict) and "errorType" in answer, ""


@dataclass
class Engine:
    """An AWS in which a stack runs."""

    address: str
    functions: Functions
    kept: dict[str, Properties] = field(default_factory=dict)  # by logical name, what moto's CloudFormation passes over

    waits: list[float] = field(default_factory=list)  # seconds that a state would have waited before it tried again

    def fire(self, schedule: str, at: datetime) -> None:
        """A schedule's time has come: its message is sent, with that time in it."""
        target = self.kept[schedule]["Target"]
        scheduled = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        message = target["Input"].replace("<aws.scheduler.scheduled-time>", scheduled)
        boto3.client("sqs").send_message(QueueUrl=queue_of(target["Arn"]), MessageBody=message)

    def poll(self, pipe: str) -> list[dict[str, Any]]:
        """A pipe takes one batch from its queue, if there is any; what its machine answered.

        What ended well is deleted. What did not comes back when it is visible again: at once here, as if that time
        had passed; the queue itself counts, and sets aside what came too often.
        """
        made = self.kept[pipe]
        queue, sqs = queue_of(made["Source"]), boto3.client("sqs")
        size = made["SourceParameters"]["SqsQueueParameters"]["BatchSize"]
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=size).get("Messages", [])
        if not messages:
            return []
        assert made["TargetParameters"]["StepFunctionStateMachineParameters"]["InvocationType"] == "REQUEST_RESPONSE"
        records = [record_of(message, made["Source"]) for message in messages]
        batch = [transformed(made["TargetParameters"]["InputTemplate"], record) for record in records]
        # boto3 would put sync- before the host's name.
        client = boto3.client(
            "stepfunctions", config=Config(inject_host_prefix=False, read_timeout=EXPRESS_AT_MOST + 5)
        )
        answer = client.start_sync_execution(stateMachineArn=made["Target"], input=json.dumps(batch))
        for message in messages:
            if answer["status"] == "SUCCEEDED":
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            else:
                visible = {"QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"]}
                sqs.change_message_visibility(**visible, VisibilityTimeout=0)
        return [answer]

    def executions(self, machine: str) -> list[dict[str, Any]]:
        """The executions of a machine, the first one first."""
        listed = boto3.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
        return sorted(listed, key=lambda execution: execution["startDate"])

    def ended(self, execution: str, within: float = 60) -> dict[str, Any]:
        """An execution, as it is described once it is over."""
        client, until = boto3.client("stepfunctions"), time.monotonic() + within
        while (described := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
            assert time.monotonic() < until, f"{execution} still runs"
            time.sleep(0.02)
        return described


def queue_of(arn: str) -> str:
    url: str = boto3.client("sqs").get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
    return url


def received(queue: str) -> list[dict[str, Any]]:
    """Every message of a queue, which is empty then."""
    sqs, messages = boto3.client("sqs"), []
    while batch := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
        messages += batch
        for message in batch:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return messages


def record_of(message: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A message as a pipe has it; a body that is JSON can be reached into."""
    try:
        body = json.loads(message["Body"])
    except ValueError:
        body = message["Body"]
    attributes = {"messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"]}
    return {**attributes, "body": body, "eventSource": "aws:sqs", "eventSourceARN": source, "awsRegion": REGION}


def transformed(template: str, record: Any) -> Any:
    """An input template with its <$.paths> filled in; a path that leads nowhere "won't appear in the output"."""
    marked = json.loads(re.sub(r"<(\$[^<>]*)>", r'"<\1>"', template))

    def at(path: str) -> Any:
        found = record
        for name in path.split(".")[1:]:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    values = {name: at(value[1:-1]) if value.startswith("<$") else value for name, value in marked.items()}
    return {name: value for name, value in values.items() if value is not None}


def envelope_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event as a target of its rule receives it."""
    given = event["time"]
    when = given if isinstance(given, str) else datetime.fromtimestamp(given, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    names = ("version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail")
    return {name: {**event, "time": when}[name] for name in names}


@contextmanager
def engine() -> Iterator[Engine]:
    """A server with all joints, empty at first, which whoever asks AWS in this process asks."""
    with ExitStack() as joints, ExitStack() as containers:
        moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        moto.start()
        joints.callback(moto.stop)
        _, port = moto.get_host_and_port()
        settings = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
        }
        # The machines call the services back by that port.
        joints.enter_context(patch.dict("os.environ", settings | {"MOTO_PORT": str(port)}))
        joints.enter_context(patch.dict(default_user_config, {"stepfunctions": {"execute_state_machine": True}}))
        joined = Engine(settings["AWS_ENDPOINT_URL"], Functions(containers, settings))
        for owner, name, joint in (*_joints(joined), *_joints_of_tasks()):
            joints.enter_context(patch.object(owner, name, joint, create=True))
        aws_clients.client.cache_clear()
        joints.callback(aws_clients.client.cache_clear)
        moto_api_backend.reset()
        joints.callback(moto_api_backend.reset)
        joints.callback(_stop_what_runs)
        yield joined


def _stop_what_runs() -> None:
    for machine in stepfunctions_parser_backends[ACCOUNT][REGION].state_machines:
        for execution in machine.executions:
            if execution.status == "RUNNING":
                execution.stop(stop_date=datetime.now(UTC), error=None, cause=None)


def _joints(joined: Engine) -> Iterator[tuple[Any, str, Any]]:
    """What is put in the place of what in moto."""
    make_function, make_bucket, send, start = (
        LambdaFunction.create_from_cloudformation_json,
        FakeBucket.create_from_cloudformation_json,
        Rule.send_to_targets,
        StepFunctionsParserBackend.start_execution,
    )
    detail = Execution.get_start_execution_details
    known, digest = parsing.resource_class_from_type, ""

    def machine_from(_cls: type, name: str, made: Any, account: str, region: str, **_: Any) -> StateMachine:
        properties = made["Properties"]
        lies = properties["DefinitionS3Location"]
        definition = s3_backends[account]["aws"].get_object(lies["Bucket"], lies["Key"]).value.decode()
        for key, value in properties.get("DefinitionSubstitutions", {}).items():
            definition = definition.replace(f"${{{key}}}", str(value))
        return stepfunctions_parser_backends[account][region].create_state_machine(
            properties.get("StateMachineName", name),
            definition,
            properties["RoleArn"],
            sm_type=properties.get("StateMachineType", "STANDARD"),
        )

    def function_from(_cls: type, name: str, made: Any, account: str, region: str, **others: Any) -> LambdaFunction:
        function = make_function(name, made, account, region, **others)
        function.package_type = made["Properties"]["PackageType"]
        function.image_config = ImageConfig(made["Properties"].get("ImageConfig", {}))
        return function

    def bucket_from(_cls: type, name: str, made: Any, account: str, region: str, **others: Any) -> FakeBucket:
        bucket = make_bucket(name, made, account, region, **others)
        told = made["Properties"].get("NotificationConfiguration", {}).get("EventBridgeConfiguration", {})
        if told.get("EventBridgeEnabled"):
            bucket.set_notification_configuration({"EventBridgeConfiguration": {}})
        return bucket

    def class_of(kind: str) -> Any:
        return (parsing.get_model_map().get(kind) and known(kind)) or _kept_by(joined)

    def start_execution(
        backend: Any, state_machine_arn: str, name: str | None = None, execution_input: Any = None, trace: Any = None
    ) -> Any:
        return start(backend, state_machine_arn, name or str(uuid.uuid4()), execution_input, trace)

    def execution_details(execution: Execution) -> Any:
        details = detail(execution)
        details.start_time = f"{details.start_time:%Y-%m-%dT%H:%M:%S}.{details.start_time.microsecond // 1000:03}Z"
        return details

    def send_to_targets(rule: Rule, event: Any, transform_input: bool = True) -> None:
        machines = [target for target in rule.targets if target["Arn"].split(":")[2] == "states"]
        if machines and rule.event_pattern.matches_event(event):
            for target in machines:
                backend = stepfunctions_parser_backends[rule.account_id][rule.region_name]
                backend.start_execution(target["Arn"], None, json.dumps(envelope_of(event)))
        others = copy(rule)
        others.targets = [target for target in rule.targets if target not in machines]
        send(others, event, transform_input)

    yield StateMachine, "create_from_cloudformation_json", classmethod(machine_from)
    yield LambdaFunction, "create_from_cloudformation_json", classmethod(function_from)
    yield FakeBucket, "create_from_cloudformation_json", classmethod(bucket_from)
    yield LambdaFunction, "_invoke_lambda", lambda function, event=None: joined.functions.invoke(function, event)
    yield LambdaFunction, "code_digest", digest  # it deletes a container of its own by that
    yield parsing, "resource_class_from_type", class_of
    yield StepFunctionsParserBackend, "start_execution", start_execution
    yield Execution, "get_start_execution_details", execution_details
    yield retrier_decl, "time", SimpleNamespace(sleep=joined.waits.append)
    yield StepFunctionResponse, "start_sync_execution", _start_sync_execution
    yield Rule, "send_to_targets", send_to_targets


def _joints_of_tasks() -> Iterator[tuple[Any, str, Any]]:
    """Likewise, of single states."""
    ask, end = StateTaskServiceSfn._eval_service_task, Environment.set_ended

    def start_by_task(
        task: StateTaskServiceSfn, env: Any, resource_runtime_part: Any, normalised_parameters: Any, **others: Any
    ) -> None:
        shapes = operation("stepfunctions", task.resource.api_action)
        task._to_boto_request(normalised_parameters, shapes.input_shape)
        ask(task, env, resource_runtime_part, normalised_parameters, **others)
        task._from_boto_response(env.stack[-1], shapes.output_shape)
        env.stack.append(json.loads(to_json_str(env.stack.pop())))

    def set_ended(frame: Environment) -> None:
        """A state is over, in time or not: so is its token."""
        end(frame)
        token = frame.states.context_object.context_object_data.get("Task", {}).get("Token")
        if endpoint := frame.callback_pool_manager.get(token):
            endpoint.report(CallbackConsumerTimeout())

    def send_task_success(backend: Any, task_token: str, outcome: str) -> None:
        for execution in backend._get_executions():
            pool = execution.exec_worker.env.callback_pool_manager
            try:
                if pool.notify(callback_id=task_token, outcome=CallbackOutcomeSuccess(task_token, outcome)):
                    return
            except CallbackNotifyConsumerError:
                raise JsonRESTError("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'") from None
        raise JsonRESTError("InvalidToken", "Invalid Token: 'Invalid token'")

    yield StateTaskServiceSfn, "_eval_service_task", start_by_task
    yield Environment, "set_ended", set_ended
    yield StepFunctionsParserBackend, "send_task_success", send_task_success


def _start_sync_execution(response: StepFunctionResponse) -> ActionResult:
    backend, arn = response.stepfunction_backend, response._get_param("stateMachineArn")
    if backend.describe_state_machine(arn).type != "EXPRESS":
        raise JsonRESTError("StateMachineTypeNotSupported", "This operation is not supported by this type of machine")
    execution = backend.start_execution(arn, response._get_param("name"), response._get_param("input"))
    while execution.status == "RUNNING":
        time.sleep(0.02)
    answer = {
        "executionArn": execution.execution_arn,
        "stateMachineArn": arn,
        "name": execution.name,
        "startDate": execution.start_date,
        "stopDate": execution.stop_date,
        "status": execution.status,
        "error": execution.error,
        "cause": execution.cause,
        "input": execution.execution_input,
        "output": json.dumps(execution.output) if execution.status == "SUCCEEDED" else None,
    }
    return ActionResult({name: value for name, value in answer.items() if value is not None})


def _kept_by(joined: Engine) -> type:
    """A class of resource that does nothing but keep what it was made with."""

    class Kept:
        def __init__(self, name: str) -> None:
            self.physical_resource_id = name

        @classmethod
        def create_from_cloudformation_json(
            cls, name: str, made: Any, _account: str, _region: str, **told: Any
        ) -> Kept:
            joined.kept[told["LogicalId"]] = made["Properties"]
            return cls(made["Properties"].get("Name", name))

        @classmethod
        def delete_from_cloudformation_json(cls, *_: Any) -> None:
            return

        def is_created(self) -> bool:
            return True

    return Kept
