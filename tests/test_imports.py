"""What a user imports first depends on nothing that was imported before."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "python.md"
DOCUMENTED = sorted(
    set(re.findall(r"^from ([\w.]+) import", PAGE.read_text(), re.MULTILINE))
    | set(re.findall(r"^\.\. automodule:: ([\w.]+)", PAGE.read_text(), re.MULTILINE))
    | {
        "conceptrsa.analysis.models.features",
        "conceptrsa.analysis.models.named_models",
        "conceptrsa.analysis.models.zoo",
    }
)


@pytest.mark.parametrize("module", DOCUMENTED)
def test_documented_modules_are_imported_alone(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
