"""The parameters of a pipeline, and expressions over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fraudline.catalog.errors import InputError
from fraudline.catalog.plan import JobPlan, Location, title
from fraudline.catalog.stage import Parameter
from fraudline.catalog.templates import Field, fields
from fraudline.orchestration.sagemaker.sdk import Join, ParameterString

_BASES = {"data": "Data", "root": "Root"}
_FIELDS = {"as_of": "AsOf"}


class Parameters:
    """The parameters of one pipeline, each defined when it is first used. All are strings, like arguments.

    Args:
        defaults: the site's defaults, by the name of the pipeline's parameter; others have the catalog's default.
    """

    def __init__(self, defaults: Mapping[str, str]) -> None:
        self._defaults = defaults
        self._defined: dict[str, ParameterString] = {}

    def __contains__(self, name: str) -> bool:
        """Return True if a parameter is defined."""
        return name in self._defined

    def all(self) -> list[ParameterString]:
        """Return the parameters in the order in which they were defined."""
        return list(self._defined.values())

    def use(self, name: str, default: str | None = None, values: list[str] | None = None) -> ParameterString:
        """Return a parameter, defining it if it is new."""
        if name not in self._defined:
            default = self._defaults.get(name, default)
            self._defined[name] = ParameterString(name, default_value=default, enum_values=values)
        return self._defined[name]

    def refuse_unknown(self, names: list[str], pipeline: str) -> None:
        """Raise InputError for names that the pipeline does not use."""
        if unknown := sorted(set(names) - set(self._defined)):
            raise InputError(
                f"--set {', '.join(unknown)}: {pipeline} has no such parameter; it has {', '.join(self._defined)}"
            )

    def values(self, job: JobPlan) -> dict[Parameter, Any]:
        """Return an expression for each parameter of a job."""
        decided = {parameter: self.filled(template) for parameter, template in job.values.items()}
        settings = {
            parameter: self.use(title(name), parameter.default_text) for name, parameter in job.settings.items()
        }
        return decided | settings

    def filled(self, template: str) -> Any:
        """Return a template with its fields filled in."""
        return joined(*self._parts(template))

    def mounted_uri(self, location: Location, below: str = "") -> Any:
        """Return the URI of a location that SageMaker itself reads or writes."""
        return joined(self.use(_BASES[location.base]), "/", *self._parts(location.template + below))

    def explicit_uri(self, location: Location) -> list[Any]:
        """Return the parts of a URI whose template the stage fills in."""
        return [self.use(_BASES[location.base]), f"/{location.template}"]

    def _parts(self, template: str) -> list[Any]:
        return [self.use(_FIELDS[part]) if isinstance(part, Field) else part for part in fields(template)]


def joined(*parts: Any) -> Any:
    """Return an expression that joins strings and expressions, with inner joins flattened."""
    flat = [inner for part in parts for inner in (part.values if isinstance(part, Join) else [part])]
    return flat[0] if len(flat) == 1 else Join(on="", values=flat)
