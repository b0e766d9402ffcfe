"""An artifact is found in each form that a channel may have, and read only if it scores as it did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fraudline.catalog.errors import InputError
from fraudline.catalog.stages import STAGES
from fraudline.model.artifact import find, pack
from fraudline.model.model import Model, load
from fraudline.runtime.channels import Channels
from tests.artifacts import ROWS, write_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artifact(tmp_path_factory.mktemp("artifact"))


def read(folder: Path) -> Model:
    with Channels(STAGES["serve"], {"model": str(folder)}, {}) as channels:
        return load(channels)


def copy(artifact: Path, folder: Path) -> Path:
    for path in artifact.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_artifact_is_found_as_files_archive_or_champion(artifact: Path, tmp_path: Path):
    packed, champion = tmp_path / "packed", tmp_path / "champion"
    packed.mkdir()
    (packed / "model.tar.gz").write_bytes(pack(artifact))
    champion.mkdir()
    (champion / "v2026-02-01").symlink_to(artifact)
    (champion / "current.json").write_text('{"champion": {"model_version": "v2026-02-01"}}')
    for folder in (packed, champion):
        assert read(folder).margins(ROWS).tolist() == read(artifact).margins(ROWS).tolist()


def test_archive_of_equal_files_has_equal_bytes(artifact: Path, tmp_path: Path):
    assert pack(artifact) == pack(copy(artifact, tmp_path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [('{"champion": null}', "no champion yet"), ("{}", "no key 'champion'"), ("x", "not JSON")],
    ids=["none yet", "no key", "broken"],
)
def test_no_champion_yet_differs_from_a_broken_pointer(tmp_path: Path, content: str, reason: str):
    (tmp_path / "current.json").write_text(content)
    with Channels(STAGES["serve"], {"model": str(tmp_path)}, {}) as channels, pytest.raises(InputError, match=reason):
        find(channels)


def test_model_that_does_not_reproduce_its_probes_is_refused(artifact: Path, tmp_path: Path):
    """One version of XGBoost may read what another wrote, and give other scores without an error."""
    probes = json.loads((copy(artifact, tmp_path) / "probes.json").read_text())
    probes["scores"][7] += 0.001
    (tmp_path / "probes.json").write_text(json.dumps(probes))
    with pytest.raises(InputError, match=r"does not reproduce its probes \(a score differs by 0.001\)"):
        read(tmp_path)


def test_manifest_without_required_keys_is_refused(artifact: Path, tmp_path: Path):
    """An artifact of an earlier version is an input error: its owner has to train again."""
    manifest = json.loads((copy(artifact, tmp_path) / "manifest.json").read_text())
    del manifest["definitions"], manifest["calibration"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"manifest.json lacks definitions, calibration; train again"):
        read(tmp_path)
