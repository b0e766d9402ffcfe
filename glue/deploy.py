"""Deploy the stack of this folder, or delete it: make deploy, make destroy."""

from __future__ import annotations

from pathlib import Path

from fraudline.orchestration.stack.deploy import main

if __name__ == "__main__":
    raise SystemExit(main(glue=Path(__file__).parent))
