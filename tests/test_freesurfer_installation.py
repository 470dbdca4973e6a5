"""Where FreeSurfer, its licence and fsaverage are looked for, and what is said without them."""

import os
import shutil
from unittest.mock import patch

import pytest

from conceptrsa.bids_config.errors import InputError
from conceptrsa.interfaces.freesurfer.installation import (
    find_freesurfer,
    find_fsaverage,
    find_license,
)


def under(environment, function, *arguments):
    """What a function gives where these are all the variables."""
    with patch.dict(os.environ, environment, clear=True):
        return function(*arguments)


def test_freesurfer_is_found_with_its_version(freesurfer):
    found = find_freesurfer()
    assert found.home == freesurfer
    assert found.version == "freesurfer-linux-ubuntu22_x86_64-7.4.1-20230614-7eb8460"
    assert found.program("tkregister2").name == "tkregister2_cmdl"
    (freesurfer / "bin" / "tkregister2_cmdl").unlink()
    (freesurfer / "build-stamp.txt").unlink()
    assert find_freesurfer().program("tkregister2").name == "tkregister2"
    assert find_freesurfer().version is None


def test_missing_freesurfer_is_said_in_one_sentence(freesurfer, tmp_path):
    with pytest.raises(InputError, match=r"FREESURFER_HOME is not set; .*--normalization python"):
        under({}, find_freesurfer)
    with pytest.raises(InputError, match="which is not a folder"):
        under({"FREESURFER_HOME": str(tmp_path / "absent")}, find_freesurfer)
    (freesurfer / "bin" / "bbregister").unlink()
    with pytest.raises(InputError, match="program bbregister is not in"):
        under({"FREESURFER_HOME": str(freesurfer), "PATH": "/nowhere"}, find_freesurfer)


def test_programs_may_be_on_the_path_only(freesurfer, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for program in (freesurfer / "bin").iterdir():
        program.rename(elsewhere / program.name)
    found = under({"FREESURFER_HOME": str(freesurfer), "PATH": str(elsewhere)}, find_freesurfer)
    assert under({"PATH": str(elsewhere)}, found.program, "recon-all").parent == elsewhere


def test_licence_is_looked_up_as_flag_then_variable_then_in_freesurfers_folder(tmp_path):
    named, variable = tmp_path / "a.txt", tmp_path / "b.txt"
    home = tmp_path / "home"
    home.mkdir()
    for path in (named, variable, home / ".license", home / "license.txt"):
        path.write_text("x")
    environment = {"FS_LICENSE": str(variable), "FREESURFER_HOME": str(home)}
    assert under(environment, find_license, named) == named
    assert under(environment, find_license) == variable
    del environment["FS_LICENSE"]
    assert under(environment, find_license) == home / "license.txt"
    (home / "license.txt").unlink()
    assert under(environment, find_license) == home / ".license"
    (home / ".license").unlink()
    with pytest.raises(InputError, match=r"none was found; .*free of charge at https://surfer"):
        under(environment, find_license)
    with pytest.raises(InputError, match=r"absent\.txt, does not exist"):
        under(environment, find_license, tmp_path / "absent.txt")
    with pytest.raises(InputError, match=r"\$FS_LICENSE, .*gone\.txt, does not exist"):
        under({"FS_LICENSE": str(tmp_path / "gone.txt")}, find_license)


def test_fsaverage_is_looked_up_in_the_subjects_directory_then_in_freesurfers(
    tmp_path, reconstruction
):
    own, home = tmp_path / "own", tmp_path / "home"
    environment = {"FREESURFER_HOME": str(home)}
    with pytest.raises(InputError, match=r"fsaverage/mri/aparc\+aseg\.mgz"):
        under(environment, find_fsaverage, own)
    shutil.copytree(reconstruction, home / "subjects" / "fsaverage")
    assert under(environment, find_fsaverage, own) == home / "subjects"
    shutil.copytree(home / "subjects", own)
    assert under(environment, find_fsaverage, own) == own
    for folder in (own, home / "subjects"):
        (folder / "fsaverage" / "mri" / "transforms" / "talairach.xfm").unlink()
    with pytest.raises(InputError, match=r"own/fsaverage/mri/transforms/talairach\.xfm"):
        under(environment, find_fsaverage, own)


@pytest.mark.parametrize("content", ["a folder", "empty"])
def test_a_licence_that_is_none_is_said_so(content, tmp_path):
    path = tmp_path / "license.txt"
    path.mkdir() if content == "a folder" else path.touch()
    with pytest.raises(InputError, match=r"is a folder: if it was mounted|is empty"):
        under({"FREESURFER_HOME": str(tmp_path)}, find_license)
