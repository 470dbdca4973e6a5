"""The command killed at random moments, or damaged between two runs, ends with the same bytes."""

import random
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from small_demo import small_settings, write_brain_mask

from conceptrsa import bids_config
from conceptrsa.pipelines.demo.demo_dataset import write_demo_dataset
from conceptrsa.pipelines.demo.demo_settings import PLANTED_ROIS

pytestmark = pytest.mark.slow
STIMULI = tuple(f"thing_{n:02d}" for n in range(6))
N_KILLS = 10
MAXIMUM_SECONDS = 300
LEFT_OUT = {".work", "logs"}


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A subject of two short runs."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(5)
    planted = {roi.model: rng.standard_normal((len(STIMULI), 40)) for roi in PLANTED_ROIS.values()}
    settings = replace(
        small_settings(n_subjects=1),
        bold_shape=(30, 34, 20),
        bold_voxel_mm=6.0,
        t1w_voxel_mm=5.0,
    )
    write_demo_dataset(folder, planted, STIMULI, settings)
    return folder / "bids"


@pytest.fixture(scope="module")
def command(
    bids: Path, reconstruction: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., list[str]]:
    """Makes the command; a reconstruction spares the registration with the template."""
    subjects = tmp_path_factory.mktemp("subjects")
    shutil.copytree(reconstruction, subjects / "sub-01")
    t1w = nib.load(next(bids.rglob("*_T1w.nii.gz")))
    orig = nib.MGHImage(np.asanyarray(t1w.dataobj, dtype=np.float32), t1w.affine)
    nib.save(orig, subjects / "sub-01" / "mri" / "orig.mgz")
    write_brain_mask(bids.parent, subjects / "sub-01")
    config = (Path(bids_config.__file__).parent / "demo.toml").read_text()
    (subjects / "regions.toml").write_text(
        config[: config.index("[rois]")]
        + "[rois]\nhippocampus = [17, 53]\nfusiform = [1007]\n\n"
        + config[config.index("[stimuli]") :]
    )

    def make(out: Path, *more: str) -> list[str]:
        return [
            sys.executable, "-m", "conceptrsa", "run", str(bids), str(out), "participant",
            "--dataset-config", str(subjects / "regions.toml"), "--nprocs", "2",
            "--fs-subjects-dir", str(subjects), "--skip-bids-validation", *more,
        ]  # fmt: skip

    return make


@pytest.fixture(scope="module")
def undisturbed(
    command: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, float]:
    """Where an undisturbed run wrote, with its working files, and how long it took (s)."""
    out = tmp_path_factory.mktemp("undisturbed") / "derivatives"
    start = time.monotonic()
    finish(command(out, "--keep-work"))
    return out, time.monotonic() - start


def finish(command: list[str]) -> str:
    """Run to the end and give the messages."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=MAXIMUM_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stderr


def checksums(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not LEFT_OUT & set(path.relative_to(out).parts)
    }


def test_a_second_run_is_refused_while_the_first_is_at_work(
    command: Callable[..., list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "derivatives"
    first = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        lock = out / ".conceptrsa-sub-01.lock"
        deadline = time.monotonic() + MAXIMUM_SECONDS
        while not lock.exists() and first.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        second = subprocess.run(command(out), capture_output=True, text=True)
    finally:
        first.kill()
        first.wait()
    assert second.returncode == 2
    assert f"another run is writing sub-01 in {out} (process {first.pid} on " in second.stderr
    assert "Traceback" not in second.stderr


def test_ten_kills_at_random_moments_change_no_byte(
    command: Callable[..., list[str]], undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    whole, seconds = undisturbed
    out = tmp_path / "derivatives"
    moments = random.Random(20)
    n_hit = 0
    for _ in range(N_KILLS):
        process = subprocess.Popen(
            command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=moments.uniform(0.1, 0.5) * seconds)
        except subprocess.TimeoutExpired:
            n_hit += 1
        finally:
            # The parent only; what becomes of its workers is up to them.
            process.kill()
            process.wait()
    assert n_hit >= 2
    finish(command(out))
    assert checksums(out) == checksums(whole)
    assert not list(out.rglob(".writing-*")) and not list(out.rglob("*.lock"))


def test_a_terminated_run_says_one_sentence_and_goes_on_to_the_same_bytes(
    command: Callable[..., list[str]], undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    """As `docker stop` does it."""
    whole, _ = undisturbed
    out = tmp_path / "derivatives"
    process = subprocess.Popen(command(out), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + MAXIMUM_SECONDS
    while not list(out.glob(".work/**/*_stc.nii")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.terminate()
    _, said = process.communicate(timeout=MAXIMUM_SECONDS)
    assert process.returncode == 143
    ending = [line for line in said.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]
    assert ending == ["conceptrsa: interrupted; run the same command again to continue"]
    assert not list(out.rglob("conceptrsa-spm-*")) and not list(out.rglob("*.lock"))
    finish(command(out))
    assert checksums(out) == checksums(whole)


def test_damaged_files_of_real_steps_are_made_again(
    command: Callable[..., list[str]], undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    whole, _ = undisturbed
    expected = checksums(whole)
    work = whole / ".work"

    def find(pattern: str) -> Path:
        return sorted(work.rglob(pattern))[0]

    for file, content in (
        (find("*_stc.nii"), b""),
        (find("*_realigned.nii"), find("*_realigned.nii").read_bytes()[:5000]),
        (find("_estimate_betas1/betas.nii"), b"\x00" * 300_000),
        (find("result_pool_betas.pklz"), find("result_pool_betas.pklz").read_bytes()[:40]),
        (find("result__slice_timing0.pklz"), b"nonsense"),
        (find("coregister/_record.json"), b"{}"),
    ):
        file.write_bytes(content)
    find("_resample_betas2/*.nii").unlink()
    shutil.rmtree(find("_estimate_betas0"))
    for name in (next(n for n in expected if n.endswith("statmap.nii.gz")),
                 next(n for n in expected if n.endswith("_design.tsv"))):  # fmt: skip
        (whole / name).unlink()
    (whole / "sub-01" / "func" / ".writing-left.nii.gz").write_bytes(b"of a killed run")
    said = finish(command(whole, "--keep-work"))
    assert checksums(whole) == expected
    assert "normalize done (found)" in said


def test_a_disk_that_is_full_is_said_and_leaves_nothing_half_written(
    command: Callable[..., list[str]], tmp_path: Path
) -> None:
    """A limit on the size of files stands for the disk: it strikes in the steps, not before."""
    out = tmp_path / "derivatives"
    limit = 300_000

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        command(out), capture_output=True, text=True, timeout=MAXIMUM_SECONDS,
        preexec_fn=limit_files,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "sub-01 failed: " in done.stderr and "free some space" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.rglob(".writing-*"))
    crash_files = sorted((out / "logs").glob("crash-*.txt"))
    assert crash_files
    for crash_file in crash_files:
        assert "conceptrsa run " in crash_file.read_text()
        assert "--participant-label 01\n" in crash_file.read_text()
