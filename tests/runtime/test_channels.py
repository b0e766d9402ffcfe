"""A channel: a folder or an s3:// prefix, whole or not at all, the summary last."""

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
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where channels lie: every law holds for both kinds of place."""
    if request.param == "folder":
        return str(tmp_path)
    request.getfixturevalue("aws")
    bucket = f"b-{abs(hash(request.node.name))}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/some/root"


def run(place: str, rows: pl.DataFrame, *, fails: bool = False, execution: str = "one", replace: bool = False) -> None:
    outputs = {"copied": f"{place}/Copy/copied", "kept": f"{place}/kept/", "summary": f"{place}/Copy"}
    if not s3.is_uri(place):
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


def read(place: str, channel: str) -> pl.DataFrame:
    with Channels(STAGE, {"rows": f"{place}/{channel}"}, {}) as channels:
        return channels.read("rows", SCHEMA)


def summary(place: str) -> Any:
    with Channels(STAGE, {"rows": f"{place}/Copy"}, {}) as channels:
        return channels.read_json("rows", "summary.json")


def test_what_is_written_is_what_is_read(place: str):
    run(place, ROWS)
    assert_frame_equal(read(place, "Copy/copied"), ROWS)
    assert summary(place) == {"record_count": 3}


def test_a_stage_that_fails_leaves_nothing(place: str):
    with pytest.raises(ZeroDivisionError):
        run(place, ROWS, fails=True)
    with pytest.raises(InputError, match=r"channel 'rows': nothing at"):
        read(place, "Copy")


def test_a_stage_that_fails_leaves_what_was_there(place: str):
    run(place, ROWS)
    with pytest.raises(ZeroDivisionError):
        run(place, ROWS.head(1), fails=True)
    assert_frame_equal(read(place, "Copy/copied"), ROWS)


def test_a_rerun_replaces_the_whole_output(place: str):
    """Files of an earlier run must not mix with those of a later one."""
    run(place, ROWS)
    run(place, ROWS.head(1), replace=True)
    assert_frame_equal(read(place, "Copy/copied"), ROWS.head(1))
    assert summary(place) == {"record_count": 1}


def test_a_published_channel_keeps_its_content_unless_told_to_replace_it(place: str):
    run(place, ROWS)
    run(place, ROWS, execution="two")  # equal content: nothing to do
    with pytest.raises(InputError, match=r"(?s)'one'.*'three'.*--replace true"):
        run(place, ROWS.head(2), execution="three")
    assert_frame_equal(read(place, "kept"), ROWS)
    run(place, ROWS.head(2), execution="three", replace=True)
    assert_frame_equal(read(place, "kept"), ROWS.head(2))


def test_a_refused_publication_leaves_every_other_output_as_it_was(place: str):
    """Half of a stage's outputs from one run and half from another would be worse than none."""
    run(place, ROWS)
    with pytest.raises(InputError):
        run(place, ROWS.head(2), execution="two")
    assert_frame_equal(read(place, "Copy/copied"), ROWS)
    assert summary(place) == {"record_count": 3}


def test_a_missing_column_is_named_with_what_there_is(tmp_path: Path):
    pl.DataFrame({"y": [1]}).write_parquet(tmp_path / "part-0.parquet")
    with (
        Channels(STAGE, {"rows": str(tmp_path)}, {}) as channels,
        pytest.raises(InputError, match=r"part-0.parquet has no column 'x'.*it has y"),
    ):
        channels.read("rows", SCHEMA)


def test_json_that_is_broken_is_named(tmp_path: Path):
    (tmp_path / "current.json").write_text("{")
    with (
        Channels(STAGE, {"rows": str(tmp_path)}, {}) as channels,
        pytest.raises(InputError, match=r"current.json is not JSON"),
    ):
        channels.read_json("rows", "current.json")


def test_the_summary_is_gone_while_outputs_change_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A prefix counts by its summary: killed half-way, it must not count."""
    run(str(tmp_path), ROWS)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Channels, "_move_into_place", killed)
    with pytest.raises(KeyboardInterrupt):
        run(str(tmp_path), ROWS)
    assert not (tmp_path / "Copy" / "summary.json").exists()
    assert json.loads((tmp_path / "kept" / "manifest.json").read_text())["execution"] == "one"


class KilledError(BaseException):
    """Nothing may catch it, as nothing catches a SIGKILL."""


def kill_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die before the change of a place that comes after so many."""
    left, rmtree = iter(range(count)), shutil.rmtree

    def dying(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any, **named: Any) -> Any:
            scratch = change is rmtree and "/fraudline-" in str(arguments[0])  # goes with the machine
            if not scratch and next(left, None) is None:
                raise KilledError
            return change(*arguments, **named)

        return changed

    for place, name in ((Path, "replace"), (Path, "unlink"), (shutil, "rmtree"), (Path, "rmdir")):
        monkeypatch.setattr(place, name, dying(getattr(place, name)))
    if aws.client.cache_info().currsize:
        for name in ("upload_file", "delete_object"):
            monkeypatch.setattr(aws.client("s3"), name, dying(getattr(aws.client("s3"), name)))
    monkeypatch.setattr(Channels, "__exit__", lambda self, *_: self._scratch and self._scratch.cleanup())


def everything(place: str) -> dict[str, object]:
    if s3.is_uri(place):
        with Channels(STAGE, {"rows": place}, {}) as channels:
            return everything(str(channels.folder("rows")))
    files = [path for path in Path(place).rglob("*") if path.is_file()]
    return {str(path.relative_to(place)): path.read_bytes() for path in files}


def test_killed_between_any_two_changes_a_rerun_ends_equal_and_nothing_half_done_counts(
    place: str, monkeypatch: pytest.MonkeyPatch
):
    """Wherever a host takes the machine away: the summary stands only over whole outputs."""
    run(place, ROWS)
    run(place, ROWS.tail(2), replace=True)
    expected = everything(place)
    for count in range(100):
        run(place, ROWS, replace=True)
        with monkeypatch.context() as patch:
            kill_after(count, patch)
            try:
                run(place, ROWS.tail(2), replace=True)
                break
            except KilledError:
                pass
        with suppress(InputError):
            rows = summary(place)["record_count"]
            assert [read(place, name).height for name in ("Copy/copied", "kept")] == [rows, rows]
        run(place, ROWS.tail(2), replace=True)
        assert everything(place) == expected
    assert count >= 5


def test_a_channel_of_folders_comes_part_by_part(place: str):
    """A part holds whole customers: to mix two would cut windows, to split one too."""
    whole = ROWS.with_columns(pl.col("x") + 3)
    outputs = {name: f"{place}/{name}" for name in ("copied", "kept", "summary")}
    with Channels(STAGE, {}, outputs) as channels:
        channels.write("copied", ROWS.head(1), "customers=0/part-0.parquet")
        channels.write("copied", ROWS.tail(2), "customers=0/part-1.parquet")
        channels.write("copied", whole, "customers=1/part-0.parquet")
        channels.write_json("kept", "manifest.json", {"content": "a", "execution": "one"})
        channels.commit({})
    with Channels(STAGE, {"rows": f"{place}/copied"}, {}) as channels:
        assert [part.collect().to_dicts() for part in channels.parts("rows", SCHEMA)] == [
            ROWS.to_dicts(),
            whole.to_dicts(),
        ]


def test_a_channel_of_plain_files_is_one_part(place: str):
    run(place, ROWS)
    with Channels(STAGE, {"rows": f"{place}/Copy/copied"}, {}) as channels:
        (part,) = channels.parts("rows", SCHEMA)
        assert_frame_equal(part.collect(), ROWS)


def test_what_lies_beside_an_input_can_be_asked_for(place: str):
    run(place, ROWS)
    with Channels(STAGE, {"rows": f"{place}/Copy/"}, {}) as channels:
        assert channels.read_json_beside("rows", "kept", "manifest.json")["execution"] == "one"
        assert channels.read_json_beside("rows", "gone", "manifest.json") is None
