"""The files of a model: find them in a channel, pack them, and read the champion's pointer.

An artifact is model.ubj, manifest.json and probes.json; no pickle. This module needs no XGBoost;
``model.py`` reads and writes the model itself.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudline.catalog.errors import InputError
from fraudline.catalog.stage import POINTER_FILE
from fraudline.runtime.channels import MANIFEST_FILE, Channels, read_json

MODEL_FILE = "model.ubj"
PROBES_FILE = "probes.json"
ARCHIVE_FILE = "model.tar.gz"


def find(channels: Channels, name: str = "model") -> Path:
    """Return the folder with an artifact's files, unpacked if necessary.

    Args:
        channels: the stage's channels.
        name: an input that contains the files, or a model.tar.gz of them (the form that SageMaker Training uploads),
            or current.json beside the champion's folder.

    Raises:
        InputError: there is no champion, or the archive is broken.
    """
    folder = channels.folder(name)
    if (folder / POINTER_FILE).is_file():
        champion = champion_of(channels, name)
        if champion is None:
            raise InputError(f"channel '{name}': there is no champion yet; run a training first")
        folder = folder / champion
    archive = folder / ARCHIVE_FILE
    if not archive.is_file():
        return folder
    unpacked = channels.scratch(f"{name}-unpacked")
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"channel '{name}': {ARCHIVE_FILE} can't be unpacked ({error}); train again") from error
    return unpacked


def champion_of(channels: Channels, name: str = "champion") -> str | None:
    """Return the model version that an input's current.json names, or None if there is no champion yet.

    Raises:
        InputError: the pointer is missing or broken. (A new root has NO_CHAMPION, so a missing pointer is an error.)
    """
    pointer = channels.read_json(name, POINTER_FILE)
    if not isinstance(pointer, dict) or "champion" not in pointer:
        raise InputError(f"channel '{name}': {POINTER_FILE} has no key 'champion'; restore it, or write null")
    if not pointer["champion"]:
        return None
    return str(pointer["champion"]["model_version"])


def replaced_champion(channels: Channels, name: str = "champion") -> dict[str, Any]:
    """Return the champion that is about to be replaced, as an output's current.json names it, or an empty dict."""
    pointer = channels.existing_json(name, POINTER_FILE) or {}
    return pointer.get("champion") or {}


def digest(folder: Path) -> str:
    """Return a hash of an artifact's files; equal models have equal hashes.

    The summary beside the files is left out: it names the training job, which differs in every rerun.
    """
    content = hashlib.sha256()
    for name in sorted((MODEL_FILE, MANIFEST_FILE, PROBES_FILE)):
        content.update(f"{name} {hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n".encode())
    return content.hexdigest()


def pack(folder: Path) -> bytes:
    """Return the content of a model.tar.gz of a folder's files; the same files give the same bytes."""
    packed = io.BytesIO()
    # No modification times, neither in gzip's header nor in tar's entries, so that the bytes are reproducible.
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for path in sorted(folder.iterdir()):
            entry = tarfile.TarInfo(path.name)
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(entry, file)
    return packed.getvalue()


def probes(folder: Path, name: str = "model") -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return an artifact's probes: rows x features, NaN where missing, and the score of each row.

    Args:
        folder: the folder of the artifact.
        name: the channel, for errors.
    """
    content = read_json(folder / PROBES_FILE, name)
    return np.array(content["rows"], np.float32), np.array(content["scores"])
