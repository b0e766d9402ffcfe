"""The images under SageMaker's rules, one test per rule; docs/container-contract.md lists both."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from moto.server import ThreadedMotoServer
from polars.testing import assert_frame_equal

from fraudline.catalog.exit_codes import ExitCode
from fraudline.catalog.stages import STAGES
from fraudline.simulate import simulate
from tests.artifacts import write_artifact
from tests.entrypoints import jobs
from tests.train.test_train import features

pytestmark = pytest.mark.docker

AS_OF = "2026-01-10"
REQUIRED_VALUES = {"as_of": AS_OF, "table": "dynamodb://scores"}
CONFIGURED = "/opt/ml/processing/somewhere"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    simulate(folder, start=date(2026, 1, 1), days=9, customers=60, merchants=60, seed=2)
    (folder / "labeled").rename(folder / "labels")
    return folder


@pytest.fixture
def ml(data: Path, tmp_path: Path) -> Path:
    """The folder /opt/ml with the inputs of etl's Processing job."""
    (tmp_path / "processing").mkdir()
    subprocess.run(["cp", "-r", data, tmp_path / "processing/input"], check=True)
    return tmp_path


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """The folder /opt/ml with a Training job's inputs."""
    features(tmp_path / "input/data/train", "2026-01-01", "2026-01-21", 4000)
    features(tmp_path / "input/data/validation", "2026-01-28", "2026-02-10", 2000)
    return tmp_path


def configure(ml: Path, name: str, content: Any) -> None:
    path = ml / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def transactions(ended: jobs.Result, folder: str = "processing/output/transactions") -> pl.DataFrame:
    assert ended.code == 0, ended.text
    return pl.read_parquet(ended.ml / folder / "*.parquet")


# Processing


def test_the_images_entrypoint_takes_the_jobs_arguments(ml: Path):
    ended = jobs.run("docker", "etl", ml, "--as-of", AS_OF)
    assert transactions(ended).height == ended.summary()["record_count"] > 50


def test_a_jobs_own_entrypoint_takes_the_same_arguments(ml: Path):
    command = ["docker", "run", "--rm", "-v", f"{ml}:/opt/ml", "--entrypoint", "fraudline", jobs.image("etl")]
    subprocess.run([*command, "etl", "--as-of", AS_OF], check=True, capture_output=True)
    assert (ml / "processing/output/summary/summary.json").is_file()


def test_channels_lie_where_the_processing_job_says(ml: Path):
    inputs = [("raw", f"{CONFIGURED}/in/a"), ("labels", f"{CONFIGURED}/in/b"), ("code", f"{CONFIGURED}/code")]
    configuration = {
        "ProcessingInputs": [
            {"InputName": name, "S3Input": {"LocalPath": path, "S3InputMode": "File"}} for name, path in inputs
        ],
        "ProcessingOutputConfig": {
            "Outputs": [{"OutputName": "transactions", "S3Output": {"LocalPath": f"{CONFIGURED}/out"}}]
        },
    }
    configure(ml, "config/processingjobconfig.json", configuration)
    (ml / "processing/somewhere/in").mkdir(parents=True)
    (ml / "processing/input/raw").rename(ml / "processing/somewhere/in/a")
    (ml / "processing/input/labels").rename(ml / "processing/somewhere/in/b")
    ended = jobs.run("docker", "etl", ml, "--as-of", AS_OF)
    assert transactions(ended, "processing/somewhere/out").height > 50
    assert ended.summary()["record_count"] > 50  # what the job does not name lies in its usual folder


def test_several_instances_are_refused(ml: Path):
    configure(ml, "config/resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]})
    ended = jobs.run("docker", "etl", ml, "--as-of", AS_OF)
    assert ended.code == 2
    assert ended.message.startswith("etl runs on one instance, this job has 2")
    configure(ml, "config/resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1"]})
    assert jobs.run("docker", "etl", ml, "--as-of", AS_OF).code == 0


def test_pipe_mode_is_refused(ml: Path):
    inputs = [{"InputName": "raw", "S3Input": {"LocalPath": "/opt/ml/processing/input/raw", "S3InputMode": "Pipe"}}]
    configure(ml, "config/processingjobconfig.json", {"ProcessingInputs": inputs})
    ended = jobs.run("docker", "etl", ml, "--as-of", AS_OF)
    assert ended.code == 2
    assert ended.message == "channel 'raw': its input mode is Pipe, expected File or FastFile; set that in the job"


def test_inputs_may_be_read_only_and_for_root_alone(ml: Path):
    for folder in (ml / "processing/input").rglob("*"):
        folder.chmod(0o700 if folder.is_dir() else 0o600)
    options = ["-v", f"{ml}/processing/input:/opt/ml/processing/input:ro"]
    assert jobs.run("docker", "etl", ml, "--as-of", AS_OF, options=options).code == 0


@pytest.mark.parametrize(("stage", "file"), [("etl", "message"), ("train", "failure")])
def test_the_message_is_at_most_1024_bytes_of_utf_8(tmp_path: Path, stage: str, file: str):
    ended = jobs.run("docker", stage, tmp_path, *(f"--ünknown-{number}" for number in range(200)))
    assert ended.code == 2
    assert 1000 < len((tmp_path / "output" / file).read_bytes()) <= 1024
    assert "ünknown" in ended.message


def test_no_output_is_a_symlink(ml: Path):
    jobs.run("docker", "etl", ml, "--as-of", AS_OF)
    assert not [path for path in (ml / "processing/output").rglob("*") if path.is_symlink()]


def test_a_channel_may_be_nested_folders_of_many_small_files(ml: Path, data: Path):
    whole = transactions(jobs.run("docker", "etl", ml, "--as-of", AS_OF))
    path = next((ml / "processing/input/raw/2026-01-09").glob("*.parquet"))
    rows = pl.read_parquet(path)
    path.unlink()
    for number in range(rows.height):
        folder = path.parent / f"hour={number % 24:02}" / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        rows[number].write_parquet(folder / f"part-{number}.parquet")
    assert_frame_equal(transactions(jobs.run("docker", "etl", ml, "--as-of", AS_OF)), whole)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    yield "http://{}:{}".format(*moto.get_host_and_port())
    moto.stop()


def test_a_channel_may_be_an_s3_prefix(ml: Path, s3: str):
    whole = transactions(jobs.run("docker", "etl", ml, "--as-of", AS_OF))
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=s3, **keys)
    client.create_bucket(Bucket="bank")
    for path in (ml / "processing/input").rglob("*.parquet"):
        client.upload_file(str(path), "bank", f"in/{path.relative_to(ml / 'processing/input')}")
    variables = {f"AWS_{name.removeprefix('aws_').upper()}": value for name, value in keys.items()}
    variables |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": s3}
    options = ["--network", "host", *(f"--env={name}={value}" for name, value in variables.items())]
    locations = [f"--input={name}=s3://bank/in/{name}" for name in ("raw", "labels")]
    locations += [f"--output={name}=s3://bank/out/{name}/" for name in ("transactions", "rejected", "labels")]
    locations.append("--output=summary=s3://bank/out")
    ended = jobs.run("docker", "etl", ml, "--as-of", AS_OF, *locations, options=options)
    assert ended.code == 0, ended.text
    keys_out = [item["Key"] for item in client.list_objects_v2(Bucket="bank", Prefix="out/")["Contents"]]
    assert sorted(keys_out) == [
        "out/labels/part-0.parquet",
        "out/rejected/labels-0.parquet",
        "out/rejected/raw-0.parquet",
        "out/summary.json",
        "out/transactions/part-0.parquet",
    ]
    client.download_file("bank", "out/transactions/part-0.parquet", str(ml / "fetched.parquet"))
    assert_frame_equal(pl.read_parquet(ml / "fetched.parquet"), whole)
    refused = jobs.run("docker", "etl", ml, "--as-of", AS_OF, "--input=raw=s3://nobodys/in", options=options)
    assert refused.code == 2
    assert "NoSuchBucket; check the bucket's name and region" in refused.message


# Logs


def test_a_container_logs_one_json_object_a_line(ml: Path):
    ended = jobs.run("docker", "etl", ml, "--as-of", AS_OF)
    assert {"time", "level", "logger", "message"} <= set(ended.log[-1])
    assert ended.log[-1]["event"] == "finished"


def test_a_container_may_log_in_plain_words(ml: Path):
    ended = jobs.run("docker", "etl", ml, "--as-of", AS_OF, options=["-e", "FRAUDLINE_LOG=plain"])
    assert ended.text == "etl finished\n"


def test_no_log_quotes_a_row_of_an_unforeseen_error(ml: Path):
    """The library polars quotes what it can't convert; neither log nor message may repeat that."""
    script = (
        "import polars as pl, fraudline.etl.etl as e, sys; from fraudline.cli import main\n"
        "e.run = lambda *_, **__: pl.Series(['cust' + '-4711']).cast(pl.Int64)\n"
        "sys.exit(main(['etl', '--as-of', '2026-01-10']))"
    )
    command = ["docker", "run", "--rm", "-v", f"{ml}:/opt/ml", "--entrypoint", "python3", jobs.image("etl")]
    ended = subprocess.run([*command, "-c", script], capture_output=True, text=True, check=False)
    message = (ml / "output/message").read_text()
    assert ended.returncode == 1
    assert message.startswith("InvalidOperationError (its text may quote rows; FRAUDLINE_LOG_VALUES=true shows it)")
    assert "fraudline/entrypoints/run.py" in ended.stderr
    assert "cust-4711" not in ended.stderr + message
    shown = subprocess.run(
        [*command[:3], "-e", "FRAUDLINE_LOG_VALUES=true", *command[3:], "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cust-4711" in shown.stderr


# Training


def test_train_reads_its_hyperparameters_and_leaves_the_artifact(training: Path):
    values = {
        "as_of": "2026-03-03",
        "rounds": "20",
        "max-depth": "3",
        "sagemaker_program": "x",
        "sagemaker_region": "y",
    }
    configure(training, "input/config/hyperparameters.json", values)
    configure(training, "input/config/resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1"]})
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    configure(training, "input/config/inputdataconfig.json", {"train": channel, "validation": channel})
    ended = jobs.run("docker", "train", training)
    assert ended.code == 0, ended.text
    assert ended.outputs == [f"model/{name}" for name in ("manifest.json", "model.ubj", "probes.json", "summary.json")]
    manifest = json.loads((training / "model/manifest.json").read_text())
    assert (manifest["parameters"]["max_depth"], manifest["parameters"]["rounds"]) == (3, 20)
    assert manifest["model_version"] == "v2026-03-03"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("resourceconfig", {"hosts": ["algo-1", "algo-2"]}, "train runs on one instance, this job has 2"),
        ("inputdataconfig", {"train": {"TrainingInputMode": "Pipe"}}, "channel 'train': its input mode is Pipe"),
        ("hyperparameters", {"max_dept": "3"}, "train has no parameter max_dept; it has as_of"),
        ("hyperparameters", [], "/opt/ml/input/config/hyperparameters.json must be a JSON object, got list"),
    ],
)
def test_a_wrong_training_configuration_is_refused(training: Path, name: str, content: Any, message: str):
    configure(training, f"input/config/{name}.json", content)
    ended = jobs.run("docker", "train", training, "--as-of", "2026-03-03")
    assert ended.code == 2
    assert ended.message.startswith(message)


def test_an_earlier_failure_is_kept(training: Path):
    """It holds the first cause, of which this one may be a consequence."""
    configure(training, "output/failure", "the first cause")
    assert jobs.run("docker", "train", training, "--as-of", "never").code == 2
    assert (training / "output/failure").read_text() == '"the first cause"'


def start(*arguments: str) -> str:
    run = ["docker", "run", "-d", *arguments]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()


def exit_code(name: str) -> int:
    state = subprocess.run(["docker", "wait", name], check=True, capture_output=True, text=True, timeout=60)
    return int(state.stdout)


def log_of(name: str) -> str:
    shown = subprocess.run(["docker", "logs", name], check=True, capture_output=True, text=True)
    return shown.stdout + shown.stderr


def wait_for(name: str, text: str) -> None:
    for _ in range(300):
        if text in log_of(name):
            return
        time.sleep(0.1)
    raise AssertionError(log_of(name))


def test_a_stopped_training_saves_the_trees_it_has(training: Path):
    """Losing a spot instance costs the remaining trees, not all of them."""
    subprocess.run(["rm", "-r", training / "input/data/train"], check=True)
    features(training / "input/data/train", "2026-01-01", "2026-01-21", 400_000)
    endless = ["--rounds", "1000000", "--learning-rate", "0.001", "--max-depth", "12"]
    name = start(
        "-v", f"{training}:/opt/ml", "--cpus", "0.5", jobs.image("train"), "train", "--as-of", "2026-03-03", *endless
    )
    try:
        wait_for(name, "fitting")
        time.sleep(1)
        subprocess.run(["docker", "stop", "--time", "120", name], check=True, capture_output=True)
        assert exit_code(name) == 0, log_of(name)
    finally:
        subprocess.run(["docker", "rm", "-f", name], check=True, capture_output=True)
    summary = json.loads((training / "model/summary.json").read_text())
    assert summary["status"] == "Stopped"
    assert summary["trees"] >= 1
    assert (training / "model/model.ubj").is_file()


# Stopping


def test_every_stage_obeys_sigterm_as_a_containers_first_process():
    """The kernel does not stop a first process without a handler, and SIGKILL would follow."""
    with ThreadPoolExecutor(4) as pool:  # few: on a busy computer a stage would end before it is watched
        codes = dict(zip(STAGES, pool.map(stop, STAGES), strict=True))
    assert codes == dict.fromkeys(STAGES, 143)


def stop(stage: str) -> int:
    """Return a stopped stage's exit code; on a busy computer it may end earlier, as it has no input."""
    code = ExitCode.INVALID_INPUT
    for _ in range(4):
        if (code := stop_during_start(stage)) != ExitCode.INVALID_INPUT:
            break
    return code


def stop_during_start(stage: str) -> int:
    """Start a stage, send SIGTERM once it has a handler, and return its exit code."""
    required = [parameter for parameter in STAGES[stage].parameters if parameter.required]
    options = [word for parameter in required for word in (parameter.option, REQUIRED_VALUES[parameter.name])]
    name = start("--cpus", "0.02", jobs.image(stage), stage, *options)  # its libraries take ten seconds to import
    try:
        process = first_process(name)
        with suppress(FileNotFoundError, subprocess.CalledProcessError):  # it has ended by itself
            while not catches_sigterm(process):
                time.sleep(0.01)
            subprocess.run(["docker", "kill", "--signal", "TERM", name], check=True, capture_output=True)
        return exit_code(name)
    finally:
        subprocess.run(["docker", "rm", "-f", name], check=True, capture_output=True)


def first_process(name: str) -> int:
    shown = subprocess.run(["docker", "inspect", name], check=True, capture_output=True, text=True)
    return int(json.loads(shown.stdout)[0]["State"]["Pid"])


def catches_sigterm(process: int) -> bool:
    """Return True once the command has a handler; the runtime that starts the container has its own."""
    if b"fraudline" not in Path(f"/proc/{process}/cmdline").read_bytes():
        return False
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


# Hosting


def test_a_stopped_server_answers_accepted_requests(tmp_path: Path):
    name = start(
        "-v", f"{write_artifact(tmp_path)}:/opt/ml/model:ro", "-p", "127.0.0.1::8080", jobs.image("serve"), "serve"
    )
    try:
        shown = subprocess.run(["docker", "port", name, "8080/tcp"], check=True, capture_output=True, text=True).stdout
        port = int(shown.split(":")[-1])
        body = json.dumps({"instances": [{"features": [1.0, 2.0, 3.0]}]}).encode()
        head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        with connect(port) as connection:
            connection.sendall(f"{head}\r\n\r\n".encode() + body[:10])
            time.sleep(0.2)
            stop = threading.Thread(target=subprocess.run, args=(["docker", "stop", "--time", "30", name],))
            stop.start()
            time.sleep(1)
            connection.sendall(body[10:])
            assert b"200 OK" in connection.recv(10_000)
        stop.join(35)
        assert exit_code(name) in (0, 143)  # not 137, killed
    finally:
        subprocess.run(["docker", "rm", "-f", name], check=True, capture_output=True)


def connect(port: int) -> socket.socket:
    """Return a connection to a server once it answers: Docker's proxy listens earlier."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2):
                return socket.create_connection(("127.0.0.1", port), timeout=10)
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server did not start")
