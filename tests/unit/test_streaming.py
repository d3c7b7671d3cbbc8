"""No stage needs more memory for a series of more slices."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from stages import SIDE, STAGES

FEW, MANY = 24, 120  # films and calibrations look at 24 slices at most
MORE_MB = (MANY - FEW) * SIDE * SIDE * 2 / 2**20  # of one volume
ALLOWED_MB = 2.0
LOADING = [stage for stage in STAGES if stage.startswith("(")]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peaks are read from /proc")


@pytest.fixture(scope="module")
def peaks(tmp_path_factory):
    """By number of slices and stage, MB."""
    script = Path(__file__).with_name("stages.py")
    running = {
        slices: subprocess.Popen(
            [sys.executable, script, tmp_path_factory.mktemp(f"slices{slices}"), str(slices), *STAGES],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for slices in (FEW, MANY)
    }  # fmt: skip
    found = {}
    for slices, process in running.items():
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        found[slices] = json.loads(output.splitlines()[-1])
    return found


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in LOADING])
def test_more_slices_need_no_more_memory(peaks, stage):
    assert peaks[MANY][stage] - peaks[FEW][stage] < ALLOWED_MB


@pytest.mark.parametrize("stage", LOADING)
def test_a_stage_that_holds_a_volume_or_its_pages_would_show(peaks, stage):
    assert peaks[MANY][stage] - peaks[FEW][stage] == pytest.approx(MORE_MB, abs=ALLOWED_MB / 2)
