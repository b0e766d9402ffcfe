"""SageMaker hosting as moto lacks it: endpoints that change over time, and answer with real scores.

Each addition follows the SageMaker API reference:

- CreateModel and CreateEndpointConfig refuse a name that exists (ValidationException); moto overwrites.
- CreateEndpoint: "sets the endpoint status to Creating. After it creates the endpoint, it sets the status to
  InService"; one whose container does not start becomes Failed, with a FailureReason, and "DeleteEndpoint is the
  only operation that can be performed on a failed endpoint". In moto it is in service at once.
- UpdateEndpoint: "sets the endpoint status to Updating. After updating the endpoint, it sets the status to
  InService"; where the new fleet does not start, the old one stays. moto has no such operation.
- InvokeEndpoint: the container's answer; where that is 4xx or 5xx, ModelError (424) with OriginalStatusCode and
  OriginalMessage; SageMaker's own refusals, such as ModelNotReadyException (429). moto returns preset results. Here
  the real server answers, with the archive in S3 as its model.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from moto.core.responses import ActionResult
from moto.s3.models import s3_backends
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import FakeEndpoint, SageMakerModelBackend, sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse

from fraudline.score import client
from fraudline.score.local_server import local_server

ACCOUNT, REGION = "123456789012", "us-east-1"
DESCRIBED_WHILE_CHANGING = 2

Answer = tuple[int, str]


@dataclass
class Hosting:
    """SageMaker's side of hosting.

    Attributes:
        folder: where archives are unpacked.
        servers: the running servers.
        start_failures: FailureReason by image, for containers that do not start.
        answer: changes a container's answer; takes the model's name and the answer.
        refusals: status and code of SageMaker's own answers, before it calls the container.
        urls: of the running servers, by their model.
        operations: on endpoints, in their order.
    """

    folder: Path
    servers: ExitStack
    start_failures: dict[str, str] = field(default_factory=dict)
    answer: Callable[[str, Answer], Answer] = lambda _model, answer: answer
    refusals: list[tuple[int, str]] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)
    operations: list[str] = field(default_factory=list)

    @property
    def backend(self) -> Any:
        return sagemaker_backends[ACCOUNT][REGION]

    def state(self, name: str) -> tuple[str, str] | None:
        """Return status and configuration of an endpoint, None where it does not exist."""
        endpoint = self.backend.endpoints.get(name)
        return endpoint and (endpoint.endpoint_status, endpoint.endpoint_config_name)

    def model(self, endpoint: FakeEndpoint) -> Any:
        (variant,) = self.backend.endpoint_configs[endpoint.endpoint_config_name].production_variants
        return self.backend._models[variant["ModelName"]]

    def begin(self, endpoint: FakeEndpoint, status: str, configuration: str) -> None:
        endpoint.endpoint_status, endpoint.pending = status, [configuration, DESCRIBED_WHILE_CHANGING]

    def progress(self, endpoint: FakeEndpoint) -> None:
        """Move a change forward; each description does, so that polling ends."""
        if endpoint.endpoint_status not in ("Creating", "Updating"):
            return
        endpoint.pending[1] -= 1
        if endpoint.pending[1] > 0:
            return
        created, previous = endpoint.endpoint_status == "Creating", endpoint.endpoint_config_name
        endpoint.endpoint_config_name = endpoint.pending[0]
        endpoint.failure_reason = self.start_failures.get(self.model(endpoint).primary_container["Image"])
        if endpoint.failure_reason and not created:
            endpoint.endpoint_config_name = previous
        endpoint.endpoint_status = "Failed" if endpoint.failure_reason and created else "InService"

    def invoke(self, name: str, body: str) -> Answer:
        endpoint = self.backend.endpoints[name]
        container = self.model(endpoint).primary_container
        answer = client.request(self.url(container["ModelDataUrl"]), "POST", "/invocations", body)
        return self.answer(self.model(endpoint).model_name, answer)

    def url(self, archive: str) -> str:
        """Return the URL of the real server with an archive in S3 as its model."""
        bucket, _, key = archive.removeprefix("s3://").partition("/")
        content = s3_backends[ACCOUNT]["aws"].get_object(bucket, key).value
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self.urls:
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                tar.extractall(self.folder / digest, filter="data")
            self.urls[digest] = self.servers.enter_context(local_server(self.folder / digest))
        return self.urls[digest]


@contextmanager
def hosting(folder: Path) -> Iterator[Hosting]:
    """Complete the hosting of any moto server in this process."""
    with ExitStack() as patches, ExitStack() as servers:
        completed = Hosting(folder, servers)

        def replace(owner: type, name: str, replacement: Callable[..., Any]) -> None:
            original = getattr(owner, name, None)
            patches.enter_context(
                patch.object(owner, name, lambda *a, **k: replacement(original, *a, **k), create=True)
            )

        replace(SageMakerModelBackend, "create_model", _refuse_existing("model", "_models", "model_name"))
        replace(
            SageMakerModelBackend,
            "create_endpoint_config",
            _refuse_existing("endpoint configuration", "endpoint_configs", "endpoint_config_name"),
        )

        def create(original: Any, backend: Any, **request: Any) -> Any:
            if request["endpoint_name"] in backend.endpoints:
                raise ValidationError(message="Cannot create already existing endpoint")
            completed.operations.append("create")
            endpoint = original(backend, **request)
            completed.begin(endpoint, "Creating", request["endpoint_config_name"])
            return endpoint

        def update(_original: Any, response: Any) -> ActionResult:
            endpoint = completed.backend.endpoints[response._get_param("EndpointName")]
            configuration = response._get_param("EndpointConfigName")
            completed.backend.describe_endpoint_config(configuration)
            if endpoint.endpoint_status != "InService":
                raise ValidationError(message=f"Cannot update in-progress endpoint '{endpoint.arn}'")
            completed.operations.append("update")
            completed.begin(endpoint, "Updating", configuration)
            return ActionResult({"EndpointArn": endpoint.arn})

        def describe(original: Any, backend: Any, name: str) -> Any:
            if name in backend.endpoints:
                completed.progress(backend.endpoints[name])
            return {key: value for key, value in original(backend, name).items() if key != "Pending"}

        def delete(original: Any, backend: Any, name: str) -> Any:
            completed.operations.append("delete")
            return original(backend, name)

        def invoke(_original: Any, response: Any) -> Any:
            name = response.path.split("/")[2]
            if name not in completed.backend.endpoints:
                problem = {"Message": f"Endpoint {name} of account {ACCOUNT} not found."}
                return 400, {"x-amzn-ErrorType": "ValidationError", "status": 400}, json.dumps(problem)
            if completed.refusals:
                status, code = completed.refusals.pop()
                return status, {"x-amzn-ErrorType": code, "status": status}, json.dumps({"Message": "not now"})
            status, text = completed.invoke(name, response.body)
            if status == 200:
                return 200, {"Content-Type": "application/json", "x-Amzn-Invoked-Production-Variant": "model"}, text
            problem = {"Message": "received an error", "OriginalStatusCode": status, "OriginalMessage": text}
            return 424, {"x-amzn-ErrorType": "ModelError", "status": 424}, json.dumps(problem)

        replace(SageMakerModelBackend, "create_endpoint", create)
        replace(SageMakerModelBackend, "describe_endpoint", describe)
        replace(SageMakerModelBackend, "delete_endpoint", delete)
        replace(SageMakerResponse, "update_endpoint", update)
        replace(SageMakerRuntimeResponse, "invoke_endpoint", invoke)
        yield completed


def _refuse_existing(kind: str, resources: str, key: str) -> Callable[..., Any]:
    def create(original: Any, backend: Any, **request: Any) -> Any:
        if request[key] in getattr(backend, resources):
            raise ValidationError(message=f'Cannot create already existing {kind} "{request[key]}"')
        return original(backend, **request)

    return create
