"""Published models and the champion among them."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from fraudline.catalog import parsing
from fraudline.catalog.errors import InputError
from fraudline.catalog.stage import POINTER_FILE
from fraudline.catalog.templates import resolve
from fraudline.catalog.workflow import CHAMPION, EVALUATED, MODELS
from fraudline.orchestration.operations import prefixes
from fraudline.runtime import s3


def champion(root: str) -> dict[str, Any] | None:
    """Return what the pointer says of the champion, None if there is none yet.

    Raises:
        InputError: the pointer is missing.
    """
    text = s3.read(f"{root}/{CHAMPION.template}", POINTER_FILE)
    if text is None:
        raise InputError(
            f"{root}/{CHAMPION.template}{POINTER_FILE} is missing; make deploy writes that there is none yet"
        )
    content: dict[str, Any] | None = json.loads(text)["champion"]
    return content


def published(root: str) -> list[str]:
    """Return the versions of all published models, the latest last."""
    return prefixes.names(f"{root}/{MODELS.template.partition('/')[0]}/")


def to_restore(root: str, version: str | None) -> date:
    """Return the day of the training whose model is to be the champion again.

    Args:
        root: the base URI of all outputs.
        version: the model's; None for the latest that is earlier than the champion.

    Raises:
        InputError: there is no such model, it is the champion already, or the gate's verdict on it has expired.
    """
    current = (champion(root) or {}).get("model_version", "")
    versions = published(root)
    earlier = [it for it in versions if it < current]
    if version is None and not earlier:
        raise InputError(f"no model is earlier than the champion {current or '(none yet)'}; name one with --to VERSION")
    chosen = version or earlier[-1]
    if chosen not in versions:
        raise InputError(f"--to {chosen}: no such model was deployed; there are {', '.join(versions) or 'none'}")
    if chosen == current:
        raise InputError(f"--to {chosen}: it is the champion already")
    as_of = parsing.day(chosen.removeprefix("v"))
    verdict = f"{root}/{resolve(EVALUATED.template, as_of)}"
    if not s3.exists(verdict):
        raise InputError(
            f"{chosen}: its verdict at {verdict} has expired; train again: fraudline aws retrain --as-of {as_of}"
        )
    return as_of
