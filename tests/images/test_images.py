"""The images: their size, their content, and their user."""

from __future__ import annotations

import json
import subprocess
import tarfile
import time
import urllib.request
import zlib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from fraudline import __version__
from fraudline.catalog.stages import IMAGES, STAGES
from fraudline.simulate import simulate
from tests.artifacts import write_artifact
from tests.entrypoints import jobs

pytestmark = pytest.mark.docker

MB = 1_000_000
SIZES = {"etl": 350, "features": 410, "train": 620, "score": 630}
NO_RIGHTS = ["--read-only", "--cap-drop", "ALL"]
LOCKED_DOWN = [*NO_RIGHTS, "--network", "none"]
HEAVY = {
    "polars": set(IMAGES),
    "boto3": set(IMAGES),
    "numpy": {"features", "train", "score"},
    "xgboost": {"train", "score"},
    "sklearn": {"train"},
    "uvicorn": {"score"},
    "reportlab": {"score"},
    "pyspark": set(),
    "pip": set(),
    "rich": set(),
}


def docker(*arguments: str, fails: bool = False) -> str:
    ended = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert (ended.returncode != 0) == fails, ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture(params=IMAGES)
def image(request: pytest.FixtureRequest) -> str:
    return jobs.tagged(request.param)


def short(image: str) -> str:
    return image.removeprefix("fraudline/").removesuffix(f":{jobs.VERSION}")


def inspect(image: str) -> dict:
    return json.loads(docker("image", "inspect", image))[0]


def test_an_image_is_no_larger_than_its_limit(image: str):
    assert inspect(image)["Size"] <= SIZES[short(image)] * MB


def test_the_base_is_debian_and_its_python_alone(image: str):
    history = docker("history", "--human=false", "--no-trunc", "--format", "{{.Size}} {{.CreatedBy}}", image)
    sizes = [line.split(maxsplit=1) for line in reversed(history.splitlines())]
    python = next(number for number, (_, *by) in enumerate(sizes) if by and "install" in by[0] and "python3" in by[0])
    assert sum(int(size) for size, *_ in sizes[: python + 1]) <= 120 * MB


def test_an_instance_pulls_little_to_score(tmp_path: Path):
    """A new instance pulls it every morning: layers compressed with gzip, as in a registry."""
    subprocess.run(["docker", "save", "-o", tmp_path / "score.tar", jobs.tagged("score")], check=True)
    with tarfile.open(tmp_path / "score.tar") as saved:
        (described,) = json.load(saved.extractfile("manifest.json"))
        layers = (saved.extractfile(layer).read() for layer in described["Layers"])
        size = sum(len(zlib.compress(layer, wbits=31)) for layer in layers)
    assert size <= 200 * MB


def test_images_share_layers():
    """An instance that runs all stages pulls each layer once, as an archive of all images holds it once."""
    images = [jobs.tagged(name) for name in IMAGES]
    with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
        assert saved.stdout is not None
        size = sum(map(len, iter(lambda: saved.stdout.read(1 << 20), b"")))
    assert size <= 800 * MB


def test_every_image_has_one_command_one_user_one_platform(image: str):
    described = inspect(image)
    assert described["Config"]["Entrypoint"] == ["fraudline"]
    assert not described["Config"]["Cmd"]
    assert described["Config"]["User"] in ("", "root")
    assert (described["Os"], described["Architecture"]) == ("linux", "amd64")


def test_labels_name_image_version_and_license(image: str):
    labels = inspect(image)["Config"]["Labels"]
    expected = {"title": f"fraudline/{short(image)}", "version": jobs.VERSION, "licenses": "Apache-2.0"}
    assert {f"org.opencontainers.image.{name}": value for name, value in expected.items()}.items() <= labels.items()


@pytest.mark.parametrize("user", ["0", "12345:54321"])
def test_the_command_runs_as_any_user_without_rights(image: str, user: str):
    assert docker("run", "--rm", *LOCKED_DOWN, "--user", user, image, "--version").strip() == __version__


def test_an_image_has_its_own_libraries_and_no_others(image: str):
    """A library that an image does not have can't be exploited and is not pulled."""
    script = f"import importlib.util as u; print([n for n in {list(HEAVY)} if u.find_spec(n)])"
    shown = docker("run", "--rm", "--network", "none", "--entrypoint", "python3", image, "-c", script)
    expected = [name for name, images in HEAVY.items() if short(image) in images]
    assert shown.strip() == str(expected)


def test_no_compiler_no_cache_and_an_empty_opt_ml(image: str):
    caches = "/opt/ml /root/.cache /tmp /var/cache/apt /var/lib/apt/lists /var/log"
    script = f"command -v gcc g++ cc c++ ld make pip pip3 git curl; find {caches} -type f 2>/dev/null"
    script += "; find /opt/fraudline -type d -name tests"  # the libraries' own
    assert docker("run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", script).strip() == ""


def test_every_module_has_its_bytecode(image: str):
    """A start must not compile: a read-only file system could not keep the result."""
    script = (
        "import importlib.util as u, pathlib, sysconfig\n"
        "folders = [pathlib.Path('/opt/fraudline'), pathlib.Path(sysconfig.get_paths()['stdlib'])]\n"
        "sources = [path for folder in folders for path in folder.rglob('*.py')]\n"
        "bare = [path for path in sources if not pathlib.Path(u.cache_from_source(path)).exists()]\n"
        "print(len(sources) > 500, bare)"
    )
    shown = docker("run", "--rm", "--network", "none", "--entrypoint", "python3", image, "-c", script)
    assert shown.strip() == "True []"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ml") / "processing" / "input"
    simulate(folder, start=date(2026, 1, 1), days=10, customers=50, merchants=60, seed=2)
    (folder / "labeled").rename(folder / "labels")
    return folder


@pytest.mark.parametrize("user", ["0", "12345:54321"])
def test_a_stage_runs_over_the_folders_that_processing_mounts(raw: Path, tmp_path: Path, user: str):
    output = tmp_path / "output"
    output.mkdir()
    output.chmod(0o777)
    mounts = ["-v", f"{raw}:/opt/ml/processing/input:ro", "-v", f"{output}:/opt/ml/processing/output"]
    docker("run", "--rm", *LOCKED_DOWN, "--user", user, *mounts, jobs.tagged("etl"), "etl", "--as-of", "2026-01-10")
    summary = json.loads((output / "summary" / "summary.json").read_text())
    assert summary["date"] == "2026-01-09"
    assert {path.name for path in output.iterdir()} == {"transactions", "rejected", "labels", "summary"}
    docker(
        "run",
        "--rm",
        "-v",
        f"{output}:/o",
        "--entrypoint",
        "rm",
        jobs.tagged("etl"),
        "-rf",
        *(f"/o/{path.name}" for path in output.iterdir()),
    )


def test_wrong_input_ends_with_2_and_leaves_a_message(tmp_path: Path):
    for folder in ("processing/input", "output"):
        (tmp_path / folder).mkdir(parents=True)
    run = ["docker", "run", "--rm", "-v", f"{tmp_path}:/opt/ml", jobs.tagged("etl"), "etl", "--as-of", "2026-01-10"]
    ended = subprocess.run(run, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert (tmp_path / "output" / "message").read_text().startswith("InputRejected: channel 'raw': nothing")


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_each_stages_help_is_in_its_image(stage):
    shown = docker("run", "--rm", "--network", "none", jobs.image(stage.name), stage.name, "--help")
    assert all(parameter.option in shown for parameter in stage.parameters)


@pytest.fixture(params=["0", "12345:54321"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A server that runs as Hosting starts it (docker run IMAGE serve): its container and its URL."""
    tmp_path.chmod(0o755)
    mount = ["-v", f"{write_artifact(tmp_path)}:/opt/ml/model:ro", "-p", "127.0.0.1::8080"]
    name = docker("run", "-d", *NO_RIGHTS, "--user", request.param, *mount, jobs.tagged("score"), "serve").strip()
    port = docker("port", name, "8080/tcp").split(":")[-1].strip()
    yield name, f"http://127.0.0.1:{port}"
    docker("rm", "-f", name)


def test_the_server_answers_and_stops_on_sigterm(served: tuple[str, str]):
    name, address = served
    for _ in range(200):
        try:
            assert urllib.request.urlopen(f"{address}/ping", timeout=2).status == 200
            break
        except OSError:
            time.sleep(0.1)
    body = json.dumps({"instances": [{"features": [1.0, 2.0, 3.0]}]}).encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
    answer = json.loads(urllib.request.urlopen(request, timeout=5).read())
    assert 0 < answer["predictions"][0]["fraud_score"] < 1
    docker("stop", "--time", "20", name)
    assert json.loads(docker("inspect", name))[0]["State"]["ExitCode"] in (0, 143)
