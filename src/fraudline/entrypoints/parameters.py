"""Parse the texts that a platform passes into the values of a stage's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fraudline.catalog.errors import InputError
from fraudline.catalog.run import Job, Run
from fraudline.catalog.stage import REQUIRED, Parameter, Stage
from fraudline.catalog.stages import AS_OF, NOW, RUN


def split_run(values: Mapping[str, Any], job: Job | None = None) -> tuple[list[Run], dict[str, Any]]:
    """Split a stage's values into its Run (none for a server) and the stage's own parameters."""
    own = dict(values)
    if AS_OF.name not in own:
        return [], own
    return [Run(**{parameter.name: own.pop(parameter.name) for parameter in RUN}, job=job)], own


def parse(stage: Stage, texts: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
    """Return the value of every parameter of a stage by name; nothing else reads the clock.

    Raises:
        InputError: a parameter is missing, unknown or can't be parsed.
    """
    names = [parameter.name for parameter in stage.parameters]
    if unknown := sorted(set(texts) - set(names)):
        raise InputError(f"{stage.name} has no parameter {', '.join(unknown)}; it has {', '.join(names)}")
    return {parameter.name: _value(parameter, texts.get(parameter.name)) for parameter in stage.parameters}


def _value(parameter: Parameter, text: str | Sequence[str] | None) -> Any:
    if not text:  # orchestrators pass every parameter, with an empty text for those that nobody set
        if parameter.default is REQUIRED:
            raise InputError(f"{parameter.option} is missing: {parameter.description} ({parameter.unit})")
        return datetime.now(UTC) if parameter == NOW else parameter.default
    if parameter.many:
        return tuple(_parse_one(parameter, item) for item in _items(text))
    return _parse_one(parameter, str(text))


def _items(text: str | Sequence[str]) -> list[str]:
    """Split the values of a repeatable parameter: a map of texts can hold it once only, with commas."""
    texts = [text] if isinstance(text, str) else [str(part) for part in text]
    return [item for part in texts for item in part.split(",") if item]


def _parse_one(parameter: Parameter, text: str) -> Any:
    try:
        return parameter.type(text)
    except ValueError as error:
        unit = f" ({parameter.unit})" if parameter.unit else ""
        raise InputError(f"{parameter.option}: got '{text}': {error}; {parameter.description}{unit}") from error
