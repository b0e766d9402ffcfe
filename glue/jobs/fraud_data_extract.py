"""AWS Glue job ``fraud-data-extract``: run stage data-extraction on Spark. The code is in the wheel."""

import sys

from fraudline.entrypoints.glue import run

run("data-extraction", sys.argv[1:])
