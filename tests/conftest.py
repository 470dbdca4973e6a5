"""What the tests share: where the real data lie, and an imitation of FreeSurfer."""

import fcntl
import os
import shutil
import signal
from pathlib import Path

# Threads of numerical libraries only wait for one another where the tests keep all processors
# busy, which nearly doubles the processor time. The libraries read this when they are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import fake_freesurfer
import numpy as np
import pytest
from small_demo import write_small_demo

from conceptrsa.interfaces.numerics.transforms import rigid_matrix

TALAIRACH = rigid_matrix(np.array([2.0, -20, 15]), np.array([0.1, 0.02, -0.05])) @ np.diag(
    [1.08, 1.02, 1.11, 1]
)
DATA_VARIABLE = "CONCEPTRSA_TEST_DATA"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Where a shell started the tests in the background, programs started by them would ignore
    # interrupts, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


HEAVY = (
    "end_to_end", "slurm", "freesurfer_workflow", "real_heads", "kill", "t1w_mask",
    "normalization", "bids_fmriprep", "subject_report", "subject_regions", "coregistration",
    "run_betas", "recovery", "hostile_input", "resume", "zoo", "odd_betas", "library",
    "worker_pool", "interrupts", "report_browser", "demo_dataset", "comparison",
    "named_classifiers", "installed", "glm", "models", "odd_images", "figures_written",
    "language_clip", "subject_cautions", "paper_parity", "features", "bids_validation",
    "spm_failures", "freesurfer_steps", "report", "docs", "resources", "betas_damaged",
    "standard_space",
)  # fmt: skip
"""Files (without `test_`) that take more than about ten seconds, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, so that several processes end at about the same time."""
    places = {name: place for place, name in enumerate(HEAVY)}
    for item in items:
        if item.path.stem.removeprefix("test_") in places:
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item: pytest.Item) -> int:
        last = len(HEAVY) + (item.path not in slow)
        return places.get(item.path.stem.removeprefix("test_"), last)

    items.sort(key=place)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real events, RDMs and EPI; the test is skipped where it is absent."""
    beside_checkout = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get(DATA_VARIABLE, beside_checkout))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is absent (set {DATA_VARIABLE} to its folder)")
    return folder


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of all processes of pytest-xdist; each has its own folder in it."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def small_demo(shared_folder: Path) -> Path:
    """Folder with `bids` and `truth` of two subjects of two runs; tests leave it as it is."""
    with (shared_folder / "small_demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the process that comes second finds it written
        write_small_demo(shared_folder / "small_demo")
    return shared_folder / "small_demo"


@pytest.fixture(scope="session")
def reconstruction(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reconstruction") / "sub-01"
    fake_freesurfer.write_reconstruction(folder, TALAIRACH)
    return folder


@pytest.fixture
def freesurfer(tmp_path, monkeypatch, reconstruction):
    """An installation of stand-ins, and a subjects directory with sub-01."""
    home = fake_freesurfer.install(tmp_path / "freesurfer")
    for name in [name for name in os.environ if name.startswith(("FS_", "FREESURFER"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("SUBJECTS_DIR", raising=False)
    monkeypatch.setenv("FREESURFER_HOME", str(home))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "calls.jsonl"))
    monkeypatch.setenv("FAKE_RECONSTRUCTION", str(tmp_path / "subjects" / "sub-01"))
    shutil.copytree(reconstruction, tmp_path / "subjects" / "sub-01")
    return home
