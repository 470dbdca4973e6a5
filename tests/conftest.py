"""What the tests share: where the real data lie."""

import os
from pathlib import Path

import pytest

DATA_VARIABLE = "CONCEPTRSA_TEST_DATA"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real events, RDMs and EPI; the test is skipped where it is absent."""
    beside_checkout = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get(DATA_VARIABLE, beside_checkout))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is absent (set {DATA_VARIABLE} to its folder)")
    return folder
