"""Lambda functions: the stages of a day, and what serves single transactions."""

from __future__ import annotations

from dataclasses import dataclass, field

from fraudline.catalog import environment
from fraudline.catalog.plan import plan
from fraudline.catalog.stage import Image
from fraudline.catalog.stages import PUBLISH_HISTORY
from fraudline.orchestration.stack.intrinsics import NOTHING, Resource, Resources, Value, attribute, choose, ref, sub
from fraudline.orchestration.stack.parameters import KEY

_HISTORY = sub("dynamodb://${HistoryTable}")


@dataclass(frozen=True)
class Size:
    """The parameter with the memory in MiB, storage in MiB, and the longest run in seconds."""

    memory: str
    storage: int
    seconds: int


@dataclass(frozen=True)
class Function:
    """A function of one transaction, with the variables that it reads from its environment."""

    name: str
    image: Image
    environment: dict[str, Value] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Return its name in logical ids."""
        return self.name.title().replace("-", "")


# All functions of a day have to end within the 300 seconds of an EXPRESS execution.
_SIZES = {
    "etl": Size("FunctionMemory", 4096, 240),
    "feature-extraction": Size("FunctionMemory", 4096, 240),
    "fraud-scoring": Size("FunctionMemory", 2048, 240),
    "filter-high-risk": Size("FunctionMemory", 1024, 240),
    "alert-and-store": Size("FunctionMemory", 2048, 240),
    "publish-history": Size("FunctionMemory", 1024, 270),
}
# An initialization that takes more than Lambda's 10 s is repeated in the first invocation, so the time-out has room for
# it; the states of the state machine realtime wait longer.
_REALTIME_SIZE = Size("RealtimeMemory", 512, 20)
REALTIME = (
    Function(
        "realtime-features",
        "features",
        {environment.HISTORY.name: _HISTORY, environment.FUNCTION_LABEL_DELAY.name: ref("LabelDelayDays")},
    ),
    Function(
        "realtime-score",
        "score",
        {
            environment.CHAMPION.name: sub("s3://${ResultsBucket}/champion/"),
            environment.TOPIC.name: ref("AlertsTopic"),
            # As the daily run has them, so that an alert has the same priority in both.
            environment.FUNCTION_THRESHOLD.name: ref("Threshold"),
            environment.FUNCTION_URGENT_LOSS.name: ref("UrgentLoss"),
        },
    ),
    Function("realtime-history", "features", {environment.HISTORY.name: _HISTORY}),
)


def functions() -> Resources:
    """Return every function."""
    stages = [*(job.stage for job in plan("daily")), PUBLISH_HISTORY]
    return {
        **{f"{it.step}Function": _function(it.name, it.step, it.image, {}, _SIZES[it.name]) for it in stages},
        **{
            f"{it.title}Function": _function(it.name, it.title, it.image, it.environment, _REALTIME_SIZE)
            for it in REALTIME
        },
    }


def _function(name: str, title: str, image: Image, variables: dict[str, Value], size: Size) -> Resource:
    network = {"SubnetIds": ref("SubnetIds"), "SecurityGroupIds": ref("SecurityGroupIds")}
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "FunctionName": sub(f"${{Name}}-{name}"),
            "PackageType": "Image",
            "Code": {"ImageUri": ref(f"{image.title()}Image")},
            "ImageConfig": {"Command": ["lambda", name]},
            **({"Environment": {"Variables": variables}} if variables else {}),
            "Role": attribute(f"{title}Role"),
            "MemorySize": ref(size.memory),
            "EphemeralStorage": {"Size": size.storage},
            "Timeout": size.seconds,
            "TracingConfig": {"Mode": "Active"},
            "LoggingConfig": {"LogGroup": ref("FunctionsLogs")},
            "KmsKeyArn": KEY,
            "VpcConfig": choose("InVpc", network, NOTHING),
        },
    }
