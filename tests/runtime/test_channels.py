"""Channels: folders or s3:// prefixes, complete or not at all, the summary last."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraudline.catalog.errors import InputError
from fraudline.catalog.stage import Channel, Stage
from fraudline.runtime import aws, s3
from fraudline.runtime.channels import Channels

STAGE = Stage(
    "copy",
    step="",
    image="etl",
    prefix="Copy",
    description="",
    reads=(Channel("rows", "rows"),),
    writes=(Channel("copied", "rows"), Channel("kept", "rows", published=True)),
)
SCHEMA = {"x": pl.Int64}
ROWS = pl.DataFrame({"x": [1, 2, 3]}, schema=SCHEMA)


@pytest.fixture(params=["folder", "s3"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The folder or prefix that channels lie below: every law holds for both."""
    if request.param == "folder":
        return str(tmp_path)
    request.getfixturevalue("aws")
    bucket = f"b-{abs(hash(request.node.name))}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/some/root"


def run(base: str, rows: pl.DataFrame, *, fails: bool = False, execution: str = "one", replace: bool = False) -> None:
    outputs = {"copied": f"{base}/Copy/copied", "kept": f"{base}/kept/", "summary": f"{base}/Copy"}
    if not s3.is_uri(base):
        for output in outputs.values():
            Path(output).mkdir(parents=True, exist_ok=True)
    with Channels(STAGE, {}, outputs) as channels:
        channels.write("copied", rows, f"part-{rows.height}.parquet")
        channels.write("kept", rows)
        content = {"content": rows.get_column("x").to_list(), "execution": execution}
        channels.write_json("kept", "manifest.json", content)
        if fails:
            raise ZeroDivisionError
        channels.commit({"record_count": rows.height}, replace=replace)


def read(base: str, channel: str) -> pl.DataFrame:
    with Channels(STAGE, {"rows": f"{base}/{channel}"}, {}) as channels:
        return channels.read("rows", SCHEMA)


def summary(base: str) -> Any:
    with Channels(STAGE, {"rows": f"{base}/Copy"}, {}) as channels:
        return channels.read_json("rows", "summary.json")


def test_a_channel_reads_what_was_written(base: str):
    run(base, ROWS)
    assert_frame_equal(read(base, "Copy/copied"), ROWS)
    assert summary(base) == {"record_count": 3}


def test_a_failed_stage_leaves_nothing(base: str):
    with pytest.raises(ZeroDivisionError):
        run(base, ROWS, fails=True)
    with pytest.raises(InputError, match=r"channel 'rows': nothing at"):
        read(base, "Copy")


def test_a_failed_stage_keeps_earlier_outputs(base: str):
    run(base, ROWS)
    with pytest.raises(ZeroDivisionError):
        run(base, ROWS.head(1), fails=True)
    assert_frame_equal(read(base, "Copy/copied"), ROWS)


def test_a_rerun_replaces_the_whole_output(base: str):
    """Files of an earlier run must not mix with those of a later one."""
    run(base, ROWS)
    run(base, ROWS.head(1), replace=True)
    assert_frame_equal(read(base, "Copy/copied"), ROWS.head(1))
    assert summary(base) == {"record_count": 1}


def test_a_published_channel_changes_only_with_replace(base: str):
    run(base, ROWS)
    run(base, ROWS, execution="two")  # equal content is a no-op
    with pytest.raises(InputError, match=r"(?s)'one'.*'three'.*--replace true"):
        run(base, ROWS.head(2), execution="three")
    assert_frame_equal(read(base, "kept"), ROWS)
    run(base, ROWS.head(2), execution="three", replace=True)
    assert_frame_equal(read(base, "kept"), ROWS.head(2))


def test_a_refused_publication_changes_no_output(base: str):
    """Outputs of two different runs side by side would be worse than none."""
    run(base, ROWS)
    with pytest.raises(InputError):
        run(base, ROWS.head(2), execution="two")
    assert_frame_equal(read(base, "Copy/copied"), ROWS)
    assert summary(base) == {"record_count": 3}


def test_a_missing_column_is_named_beside_the_existing(tmp_path: Path):
    pl.DataFrame({"y": [1]}).write_parquet(tmp_path / "part-0.parquet")
    with (
        Channels(STAGE, {"rows": str(tmp_path)}, {}) as channels,
        pytest.raises(InputError, match=r"part-0.parquet has no column 'x'.*it has y"),
    ):
        channels.read("rows", SCHEMA)


def test_broken_json_is_named(tmp_path: Path):
    (tmp_path / "current.json").write_text("{")
    with (
        Channels(STAGE, {"rows": str(tmp_path)}, {}) as channels,
        pytest.raises(InputError, match=r"current.json is not JSON"),
    ):
        channels.read_json("rows", "current.json")


def test_the_summary_is_withdrawn_while_outputs_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A prefix counts once it has a summary, so a run that is killed half-way must leave none."""
    run(str(tmp_path), ROWS)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Channels, "_move_into_place", killed)
    with pytest.raises(KeyboardInterrupt):
        run(str(tmp_path), ROWS)
    assert not (tmp_path / "Copy" / "summary.json").exists()
    assert json.loads((tmp_path / "kept" / "manifest.json").read_text())["execution"] == "one"


class KilledError(BaseException):
    """Stands for SIGKILL, so no code may catch it."""


def kill_after(count: int, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise KilledError instead of the change of a file or object that follows ``count`` others."""
    changes_left, rmtree = iter(range(count)), shutil.rmtree

    def dying(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any, **named: Any) -> Any:
            scratch = change is rmtree and "/fraudline-" in str(arguments[0])  # lost with the instance
            if not scratch and next(changes_left, None) is None:
                raise KilledError
            return change(*arguments, **named)

        return changed

    for owner, name in ((Path, "replace"), (Path, "unlink"), (shutil, "rmtree"), (Path, "rmdir")):
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))
    if s3.is_uri(base):
        client = aws.client("s3")
        for name in ("upload_file", "delete_object"):
            monkeypatch.setattr(client, name, dying(getattr(client, name)))
    monkeypatch.setattr(Channels, "__exit__", lambda self, *_: self._scratch and self._scratch.cleanup())


def content_of(base: str) -> dict[str, object]:
    if s3.is_uri(base):
        with Channels(STAGE, {"rows": base}, {}) as channels:
            return content_of(str(channels.folder("rows")))
    files = [path for path in Path(base).rglob("*") if path.is_file()]
    return {str(path.relative_to(base)): path.read_bytes() for path in files}


@pytest.mark.integration
def test_a_rerun_after_any_kill_ends_equal(base: str, monkeypatch: pytest.MonkeyPatch):
    """Wherever an instance is lost, a summary exists only beside complete outputs."""
    run(base, ROWS)
    run(base, ROWS.tail(2), replace=True)
    expected = content_of(base)
    for count in range(100):
        run(base, ROWS, replace=True)
        with monkeypatch.context() as patch:
            kill_after(count, base, patch)
            try:
                run(base, ROWS.tail(2), replace=True)
                break
            except KilledError:
                pass
        with suppress(InputError):
            rows = summary(base)["record_count"]
            assert [read(base, name).height for name in ("Copy/copied", "kept")] == [rows, rows]
        run(base, ROWS.tail(2), replace=True)
        assert content_of(base) == expected
    assert count >= 5


def test_a_channel_of_folders_has_one_part_per_folder(base: str):
    """A part holds all rows of its customers: mixing or splitting parts would cut windows."""
    whole = ROWS.with_columns(pl.col("x") + 3)
    outputs = {name: f"{base}/{name}" for name in ("copied", "kept", "summary")}
    with Channels(STAGE, {}, outputs) as channels:
        channels.write("copied", ROWS.head(1), "customers=0/part-0.parquet")
        channels.write("copied", ROWS.tail(2), "customers=0/part-1.parquet")
        channels.write("copied", whole, "customers=1/part-0.parquet")
        channels.write_json("kept", "manifest.json", {"content": "a", "execution": "one"})
        channels.commit({})
    with Channels(STAGE, {"rows": f"{base}/copied"}, {}) as channels:
        assert [part.collect().to_dicts() for part in channels.parts("rows", SCHEMA)] == [
            ROWS.to_dicts(),
            whole.to_dicts(),
        ]


def test_a_channel_of_plain_files_is_one_part(base: str):
    run(base, ROWS)
    with Channels(STAGE, {"rows": f"{base}/Copy/copied"}, {}) as channels:
        (part,) = channels.parts("rows", SCHEMA)
        assert_frame_equal(part.collect(), ROWS)


def test_a_file_beside_an_input_can_be_read(base: str):
    run(base, ROWS)
    with Channels(STAGE, {"rows": f"{base}/Copy/"}, {}) as channels:
        assert channels.read_json_beside("rows", "kept", "manifest.json")["execution"] == "one"
        assert channels.read_json_beside("rows", "gone", "manifest.json") is None
