"""The AWS Glue job ``fraud-feature-eng``: stage feature-engineering on Spark; the wheel holds all that it does."""

import sys

from fraudline.entrypoints.glue import run

run("feature-engineering", sys.argv[1:])
