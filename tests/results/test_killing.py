import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = int(os.environ.get("RESULT_KILLS", "3"))  # 200 are promised: RESULT_KILLS=200 pytest -n0 -s -m "" tests/results


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_after_any_kills_the_labels_are_those_of_a_run_that_was_not_killed(tmp_path):
    program = Path(__file__).parent / "harness" / "killing.py"
    command = [sys.executable, "-W", "error", program, tmp_path, str(KILLS), "0"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    print(found)
    assert list(found) == ["predict", "segment"]
    for what, counts in found.items():
        assert counts["kills"] == KILLS, what
        assert counts["amid"] > 0, what
        assert (counts["others"], counts["left"]) == (0, 0), what
