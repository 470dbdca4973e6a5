"""Subjects who saw different stimuli, or a single one, by every door: each keeps its own."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import damaged_input
import numpy as np
import pytest
import single_trials
import supplied_data as data
from damaged_input import (
    FIRST,
    ONE,
    WRITERS,
    Case,
    arrays,
    fewer_volumes,
    first_square,
    first_stimuli,
    lines_of,
    nothing,
    without,
)
from PIL import Image
from scipy.spatial.distance import squareform

import conceptrsa as crsa
from conceptrsa.analysis.betas.read import read_betas
from conceptrsa.analysis.brain.patterns import RoiPatterns
from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.cli import main

intact, run = damaged_input.intact, damaged_input.run
Run = Callable[[Case], tuple[int, list[str], list[str]]]


def unseen(rdm: np.ndarray) -> np.ndarray:
    """No distance of the first stimulus, as others' programs leave what was not shown."""
    changed = rdm.astype(np.float64)
    changed[0], changed[:, 0] = np.nan, np.nan
    return changed


LACKING: Mapping[str, Case] = {
    "paper": Case("paper", without(f"paper/sub-02/{FIRST}_*"), ()),
    "statmaps": Case("statmaps", without(f"statmaps/sub-02/*/*-{data.contrast(FIRST)}_*"), ()),
    "derivatives": Case("derivatives", fewer_volumes, ()),
    "table": Case(
        "table.tsv", lines_of("table.tsv", lambda line: not line.startswith(f"02\t{FIRST}\t")), ()
    ),
    "patterns": Case(
        "patterns",
        arrays(
            ONE,
            stimulus=first_stimuli(7),
            visual__betas=first_stimuli(7),
            hippocampus__betas=first_stimuli(7),
        ),
        (),
    ),
    "rdms": Case(
        "rdms",
        arrays(
            "rdms/sub-02.npz",
            stimulus=first_stimuli(7),
            visual__rdm=first_square(7),
            hippocampus__rdm=first_square(7),
        ),
        (),
    ),
    "nan-in-rdms": Case(
        "rdms", arrays("rdms/sub-02.npz", visual__rdm=unseen, hippocampus__rdm=unseen), ()
    ),
}
"""One subject has nothing of one stimulus."""


@pytest.mark.parametrize("name", LACKING)
def test_a_stimulus_that_one_subject_lacks(name: str, run: Run) -> None:
    code, complaints, notes = run(LACKING[name])
    assert (code, complaints) == (0, [])
    (said,) = (note for note in notes if "the 7 stimuli that all subjects share" in note)
    assert said.endswith("which sub-02 lacks")


@pytest.mark.parametrize("name", ["patterns", "nan-in-rdms"])
def test_each_subject_on_its_own_stimuli_where_asked_for(name: str, run: Run) -> None:
    case = LACKING[name]
    code, _, notes = run(replace(case, options=("--subject-stimuli", "own")))
    assert code == 0
    assert any("scored on its own 7 to 8 stimuli" in note for note in notes)


@pytest.mark.parametrize("form", WRITERS)
def test_one_subject_of_every_form(form: str, run: Run, tmp_path: Path) -> None:
    code, complaints, notes = run(Case(form, nothing, (), ("--participant-label", "02")))
    assert (code, complaints) == (0, [])
    assert any("there is one subject" in note for note in notes)
    rows = (tmp_path / "out/group/rsa.tsv").read_text().splitlines()[1:]
    assert rows and all("sub-02" in row for row in rows)


def test_one_participant_at_the_group_level(tmp_path: Path) -> None:
    data.write_derivatives(tmp_path / "derivatives")
    data.write_models(tmp_path / "models")
    (tmp_path / "small.toml").write_text(data.CONFIG)
    (tmp_path / "bids").mkdir()
    command = ["run", "bids", "derivatives", "group", "--participant-label", "01"]
    command += ["--features", "models", "--dataset-config", "small.toml"]
    paths = {"bids", "derivatives", "models", "small.toml"}
    assert main([str(tmp_path / word) if word in paths else word for word in command]) == 0
    assert (tmp_path / "derivatives/group/report.html").is_file()


def test_a_name_that_is_spelt_otherwise_in_one_subject(run: Run) -> None:
    def misspell(names: np.ndarray) -> np.ndarray:
        return np.array([name.upper() if name == FIRST else name for name in names])

    case = Case("patterns", arrays(ONE, stimulus=misspell), ())
    for options in ((), ("--subject-stimuli", "own")):
        code, (complaint,), _ = run(replace(case, options=options))
        assert code == 2
        assert f"sub-01 has no beta of stimulus {FIRST.upper()}" in complaint
        assert "spelt differently" in complaint and "one name in all subjects" in complaint


def studies(n_subjects: int, n_shared: int, n_own: int) -> list[crsa.SubjectPatterns]:
    """Subjects with some stimuli in common, in two runs."""
    subjects = []
    for subject in range(n_subjects):
        names = [f"all{n:03d}" for n in range(n_shared)]
        names += [f"own{subject}-{n:03d}" for n in range(n_own)]
        runs = np.random.default_rng(subject).standard_normal((2, len(names), 12))
        subjects.append(crsa.SubjectPatterns.from_arrays(f"{subject + 1:02d}", names, {"V1": runs}))
    return subjects


def models_of(subjects: list[crsa.SubjectPatterns]) -> list[crsa.Features]:
    names = sorted({name for subject in subjects for name in subject.stimuli})
    rng = np.random.default_rng(9)
    return [
        crsa.Features(model, "visual", names, rng.standard_normal((len(names), 6)))
        for model in ("one", "other")
    ]


@pytest.mark.filterwarnings("ignore::conceptrsa.ComparisonWarning")
def test_stimuli_that_no_two_subjects_share() -> None:
    subjects = studies(3, 0, 12)
    result = crsa.compare(subjects, models_of(subjects), n_permutations=100)
    assert [len(names) for names in result.result.sets.of_subjects] == [12] * 3
    assert any("of which all subjects share 0" in note for note in result.notes)
    with pytest.raises(InputError, match=r"share 0 stimuli.*choose --subject-stimuli own"):
        crsa.compare(subjects, models_of(subjects), subject_stimuli="shared")
    with pytest.raises(InputError, match=r"preset paper .* --preset recommended"):
        crsa.compare(subjects, models_of(subjects), "paper")


def test_nobody_is_no_study() -> None:
    with pytest.raises(InputError, match="there is no subject to compare"):
        crsa.compare([], models_of(studies(1, 4, 0)))


def test_the_number_of_voxels_needs_several_subjects() -> None:
    subjects = studies(1, 12, 0)
    with pytest.raises(InputError, match="but there is one subject: choose another --voxel-sel"):
        crsa.compare(subjects, models_of(subjects), voxel_selection="best-n")


def test_an_rdm_of_stimuli_that_were_not_seen() -> None:
    square = squareform(np.arange(1.0, 11.0))
    square[2], square[:, 2] = np.nan, np.nan
    for given in (square, squareform(square, checks=False)):
        subject = crsa.SubjectRdms.from_arrays("1", list("abcde"), {"V1": given})
        assert subject.stimuli == ("a", "b", "d", "e")
        np.testing.assert_array_equal(subject.rois["V1"], [[1, 3, 4, 6, 7, 10]])
        assert subject.notes == ("sub-1: stimuli without a distance (NaN) count as not seen: c",)
    # One region knows the stimulus, so that the other is damaged.
    whole = squareform(np.arange(1.0, 11.0))
    for damaged in ({"V1": square, "V2": whole}, {"V1": whole * np.nan}):
        with pytest.raises(InputError, match="not finite"):
            crsa.SubjectRdms.from_arrays("1", list("abcde"), damaged)


N_OWN = 40


def nsd_names() -> list[list[str]]:
    """Of each of two subjects, the images shared and some of its own."""
    ids = single_trials.nsd_ids()[:2]
    places = [*range(single_trials.N_SHARED), *range(1000, 1000 + N_OWN)]
    return [[f"nsd{id_:05d}" for id_ in of_subject[places]] for of_subject in ids]


def read_nsd(root: Path, names: list[str], **options: int) -> tuple[crsa.SubjectPatterns, ...]:
    regions = root / "nsddata/ppdata/subj{subject}/func1pt8mm/roi/streams.nii.gz"
    table = root / "nsddata/freesurfer/subj01/label/streams.mgz.ctab"
    return read_betas(root, atlas=regions, atlas_labels=table, stimuli=names, **options)


@pytest.mark.filterwarnings("ignore::conceptrsa.ComparisonWarning")
def test_images_of_nsd_that_each_subject_saw_alone(tmp_path: Path) -> None:
    single_trials.write_nsd(tmp_path)
    one, other = nsd_names()
    known = sorted({*one, *other})
    subjects = read_nsd(tmp_path, known, min_repeats=1)
    assert [list(subject.stimuli) for subject in subjects] == [sorted(one), sorted(other)]
    result = crsa.compare(subjects, models_of(list(subjects)), n_permutations=100)
    assert result.result.sets.counts[0, 1] == single_trials.N_SHARED
    assert result.result.sets.size == str(single_trials.N_SHARED + N_OWN)
    # By default those that were presented twice, which both subjects saw.
    first, second = read_nsd(tmp_path, known)
    assert first.stimuli == second.stimuli == tuple(sorted(one[: single_trials.N_SHARED]))
    with pytest.raises(InputError, match=r"presented 4 times to sub-01: lower --min-repeats"):
        read_nsd(tmp_path, known, min_repeats=4)


def test_images_of_nsd_that_nobody_shares_are_not_taken_for_miscounted(tmp_path: Path) -> None:
    single_trials.write_nsd(tmp_path)
    own = [f"nsd{id_:05d}" for id_ in single_trials.nsd_ids()[0, 1000:]]
    assert len(read_nsd(tmp_path, own, min_repeats=1, participants=["01"])[0].stimuli) > 1000


def test_a_picture_that_the_second_subject_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for subject, names in (("01", "abcdef"), ("02", "uvwxyz")):
        content = {"stimulus": np.array([*names]), "V1/betas": rng.standard_normal((2, 6, 20))}
        (tmp_path / "betas").mkdir(exist_ok=True)
        np.savez(tmp_path / "betas" / f"sub-{subject}.npz", **content)
    for name in "abcdefuvwxy":
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / f"{name}.png")
    command = ["compare", *("--betas", f"{tmp_path / 'betas'}")]
    command += ["--stimuli", f"{tmp_path / 'pictures'}"]
    assert main([*command, "--out", f"{tmp_path / 'out'}"]) == 2
    assert "has no picture of z, which sub-02 saw: add z.png" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_runs", [2, 3, 5])
def test_what_follows_from_runs_is_not_held(n_runs: int, dtype: type) -> None:
    """And equals to the last bit what double precision gives."""
    runs = np.random.default_rng(n_runs).standard_normal((n_runs, 6, 7)).astype(dtype)
    roi = RoiPatterns.from_array(runs)
    assert sum(array.nbytes for array in roi.held if array is not None) == runs.nbytes
    exact = runs.astype(np.float64)
    for of_roi in (roi, roi.without_runs(), roi.of_stimuli([4, 2, 0]).of_stimuli([2, 1, 0])):
        rows = slice(None) if len(of_roi.values) == 6 else [0, 2, 4]
        np.testing.assert_array_equal(of_roi.values, exact.mean(axis=0)[rows])
        np.testing.assert_array_equal(of_roi.odd, exact[0::2].mean(axis=0)[rows])
        np.testing.assert_array_equal(of_roi.even, exact[1::2].mean(axis=0)[rows])
        assert of_roi.values.dtype == of_roi.odd.dtype == np.float64
    np.testing.assert_array_equal(roi.runs_of(None), exact)


def test_all_presentations_from_halves_of_unlike_size() -> None:
    trials = np.random.default_rng(0).standard_normal((3, 4, 5))
    n_averaged = np.array([[2, 1, 2, 1], [1, 1, 1, 1]])
    odd = trials[0].copy()
    odd[[0, 2]] = trials[0::2].mean(axis=0)[[0, 2]]
    expected = trials[:2].mean(axis=0)
    expected[[0, 2]] = trials.mean(axis=0)[[0, 2]]
    roi = RoiPatterns(None, np.arange(5), halves=(odd, trials[1]), n_averaged=n_averaged)
    np.testing.assert_allclose(roi.values, expected, rtol=0, atol=1e-15)
    np.testing.assert_allclose(roi.of_stimuli([2, 1]).values, expected[[2, 1]], atol=1e-15)
