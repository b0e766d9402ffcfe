"""The images that pipelines and the stack run, pinned by digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fraudline.catalog.errors import InputError
from fraudline.catalog.stages import IMAGES


def images(path: Path | None) -> dict[str, str]:
    """Return the name of each image.

    Args:
        path: file that ``docker buildx bake --metadata-file`` wrote, whose digests pin the images; None for the images
            of this computer.

    Raises:
        InputError: the file can't be read, or lacks an image.
    """
    if path is None:
        return {name: f"fraudline/{name}:dev" for name in IMAGES}
    try:
        metadata = json.loads(path.read_text())
        return {name: _pinned(metadata[name]) for name in IMAGES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"--images {path}: expected what docker buildx bake --metadata-file writes, with the targets "
            f"{', '.join(IMAGES)}; got {type(error).__name__}: {error}; publish the images again"
        ) from error


def _pinned(target: Mapping[str, Any]) -> str:
    """Return an image's name with its digest: a tag can move, and a pipeline's cache would not see it."""
    repository, colon, tag = target["image.name"].rpartition(":")
    if not colon or "/" in tag:  # a registry's port, not a tag
        repository = target["image.name"]
    return f"{repository}@{target['containerimage.digest']}"
