"""A model's files: where they lie in a channel, how they are packed, and what checks them.

An artifact is model.ubj, manifest.json and probes.json; no pickle. This module needs no XGBoost;
``model.py`` reads and writes the model itself.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fraudline.catalog.errors import InputError
from fraudline.catalog.stage import POINTER_FILE
from fraudline.runtime.channels import Channels, read_json

MODEL_FILE = "model.ubj"
PROBES_FILE = "probes.json"
ARCHIVE_FILE = "model.tar.gz"


def find(channels: Channels, name: str = "model") -> Path:
    """The folder of an artifact's files, wherever in the channel they are; unpacks an archive."""
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
    """The version that current.json names, or None where there is no champion yet."""
    pointer = channels.read_json(name, POINTER_FILE)
    if not isinstance(pointer, dict) or "champion" not in pointer:
        raise InputError(f"channel '{name}': {POINTER_FILE} has no key 'champion'; restore it, or write null")
    version: str | None = pointer["champion"] and pointer["champion"]["model_version"]
    return version


def digest(folder: Path) -> str:
    """A hash of an artifact's files."""
    content = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        content.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return content.hexdigest()


def pack(folder: Path) -> bytes:
    """An artifact as model.tar.gz, the same bytes for the same files."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for path in sorted(folder.iterdir()):
            entry = tarfile.TarInfo(path.name)
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(entry, file)
    return packed.getvalue()


def probes(folder: Path, name: str = "model") -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The artifact's probe rows and their scores."""
    content = read_json(folder / PROBES_FILE, name)
    return np.array(content["rows"], np.float32), np.array(content["scores"])
