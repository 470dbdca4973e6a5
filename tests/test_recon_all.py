"""When recon-all is run, goes on or is left alone, with a stand-in that proves nothing about it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import fake_freesurfer
import nibabel as nib
import numpy as np
import pytest

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.interfaces.freesurfer.recon_all import ReconAll, is_complete


@pytest.fixture
def t1w(tmp_path):
    path = tmp_path / "sub-02_T1w.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4)), path)
    return path


def reconstruct(t1w, tmp_path, cwd=None, **inputs):
    cwd = cwd or tmp_path / "node"
    cwd.mkdir(parents=True, exist_ok=True)
    given = {"subject": "sub-02", "subjects_dir": str(tmp_path / "subjects"), **inputs}
    return ReconAll(t1w_file=str(t1w), **given).run(cwd=str(cwd)).outputs


def recon_all_calls(tmp_path):
    return [call["argv"] for call in fake_freesurfer.calls(tmp_path / "calls.jsonl")]


def test_reconstruction_is_made_once(freesurfer, t1w, tmp_path):
    outputs = reconstruct(t1w, tmp_path, n_threads=2)
    subjects = tmp_path / "subjects"
    assert outputs.subject_dir == str(subjects / "sub-02")
    assert outputs.subjects_dir == str(subjects)
    command = ["recon-all", "-all", "-i", str(t1w), "-openmp", "2", "-subjid", "sub-02", "-sd"]
    assert recon_all_calls(tmp_path) == [[*command, str(subjects)]]
    reconstruct(t1w, tmp_path)
    assert len(recon_all_calls(tmp_path)) == 1


def test_reconstruction_from_elsewhere_is_taken_as_it_is(freesurfer, t1w, tmp_path):
    """Without `scripts`, without a licence, and from a folder recon-all itself could not use."""
    (freesurfer / "license.txt").unlink()
    odd = tmp_path / "from a colleague"
    shutil.copytree(tmp_path / "subjects", odd)
    reconstruct(t1w, tmp_path, subject="sub-01", subjects_dir=str(odd))
    assert recon_all_calls(tmp_path) == []


def test_failed_reconstruction_goes_on_without_the_image(freesurfer, t1w, tmp_path, monkeypatch):
    """recon-all writes recon-all.done when it fails, too, with nothing but a 1 in it.

    No step is left out because a file of its name is there: it may be half of one.
    """
    monkeypatch.setenv("FAKE_RECON_ALL", "error")
    with pytest.raises(StepError, match=r"recon-all failed .*mri_ca_register: out of memory"):
        reconstruct(t1w, tmp_path)
    (tmp_path / "subjects" / "sub-02" / "mri" / "nu.mgz").write_bytes(b"half a file")
    # As if the run had failed only after the files were there.
    shutil.copytree(
        tmp_path / "subjects" / "sub-01", tmp_path / "subjects" / "sub-02", dirs_exist_ok=True
    )
    monkeypatch.setenv("FAKE_RECON_ALL", "")
    reconstruct(t1w, tmp_path)
    _, again = recon_all_calls(tmp_path)
    assert again == [
        *("recon-all", "-all", "-openmp", "1", "-subjid", "sub-02", "-sd"),
        str(tmp_path / "subjects"),
    ]


def test_killed_reconstruction_can_go_on(freesurfer, t1w, tmp_path, monkeypatch):
    """Its own mark is taken away when it is known to have ended; somebody else's never is."""
    monkeypatch.setenv("FAKE_RECON_ALL", "killed")
    with pytest.raises(StepError, match="recon-all was killed"):
        reconstruct(t1w, tmp_path)
    mark = tmp_path / "subjects" / "sub-02" / "scripts" / "IsRunning.lh+rh"
    assert mark.parent.is_dir() and not mark.exists()
    mark.write_text("SUBJECT sub-02\n")
    with pytest.raises(StepError, match=r"IsRunning\.lh\+rh says that another recon-all"):
        reconstruct(t1w, tmp_path)
    assert mark.exists() and len(recon_all_calls(tmp_path)) == 1
    mark.unlink()
    monkeypatch.setenv("FAKE_RECON_ALL", "")
    reconstruct(t1w, tmp_path)


def test_reconstruction_whose_own_program_was_killed_goes_on(freesurfer, t1w, tmp_path):
    """Whatever killed it: the mark of FreeSurfer stays, and the process of ours is gone."""
    program = (
        "import sys; from conceptrsa.interfaces.freesurfer.recon_all import ReconAll\n"
        "ReconAll(t1w_file=sys.argv[1], subject='sub-02', subjects_dir=sys.argv[2]).run()"
    )
    words = [sys.executable, "-c", program, str(t1w), str(tmp_path / "subjects")]
    (tmp_path / "cwd").mkdir()
    worker = subprocess.Popen(
        words, cwd=tmp_path / "cwd", env={**os.environ, "FAKE_RECON_ALL": "slow"}
    )
    mark = tmp_path / "subjects" / "sub-02" / "scripts" / "IsRunning.lh+rh"
    for _ in range(300):
        if mark.exists():
            break
        time.sleep(0.1)
    with pytest.raises(StepError, match="another recon-all is running"):
        is_complete(tmp_path / "subjects" / "sub-02")
    worker.kill()
    worker.wait()
    outputs = reconstruct(t1w, tmp_path)
    assert is_complete(Path(outputs.subject_dir))


def test_the_mark_of_somebody_elses_recon_all_is_respected(freesurfer, t1w, tmp_path):
    scripts = tmp_path / "subjects" / "sub-02" / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "IsRunning.lh+rh").touch()
    with pytest.raises(StepError, match="another recon-all is running"):
        reconstruct(t1w, tmp_path)
    assert (scripts / "IsRunning.lh+rh").exists()


def test_reconstruction_that_lacks_a_file_fails_the_step(freesurfer, t1w, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_RECON_ALL", "partial")
    with pytest.raises(StepError, match=r"without an error but without .*aparc\+aseg\.mgz"):
        reconstruct(t1w, tmp_path)


def test_folder_that_recon_all_can_neither_begin_nor_go_on_with(freesurfer, t1w, tmp_path):
    (tmp_path / "subjects" / "sub-02" / "mri").mkdir(parents=True)
    with pytest.raises(StepError, match=r"without mri/orig/001\.mgz; remove that folder"):
        reconstruct(t1w, tmp_path)
    assert recon_all_calls(tmp_path) == []


def test_odd_names_before_recon_all(freesurfer, t1w, tmp_path):
    """recon-all looks through links to folders, so only the image and the log are helped by one."""
    odd = tmp_path / "it's here"
    odd.mkdir()
    with pytest.raises(InputError, match=r"recon-all cannot work in .*it's here"):
        reconstruct(t1w, tmp_path, subjects_dir=str(odd))
    with pytest.raises(InputError, match="a subject called 'sub 2'"):
        reconstruct(t1w, tmp_path, subject="sub 2")
    image = shutil.move(t1w, odd / "my T1w.nii.gz")
    reconstruct(image, tmp_path, cwd=odd / "node")
    (argv,) = recon_all_calls(tmp_path)
    assert Path(argv[3]).name == "T1w.nii.gz" and not set("".join(argv)) & set(" '")
    assert (odd / "node" / "recon-all.log").is_file()
