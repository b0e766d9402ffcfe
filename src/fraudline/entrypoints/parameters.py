"""From the texts that a host passes to a stage's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fraudline.catalog.errors import InputError
from fraudline.catalog.run import Job, Run
from fraudline.catalog.stage import REQUIRED, Parameter, Stage
from fraudline.catalog.stages import AS_OF, RUN


def split_run(values: Mapping[str, Any], job: Job | None = None) -> tuple[list[Run], dict[str, Any]]:
    """Split the values of a batch stage into its Run and its own parameters; a server has no Run."""
    own = dict(values)
    if AS_OF.name not in own:
        return [], own
    return [Run(**{parameter.name: own.pop(parameter.name) for parameter in RUN}, job=job)], own


def parse(stage: Stage, texts: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
    """Every parameter of a stage by name; the clock is read here and nowhere below.

    Raises:
        InputError: one is missing, unknown or can't be read.
    """
    unknown = set(texts) - {parameter.name for parameter in stage.parameters}
    if unknown:
        known = ", ".join(parameter.name for parameter in stage.parameters)
        raise InputError(f"{stage.name} has no parameter {', '.join(sorted(unknown))}; it has {known}")
    return {parameter.name: _value(parameter, texts.get(parameter.name)) for parameter in stage.parameters}


def _value(parameter: Parameter, text: str | Sequence[str] | None) -> Any:
    if not text:  # orchestrators pass every parameter, an empty text for what nobody set
        if parameter.default is REQUIRED:
            raise InputError(f"{parameter.option} is missing: {parameter.description} ({parameter.unit})")
        return datetime.now(UTC) if parameter.name == "now" else parameter.default
    if parameter.many:  # some hosts pass a map of texts, so that commas stand between the values of one
        texts = [text] if isinstance(text, str) else text
        return tuple(_parsed(parameter, item) for given in texts for item in str(given).split(",") if item)
    return _parsed(parameter, str(text))


def _parsed(parameter: Parameter, text: str) -> Any:
    try:
        return parameter.type(text)
    except ValueError as error:
        unit = f" ({parameter.unit})" if parameter.unit else ""
        raise InputError(f"{parameter.option}: got '{text}': {error}; {parameter.description}{unit}") from error
