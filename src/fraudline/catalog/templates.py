"""Templates of addresses and names, with fields that each execution fills in.

The fields are ``{as_of}``, ``{day}`` (the day before as_of) and ``{contract}`` (the hash of the feature definitions).
"""

from __future__ import annotations

import re
from datetime import date

from fraudline.catalog.days import day_before

_FIELD = re.compile(r"\{(\w+)\}")


def resolve(template: str, as_of: date) -> str:
    """Return a template with its fields filled in for ``as_of``; other braces stay as they are."""
    values: dict[str, object] = {"as_of": as_of, "day": day_before(as_of)}
    if "{contract}" in template:
        from fraudline.catalog.contract import contract  # noqa: PLC0415 - hashes definitions that no help text needs

        values["contract"] = contract()
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", str(value))
    return template


class Field(str):
    """The name of a field of a template."""

    __slots__ = ()


def fields(template: str) -> list[str | Field]:
    """Split a template into literal text and fields, in order, for translation into an expression language."""
    # re.split puts the captured field names at odd positions.
    parts = _FIELD.split(template)
    return [Field(part) if position % 2 else part for position, part in enumerate(parts) if part]
