"""docs/stage-by-stage.md runs every stage by hand."""

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


def test_the_document_runs_every_stage():
    shown = re.findall(r"(?:^stage \w+|:dev) ([\w-]+)", DOCUMENT, re.MULTILINE)
    assert set(shown) == set(STAGES)


# The same commands as another user without rights, who may change what the script creates.
AS_ANY_USER = """umask 000
id() { echo 12345; }
docker() { command docker run --read-only --cap-drop ALL "${@:2}"; }
"""


@pytest.mark.parametrize("preamble", ["", AS_ANY_USER], ids=["as written", "as any user, without rights"])
def test_the_documents_commands_end_in_alerts_and_a_report(tmp_path: Path, preamble: str):
    simulate(tmp_path / "data", start=date(2026, 1, 1), days=92, customers=1500, merchants=400, seed=11)
    script = re.findall(r"```bash\n(.*?)```", DOCUMENT, re.DOTALL)[0]
    folders = {"DATA": str(tmp_path / "data"), "WORK": str(tmp_path / "work")}
    command = ["bash", "-euo", "pipefail", "-c", preamble + script]
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | folders, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    work = tmp_path / "work"
    assert json.loads((work / "champion/current.json").read_text())["champion"]["model_version"] == "v2026-04-02"
    assert json.loads((work / "Results/summary.json").read_text())["archived"] > 1000
    assert (work / "report/fraud-daily-2026-04-02.pdf").read_bytes().startswith(b"%PDF")
