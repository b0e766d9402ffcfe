"""The document that runs every stage by hand does so."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import date
from pathlib import Path

import pytest

from fraudline.catalog.stages import STAGES
from fraudline.simulate import simulate

pytestmark = pytest.mark.docker

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = (REPOSITORY / "docs" / "stage-by-stage.md").read_text()


def test_every_stage_is_in_the_document():
    shown = re.findall(r"(?:^stage \w+|:dev) ([\w-]+)", DOCUMENT, re.MULTILINE)
    assert set(shown) == set(STAGES)


# The same commands as another user, with no rights; what the script itself makes, anybody may change.
AS_ANYBODY = """umask 000
id() { echo 12345; }
docker() { command docker run --read-only --cap-drop ALL "${@:2}"; }
"""


@pytest.mark.parametrize("before", ["", AS_ANYBODY], ids=["as written", "as anybody, with no rights"])
def test_the_commands_of_the_document_end_in_alerts_and_a_report(tmp_path: Path, before: str):
    simulate(tmp_path / "data", start=date(2026, 1, 1), days=92, customers=1500, merchants=400, seed=11)
    script = re.findall(r"```bash\n(.*?)```", DOCUMENT, re.DOTALL)[0]
    places = {"DATA": str(tmp_path / "data"), "WORK": str(tmp_path / "work")}
    command = ["bash", "-euo", "pipefail", "-c", before + script]
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | places, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    work = tmp_path / "work"
    assert json.loads((work / "champion/current.json").read_text())["champion"]["model_version"] == "v2026-04-02"
    assert json.loads((work / "Results/summary.json").read_text())["archived"] > 1000
    assert (work / "report/fraud-daily-2026-04-02.pdf").read_bytes().startswith(b"%PDF")
