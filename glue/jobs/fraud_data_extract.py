"""The AWS Glue job ``fraud-data-extract``: stage data-extraction on Spark; the wheel holds all that it does."""

import sys

from fraudline.entrypoints.glue import run

run("data-extraction", sys.argv[1:])
