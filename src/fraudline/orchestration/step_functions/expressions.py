"""Expressions of the Amazon States Language: paths, templates and parameter values as a state machine evaluates them.

``${Name}`` is a substitution, which the stack fills in when it creates the state machine. A state machine can't
calculate dates, so only ``{as_of}`` is evaluated here; ``{day}`` and ``{contract}`` are left for the stage.
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
    """Return one member of a payload; the name of one to be evaluated ends with ``.$``."""
    return {f"{name}.$" if value.startswith(("$", "States.")) and not value.startswith("${") else name: value}


def formatted(template: str, prefix: str = "") -> str:
    """Return the expression that fills in a template, with a prefix whose braces are substitutions."""
    parts = fields(template)
    text = prefix + "".join("{}" if isinstance(part, Field) else part for part in parts)
    paths = [_PATHS[part.name] for part in parts if isinstance(part, Field)]
    return f"States.Format('{text}', {', '.join(paths)})" if paths else text


def uri(location: Location) -> str:
    """Return a location as a template for the stage, which fills in its fields itself."""
    return f"{_SUBSTITUTIONS[location.base]}/{location.template}"


def mounted_uri(location: Location) -> str:
    """Return the expression of a location that SageMaker reads or writes, so that no stage can fill it in."""
    return formatted(location.template, f"{_SUBSTITUTIONS[location.base]}/")


def values(job: JobPlan) -> dict[Parameter, str]:
    """Return the expression of each parameter of a job."""
    decided = {parameter: formatted(template) for parameter, template in job.values.items()}
    return decided | {parameter: f"{SETTINGS}.{name}" for name, parameter in job.settings.items()}


def as_text(expression: str) -> str:
    """Return an expression as a text, since an execution may set a number where an API wants a text."""
    return expression if expression.startswith("States.") else f"States.Format('{{}}', {expression})"


def option(parameter: Parameter, expression: str) -> str:
    """Return one command line argument; with its option in front it is never empty, which SageMaker refuses."""
    if expression.startswith("States.Format('"):
        return expression.replace("States.Format('", f"States.Format('{parameter.option}=", 1)
    return f"States.Format('{parameter.option}={{}}', {expression})"


def unique_name(prefix: str) -> str:
    """Return the expression of a fresh job name, since a name can't be used again, not even after a failure."""
    unique = "States.ArrayGetItem(States.StringSplit(States.UUID(), '-'), 0)"
    return f"States.Format('{prefix}-{{}}-{{}}', {AS_OF}, {unique})"
