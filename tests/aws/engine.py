"""A moto server in which a deployed stack really runs: the joints add what moto lacks of its services.

docs/offline.md lists the joints, each with what moto does instead and the shape that AWS documents, and what none of
this can show. Each joint has one place here, and test_engine.py checks its shape.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
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
from moto.sqs.models import Queue
from moto.sqs.responses import SQSResponse
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
from tests.aws import formation, registry, states
from tests.aws.states import EXPRESS_SECONDS, Joint
from tests.entrypoints.jobs import tagged
from tests.wiring.aws import operation

ACCOUNT, REGION = "123456789012", "us-east-1"

Properties = Mapping[str, Any]


@dataclass
class Functions:
    """The stack's Lambda functions, each in a container of its own that starts at the first invocation.

    Attributes:
        containers: stops the containers when the engine stops.
        environment: variables by which a container reaches this AWS.
        on_answer: called with a function's name and answer, before the caller gets the answer.
    """

    containers: ExitStack
    environment: Mapping[str, str]
    on_answer: Callable[[str, Any], None] = lambda _name, _answer: None
    _running: dict[str, tuple[str, threading.Lock]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def invoke(self, function: LambdaFunction, event: Any = None) -> tuple[str, bool, str]:
        """Return what moto expects of an invocation: the payload, whether it is an error, and the log."""
        address, lock = self._started(function)
        with lock:  # a second event at the same time crashes the emulator
            answer = emulator.invoke(address, event, function.timeout + 5)
        self.on_answer(function.function_name, answer)
        return json.dumps(answer), isinstance(answer, dict) and "errorType" in answer, ""

    def _started(self, function: LambdaFunction) -> tuple[str, threading.Lock]:
        """Return a function's address and lock; start its container if necessary."""
        with self._lock:
            if function.function_name not in self._running:
                address = self.containers.enter_context(self._container(function))
                self._running[function.function_name] = address, threading.Lock()
            return self._running[function.function_name]

    def _container(self, function: LambdaFunction) -> AbstractContextManager[str]:
        environment = {
            **self.environment,
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            **function.environment_vars,
        }
        (image,) = re.findall(r"fraudline/(\w+)[@:]", function.code["ImageUri"])
        return emulator.function(tagged(image), function.image_config.cmd, environment, memory=function.memory_size)


@dataclass
class Engine:
    """An AWS in which a stack runs.

    Attributes:
        address: URL of every service.
        functions: the stack's Lambda functions.
        recorded: properties of the resources that moto's CloudFormation does not know, by logical ID.
        waits: seconds that state machines would have waited before they tried again.
    """

    address: str
    functions: Functions
    recorded: dict[str, Properties] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)

    def fire(self, schedule: str, scheduled: datetime) -> None:
        """Send a schedule's message with its scheduled time."""
        target = self.recorded[schedule]["Target"]
        time_text = scheduled.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        message = target["Input"].replace("<aws.scheduler.scheduled-time>", time_text)
        boto3.client("sqs").send_message(QueueUrl=queue_url(target["Arn"]), MessageBody=message)

    def poll(self, pipe: str) -> list[dict[str, Any]]:
        """Let a pipe pass one batch of its queue to its state machine, and return the answers.

        A batch that succeeds is deleted. One that fails is visible again at once, as if its visibility timeout had
        passed; the queue itself counts attempts, and moves a message to its dead-letter queue after too many.
        """
        properties = self.recorded[pipe]
        queue = queue_url(properties["Source"])
        size = properties["SourceParameters"]["SqsQueueParameters"]["BatchSize"]
        messages = (
            boto3.client("sqs")
            .receive_message(QueueUrl=queue, MaxNumberOfMessages=size, AttributeNames=["All"])
            .get("Messages", [])
        )
        if not messages:
            return []
        target = properties["TargetParameters"]
        assert target["StepFunctionStateMachineParameters"]["InvocationType"] == "REQUEST_RESPONSE"
        records = [pipe_record(message, properties["Source"]) for message in messages]
        batch = [apply_template(target["InputTemplate"], record) for record in records]
        answer = _run_express(properties["Target"], batch)
        _settle(queue, messages, succeeded=answer["status"] == "SUCCEEDED")
        return [answer]

    def executions(self, state_machine: str) -> list[dict[str, Any]]:
        """Return the executions of a state machine, the oldest first."""
        executions = boto3.client("stepfunctions").list_executions(stateMachineArn=state_machine)["executions"]
        return sorted(executions, key=lambda execution: execution["startDate"])

    def wait_for(self, execution: str, seconds: float = 60) -> dict[str, Any]:
        """Return the description of an execution once it has ended; fail if it takes longer."""
        client, deadline = boto3.client("stepfunctions"), time.monotonic() + seconds
        while (description := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
            assert time.monotonic() < deadline, f"{execution} has not ended after {seconds} s"
            time.sleep(0.02)
        return description


def _run_express(state_machine: str, content: Any) -> dict[str, Any]:
    # boto3 would put sync- before the host's name.
    config = Config(inject_host_prefix=False, read_timeout=EXPRESS_SECONDS + 5)
    client = boto3.client("stepfunctions", config=config)
    answer: dict[str, Any] = client.start_sync_execution(stateMachineArn=state_machine, input=json.dumps(content))
    return answer


def _settle(queue: str, messages: list[Any], *, succeeded: bool) -> None:
    """Delete the messages of a batch that succeeded; make those of a failed one visible again."""
    sqs = boto3.client("sqs")
    for message in messages:
        key = {"QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"]}
        if succeeded:
            sqs.delete_message(**key)
        else:
            sqs.change_message_visibility(**key, VisibilityTimeout=0)


def queue_url(arn: str) -> str:
    """Return the URL of a queue from its ARN or its name."""
    url: str = boto3.client("sqs").get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
    return url


def subscribe(topic: str, queue: str) -> str:
    """Create a queue that receives a topic's messages, and return its URL; the topic is an ARN, the queue a name."""
    url: str = boto3.client("sqs").create_queue(QueueName=queue)["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"
    boto3.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return url


def drain(queue: str) -> list[dict[str, Any]]:
    """Return every message of a queue, and delete them."""
    sqs, messages = boto3.client("sqs"), []
    while batch := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
        messages += batch
        for message in batch:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return messages


def drain_notifications(queue: str) -> list[dict[str, Any]]:
    """Return what a queue received from its topic, and delete it."""
    return [json.loads(json.loads(message["Body"])["Message"]) for message in drain(queue)]


def pipe_record(message: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return a message as a pipe sees it; paths can lead into a body that is JSON."""
    try:
        body = json.loads(message["Body"])
    except ValueError:
        body = message["Body"]
    identity = {"messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"]}
    return {
        **identity,
        "attributes": message["Attributes"],
        "body": body,
        "eventSource": "aws:sqs",
        "eventSourceARN": source,
        "awsRegion": REGION,
    }


def apply_template(template: str, record: Any) -> Any:
    """Fill in the <$.paths> of an input template; a path that leads nowhere "won't appear in the output"."""
    quoted = json.loads(re.sub(r"<(\$[^<>]*)>", r'"<\1>"', template))

    def select(path: str) -> Any:
        value = record
        for name in path.split(".")[1:]:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    values = {name: select(value[1:-1]) if value.startswith("<$") else value for name, value in quoted.items()}
    return {name: value for name, value in values.items() if value is not None}


def event_envelope(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event as its rule's target receives it."""
    sent = event["time"]
    time_text = sent if isinstance(sent, str) else datetime.fromtimestamp(sent, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    names = ("version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail")
    return {name: {**event, "time": time_text}[name] for name in names}


@contextmanager
def engine() -> Iterator[Engine]:
    """Start an empty server with all joints; every AWS client of this process calls it."""
    with ExitStack() as joints, ExitStack() as containers:
        moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        moto.start()
        joints.callback(moto.stop)
        _, port = moto.get_host_and_port()
        environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
        }
        # State machines call the services by MOTO_PORT.
        joints.enter_context(patch.dict("os.environ", environment | {"MOTO_PORT": str(port)}))
        joints.enter_context(patch.dict(default_user_config, {"stepfunctions": {"execute_state_machine": True}}))
        started = Engine(environment["AWS_ENDPOINT_URL"], Functions(containers, environment))
        modules = (*registry.joints(), *states.joints())
        for owner, name, replacement in (*_joints(started), *_joints_of_tasks(), *modules):
            joints.enter_context(patch.object(owner, name, replacement, create=True))
        aws_clients.client.cache_clear()
        joints.callback(aws_clients.client.cache_clear)
        moto_api_backend.reset()
        joints.callback(moto_api_backend.reset)
        joints.callback(_stop_executions)
        yield started


def _stop_executions() -> None:
    for state_machine in stepfunctions_parser_backends[ACCOUNT][REGION].state_machines:
        for execution in state_machine.executions:
            if execution.status == "RUNNING":
                execution.stop(stop_date=datetime.now(UTC), error=None, cause=None)


def _joints(cloud: Engine) -> Iterator[Joint]:
    """Yield the joints of CloudFormation, Lambda, events and executions."""
    yield from _joints_of_resources(cloud)
    yield from formation.joints()
    yield LambdaFunction, "_invoke_lambda", lambda function, event=None: cloud.functions.invoke(function, event)
    # moto deletes a container of its own by this digest; there is none.
    yield LambdaFunction, "code_digest", ""
    yield from _joints_of_executions()
    # Record the pauses before a retry instead of waiting.
    yield retrier_decl, "time", SimpleNamespace(sleep=cloud.waits.append)
    yield Rule, "send_to_targets", _sending_to_state_machines()
    yield from _joints_of_queues()


def _joints_of_queues() -> Iterator[Joint]:
    """Yield the move of dead letters: back to the queue that each came from, and a failure where none sent it."""
    add, tasks = Queue.add_message, dict[str, dict[str, Any]]()

    def add_message(queue: Queue, message: Any) -> None:
        message.first_queue = getattr(message, "first_queue", queue.name)  # moto copies messages
        add(queue, message)

    def start_message_move_task(response: SQSResponse) -> ActionResult:
        arn = response._get_param("SourceArn")
        dead_letters = response.sqs_backend.get_queue(arn.rpartition(":")[2])
        tasks[arn] = {"SourceArn": arn, "Status": "COMPLETED"}
        for message in list(dead_letters._messages):
            if message.first_queue == dead_letters.name:
                tasks[arn] |= {"Status": "FAILED", "FailureReason": "CouldNotDetermineMessageSource"}
            else:
                dead_letters._messages.remove(message)
                message.approximate_receive_count = 0
                response.sqs_backend.get_queue(message.first_queue).add_message(message)
        return ActionResult({"TaskHandle": arn})

    def list_message_move_tasks(response: SQSResponse) -> ActionResult:
        return ActionResult({"Results": [tasks[response._get_param("SourceArn")]]})

    yield Queue, "add_message", add_message
    yield SQSResponse, "start_message_move_task", start_message_move_task
    yield SQSResponse, "list_message_move_tasks", list_message_move_tasks


def _joints_of_resources(cloud: Engine) -> Iterator[Joint]:
    """Yield what CloudFormation creates from a template's resources."""
    create_function, create_bucket = (
        LambdaFunction.create_from_cloudformation_json,
        FakeBucket.create_from_cloudformation_json,
    )
    resource_class = parsing.resource_class_from_type

    def create_state_machine(_cls: type, name: str, resource: Any, account: str, region: str, **_: Any) -> StateMachine:
        properties = resource["Properties"]
        location = properties["DefinitionS3Location"]
        definition = s3_backends[account]["aws"].get_object(location["Bucket"], location["Key"]).value.decode()
        for key, value in properties.get("DefinitionSubstitutions", {}).items():
            definition = definition.replace(f"${{{key}}}", str(value))
        return stepfunctions_parser_backends[account][region].create_state_machine(
            properties.get("StateMachineName", name),
            definition,
            properties["RoleArn"],
            sm_type=properties.get("StateMachineType", "STANDARD"),
        )

    def create_function_of_image(
        _cls: type, name: str, resource: Any, account: str, region: str, **others: Any
    ) -> LambdaFunction:
        function = create_function(name, resource, account, region, **others)
        function.package_type = resource["Properties"]["PackageType"]
        function.image_config = ImageConfig(resource["Properties"].get("ImageConfig", {}))
        return function

    def create_bucket_with_events(
        _cls: type, name: str, resource: Any, account: str, region: str, **others: Any
    ) -> FakeBucket:
        bucket = create_bucket(name, resource, account, region, **others)
        notifications = resource["Properties"].get("NotificationConfiguration", {})
        if notifications.get("EventBridgeConfiguration", {}).get("EventBridgeEnabled"):
            bucket.set_notification_configuration({"EventBridgeConfiguration": {}})
        return bucket

    def class_of(kind: str) -> Any:
        return (parsing.get_model_map().get(kind) and resource_class(kind)) or _recorded_in(cloud)

    yield StateMachine, "create_from_cloudformation_json", classmethod(create_state_machine)
    yield LambdaFunction, "create_from_cloudformation_json", classmethod(create_function_of_image)
    yield FakeBucket, "create_from_cloudformation_json", classmethod(create_bucket_with_events)
    yield parsing, "resource_class_from_type", class_of


def _recorded_in(cloud: Engine) -> type:
    """Return a class of resource that does nothing but record its properties."""

    class Recorded:
        def __init__(self, name: str) -> None:
            self.physical_resource_id = name

        @classmethod
        def create_from_cloudformation_json(
            cls, name: str, resource: Any, _account: str, _region: str, **others: Any
        ) -> Recorded:
            cloud.recorded[others["LogicalId"]] = resource["Properties"]
            return cls(resource["Properties"].get("Name", name))

        @classmethod
        def delete_from_cloudformation_json(cls, *_: Any) -> None:
            return

        def is_created(self) -> bool:
            return True

    return Recorded


def _joints_of_executions() -> Iterator[Joint]:
    start, details_of = StepFunctionsParserBackend.start_execution, Execution.get_start_execution_details

    def start_execution(
        backend: Any, state_machine_arn: str, name: str | None = None, execution_input: Any = None, trace: Any = None
    ) -> Any:
        states.check_input(execution_input)
        return start(backend, state_machine_arn, name or str(uuid.uuid4()), execution_input, trace)

    def start_execution_details(execution: Execution) -> Any:
        details = details_of(execution)
        details.start_time = f"{details.start_time:%Y-%m-%dT%H:%M:%S}.{details.start_time.microsecond // 1000:03}Z"
        return details

    yield StepFunctionsParserBackend, "start_execution", start_execution
    yield Execution, "get_start_execution_details", start_execution_details
    yield StepFunctionResponse, "start_sync_execution", _start_sync_execution


def _sending_to_state_machines() -> Callable[..., None]:
    """Return what sends a rule's events to state machines too; moto raises NotImplementedError for them."""
    send = Rule.send_to_targets

    def send_to_targets(rule: Rule, event: Any, transform_input: bool = True) -> None:
        state_machines = [target for target in rule.targets if target["Arn"].split(":")[2] == "states"]
        if state_machines and rule.event_pattern.matches_event(event):
            for target in state_machines:
                backend = stepfunctions_parser_backends[rule.account_id][rule.region_name]
                backend.start_execution(target["Arn"], None, json.dumps(event_envelope(event)))
        others = copy(rule)
        others.targets = [target for target in rule.targets if target not in state_machines]
        send(others, event, transform_input)

    return send_to_targets


def _joints_of_tasks() -> Iterator[Joint]:
    """Yield the joints of single states: executions as tasks, and task tokens."""
    run_task, end = StateTaskServiceSfn._eval_service_task, Environment.set_ended

    def start_by_task(
        task: StateTaskServiceSfn, env: Any, resource_runtime_part: Any, normalised_parameters: Any, **others: Any
    ) -> None:
        shapes = operation("stepfunctions", task.resource.api_action)
        task._to_boto_request(normalised_parameters, shapes.input_shape)
        run_task(task, env, resource_runtime_part, normalised_parameters, **others)
        task._from_boto_response(env.stack[-1], shapes.output_shape)
        env.stack.append(json.loads(to_json_str(env.stack.pop())))

    def set_ended(frame: Environment) -> None:
        """End a state, in time or not; its token ends with it."""
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
