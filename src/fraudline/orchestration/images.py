"""The images that a pipeline runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fraudline.catalog.errors import InputError
from fraudline.catalog.stages import IMAGES


def images(path: Path | None) -> dict[str, str]:
    """Each image's name: pinned by what docker buildx bake --metadata-file wrote, else as built here."""
    if path is None:
        return {name: f"fraudline/{name}:dev" for name in IMAGES}
    try:
        built = json.loads(path.read_text())
        # A tag can move, and a step would then be left out or repeated for no reason to be seen.
        return {
            name: f"{re.sub(':[^:/]+$', '', built[name]['image.name'])}@{built[name]['containerimage.digest']}"
            for name in IMAGES
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"--images {path}: expected what docker buildx bake --metadata-file writes, with the targets "
            f"{', '.join(IMAGES)}; got {type(error).__name__}: {error}"
        ) from error
