"""Tests import the harness as modules of its folder, where its programs run too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "harness"))
