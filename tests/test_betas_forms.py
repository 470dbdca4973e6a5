"""Betas as volumes, in every layout: the same numbers come out, whatever they lie in."""

from pathlib import Path

import betas_forms
import nibabel as nib
import numpy as np
import pytest
import supplied_data as data
from betas_forms import check, read

from conceptrsa.analysis.betas.conditions import ConditionRule, stimuli_of
from conceptrsa.analysis.betas.read import FORMATS, find_format
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import natural_key
from conceptrsa.pipelines.cli.compare_command import BETAS_FORMATS

root = betas_forms.root


@pytest.mark.parametrize("name", ["spm", "statmaps", "table.tsv"])
@pytest.mark.parametrize("with_runs", [False, True])
def test_runs_are_averaged_and_give_halves(root: Path, name: str, with_runs: bool) -> None:
    subjects = read(
        root / name,
        atlas=root / "atlas.nii.gz",
        stimuli=data.STIMULI if name != "table.tsv" else None,
        with_runs=with_runs,
    )
    check(subjects, runs=with_runs)


@pytest.mark.parametrize("name", ["derivatives", "without_halves", "paper", "spm", "table.tsv"])
def test_each_form_is_known_by_its_content(root: Path, name: str) -> None:
    atlas = None if name in ("derivatives", "without_halves") else root / "atlas.nii.gz"
    expected = {"without_halves": "derivatives", "table.tsv": "table"}.get(name, name)
    assert find_format(root / name).name == expected
    check(read(root / name, atlas=atlas), halves=name not in ("paper", "without_halves"))


def test_the_command_line_names_all_forms() -> None:
    assert tuple(form.name for form in FORMATS) == BETAS_FORMATS


def test_a_form_can_be_named(root: Path) -> None:
    """Derivatives with --atlas are statistical maps with a table that names their volumes."""
    subjects = read(
        root / "derivatives",
        atlas=root / "atlas.nii.gz",
        betas_format="statmaps",
        task="perception",
    )
    check(subjects)


def test_an_atlas_for_each_subject(root: Path, tmp_path: Path) -> None:
    atlas = root / "atlases" / "sub-{subject}_dseg.nii.gz"
    check(read(root / "paper", atlas=atlas), halves=False)
    moved = np.roll(data.labels(), 1, axis=0)
    for subject in data.SUBJECTS:
        volume = moved if subject == "02" else data.labels()
        data.save(volume, tmp_path / f"sub-{subject}.mgz")
    first, second, _ = read(root / "paper", atlas=tmp_path / "sub-{subject}.mgz")
    mean = data.runs_of("02").astype(np.float64).mean(axis=0)
    expected = mean[:, np.isin(moved, (17,))]
    np.testing.assert_allclose(second.rois["hippocampus"].values, expected, rtol=1e-6)
    assert not np.array_equal(first.rois["visual"].voxels, second.rois["visual"].voxels)


def test_participants_can_be_chosen(root: Path) -> None:
    for name in ("derivatives", "paper", "spm", "statmaps", "table.tsv"):
        atlas = None if name == "derivatives" else root / "atlas.nii.gz"
        subjects = read(root / name, atlas=atlas, participants=["03", "sub-01"])
        assert [subject.label for subject in subjects] == ["sub-01", "sub-03"]
        remedy = r"give --participant-label some that exist: 01, 02, 03$"
        with pytest.raises(InputError, match=f"holds no participant '09': {remedy}"):
            read(root / name, atlas=atlas, participants=["01", "09"])


def test_conditions_are_matched_by_letters_and_digits() -> None:
    rule = ConditionRule(stimuli=("big-dog_2", "n01_3", "Rest"))
    chosen, left_out = stimuli_of(
        ["bigMinusDog2", "stimulus:n01_3", "Rest", "facesGtHouses", "fixation"], rule, Path("x")
    )
    assert chosen == {"bigMinusDog2": "big-dog_2", "stimulus:n01_3": "n01_3", "Rest": "Rest"}
    assert left_out == ("facesGtHouses", "fixation")
    with pytest.raises(InputError, match="a1 of x could be a_1 or A1"):
        stimuli_of(["a1"], ConditionRule(stimuli=("a_1", "A1")), Path("x"))
    with pytest.raises(InputError, match="a_1 and a1 of x are both stimulus a_1"):
        stimuli_of(["a_1", "a1"], ConditionRule(stimuli=("a_1", "b")), Path("x"))
    with pytest.raises(InputError, match=r"no condition of x \(rest, b\) is a stimulus \(a\)"):
        stimuli_of(["rest", "b"], ConditionRule(stimuli=("a",)), Path("x"))


def test_conditions_can_be_chosen_by_pattern(root: Path) -> None:
    atlas = root / "atlas.nii.gz"
    (first, *_) = read(root / "spm", atlas=atlas, conditions=["N01*"])
    assert first.stimuli == data.STIMULI[:7]
    (first, *_) = read(root / "spm", atlas=atlas, exclude_conditions=["*_22563", "n02*"])
    assert first.stimuli == data.STIMULI[1:7]
    (first, *_) = read(root / "spm", atlas=atlas, conditions=["n01*", "fix*"])
    assert first.stimuli == ("fixation", *data.STIMULI[:7])


def test_maps_of_all_runs_are_taken_before_their_mean(root: Path, tmp_path: Path) -> None:
    """Fitlins writes maps of runs, of sessions and of the subject side by side."""
    data.write_statmaps(tmp_path / "maps")
    for subject in data.SUBJECTS:
        for stimulus, beta in zip(data.STIMULI, data.runs_of(subject)[0], strict=True):
            end = f"contrast-{data.contrast(stimulus)}_stat-effect_statmap.nii.gz"
            folder = tmp_path / "maps" / f"sub-{subject}"
            data.save(5 * beta, folder / f"sub-{subject}_task-x_space-T1w_{end}")
            data.save(9 * beta, folder / f"sub-{subject}_ses-1_task-x_space-T1w_{end}")
    (first, *_) = read(tmp_path / "maps", atlas=root / "atlas.nii.gz", stimuli=data.STIMULI)
    expected = data.patterns_of("01", data.ROIS[0])
    visual = first.rois["visual"]
    np.testing.assert_allclose(visual.values, 5 * expected[0], rtol=1e-6)
    np.testing.assert_allclose(visual.odd, expected[0::2].mean(axis=0), rtol=1e-6)
    assert "sub-01: maps of single runs are used, not those of sessions" in first.notes


def test_runs_without_every_stimulus_give_what_they_can(root: Path, tmp_path: Path) -> None:
    data.write_table(tmp_path / "table.tsv")
    lines = (tmp_path / "table.tsv").read_text().splitlines()
    gone = f"01\t{data.STIMULI[3]}\t"
    kept = [line for line in lines if not (line.startswith(gone) and "\t9\t" in line)]
    (tmp_path / "table.tsv").write_text("\n".join(kept))
    subjects = read(tmp_path / "table.tsv", atlas=root / "atlas.nii.gz", with_runs=True)
    expected = data.patterns_of("01", data.ROIS[1])
    found = subjects[0].rois["hippocampus"]
    np.testing.assert_allclose(found.values[3], expected[1:, 3].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.odd[3], expected[2, 3], rtol=1e-6)
    np.testing.assert_allclose(found.values[2], expected[:, 2].mean(axis=0), rtol=1e-6)
    assert found.runs is None
    assert subjects[0].notes == (
        "sub-01: stimuli not in all runs, averaged over the runs that have them: "
        f"{data.STIMULI[3]} (3 of 4)",
        f"sub-01: no betas of single runs, because {data.STIMULI[3]} is not in run 9",
    )
    kept = [line for line in kept if not (line.startswith(gone) and "\t11\t" in line)]
    (tmp_path / "table.tsv").write_text("\n".join(kept))
    subjects = read(tmp_path / "table.tsv", atlas=root / "atlas.nii.gz")
    assert subjects[0].rois["visual"].odd is None and subjects[1].rois["visual"].odd is not None
    fewer, no_halves, of_all = subjects[0].notes
    assert fewer.endswith(f"{data.STIMULI[3]} (2 of 4)")
    assert "is not in both an odd and an even run" in no_halves
    assert of_all.startswith("sub-01 has no betas of odd and even runs (the first of 1 of 3 ")
    assert not subjects[1].notes


def test_halves_of_a_table(root: Path, tmp_path: Path) -> None:
    lines = ["subject\tstimulus\tfile\thalf"]
    for subject in data.SUBJECTS:
        for row, stimulus in enumerate(data.STIMULI):
            for half, first in (("odd", 0), ("even", 1)):
                name = f"{subject}{stimulus}{half}.mgz"
                betas = data.runs_of(subject)[first::2, row].astype(np.float64).mean(axis=0)
                data.save(betas.astype(np.float32), tmp_path / name)
                lines.append(f"sub-{subject}\t{stimulus}\t{name}\t{half}")
    (tmp_path / "betas.tsv").write_text("\n".join(lines))
    check(read(tmp_path / "betas.tsv", atlas=root / "atlas.nii.gz"))


def test_a_voxel_without_data_in_one_half_is_left_out_of_all(root: Path, tmp_path: Path) -> None:
    data.write_derivatives(tmp_path)
    file = next((tmp_path / "sub-02" / "func").glob("*desc-even_statmap.nii.gz"))
    volumes = np.asarray(nib.load(file).dataobj).copy()
    volumes[2, 0, 0, 3] = np.nan
    data.save(volumes, file)
    for subject in read(tmp_path):
        dropped = int(subject.label == "sub-02")
        hippocampus = subject.rois["hippocampus"]
        assert hippocampus.n_dropped == dropped
        n_voxels = data.inside(data.ROIS[1]).sum() - dropped
        for part in (hippocampus.values, hippocampus.odd, hippocampus.even):
            assert part.shape == (len(data.STIMULI), n_voxels) and np.isfinite(part).all()
        assert len(subject.notes) == dropped


def test_runs_are_counted_by_their_value() -> None:
    runs = ["run-10", "run-2", "run-1", "ses-2_run-1", "ses-10_run-1"]
    assert sorted(runs, key=natural_key) == [
        "run-1", "run-2", "run-10", "ses-2_run-1", "ses-10_run-1",
    ]  # fmt: skip


def test_a_link_to_its_own_folder_ends(root: Path, tmp_path: Path) -> None:
    data.write_spm(tmp_path)
    (tmp_path / "sub-01" / "again").symlink_to(tmp_path / "sub-01")
    check(read(tmp_path, atlas=root / "atlas.nii.gz"))
