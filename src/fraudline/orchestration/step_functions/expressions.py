"""Write expressions of the Amazon States Language for paths, templates and parameter values.

``${Name}`` is a substitution, which the stack fills in when it creates the state machine. A state machine can't
calculate dates, so it evaluates only ``{as_of}``; ``{day}`` and ``{contract}`` are left to the stage.
"""

from __future__ import annotations

from fraudline.catalog.plan import JobPlan, Location
from fraudline.catalog.stage import Parameter
from fraudline.catalog.templates import Field, fields

AS_OF = "$.as_of"
SETTINGS = "$.settings"
_SUBSTITUTIONS = {"data": "${Data}", "root": "${Root}"}
_PATHS = {"as_of": AS_OF}


def keyed(name: str, value: str) -> dict[str, str]:
    """Return one member of a payload; if Step Functions must evaluate the value, the name ends with ``.$``."""
    return {f"{name}.$" if value.startswith(("$", "States.")) and not value.startswith("${") else name: value}


def formatted(template: str, prefix: str = "") -> str:
    """Return the expression that fills in a template.

    Args:
        template: a template with the field ``{as_of}`` only.
        prefix: literal text before it; its braces belong to substitutions.
    """
    parts = fields(template)
    text = prefix + "".join("{}" if isinstance(part, Field) else part for part in parts)
    paths = [_PATHS[part] for part in parts if isinstance(part, Field)]
    return f"States.Format('{text}', {', '.join(paths)})" if paths else text


def uri(location: Location) -> str:
    """Return the URI of a location as a template, whose fields the stage fills in."""
    return f"{_SUBSTITUTIONS[location.base]}/{location.template}"


def mounted_uri(location: Location) -> str:
    """Return the expression for the URI of a location that SageMaker itself reads or writes."""
    return formatted(location.template, f"{_SUBSTITUTIONS[location.base]}/")


def values(job: JobPlan) -> dict[Parameter, str]:
    """Return an expression for each parameter of a job."""
    decided = {parameter: formatted(template) for parameter, template in job.values.items()}
    return decided | {parameter: f"{SETTINGS}.{name}" for name, parameter in job.settings.items()}


def as_text(expression: str) -> str:
    """Return an expression as a string, because an execution may set a number where an API expects a string."""
    return expression if expression.startswith("States.") else f"States.Format('{{}}', {expression})"


def option(parameter: Parameter, expression: str) -> str:
    """Return the argument OPTION=VALUE in one, because SageMaker rejects empty arguments."""
    if expression.startswith("States.Format('"):
        return expression.replace("States.Format('", f"States.Format('{parameter.option}=", 1)
    return f"States.Format('{parameter.option}={{}}', {expression})"


def unique_name(prefix: str) -> str:
    """Return the expression for a unique job name, because a name can't be used again, even after a failure."""
    unique = "States.ArrayGetItem(States.StringSplit(States.UUID(), '-'), 0)"
    return f"States.Format('{prefix}-{{}}-{{}}', {AS_OF}, {unique})"
