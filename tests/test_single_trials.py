"""Single-trial betas of GLMsingle, NSD and THINGS-fMRI, from their files to the planted answer."""

import os
import pickle
import re
import shlex
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import single_trials as data
from scipy.io import savemat
from scipy.stats import zscore

import conceptrsa.pipelines.cli.run_comparison
from conceptrsa.analysis.betas.conditions import ConditionRule, stimuli_of
from conceptrsa.analysis.betas.read import find_format, read_betas
from conceptrsa.analysis.betas.trial_arrays import array_in_hdf5
from conceptrsa.analysis.brain.patterns import SubjectPatterns, have_patterns
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.region_choice import read_choice
from conceptrsa.pipelines.cli import main

FAST = "--n-permutations 100 --n-random-draws 1 --no-multiverse --out results"
DESIGN = data.small_design()


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[ComparisonResult]:
    """Collects results in place of writing them with all their figures."""
    written: list[ComparisonResult] = []

    def keep(result: ComparisonResult, *others: Any, **more: Any) -> None:
        written.append(result)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(conceptrsa.pipelines.cli.run_comparison, "write_comparison", keep)
    return written


def read(path: Path, **options: Any) -> tuple[SubjectPatterns, ...]:
    subjects = read_betas(path, **options)
    assert have_patterns(subjects)
    return subjects


def require_planted(result: ComparisonResult, early: str = "early", late: str = "late") -> None:
    """Each region is explained best by the model that it was made from."""
    names = [model.name for model in result.models]
    for roi in result.primary.rois:
        if roi.roi in (early, late):
            best = names[int(np.argmax(roi.rsa.mean(axis=0)))]
            assert best == ("early" if roi.roi == early else "late")


def run(command: str) -> int:
    return main(shlex.split(f"compare {command} {FAST}"))


PAGE = Path(__file__).resolve().parents[1] / "docs" / "supplied_data.md"


def command_of(betas: str) -> str:
    """The command of the documentation, as it stands there."""
    text = PAGE.read_text(encoding="utf-8")
    (command,) = re.findall(rf"^conceptrsa compare (--betas {betas} .+) --out results$", text, re.M)
    return command


# GLMsingle


@pytest.fixture
def glmsingle(tmp_path: Path) -> Path:
    data.write_atlas(tmp_path / "parcels.nii.gz")
    data.write_trial_table(tmp_path / "trials.csv", DESIGN)
    data.write_condition_table(tmp_path / "conditions.tsv", DESIGN)
    data.write_features(tmp_path / "models", list(DESIGN.names))
    return tmp_path


def test_arrays_lie_where_their_atlas_does(glmsingle: Path) -> None:
    data.write_glmsingle(glmsingle / "betas", "hdf5", DESIGN)
    data.write_atlas(glmsingle / "tpl-MNI152NLin6Asym_atlas-two_dseg.nii.gz")
    given = {"trials": glmsingle / "trials.csv"}
    for atlas, space in (("parcels", None), ("tpl-MNI152NLin6Asym_atlas-two_dseg", "MNI152")):
        file = glmsingle / f"{atlas}.nii.gz"
        for subject in read(glmsingle / "betas", atlas=file, **given):
            assert (subject.grid and subject.grid.space) == space
            if subject.grid is not None:
                assert subject.grid.shape == data.SHAPE
                np.testing.assert_allclose(subject.grid.affine, data.AFFINE, rtol=1e-6)


@pytest.mark.parametrize("kind", ["hdf5", "npy", "mat", "mat5"])
@pytest.mark.parametrize("table", ["trials.csv", "conditions.tsv"])
def test_glmsingle_in_every_kind_of_file(glmsingle: Path, kind: str, table: str) -> None:
    data.write_glmsingle(glmsingle / "betas", kind, DESIGN)
    assert find_format(glmsingle / "betas").name == "glmsingle"
    subjects = read(
        glmsingle / "betas",
        atlas=glmsingle / "parcels.nii.gz",
        trials=glmsingle / table,
        with_runs=True,
    )
    for subject in subjects:
        assert subject.stimuli == tuple(sorted(DESIGN.names))
        for name, label in data.LABELS.items():
            roi, inside = subject.rois[name], data.labels() == label
            np.testing.assert_array_equal(roi.voxels, np.flatnonzero(inside))
            for found, repeats in (
                (roi.values, slice(None)),
                (roi.odd, slice(0, None, 2)),
                (roi.even, slice(1, None, 2)),
            ):
                expected = DESIGN.expected(subject.subject, repeats)[:, inside]
                np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
            for repeat in range(4):
                expected = DESIGN.expected(subject.subject, slice(repeat, repeat + 1))[:, inside]
                np.testing.assert_allclose(roi.runs[repeat], expected, rtol=1e-6, atol=1e-6)
    assert "presentations averaged per stimulus: 4" in subjects[0].notes
    assert not subjects[1].notes


@pytest.mark.parametrize("kind", ["hdf5", "npy", "mat", "mat5"])
def test_glmsingle_of_voxels_in_a_mask(glmsingle: Path, kind: str) -> None:
    """Its voxels are counted as the language of the outputs does; those outside are left out."""
    mask = data.labels() > 0
    mask[0, 0, 1] = False
    data.write_glmsingle(glmsingle / "betas", kind, DESIGN, mask=mask)
    given = {"atlas": glmsingle / "parcels.nii.gz", "trials": glmsingle / "trials.csv"}
    for subject in read(glmsingle / "betas", **given):
        for name, label in data.LABELS.items():
            inside = (data.labels() == label) & mask
            roi = subject.rois[name]
            np.testing.assert_array_equal(roi.voxels, np.flatnonzero(inside))
            expected = DESIGN.expected(subject.subject)[:, inside]
            np.testing.assert_allclose(roi.values, expected, rtol=1e-6, atol=1e-6)
            assert roi.n_dropped == (name == "early")
    file = glmsingle / "betas/sub-01/brain_mask.nii.gz"
    nib.save(nib.Nifti1Image(data.labels(), data.AFFINE), file)
    with pytest.raises(InputError, match=r"mask.nii.gz has 54 voxels but .* responses of 38"):
        read(glmsingle / "betas", **given)
    file.unlink()
    with pytest.raises(InputError, match=r"the responses of sub-01 in .* have 38 x 1 x 1"):
        read(glmsingle / "betas", **given)


def test_glmsingle_of_sessions_from_the_command_line(
    glmsingle: Path, results: list[ComparisonResult]
) -> None:
    """Two sessions in two folders, subjects called S1 and S2, crossnobis over repeats."""
    for session, part in ((1, slice(0, 20)), (2, slice(20, None))):
        folder = f"S{{}}/ses-{session:02d}"
        data.write_glmsingle(glmsingle / "glmsingle", "hdf5", DESIGN, folder, part)
    options = command_of("glmsingle")
    assert run(f"{options} --rdm-metric crossnobis") == 0
    assert run(f"{options} --zscore-sessions") == 0
    assert run(f"{options} --conditions 'thing0[0-4]*'") == 0
    for result in results[:2]:
        require_planted(result)
        assert result.subjects == ("sub-01", "sub-02")
    assert [len(result.stimuli) for result in results] == [10, 10, 5]
    assert [result.estimation["ZscoredBySession"] for result in results] == [False, True, False]
    assert "single trials are z-scored by session" in results[1].warnings


def test_outputs_of_several_folders_are_said(glmsingle: Path) -> None:
    for session, part in ((1, slice(0, 20)), (2, slice(20, None))):
        data.write_glmsingle(glmsingle / "betas", "hdf5", DESIGN, f"sub-{{}}/ses-{session}", part)
    given = {"atlas": glmsingle / "parcels.nii.gz", "trials": glmsingle / "trials.csv"}
    first, _ = read(glmsingle / "betas", **given)
    assert "GLMsingle outputs in several folders are read as sessions: ses-1, ses-2" in first.notes
    file = glmsingle / "betas/sub-02/ses-2/TYPED_FITHRF_GLMDENOISE_RR.hdf5"
    file.rename(file.with_name("TYPEC_FITHRF_GLMDENOISE.hdf5"))
    with pytest.raises(InputError, match=r"ses-2 holds TYPEC.* but not TYPED.* of sub-02 hold"):
        read(glmsingle / "betas", **given)


def test_trials_in_another_order_than_the_design_are_doubted(glmsingle: Path) -> None:
    data.write_glmsingle(glmsingle / "betas", "hdf5", DESIGN)
    header, *rows = (glmsingle / "trials.csv").read_text().splitlines()
    given = {"atlas": glmsingle / "parcels.nii.gz", "trials": glmsingle / "trials.csv"}
    first, _ = read(glmsingle / "betas", **given)
    assert not any("order of presentation" in note for note in first.notes)
    shuffled = sorted(rows, key=lambda row: row.partition(",")[2])
    (glmsingle / "trials.csv").write_text("\n".join([header, *shuffled]))
    first, _ = read(glmsingle / "betas", **given)
    assert any("gives 10 stimuli that mix several conditions" in note for note in first.notes)


def test_tables_of_conditions_that_do_not_fit(glmsingle: Path) -> None:
    data.write_glmsingle(glmsingle / "betas", "hdf5", DESIGN)
    table = glmsingle / "conditions.tsv"
    header, *rows = table.read_text().splitlines()
    given = {"atlas": glmsingle / "parcels.nii.gz", "trials": table}
    table.write_text("\n".join([header, *rows, "11\textra"]))
    first, _ = read(glmsingle / "betas", **given)
    assert "conditions of conditions.tsv without a trial: 11" in first.notes
    table.write_text("\n".join([f"{header}\tsubject", *(f"{row}\t1" for row in rows)]))
    with pytest.raises(InputError, match=r"no row of sub-01 \(its subjects are 1\)"):
        read(glmsingle / "betas", **given)
    table.write_text("\n".join([f"{header}\tsession", *(f"{row}\t1" for row in rows)]))
    with pytest.raises(InputError, match="a condition belongs to no session"):
        read(glmsingle / "betas", **given)


def test_masks_that_do_not_tell_the_voxels(glmsingle: Path) -> None:
    """Two masks, and one whose axes run elsewhere than those of the atlas."""
    mask = data.labels() > 0
    data.write_glmsingle(glmsingle / "betas", "hdf5", DESIGN, mask=mask)
    given = {"atlas": glmsingle / "parcels.nii.gz", "trials": glmsingle / "trials.csv"}
    own = glmsingle / "betas/sub-01/brain_mask.nii.gz"
    other = nib.Nifti1Image(mask.astype(np.uint8), data.AFFINE @ np.diag([-1, 1, 1, 1]))
    nib.save(other, glmsingle / "betas/grey_mask.nii.gz")
    read(glmsingle / "betas", **given)  # the one beside the outputs is taken
    nib.save(other, own.with_name("grey_mask.nii.gz"))
    with pytest.raises(InputError, match="could both be the mask of GLMsingle's data: keep one"):
        read(glmsingle / "betas", **given)
    own.unlink()
    with pytest.raises(InputError, match=r"parcels.nii.gz are RAS but .* are LAS"):
        read(glmsingle / "betas", **given)


def test_sessions_of_too_few_trials(glmsingle: Path) -> None:
    data.write_glmsingle(glmsingle / "betas", "hdf5", DESIGN)
    rows = [f"{DESIGN.names[row]},{max(trial, 1)}" for trial, row in enumerate(DESIGN.order)]
    (glmsingle / "trials.csv").write_text("\n".join(["stimulus,session", *rows]))
    given = {"atlas": glmsingle / "parcels.nii.gz", "trials": glmsingle / "trials.csv"}
    with pytest.raises(InputError, match="too few to z-score"):
        read(glmsingle / "betas", **given, zscore_sessions=True)


def test_zscoring_is_of_sessions_of_the_table(glmsingle: Path) -> None:
    data.write_glmsingle(glmsingle / "betas", "hdf5", DESIGN)
    rows = [
        f"{DESIGN.names[row]},{'first' if trial < 20 else 'second'}"
        for trial, row in enumerate(DESIGN.order)
    ]
    (glmsingle / "sessions.csv").write_text("\n".join(["stimulus,session", *rows]))
    first, _ = read(
        glmsingle / "betas",
        atlas=glmsingle / "parcels.nii.gz",
        trials=glmsingle / "sessions.csv",
        zscore_sessions=True,
    )
    betas = data.trials("01", DESIGN.order, 10)[:, data.labels() == 1]
    betas = np.concatenate([zscore(betas[:20]), zscore(betas[20:])])
    expected = [
        betas[DESIGN.order == DESIGN.names.index(stimulus)].mean(axis=0)
        for stimulus in first.stimuli
    ]
    np.testing.assert_allclose(first.rois["early"].values, expected, rtol=1e-4, atol=1e-6)


def test_stimuli_presented_once(glmsingle: Path) -> None:
    """They are left out where others were repeated, unless they are asked for."""
    rows = [DESIGN.names[row] for row in DESIGN.order]
    rows[0] = "only_once"
    (glmsingle / "trials.csv").write_text("\n".join(["stimulus", *rows]))
    data.write_glmsingle(glmsingle / "betas", "hdf5", DESIGN)
    given = {"atlas": glmsingle / "parcels.nii.gz", "trials": glmsingle / "trials.csv"}
    first, _ = read(glmsingle / "betas", **given)
    assert len(first.stimuli) == 10 and first.rois["early"].odd is not None
    assert any(
        "1 of 11 stimuli are left out, because they were presented less" in n for n in first.notes
    )
    first, _ = read(glmsingle / "betas", **given, min_repeats=1, with_runs=True)
    assert len(first.stimuli) == 11 and first.rois["early"].odd is None
    assert any("no halves, because 1 stimuli were presented once" in n for n in first.notes)
    assert any("no betas of single presentations" in note for note in first.notes)
    with pytest.raises(InputError, match=r"only 0 stimuli in .* were presented 5 times to sub-01"):
        read(glmsingle / "betas", **given, min_repeats=5)


def test_voxels_without_data(glmsingle: Path) -> None:
    data.write_glmsingle(glmsingle / "betas", "hdf5", DESIGN)
    with h5py.File(glmsingle / "betas/sub-01/TYPED_FITHRF_GLMDENOISE_RR.hdf5", "a") as file:
        file["betasmd"][0, 1, 2, 7] = np.nan
        file["betasmd"][0, 2, 2, :] = 3
    given = {"atlas": glmsingle / "parcels.nii.gz", "trials": glmsingle / "trials.csv"}
    for option in (None, True):
        first, second = read(glmsingle / "betas", **given, zscore_sessions=option)
        assert (first.rois["early"].n_dropped, first.rois["early"].n_same) == (2, 1)
        assert second.rois["early"].n_dropped == 0


class Address:
    """An array of objects whose addresses are given."""

    def __reduce__(self) -> Any:
        return np.ndarray, ((1,), np.dtype("O"), b"A" * 8)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch evil",)


def test_nothing_in_a_npy_file_runs(
    glmsingle: Path, results: list[ComparisonResult], capsys: pytest.CaptureFixture[str]
) -> None:
    data.write_glmsingle(glmsingle / "betas", "npy", DESIGN)
    file = glmsingle / "betas/sub-01/TYPED_FITHRF_GLMDENOISE_RR.npy"
    np.save(file, {"betasmd": Evil()}, allow_pickle=True)
    command = "--betas betas --atlas parcels.nii.gz --trials trials.csv --features models"
    assert run(command) == 2
    assert "holds posix.system, which is not an array" in capsys.readouterr().err
    assert not (glmsingle / "evil").exists()
    np.save(file, {"betasmd": Address()}, allow_pickle=True)
    assert run(command) == 2
    assert "it calls numpy.ndarray" in capsys.readouterr().err
    file.write_bytes(pickle.dumps({"betasmd": 1}))
    assert run(command) == 2
    np.save(file, np.zeros(3))
    assert run(command) == 2
    assert capsys.readouterr().err.count("conceptrsa: ") == 2


def spoil_design(root: Path) -> None:
    np.save(root / "betas/sub-01/DESIGNINFO.npy", {"stimorder": [0, 1, 2]}, allow_pickle=True)


def remove_design(root: Path) -> None:
    (root / "betas/sub-02/DESIGNINFO.npy").unlink()


def shorten_names(root: Path) -> None:
    lines = (root / "conditions.tsv").read_text().splitlines()
    (root / "conditions.tsv").write_text("\n".join(lines[:-1]))


def double_names(root: Path) -> None:
    lines = (root / "conditions.tsv").read_text().splitlines()
    (root / "conditions.tsv").write_text("\n".join([*lines, lines[-1]]))


def same_stimulus_twice(root: Path) -> None:
    text = (root / "conditions.tsv").read_text()
    (root / "conditions.tsv").write_text(text.replace("thing01_y", "thing00_z.png"))


def spell_a_stimulus_twice(root: Path) -> None:
    text = (root / "conditions.tsv").read_text()
    text = text.replace("thing00_z", "thing00_z.jpg").replace("thing01_y", "thing00_z.png")
    (root / "conditions.tsv").write_text(text)


def other_atlas(root: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((3, 3, 3), np.int16), data.AFFINE), root / "parcels.nii.gz")


def truncate(root: Path) -> None:
    file = root / "betas/sub-01/TYPED_FITHRF_GLMDENOISE_RR.hdf5"
    file.write_bytes(file.read_bytes()[:3000])


def without_betas(root: Path) -> None:
    with h5py.File(root / "betas/sub-01/TYPED_FITHRF_GLMDENOISE_RR.hdf5", "w") as file:
        file["R2"] = np.zeros(3)


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (None, "", "GLMsingle numbers the conditions"),
        (spoil_design, "--trials conditions.tsv", "lists 3 trials but TYPED"),
        (remove_design, "--trials conditions.tsv", "holds no DESIGNINFO.npy or .mat"),
        (shorten_names, "--trials conditions.tsv", "has no condition 10"),
        (double_names, "--trials conditions.tsv", "names a condition more than once"),
        (spell_a_stimulus_twice, "--trials conditions.tsv", "which are both stimulus"),
        (other_atlas, "--trials conditions.tsv", "has 3 x 3 x 3 voxels but the responses of"),
        (truncate, "--trials trials.csv", "copy it or write it again"),
        (without_betas, "--trials trials.csv", "holds no array betasmd"),
        (None, "--trials nowhere.csv", "nowhere.csv is missing"),
        (None, "--trials short.csv", "short.csv names 2 trials but GLMsingle estimated 40"),
        (None, "--trials models/models.tsv", "lacks the column stimulus"),
        (None, "--trials trials.csv --task-id x", "names no tasks"),
    ],
)
def test_wrong_input_of_glmsingle(
    change: Any,
    options: str,
    said: str,
    glmsingle: Path,
    results: list[ComparisonResult],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data.write_glmsingle(glmsingle / "betas", "hdf5", DESIGN)
    (glmsingle / "short.csv").write_text("stimulus\na\nb\n")
    if change is not None:
        change(glmsingle)
    command = f"--betas betas --atlas parcels.nii.gz --features models {options}"
    assert run(command) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert len([line for line in error.splitlines() if line.startswith("conceptrsa: ")]) == 1


def test_two_conditions_of_one_stimulus_are_its_presentations(glmsingle: Path) -> None:
    data.write_glmsingle(glmsingle / "betas", "hdf5", DESIGN)
    same_stimulus_twice(glmsingle)
    text = (glmsingle / "conditions.tsv").read_text().replace("thing00_z\n", "thing00_z.png\n")
    (glmsingle / "conditions.tsv").write_text(text)
    given = {"atlas": glmsingle / "parcels.nii.gz", "trials": glmsingle / "conditions.tsv"}
    first, _ = read(glmsingle / "betas", **given)
    assert len(first.stimuli) == 9
    assert "presentations averaged per stimulus: 4 to 8" in first.notes


# NSD


def nsd_names() -> list[str]:
    return [f"nsd{id_:05d}" for id_ in data.nsd_ids()[0, : data.N_SHARED]]


@pytest.mark.parametrize("kind", ["hdf5", "nii.gz"])
def test_nsd_gives_z_scored_means_of_the_shared_images(tmp_path: Path, kind: str) -> None:
    data.write_nsd(tmp_path, kind)
    assert find_format(tmp_path).name == "nsd"
    atlas = tmp_path / "nsddata/ppdata/subj{subject}/func1pt8mm/roi/streams.nii.gz"
    table = tmp_path / "nsddata/freesurfer/subj01/label/streams.mgz.ctab"
    subjects = read(tmp_path, atlas=atlas, atlas_labels=table, min_repeats=3, with_runs=True)
    index = data.nsd_order()[:1500] - 1
    for subject in subjects:
        assert subject.stimuli == tuple(sorted(nsd_names()))
        inside = data.labels() == 1
        betas = data.nsd_responses(subject.subject)[:, inside] / 300
        betas = np.concatenate([zscore(betas[:750]), zscore(betas[750:])])
        rows = np.argsort(nsd_names())
        shown = np.stack([np.flatnonzero(index == row) for row in rows])
        early = subject.rois["early"]
        np.testing.assert_allclose(early.values, betas[shown].mean(axis=1), atol=1e-5)
        np.testing.assert_allclose(early.odd, betas[shown[:, ::2]].mean(axis=1), atol=1e-5)
        np.testing.assert_allclose(early.even, betas[shown[:, 1]], atol=1e-5)
        np.testing.assert_allclose(early.runs[2], betas[shown[:, 2]], atol=1e-5)
    plain, _ = read(tmp_path, atlas=atlas, atlas_labels=table, zscore_sessions=False)
    assert len(plain.stimuli) == data.N_SHARED + 1, "image 14 was shown twice"
    first, second = read(tmp_path, atlas=atlas, atlas_labels=table, min_repeats=1)
    n_own = 1500 - 3 * data.N_SHARED - 3
    assert len(first.stimuli) == len(second.stimuli) == data.N_SHARED + 2 + n_own
    assert len(set(first.stimuli) & set(second.stimuli)) == data.N_SHARED + 2


@pytest.mark.parametrize(
    "spelling", ["nsd{:05d}", "shared0001_nsd{:05d}", "nsd-{:05d}", "train-0001_nsd-{:05d}"]
)
def test_nsd_from_the_command_line(
    tmp_path: Path, results: list[ComparisonResult], spelling: str
) -> None:
    """Pictures are found by the authors' names, from 1, and by those of Algonauts, from 0."""
    data.write_nsd(tmp_path / "nsd")
    ids = data.nsd_ids()[0, : data.N_SHARED] - ("nsd-" in spelling)
    names = [spelling.format(id_) for id_ in ids]
    data.write_features(tmp_path / "nsd_models", names)
    assert run(command_of("nsd")) == 0
    (result,) = results
    require_planted(result)
    assert sorted(result.stimuli) == sorted(names)
    assert result.estimation["ZscoredBySession"] is True


def remove_expdesign(root: Path) -> None:
    (root / "nsddata/experiments/nsd/nsd_expdesign.mat").unlink()


def damage_expdesign(root: Path) -> None:
    savemat(root / "nsddata/experiments/nsd/nsd_expdesign.mat", {"sharedix": np.ones(3)})


def shorten_session(root: Path) -> None:
    betas = root / "nsddata_betas/ppdata/subj02/func1pt8mm/betas_fithrf_GLMdenoise_RR"
    with h5py.File(betas / "betas_session02.hdf5", "w") as file:
        file["betas"] = np.zeros((700, 3, 5, 4), np.int16)


def name_by_numbers(root: Path) -> None:
    data.write_features(root / "models", [name.removeprefix("nsd") for name in nsd_names()])


def name_by_words(root: Path) -> None:
    data.write_features(root / "models", [f"word{n}" for n in range(data.N_SHARED)])


def name_from_zero(root: Path) -> None:
    data.write_features(root / "models", ["nsd00000", *nsd_names()[1:]])


def name_all_from_zero(root: Path) -> None:
    names = [f"nsd{int(name.removeprefix('nsd')) - 1:05d}" for name in nsd_names()]
    data.write_features(root / "models", names)


def name_all_algonauts_from_one(root: Path) -> None:
    data.write_features(root / "models", [name.replace("nsd", "nsd-") for name in nsd_names()])


def name_one_twice(root: Path) -> None:
    names = nsd_names()
    names[1] = f"nsd-{int(names[0].removeprefix('nsd')) - 1:05d}"
    data.write_features(root / "models", names)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (remove_expdesign, "holds NSD betas but no nsd_expdesign.mat"),
        (damage_expdesign, "masterordering"),
        (shorten_session, "holds 700 trials but nsd_expdesign.mat has 750 of session 2"),
        (name_by_numbers, "may count NSD images from 0 or from 1"),
        (name_by_words, "no picture or feature is named after an NSD image"),
        (name_from_zero, "nsd00000 is not an NSD image: nsd00001 to nsd73000 count from 1"),
        (name_all_from_zero, "but 12 would be if names counted from 0"),
        (name_all_algonauts_from_one, "but 12 would be if names counted from 1"),
        (name_one_twice, "are the same NSD image: keep one"),
    ],
)
def test_wrong_input_of_nsd(
    change: Any,
    said: str,
    tmp_path: Path,
    results: list[ComparisonResult],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data.write_nsd(tmp_path)
    data.write_features(tmp_path / "models", nsd_names())
    change(tmp_path)
    atlas = "nsddata/ppdata/subj{subject}/func1pt8mm/roi/streams.nii.gz"
    assert run(f"--betas . --atlas '{atlas}' --features models") == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert len([line for line in error.splitlines() if line.startswith("conceptrsa: ")]) == 1


def test_sessions_of_several_grids_are_refused(tmp_path: Path) -> None:
    data.write_nsd(tmp_path)
    betas = tmp_path / "nsddata_betas/ppdata/subj02/func1pt8mm/betas_fithrf_GLMdenoise_RR"
    with h5py.File(betas / "betas_session02.hdf5", "w") as file:
        file["betas"] = np.zeros((750, 3, 4, 4), np.int16)
    atlas = tmp_path / "nsddata/ppdata/subj{subject}/func1pt8mm/roi/streams.nii.gz"
    with pytest.raises(InputError, match=r"session02.* has 4 x 4 x 3 voxels but .* 4 x 5 x 3"):
        read(tmp_path, atlas=atlas)


def test_one_version_of_nsd_is_taken(tmp_path: Path) -> None:
    data.write_nsd(tmp_path)
    for subject in data.SUBJECTS:
        folder = tmp_path / f"nsddata_betas/ppdata/subj{subject}/func1pt8mm"
        (folder / "betas_assumehrf").mkdir()
        kept = folder / "betas_fithrf_GLMdenoise_RR" / "betas_session01.hdf5"
        (folder / "betas_assumehrf" / kept.name).write_bytes(kept.read_bytes())
    atlas = tmp_path / "nsddata/ppdata/subj{subject}/func1pt8mm/roi/streams.nii.gz"
    first, _ = read(tmp_path, atlas=atlas)
    note = "betas of func1pt8mm/betas_fithrf_GLMdenoise_RR taken, not func1pt8mm/betas_assumehrf"
    assert note in first.notes


# THINGS-fMRI


def test_things_gives_z_scored_means_of_the_test_pictures(tmp_path: Path) -> None:
    data.write_things(tmp_path / "betas_csv")
    assert find_format(tmp_path).name == "things"
    stimuli = data.things_stimuli()
    first, second = read(tmp_path)
    assert [*first.rois] == ["V1", "LO2-prf", "lFFA", "rFFA"]
    assert any("regions that some subject has no voxel of: rSTS" in n for n in first.notes)
    assert any("20 of 25 stimuli are left out, because they were" in note for note in first.notes)
    frame = pd.DataFrame(data.things_responses("02")[data.labels().ravel() == 1].T)
    scored = frame.groupby(stimuli["session"]).transform(lambda column: zscore(column))
    expected = scored.groupby(stimuli["stimulus"].str.removesuffix(".jpg")).mean()
    expected = expected.loc[list(second.stimuli)]
    np.testing.assert_allclose(second.rois["V1"].values, expected, atol=1e-10)
    assert second.stimuli == tuple(sorted(name[:-4] for name in data.THINGS_TEST))
    every, _ = read(tmp_path, min_repeats=1)
    assert len(every.stimuli) == 25 and every.rois["V1"].odd is None


def test_things_from_the_command_line(tmp_path: Path, results: list[ComparisonResult]) -> None:
    data.write_things(tmp_path / "betas_csv")
    data.write_features(tmp_path / "things_models", list(data.THINGS_TEST))
    assert run(command_of("betas_csv")) == 0
    (result,) = results
    assert [roi.roi for roi in result.primary.rois] == ["V1", "FFA"]
    require_planted(result, "V1", "FFA")


@pytest.mark.parametrize(
    ("ending", "options", "said"),
    [
        ("StimulusMetadata.csv", "", "StimulusMetadata.csv is missing"),
        ("VoxelMetadata.csv", "", "VoxelMetadata.csv is missing"),
        ("", "--rois V5", "names no region 'V5'"),
        ("", "--rois rSTS", "region rSTS has no voxel in"),
        ("", "--atlas x.nii.gz", "has its own regions"),
        ("", "--trials x.csv", "leave --trials out"),
    ],
)
def test_wrong_input_of_things(
    ending: str,
    options: str,
    said: str,
    tmp_path: Path,
    results: list[ComparisonResult],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data.write_things(tmp_path / "betas_csv")
    data.write_features(tmp_path / "models", list(data.THINGS_TEST))
    if ending:
        (tmp_path / "betas_csv" / f"sub-02_{ending}").unlink()
    assert run(f"--betas . {options} --features models") == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def test_other_numbers_of_trials_or_voxels_of_things(tmp_path: Path) -> None:
    data.write_things(tmp_path)
    for ending, what in (("StimulusMetadata", "trials"), ("VoxelMetadata", "voxels")):
        file = tmp_path / f"sub-01_{ending}.csv"
        text = file.read_text()
        file.write_text("\n".join(text.splitlines()[:-1]) + "\n")
        with pytest.raises(InputError, match=rf"lists \d+ {what} but sub-01_ResponseData.h5 holds"):
            read(tmp_path)
        file.write_text(text)


# Reading at some voxels only


@pytest.mark.parametrize("trials_first", [False, True])
@pytest.mark.parametrize("chunks", [None, "trials", "volumes"])
@pytest.mark.parametrize("n_axes", [2, 4])
def test_voxels_of_hdf5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials_first: bool, chunks: str, n_axes: int
) -> None:
    monkeypatch.setattr("conceptrsa.analysis.betas.trial_arrays.GAP", 1)
    monkeypatch.setattr("conceptrsa.analysis.betas.trial_arrays.BLOCK_BYTES", 200)
    shape = (4, 5, 6) if n_axes == 4 else (120,)
    betas = np.random.default_rng(0).normal(size=(*shape, 7)).astype(np.float32)
    stored = betas.T if trials_first else betas
    of_trials = tuple(7 if size == 7 else 1 for size in stored.shape)
    of_volumes = tuple(2 if size == 7 else size for size in stored.shape)
    layout = {None: None, "trials": of_trials, "volumes": of_volumes}[chunks]
    with h5py.File(tmp_path / "betas.h5", "w") as file:
        file.create_dataset("betas", data=stored, chunks=layout)
    array = array_in_hdf5(tmp_path / "betas.h5", "betas", trials_first=trials_first)
    assert array.n_trials == 7 and np.prod(array.shape) == 120
    voxels = np.array([0, 1, 2, 5, 17, 18, 29, 30, 63, 64, 119])
    for rows in (np.arange(7), np.array([1, 2, 6])):
        expected = betas.reshape(-1, 7)[voxels][:, rows].T
        np.testing.assert_array_equal(array.read(rows, voxels), expected)


def test_choices_of_regions_keep_their_order(tmp_path: Path) -> None:
    data.write_things(tmp_path)
    first, _ = read(tmp_path, rois=[read_choice("LO2*"), read_choice("V1")])
    assert [*first.rois] == ["LO2-prf", "V1"]


def test_digits_are_not_joined_to_another_stimulus(tmp_path: Path) -> None:
    """1.0, as pandas writes 1 in a column with gaps, is not 10, nor is 1_23 the stimulus 12_3."""
    for condition, stimulus in (("1.0", "10"), ("img_1_23", "img_12_3"), ("1 2", "12")):
        rule = ConditionRule(stimuli=(stimulus, "other"))
        assert stimuli_of([condition, "other"], rule, tmp_path)[0] == {"other": "other"}
    rule = ConditionRule(stimuli=("n01443537_22563",))
    for condition in ("n0144353722563", "N01443537-22563", "n01443537_22563"):
        assert stimuli_of([condition], rule, tmp_path)[0] == {condition: "n01443537_22563"}
