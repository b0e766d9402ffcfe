"""AWS Glue job ``fraud-feature-eng``: run stage feature-engineering on Spark. The code is in the wheel."""

import sys

from fraudline.entrypoints.glue import run

run("feature-engineering", sys.argv[1:])
