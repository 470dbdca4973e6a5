"""How SPM is found, and how files are brought where it can read them."""

import gzip
import os
from pathlib import Path
from unittest.mock import patch

import nibabel as nib
import numpy as np
import pytest

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.interfaces.programs import Written, copy, provide
from conceptrsa.interfaces.spm.find_spm import SpmLauncher, find_launcher
from conceptrsa.interfaces.spm.spm_files import keep_from_saturating, require_image, workplace


@pytest.fixture
def launcher(tmp_path: Path) -> Path:
    """A program called as SPM's own launcher."""
    program = tmp_path / "bin dir" / "run_spm12.sh"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


def launcher_under(environment: dict[str, str], command: str | None = None) -> SpmLauncher:
    """What is found where these are all the variables."""
    with patch.dict(os.environ, environment, clear=True):
        return find_launcher(command)


def test_flag_before_variable_before_path(launcher: Path, tmp_path: Path) -> None:
    path = {"PATH": f"{launcher.parent}:/bin:/usr/bin"}
    both = {**path, "SPMMCRCMD": "sh -c script"}
    assert launcher_under(both, "sh run script").command[1:] == ("run", "script")
    assert launcher_under(both).command[1:] == ("-c", "script")
    found = launcher_under({**path, "MCR": "/opt/mcr/v97"})
    assert found.command == (str(launcher), "/opt/mcr/v97", "script")


def test_script_and_runtime_are_added(launcher: Path) -> None:
    environment = {"PATH": "/bin:/usr/bin", "MCR": "/opt/mcr/v97"}
    quoted = f"'{launcher}'"
    expected = (str(launcher), "/opt/mcr/v97", "script")
    for command in (quoted, f"{quoted} /opt/mcr/v97", f"{quoted} /opt/mcr/v97 script"):
        assert launcher_under(environment, command).command == expected
    found = launcher_under(environment, "sh -c")
    assert found.command[1:] == ("-c", "script")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (None, "no SPM was found"),
        ("nosuchprogram script", "nosuchprogram, does not exist"),
        ("'unbalanced", "cannot be read"),
        ("  ", "empty"),
    ],
)
def test_a_missing_launcher_is_one_sentence(command: str | None, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        launcher_under({"PATH": "/nowhere"}, command)
    assert "--spm-command" in str(error.value)


def test_a_missing_runtime_is_one_sentence(launcher: Path) -> None:
    with pytest.raises(InputError, match=r"MATLAB Runtime.*\$MCR"):
        launcher_under({"PATH": "/bin"}, f"'{launcher}'")


@pytest.mark.parametrize("name", ["plain", "with blank", "it's", "a,b", "ärger", "semi;colon"])
def test_the_workplace_has_a_plain_path_and_is_new(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for _ in range(2):
        with workplace(folder) as plain:
            assert plain.as_posix().isascii() and not set(str(plain)) & set(" ',;")
            assert not (plain / "made").exists()
            (plain / "made").write_text("here")
        assert (folder / "spm" / "made").read_text() == "here"


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "spm").mkdir()
    (tmp_path / "spm" / "theirs").touch()
    with pytest.raises(StepError, match="in the way"), workplace(tmp_path):
        pass
    assert (tmp_path / "spm" / "theirs").exists()


def make_image(path: Path) -> nib.Nifti1Image:
    data = np.arange(48, dtype=np.int16).reshape(2, 3, 4, 2)
    image = nib.Nifti1Image(data, np.eye(4))
    nib.save(image, path)
    return image


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("bring", [provide, copy])
def test_images_arrive_unpacked_and_the_original_stays(
    bring: object, name: str, tmp_path: Path
) -> None:
    source, target = tmp_path / name, tmp_path / "target.nii"
    image = make_image(source)
    before = source.read_bytes()
    bring(source, target)  # type: ignore[operator]
    assert np.array_equal(nib.load(target).dataobj, image.dataobj)
    if bring is copy:
        with target.open("r+b") as stream:
            stream.write(b"changed")
    assert source.read_bytes() == before


def test_packed_under_the_name_of_an_unpacked_one(tmp_path: Path) -> None:
    source = tmp_path / "a.nii"
    make_image(tmp_path / "b.nii")
    source.write_bytes(gzip.compress((tmp_path / "b.nii").read_bytes()))
    provide(source, tmp_path / "target.nii")
    assert (tmp_path / "target.nii").read_bytes() == (tmp_path / "b.nii").read_bytes()


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    source = tmp_path / "a.nii.gz"
    make_image(source)
    source.write_bytes(source.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"a\.nii\.gz is damaged"):
        copy(source, tmp_path / "target.nii")


def test_what_was_not_written_is_noticed(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("as it was")
    written = Written([old, new])
    with pytest.raises(StepError, match=r"did not change .*old"):
        written.require("step")
    old.write_text("changed now")
    with pytest.raises(StepError, match=r"left no .*new"):
        written.require("step")
    new.write_text("x")
    written.require("step")


def test_a_truncated_or_empty_image_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    make_image(path)
    require_image(path, (2, 3, 4, 2), "step")
    with pytest.raises(StepError, match="shape"):
        require_image(path, (2, 3, 4, 3), "step")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(StepError, match="damaged"):
        require_image(path, (2, 3, 4, 2), "step")
    nib.save(nib.Nifti1Image(np.zeros((2, 3, 4, 2), np.int16), np.eye(4)), path)
    with pytest.raises(StepError, match="empty"):
        require_image(path, (2, 3, 4, 2), "step")


@pytest.mark.parametrize(
    ("dtype", "low", "high", "kept"),
    [
        (np.int16, 0, 4095, True),
        (np.int16, -100, 12000, True),
        (np.int16, 0, 20000, False),
        (np.uint16, 0, 4095, False),
        (np.uint8, 0, 255, False),
        (np.float32, 0, 1e6, True),
    ],
)
def test_integers_are_kept_where_interpolation_stays_within_their_range(
    dtype: type, low: float, high: float, kept: bool, tmp_path: Path
) -> None:
    data = np.linspace(low, high, 48).reshape(2, 3, 4, 2).astype(dtype)
    image = nib.Nifti1Image(data, np.diag([2, 3, 4, 1]))
    image.header.set_slope_inter(0.5, 3)
    source, target = tmp_path / "a.nii", tmp_path / "target.nii"
    nib.save(image, source)
    before = source.read_bytes()
    provide(source, target)
    keep_from_saturating(target)
    assert source.read_bytes() == before
    found = nib.load(target)
    assert found.get_data_dtype() == (dtype if kept else np.float32)
    assert np.allclose(found.dataobj, nib.load(source).dataobj)
    assert np.array_equal(found.affine, image.affine)
