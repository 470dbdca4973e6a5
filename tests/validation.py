"""The BIDS validator, run without a network."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def bids_errors(data_set: Path, scratch: Path) -> list[dict[str, Any]]:
    """Errors of the validator on a data set; the test is skipped where it is not installed."""
    validator = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    if validator is None:
        pytest.skip("bids-validator-deno is not installed")
    finished = subprocess.run(
        [validator, "--format", "json", str(data_set)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "DENO_DIR": str(scratch / "deno")},
    )
    issues = json.loads(finished.stdout)["issues"]["issues"]
    errors = [issue for issue in issues if issue["severity"] == "error"]
    assert finished.returncode == (16 if errors else 0)
    return errors
