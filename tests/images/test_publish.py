"""Publishing pushes the tested images, in the one form that SageMaker accepts, and a tag never changes."""

from __future__ import annotations

import fcntl
import json
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fraudline import __version__
from fraudline.catalog.stages import IMAGES
from tests.entrypoints import jobs

pytestmark = [pytest.mark.docker, pytest.mark.registry]

REPOSITORY = Path(__file__).parents[2]
SCHEMA_2 = "application/vnd.docker.distribution.manifest.v2+json"
RELEASE = "9.9.9-test"
IDENTITY = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
ADD_BRIDGE, DELETE_BRIDGE, SET_FLAGS = 0x89A0, 0x89A1, 0x8914  # linux/sockios.h


def wait_for(answers: Callable[[], object]) -> None:
    """Call until it does not fail, for at most 20 seconds."""
    for _ in range(200):
        try:
            answers()
            return
        except (OSError, subprocess.CalledProcessError):
            time.sleep(0.1)
    answers()


def output(*command: str, **options: Any) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout.strip()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry on this computer."""
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    storage = {"filesystem": {"rootdirectory": str(folder / "storage")}}
    settings = {"version": 0.1, "log": {"level": "error"}, "storage": storage, "http": {"addr": address}}
    (folder / "config.yml").write_text(json.dumps(settings))  # JSON is YAML too
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log) as server,
    ):
        wait_for(lambda: urllib.request.urlopen(f"http://{address}/v2/", timeout=5))
        yield address
        server.terminate()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean checkout of the files that publishing needs."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci/publish", folder / ".ci/publish")
    catalog = Path("src", "fraudline", "catalog")
    shutil.copytree(REPOSITORY / catalog, folder / catalog, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / catalog.parent / "__init__.py", folder / catalog.parent)
    shutil.copy(REPOSITORY / ".gitignore", folder / ".gitignore")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        output("git", *IDENTITY, *command, cwd=folder)
    return folder


def publish(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([".ci/publish", *arguments], cwd=checkout, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def published(registry: str, checkout: Path) -> Iterator[dict[str, Any]]:
    """The content of dist/images.json after a release was published."""
    for image in IMAGES:
        output("docker", "tag", jobs.tagged(image), f"fraudline/{image}:{RELEASE}")
    ended = publish(checkout, f"{registry}/", RELEASE)
    assert ended.returncode == 0, ended.stderr
    yield json.loads((checkout / "dist/images.json").read_text())
    for image in IMAGES:
        names = output("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"*/fraudline/{image}").split()
        output("docker", "rmi", f"fraudline/{image}:{RELEASE}", *(name for name in names if registry in name))


def served(registry: str, image: str, tag: str) -> tuple[str, str, dict[str, Any]]:
    """Return a manifest's digest, media type and content from the registry's own API."""
    kinds = (SCHEMA_2, "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json")
    address = f"http://{registry}/v2/fraudline/{image}/manifests/{tag}"
    request = urllib.request.Request(address, headers={"Accept": ", ".join(kinds)})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.headers["Docker-Content-Digest"], answer.headers["Content-Type"], json.loads(answer.read())


@pytest.mark.parametrize("image", IMAGES)
def test_both_tags_name_the_tested_image_as_a_schema_2_manifest(published, registry: str, checkout: Path, image: str):
    """SageMaker and Lambda refuse an index, and an untested image must not be published."""
    commit = output("git", "rev-parse", "HEAD", cwd=checkout)[:12]
    digests = set()
    for tag in (RELEASE, f"sha-{commit}"):
        digest, kind, manifest = served(registry, image, tag)
        assert kind == manifest["mediaType"] == SCHEMA_2
        assert manifest["config"]["digest"] == output("docker", "inspect", "-f", "{{.Id}}", jobs.tagged(image))
        digests.add(digest)
    assert digests == {published[image]["containerimage.digest"]}
    assert published[image]["image.name"] == f"{registry}/fraudline/{image}:{RELEASE}"


@pytest.fixture
def empty_engine() -> Iterator[list[str]]:
    """The client command of a second Docker engine on this computer, without images."""
    folder = Path(tempfile.mkdtemp(prefix="engine-"))  # short: a socket's path has at most 107 bytes
    path = folder / "socket"
    folders = ["--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid"]
    with (
        bridge("fraudtest0") as name,
        (folder / "log").open("w") as log,
        subprocess.Popen(
            ["dockerd", *folders, "-H", f"unix://{path}", "--bridge", name, "--iptables=false", "--ip-masq=false"],
            stdout=log,
            stderr=log,
        ) as daemon,
    ):
        client = ["docker", "-H", f"unix://{path}"]
        wait_for(lambda: output(*client, "version"))
        yield client
        daemon.terminate()
    shutil.rmtree(folder)


@contextmanager
def bridge(name: str) -> Iterator[str]:
    """A network bridge for the second engine, which would otherwise remove the first one's."""
    with socket.socket() as kernel:
        fcntl.ioctl(kernel, ADD_BRIDGE, name.encode().ljust(16, b"\0"))
        try:
            yield name
        finally:
            fcntl.ioctl(kernel, SET_FLAGS, struct.pack("16sH14s", name.encode(), 0, b""))
            fcntl.ioctl(kernel, DELETE_BRIDGE, name.encode().ljust(16, b"\0"))


def test_an_image_pulled_by_digest_runs_in_an_empty_engine(published, empty_engine: list[str]):
    """A pipeline names an image by its digest, and its instance has no image yet."""
    name = published["etl"]["image.name"].rpartition(":")[0]
    reference = f"{name}@{published['etl']['containerimage.digest']}"
    assert output(*empty_engine, "images", "-q") == ""
    output(*empty_engine, "pull", "-q", reference)
    assert output(*empty_engine, "run", "--rm", "--network", "none", reference, "--version") == __version__


def test_publishing_again_changes_nothing(published, registry: str, checkout: Path):
    published_before = {image: served(registry, image, RELEASE) for image in IMAGES}
    ended = publish(checkout, f"{registry}/", RELEASE)
    assert ended.returncode == 0, ended.stderr
    assert {image: served(registry, image, RELEASE) for image in IMAGES} == published_before
    assert json.loads((checkout / "dist/images.json").read_text()) == published


def test_a_tag_with_other_content_stops_the_whole_push(published, registry: str, checkout: Path):
    """An auditor must find under a version what ran under it."""
    output("git", *IDENTITY, "commit", "-q", "--allow-empty", "-m", "another", cwd=checkout)
    commit = output("git", "rev-parse", "HEAD", cwd=checkout)[:12]
    other = output("docker", "build", "-q", "-", input=f"FROM fraudline/score:{RELEASE}\nLABEL other=content\n")
    output("docker", "tag", other, f"fraudline/score:{RELEASE}")
    ended = publish(checkout, f"{registry}/", RELEASE)
    assert ended.returncode == 2
    assert f"{registry}/fraudline/score:{RELEASE} holds sha256:" in ended.stderr
    assert "a tag never changes its content: give another VERSION" in ended.stderr
    with pytest.raises(urllib.error.HTTPError, match="404"):
        served(registry, "etl", f"sha-{commit}")


@pytest.mark.parametrize(
    ("registry", "version", "message"),
    [
        ("example.org", "1.2.3", "REGISTRY is a prefix with its slash, got 'example.org'"),
        ("example.org/", "dev", "VERSION 'dev' names no release"),
        ("example.org/", "0.0.0-never", "there is no image fraudline/etl:0.0.0-never; build and test it first"),
    ],
)
def test_a_wrong_registry_or_version_is_refused(checkout: Path, registry: str, version: str, message: str):
    ended = publish(checkout, registry, version)
    assert ended.returncode == 2
    assert message in ended.stderr


def test_an_uncommitted_change_is_refused(checkout: Path):
    """The tag sha-COMMIT would name content that no commit holds."""
    (checkout / "changed").write_text("")
    ended = publish(checkout, "example.org/", "1.2.3")
    (checkout / "changed").unlink()
    assert ended.returncode == 2
    assert "there are uncommitted changes" in ended.stderr


def test_a_registry_that_does_not_answer_is_reported(checkout: Path):
    for image in IMAGES:
        output("docker", "tag", jobs.tagged(image), f"fraudline/{image}:{RELEASE}-x")
    ended = publish(checkout, "127.0.0.1:1/", f"{RELEASE}-x")
    output("docker", "rmi", *(f"fraudline/{image}:{RELEASE}-x" for image in IMAGES))
    assert ended.returncode == 2
    assert "the registry did not show 127.0.0.1:1/fraudline/etl" in ended.stderr
