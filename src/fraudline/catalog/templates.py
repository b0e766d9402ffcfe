"""Templates of addresses and names, whose fields an execution fills in.

``{as_of}`` is the execution's day, ``{day}`` the day before it, and ``{contract}`` the hash of the feature definitions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from fraudline.catalog.contract import contract
from fraudline.catalog.days import day_before

_FIELD = re.compile(r"\{(\w+)\}")


def resolve(template: str, as_of: date) -> str:
    """Return a template with its fields filled in for a day; other braces stay."""
    values = {"as_of": as_of, "day": day_before(as_of), "contract": contract()}
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", str(value))
    return template


@dataclass(frozen=True)
class Field:
    """A field of a template."""

    name: str


def fields(template: str) -> list[str | Field]:
    """Split a template into its literal texts and its fields, in their order, for expression languages."""
    parts = _FIELD.split(template)
    return [Field(part) if number % 2 else part for number, part in enumerate(parts) if part]
