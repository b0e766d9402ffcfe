"""Run the command line: ``python -m fraudline``."""

from fraudline.cli import main

raise SystemExit(main())
