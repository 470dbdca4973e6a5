"""Betas that are damaged, lacking or ambiguous are named in one sentence; no subject vanishes."""

import logging
import shutil
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import betas_forms
import numpy as np
import pytest
import supplied_data as data
from betas_forms import check, read
from scipy.io import savemat

from conceptrsa.bids_config.errors import InputError

root = betas_forms.root


def write_text(name: str, content: str) -> Callable[[Path], None]:
    return lambda root: (root / name).write_text(content)


def edit_table(old: str, new: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        table = root / "table.tsv"
        content = table.read_text()
        assert old in content
        table.write_text(content.replace(old, new, 1))

    return edit


def spm_without_conditions(root: Path) -> None:
    names = np.array(["Sn(1) R1", "Sn(1) constant"], dtype=object)
    savemat(root / "spm/sub-01/glm/SPM.mat", {"SPM": {"xX": {"name": names}}})


def two_stimuli(root: Path) -> None:
    lines = (root / "table.tsv").read_text().splitlines()
    wanted = data.STIMULI[:2]
    kept = [line for line in lines[1:] if line.split("\t")[1] in wanted]
    (root / "table.tsv").write_text("\n".join([lines[0], *kept]))


def same_stimulus(root: Path) -> None:
    edit_table(f"01\t{data.STIMULI[2]}", f"01\t{data.STIMULI[5]}")(root)


def other_grid(root: Path) -> None:
    affine = data.AFFINE.copy()
    affine[0, 3] = 300
    data.save(data.labels(), root / "atlas.nii.gz", affine)


def colours(root: Path) -> None:
    data.save(data.labels().astype([(channel, "u1") for channel in "RGB"]), root / "atlas.nii.gz")


def nan_patterns(root: Path) -> None:
    for file in (root / "spm" / "sub-01" / "glm").glob("beta_*.nii"):
        data.save(np.full(data.SHAPE, np.nan, np.float32), file)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("table.tsv", edit_table("subject\t", "person\t"), "correct the column 'subject'"),
        ("table.tsv", edit_table("\tvolume", "\tweight"), "correct the column 'weight'"),
        ("table.tsv", same_stimulus, r"and 01_0\.nii\.gz are both betas of stimulus .* in run 9"),
        ("table.tsv", edit_table("\t0\n", "\t8\n"), "holds 8 volumes but volume 8 is asked for"),
        ("table.tsv", edit_table("\t0\n", "\tone\n"), "'one' is not a whole number"),
        ("table.tsv", edit_table("\t0\n", "\t\n"), "holds 8 volumes: give one beta per file"),
        ("table.tsv", edit_table("maps/01_0", "maps/absent"), r"absent\.nii\.gz is missing"),
        ("table.tsv", edit_table("maps/01_0.nii.gz", "table.tsv"), "is not a volume file"),
        ("table.tsv", edit_table("01\tn", "\tn"), "row 2 has no subject"),
        ("table.tsv", write_text("table.tsv", ""), "is empty"),
        ("table.tsv", write_text("table.tsv", "subject\tstimulus\tfile\n"), "lists no beta"),
        ("table.tsv", two_stimuli, "holds 2 stimuli of sub-01"),
        ("spm", write_text("spm/sub-01/glm/SPM.mat", "x"), r"SPM\.mat cannot be read as a model"),
        ("spm", spm_without_conditions, "holds no condition"),
        ("spm", lambda root: (root / "spm/sub-02/glm/beta_0009.nii").unlink(), "is missing, but"),
        ("spm", nan_patterns, "is not finite in any voxel of any region"),
        ("spm", colours, "holds colours or vectors"),
        ("spm", other_grid, r"holds no voxel in the grid of .*\(0% of it"),
        (
            "spm",
            lambda root: data.save(np.minimum(data.labels(), 1011), root / "atlas.nii.gz"),
            "has no voxel with label 2011, which region visual needs",
        ),
        (
            "statmaps",
            lambda root: (root / "statmaps/sub-01/ses-1").joinpath("sub-01_ses-1_task-y_run-1_"
            "space-T1w_contrast-a_stat-effect_statmap.nii.gz").touch(),
            r"have several task \(x, y\): choose one with --task-id",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(
    tmp_path: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    data.write_atlas(tmp_path / "atlas.nii.gz")
    writer = {"table.tsv": data.write_table, "spm": data.write_spm, "statmaps": data.write_statmaps}
    writer[name](tmp_path / name)
    damage(tmp_path)
    with pytest.raises(InputError, match=message) as raised:
        read(tmp_path / name, atlas=tmp_path / "atlas.nii.gz")
    assert "\n" not in str(raised.value)


def test_a_stimulus_missing_in_one_subject(root: Path, tmp_path: Path) -> None:
    data.write_statmaps(tmp_path)
    for file in (tmp_path / "sub-03").rglob(f"*{data.contrast(data.STIMULI[4])}_*"):
        file.unlink()
    given = {"atlas": root / "atlas.nii.gz", "stimuli": data.STIMULI}
    first, _, third = read(tmp_path, **given)
    assert {*first.stimuli} - {*third.stimuli} == {data.STIMULI[4]}
    (alone,) = read(tmp_path, **given, participants=["03"])
    assert alone.stimuli == third.stimuli


def test_options_that_a_form_has_no_use_for(root: Path) -> None:
    with pytest.raises(InputError, match=r"needs a label volume .* --atlas"):
        read(root / "spm")
    with pytest.raises(InputError, match="names no tasks: leave --task-id out"):
        read(root / "paper", atlas=root / "atlas.nii.gz", task="x")
    with pytest.raises(InputError, match="leave --conditions"):
        read(root / "derivatives", conditions=["n*"])
    with pytest.raises(InputError, match="holds no single trials: leave --min-repeats"):
        read(root / "derivatives", min_repeats=2)
    with pytest.raises(InputError, match="leave --trials out"):
        read(root / "paper", atlas=root / "atlas.nii.gz", trials=root / "table.tsv")
    with pytest.raises(InputError, match="is missing: give the folder"):
        read(root / "nowhere")
    with pytest.raises(InputError, match=r"atlases holds no betas in a known form; it holds"):
        read(root / "atlases", atlas=root / "atlas.nii.gz")


def leads_nowhere(path: Path) -> None:
    """Put a link without content in place of a file or folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    path.symlink_to("absent")


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def with_figures_only(folder: Path) -> None:
    emptied(folder)
    (folder / "figures").mkdir()


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("paper", leads_nowhere, "sub-02 is a link to a file that is missing"),
        ("spm", leads_nowhere, "sub-02 is a link to a file that is missing"),
        ("statmaps", leads_nowhere, "sub-02 is a link to a file that is missing"),
        ("derivatives", leads_nowhere, "sub-02 is a link to a file that is missing"),
        ("statmaps", emptied, "sub-02 holds no betas in the form"),
        ("derivatives", emptied, "sub-02 holds no betas in the form"),
        ("derivatives", with_figures_only, "sub-02 holds no betas in the form"),
    ],
)
def test_a_subject_never_vanishes_silently(
    root: Path, tmp_path: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    shutil.copytree(root / name, tmp_path / name)
    damage(tmp_path / name / "sub-02")
    atlas = None if name == "derivatives" else root / "atlas.nii.gz"
    with pytest.raises(InputError, match=f"{message}.*--participant-label"):
        read(tmp_path / name, atlas=atlas)
    with pytest.raises(InputError, match=f"{message}.*--participant-label"):
        read(tmp_path / name, atlas=atlas, participants=["01", "02"])
    subjects = read(tmp_path / name, atlas=atlas, participants=["01", "03"])
    assert [subject.subject for subject in subjects] == ["01", "03"]


def test_halves_that_are_links_without_content_do_not_vanish(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "derivatives", tmp_path / "derivatives")
    (file,) = tmp_path.glob("derivatives/sub-02/func/*_desc-odd_statmap.nii.gz")
    leads_nowhere(file)
    with pytest.raises(InputError, match=r"desc-odd_statmap\.nii\.gz is a link to a file"):
        read(tmp_path / "derivatives")


def test_the_first_subject_without_halves_is_named(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "derivatives", tmp_path / "derivatives")
    for file in tmp_path.glob("derivatives/sub-02/func/*_desc-odd_statmap.*"):
        file.unlink()
    notes = [subject.notes for subject in read(tmp_path / "derivatives")]
    assert notes == [
        (),
        (
            "sub-02 has no betas of odd and even runs (the first of 1 of 3 subjects), so those of "
            "the other subjects are not used",
        ),
        (),
    ]


def test_a_run_with_a_zero_in_front_is_the_same_run(root: Path, tmp_path: Path) -> None:
    data.write_statmaps(tmp_path)
    folder = tmp_path / "sub-01" / "ses-1"
    (file,) = folder.glob(f"*_run-1_*{data.contrast(data.STIMULI[0])}_stat-effect*")
    shutil.copy(file, folder / file.name.replace("_run-1_", "_run-01_"))
    with pytest.raises(InputError, match=r"are both betas of stimulus .*: keep one"):
        read(tmp_path, atlas=root / "atlas.nii.gz", stimuli=data.STIMULI)
    file.unlink()
    check(read(tmp_path, atlas=root / "atlas.nii.gz", stimuli=data.STIMULI))


def header(place: int, kind: str, *values: float) -> Callable[[Path], None]:
    """Overwrite bytes of a NIfTI-1 header."""

    def damage(file: Path) -> None:
        content = bytearray(file.read_bytes())
        struct.pack_into(f"<{len(values)}{kind}", content, place, *values)
        file.write_bytes(content)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        header(70, "h", 999),  # datatype
        header(112, "f", 1.0, np.nan),  # scl_slope, scl_inter
        header(108, "f", -8.0),  # vox_offset
        header(40, "h", 9),  # dim[0]
    ],
    ids=["datatype", "scl_inter", "vox_offset", "dim"],
)
def test_damaged_headers_are_one_sentence(
    root: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(root / "paper", tmp_path / "paper")
    file = sorted((tmp_path / "paper" / "sub-02").iterdir())[0]
    damage(file)
    level = logging.getLogger("nibabel.global").level
    with pytest.raises(InputError, match=r"beta_\d+\.nii cannot be read .*damaged"):
        read(tmp_path / "paper", atlas=root / "atlas.nii.gz")
    assert not caplog.records and not capfd.readouterr().err
    assert logging.getLogger("nibabel.global").level == level


def test_a_volume_that_may_not_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(
        InputError, match=r"beta_0005\.nii is not readable: correct its permissions"
    ):
        read(root / "paper", atlas=root / "atlas.nii.gz")


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e30, 2.0**63, 0.5])
def test_an_atlas_of_other_numbers_than_labels(root: Path, tmp_path: Path, value: float) -> None:
    volume = data.labels().astype(np.float64)
    volume[-1, -1, -1] = value
    data.save(volume, tmp_path / "atlas.nii.gz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="is not a volume of whole-number labels"):
            read(root / "paper", atlas=tmp_path / "atlas.nii.gz")


def test_shapes_are_told_only_where_they_differ(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "derivatives", tmp_path / "derivatives")
    for atlas in tmp_path.glob("derivatives/sub-02/anat/*dseg.nii.gz"):
        data.save(data.labels()[:5], atlas)
    with pytest.raises(InputError, match=r"shape is \(6, 7, 5\), not \(5, 7, 5\)\): resample"):
        read(tmp_path / "derivatives")


@pytest.mark.parametrize("name", ["nan", "NA", "null", "None"])
def test_a_stimulus_called_as_a_missing_value(root: Path, tmp_path: Path, name: str) -> None:
    data.write_table(tmp_path / "table.tsv")
    content = (tmp_path / "table.tsv").read_text()
    (tmp_path / "table.tsv").write_text(content.replace(data.STIMULI[2], name))
    with pytest.raises(InputError, match=f"stimulus called '{name}'.*: give it another name"):
        read(tmp_path / "table.tsv", atlas=root / "atlas.nii.gz")
