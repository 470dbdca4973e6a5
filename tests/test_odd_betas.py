"""Betas that hold nothing, or that are not the response to one condition."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import supplied_data as data
from betas_forms import read
from odd_inputs import betas as odd

from conceptrsa.analysis.betas.conditions import ConditionRule, stimuli_of
from conceptrsa.analysis.betas.read import read_betas
from conceptrsa.analysis.betas.response_kind import AFNI_DOUBT, CONTRAST_DOUBT, regressor_names
from conceptrsa.analysis.brain.comparable import require_comparable
from conceptrsa.analysis.brain.patterns import (
    RoiPatterns,
    SubjectPatterns,
    SubjectRdms,
    varying_voxels,
)
from conceptrsa.analysis.comparison import compare
from conceptrsa.analysis.models.feature_files import Features
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.analysis.settings import settings_for
from conceptrsa.bids_config.errors import InputError

QUICK = {"n_permutations": 100, "n_random_draws": 2, "multiverse": False}
SAME = (
    "voxels left out because their beta is the same for all stimuli (of all runs, a half or a "
    f"run), as outside a mask: visual {odd.N_UNMEASURED} of 70"
)
NOT_FINITE = f"voxels left out because a beta is not finite: visual {odd.N_UNMEASURED} of 70"
ALL, ODD, ONE_RUN = slice(None), slice(0, None, 2), slice(1, 2)
FORMS: dict[str, Callable[[Path], None]] = {
    "derivatives": data.write_derivatives,
    "paper": data.write_paper_layout,
    "spm": data.write_spm,
    "statmaps": data.write_statmaps,
    "table.tsv": data.write_table,
    "npz": data.write_roi_patterns,
    "h5": lambda folder: data.write_roi_patterns(folder, "h5"),
}
HOLDS = {"derivatives": (ALL, ODD), "paper": (ALL,)}
"""Parts of the runs of which the betas are in a form, where not of each run."""


def results(subjects: tuple[SubjectPatterns, ...]) -> ComparisonResult:
    selection = {} if subjects[0].rois["visual"].odd is not None else {"voxel_selection": "all"}
    rng = np.random.default_rng(5)
    models = [
        Features(name, "visual", data.STIMULI, rng.standard_normal((len(data.STIMULI), 6)), "")
        for name in ("one", "two")
    ]
    return compare(subjects, models, settings_for("recommended", **QUICK, **selection))


def written(
    folder: Path, form: str, runs_of: Callable[[str], np.ndarray], patch: pytest.MonkeyPatch
) -> tuple[SubjectPatterns, ...]:
    path = folder / form
    with patch.context() as patched:
        patched.setattr(data, "runs_of", runs_of)
        FORMS[form](path)
    data.write_atlas(folder / "atlas.nii.gz")
    options = {} if form in ("derivatives", "npz", "h5") else {"atlas": folder / "atlas.nii.gz"}
    return read(path, stimuli=data.STIMULI, **options)


@pytest.mark.parametrize(
    ("form", "runs", "value", "rounding"),
    [
        (form, runs, value, 0.0)
        for form in FORMS
        for runs in HOLDS.get(form, (ALL, ODD, ONE_RUN))
        for value in (0.0, -7.3)
    ]
    + [("table.tsv", ALL, 1000.0, 1e-5), ("npz", ALL, 0.0, 1e-12)],
)
def test_voxels_that_are_the_same_for_all_stimuli_count_as_missing(
    form: str,
    runs: slice,
    value: float,
    rounding: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = written(tmp_path / "same", form, odd.runs_with(value, runs, rounding), monkeypatch)
    missing = written(tmp_path / "missing", form, odd.runs_with(np.nan, runs), monkeypatch)
    for subject, expected in zip(found, missing, strict=True):
        assert f"{subject.label}: {SAME}" in subject.notes
        assert f"{subject.label}: {NOT_FINITE}" in expected.notes
        for name, roi in expected.rois.items():
            np.testing.assert_array_equal(subject.rois[name].values, roi.values)
            np.testing.assert_array_equal(subject.rois[name].voxels, roi.voxels)
            np.testing.assert_array_equal(subject.rois[name].odd, roi.odd)
            assert subject.rois[name].n_dropped == roi.n_dropped
    if runs != ALL or value:
        return
    one, other = results(found), results(missing)
    assert one.coverage == other.coverage
    assert f"sub-01: {SAME}" in one.warnings
    for roi, of_missing in zip(one.primary.rois, other.primary.rois, strict=True):
        np.testing.assert_array_equal(roi.rsa, of_missing.rsa)
        np.testing.assert_array_equal(roi.ceiling.pairwise, of_missing.ceiling.pairwise)
        np.testing.assert_array_equal(roi.n_voxels, of_missing.n_voxels)
    for sweep, of_missing_sweep in zip(one.sweeps, other.sweeps, strict=True):
        np.testing.assert_array_equal(sweep.random.pairwise, of_missing_sweep.random.pairwise)


def test_run_betas_of_the_derivatives_are_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "runs_of", odd.runs_with(0.0, ONE_RUN))
    data.write_derivatives(tmp_path)
    data.write_run_betas(tmp_path)
    for subject in read(tmp_path, with_runs=True):
        assert subject.notes == (f"{subject.label}: {SAME}",)
        assert subject.rois["visual"].runs.shape[-1] == 70 - odd.N_UNMEASURED


def made_by_hand(**arrays: np.ndarray) -> tuple[SubjectPatterns, ...]:
    rng = np.random.default_rng(1)
    subjects = []
    for label in ("01", "02"):
        values = rng.standard_normal((len(data.STIMULI), 20))
        roi = RoiPatterns(values, np.arange(20), halves=(values + 0.1, values - 0.1))
        subjects.append(SubjectPatterns(label, data.STIMULI, {"visual": roi}))
    return tuple(subjects)


@pytest.mark.parametrize("part", ["values", "odd", "even"])
def test_patterns_made_by_hand_are_looked_at_too(part: str) -> None:
    subjects = made_by_hand()
    for subject in subjects:
        getattr(subject.rois["visual"], part)[:, :5] = 0
    result = results(subjects)
    note = SAME.replace(f"visual {odd.N_UNMEASURED} of 70", "visual 5 of 20")
    assert f"sub-02: {note}" in result.warnings
    assert result.coverage[0].n_without_betas == 5


def test_wild_voxels_leave_the_others_alone() -> None:
    values = np.random.default_rng(2).standard_normal((8, 100))
    values[:, :12] *= 1e7
    values[:, 60:] *= 1e-12
    kept = np.flatnonzero(varying_voxels(values))
    np.testing.assert_array_equal(kept, np.arange(60))
    values[:, 60:] = 0
    values[:, :45] *= 1e7
    np.testing.assert_array_equal(np.flatnonzero(varying_voxels(values)), np.arange(60))


def test_a_region_outside_of_the_mask_is_refused() -> None:
    subjects = made_by_hand()
    subjects[1].rois["visual"].values[:] = 3.0
    with pytest.raises(InputError, match="region visual of sub-02 holds no voxel with data"):
        results(subjects)


def test_voxels_with_a_zero_in_some_images_are_kept_and_told() -> None:
    subjects = made_by_hand()
    subjects[0].rois["visual"].values[2, 3:6] = 0
    note = "sub-01: voxels kept, although their beta is exactly 0 for some stimuli: "
    assert f"{note}visual 3 of 20" in results(subjects).warnings


def test_two_equal_betas_by_chance_are_data() -> None:
    """Of integers, as many scanners and packages store them."""
    subjects = made_by_hand()
    roi = subjects[0].rois["visual"]
    runs = np.stack([roi.values[:2].round(), roi.values[:2].round()])
    of_two = RoiPatterns(np.ones((2, 20)), np.arange(20), runs=runs)
    assert of_two.with_data() is of_two
    require_comparable([replace(subject) for subject in subjects])


@pytest.fixture
def atlas(tmp_path: Path) -> Path:
    data.write_atlas(tmp_path / "atlas.nii.gz")
    return tmp_path / "atlas.nii.gz"


@pytest.mark.parametrize("kind", ["5", "7.3"])
@pytest.mark.parametrize(
    ("basis", "n_functions"),
    [
        ("Finite Impulse Response", 3),
        ("Fourier set", 5),
        ("Fourier set (Hanning)", 3),
        ("Gamma functions", 2),
        (None, 8),
    ],
)
def test_first_functions_of_other_bases_are_no_responses(
    basis: str | None, n_functions: int, kind: str, tmp_path: Path, atlas: Path
) -> None:
    odd.write_spm_basis(tmp_path / "spm", basis, n_functions, kind)
    with pytest.raises(InputError) as caught:
        read(tmp_path / "spm", atlas=atlas)
    assert str(caught.value) == (
        f"{tmp_path / 'spm' / 'sub-01' / 'SPM.mat'} describes a response by {n_functions} basis "
        f"functions ({basis or 'of no name'}), so no beta is the response: estimate the "
        "model with the canonical HRF"
    )
    lines = ["subject\tstimulus\tfile"]
    lines += [
        f"{subject}\t{stimulus}\tspm/sub-{subject}/beta_{1 + n_functions * place:04d}.nii"
        for subject in data.SUBJECTS
        for place, stimulus in enumerate(data.STIMULI)
    ]
    (tmp_path / "betas.tsv").write_text("\n".join(lines))
    with pytest.raises(InputError, match="so no beta is the response"):
        read(tmp_path / "betas.tsv", atlas=atlas)


@pytest.mark.parametrize("kind", ["5", "7.3"])
@pytest.mark.parametrize(
    ("basis", "n_functions", "note"),
    [
        ("hrf", 1, None),
        ("hrf (with time derivative)", 2, "betas of the canonical response are used, not of its"),
        ("hrf (with time and dispersion derivatives)", 3, "betas of the canonical response are"),
        ("Finite Impulse Response", 1, "responses are described by the basis Finite Impulse"),
        (None, 2, "SPM.mat does not name its 2 basis functions: the first is read as the"),
        (None, 1, None),
    ],
)
def test_bases_with_one_response_are_read(
    basis: str | None, n_functions: int, note: str | None, kind: str, tmp_path: Path, atlas: Path
) -> None:
    odd.write_spm_basis(tmp_path / "spm", basis, n_functions, kind)
    for subject in read(tmp_path / "spm", atlas=atlas):
        expected = data.patterns_of(subject.subject, data.ROIS[0]).mean(axis=0)
        np.testing.assert_allclose(subject.rois["visual"].values, expected, rtol=1e-6)
        assert len(subject.notes) == (note is not None)
        assert subject.notes == () or subject.notes[0].startswith(f"{subject.label}: {note}")


def test_betas_of_another_model_than_the_one_beside_them(tmp_path: Path, atlas: Path) -> None:
    odd.write_spm_basis(tmp_path / "spm", "hrf", 1)
    names = [f"Sn(1) {stimulus}*bf(1)" for stimulus in reversed(data.STIMULI)]
    odd.write_model(tmp_path / "spm" / "sub-02" / "SPM.mat", names, "hrf")
    with pytest.raises(InputError, match=r"has regressor Sn\(1\) .* put the SPM.mat of these"):
        read(tmp_path / "spm", atlas=atlas)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            {"description": "spm_spm:beta (0052) - Sn(1) R1"},
            "is SPM's beta of Sn(1) R1 according to its",
        ),
        ({"description": "spm_spm:beta (0058) - Sn(1) constant"}, "SPM's beta of Sn(1) constant"),
        ({"description": "spm_spm:beta (0002) - Sn(1) a*bf(2)"}, "SPM's beta of Sn(1) a*bf(2)"),
        ({"description": "spm_spm:beta (0002) - Sn(1) axrt^1*bf(1)"}, "beta of Sn(1) axrt^1*bf(1)"),
        ({"description": "spm_spm:Residual sum-of-squares"}, "is SPM's Residual sum-of-squares"),
        ({"description": "spm_spm:resultant analysis mask"}, "is SPM's resultant analysis mask"),
        ({"description": "spm_spm: resels per voxel"}, "is SPM's resels per voxel"),
        ({"description": "SPM{F_[1.0,172.0]} - contrast 2: all"}, "is SPM's SPM{F_[1.0,172.0]}"),
        ({"intent": 4}, "is of the intent 'f test'"),
        ({"intent": 22}, "is of the intent 'p value'"),
        ({"labels": "a#0_Fstat"}, "is AFNI's a#0_Fstat according to its header"),
        ({"labels": "a#0_Coef~a#1_Coef"}, "AFNI's a#0_Coef, one of several functions of time"),
    ],
)
def test_volumes_that_say_that_they_are_no_responses(
    header: dict, said: str, tmp_path: Path, atlas: Path
) -> None:
    table = odd.write_one_changed(tmp_path, **header)
    with pytest.raises(InputError) as caught:
        read(table, atlas=atlas)
    assert said in str(caught.value)
    assert f"02_{data.STIMULI[3]}_2.nii.gz" in str(caught.value)
    assert str(caught.value).endswith("not the response to a condition: give the beta")


@pytest.mark.parametrize(
    "header",
    [
        {"description": "SPM{T_[172.0]} - contrast 1: a"},
        {"intent": 3},
        {"labels": "a#0_Tstat"},
    ],
)
def test_t_values_do_not_mix_with_betas(header: dict, tmp_path: Path, atlas: Path) -> None:
    table = odd.write_one_changed(tmp_path, **header)
    with pytest.raises(
        InputError, match=r"holds betas and .*02_n.*_2.nii.gz t values, according to their"
    ):
        read(table, atlas=atlas)


def test_t_values_of_one_subject_do_not_mix_with_betas_of_another(
    tmp_path: Path, atlas: Path
) -> None:
    table = odd.write_one_changed(tmp_path)
    for file in tmp_path.glob("02_*.nii.gz"):
        odd.write_described(file, odd.nib.load(file).get_fdata().astype(np.float32), intent=3)
    with pytest.raises(
        InputError, match=r"01_n.*gz holds betas and .*02_n.*gz t values, according to their"
    ):
        read(table, atlas=atlas)


def test_single_trials_of_afni_are_read_where_a_table_names_them(
    tmp_path: Path, atlas: Path
) -> None:
    for subject in read(odd.write_single_trials(tmp_path), atlas=atlas):
        expected = data.patterns_of(subject.subject, data.ROIS[0]).mean(axis=0)
        np.testing.assert_allclose(subject.rois["visual"].values, expected, atol=1e-6)
        assert subject.notes == (f"{subject.label}: {AFNI_DOUBT}",)


@pytest.mark.parametrize("written_as", ["café", "cafÃ©", "caf\udce9", "caf?"])
def test_letters_outside_of_ascii_in_headers_of_spm(
    written_as: str, tmp_path: Path, atlas: Path
) -> None:
    data.write_spm(tmp_path)
    named = data.STIMULI[0]
    for folder in [model.parent for model in sorted(tmp_path.rglob("SPM.mat"))]:
        names = regressor_names(folder / "SPM.mat")
        odd.write_model(folder / "SPM.mat", [n.replace(named, "café") for n in names], "hrf")
        for number, name in enumerate(names, start=1):
            if f" {named}*bf(1)" in name:
                file = folder / f"beta_{number:04d}.nii"
                values = odd.nib.load(file).get_fdata().astype(np.float32)
                told = f"spm_spm:beta ({number:04d}) - {name.replace(named, written_as)}"
                odd.write_described(file, values, told)
    stimuli = ("café", *data.STIMULI[1:])
    assert "café" in read(tmp_path, atlas=atlas, stimuli=stimuli)[0].stimuli
    odd.write_described(file, values, told.replace("caf", "kaf"))
    with pytest.raises(InputError, match=r"put the SPM\.mat of "):
        read(tmp_path, atlas=atlas, stimuli=stimuli)


def test_t_values_of_every_stimulus_are_said_to_be_such(tmp_path: Path, atlas: Path) -> None:
    table = odd.write_one_changed(tmp_path)
    for file in tmp_path.glob("0*.nii.gz"):
        odd.write_described(file, odd.nib.load(file).get_fdata().astype(np.float32), intent=3)
    note = "the volumes hold t values, according to their headers"
    assert [s.notes for s in read(table, atlas=atlas)] == [
        (f"sub-{label}: {note}",) for label in data.SUBJECTS
    ]


@pytest.mark.parametrize(
    "header",
    [
        {"description": "spm_spm:beta (0003) - Sn(1) n01*bf(1)"},
        {"description": "spm_spm:beta (0003) - Sn(1) n01*bf(1) - conv(6,6,6)"},
        {"description": f"spm_spm:beta (0003) - Sn(1) {'n' * 90}"},
        {"intent": 1001},
        {"labels": "a#0_Coef"},
    ],
)
def test_volumes_that_say_that_they_are_responses(
    header: dict, tmp_path: Path, atlas: Path
) -> None:
    assert [s.notes for s in read(odd.write_one_changed(tmp_path, **header), atlas=atlas)] == [
        ()
    ] * 3


FIRST, OTHER = data.STIMULI[3], data.STIMULI[5]
CANONICAL = "betas of the canonical response are used, not of its derivatives"


@pytest.mark.parametrize("kind", ["5", "7.3"])
@pytest.mark.parametrize(
    ("changed", "has"),
    [
        (
            {f"Sn(1) {FIRST}*bf(1)": 1.0, f"Sn(1) {OTHER}*bf(1)": -1.0},
            "weights of both signs (a difference)",
        ),
        (
            {f"Sn(1) {FIRST}*bf(1)": 0.5, f"Sn(2) {OTHER}*bf(1)": 0.5},
            f"weights on 2 conditions, {FIRST} the first",
        ),
        ({f"Sn(2) {FIRST}*bf(1)": 1.0, "Sn(2) R1": 1.0}, "a weight on Sn(2) R1"),
        ({f"Sn(3) {FIRST}*bf(2)": 1.0}, f"a weight on Sn(3) {FIRST}*bf(2)"),
        (
            {f"Sn(1) {data.STIMULI[0]}xreaction time^1*bf(1)": 1.0},
            f"a weight on Sn(1) {data.STIMULI[0]}xreaction time^1*bf(1)",
        ),
        ({"Sn(4) constant": 1.0}, "a weight on Sn(4) constant"),
        ({f"Sn(1) {FIRST}*bf(1)": -1.0}, "negative weights"),
        ({}, "no weights"),
    ],
)
def test_contrasts_that_are_no_responses(
    changed: dict[str, float], has: str, kind: str, tmp_path: Path, atlas: Path
) -> None:
    table = odd.write_contrasts(tmp_path / "spm", changed, kind=kind)
    with pytest.raises(InputError) as caught:
        read(table, atlas=atlas)
    assert str(caught.value) == (
        f"{tmp_path}/spm/02/con_0004.nii is SPM's contrast 4 ({odd.contrast_name(3)}), which has "
        f"{has} (SPM.mat), so it is not the response to a condition: give betas, or "
        "one contrast per condition"
    )


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"kind": "7.3"},
        {"description": "SPM contrast - {number}: {name}"},
        {"description": "Contrast {number}: {name} - conv(6,6,6)", "prefix": "swcon"},
        {"description": "Contrast {number}: {name}", "prefix": "renamed"},
        {"description": ""},
        {"description": "SPM{{T_[172.0]}} - contrast {number}: {name}", "prefix": "spmT"},
        {"description": "", "prefix": "spmT", "each": 1.0},
    ],
)
def test_contrasts_of_one_condition_are_responses(form: dict, tmp_path: Path, atlas: Path) -> None:
    table = odd.write_contrasts(tmp_path / "spm", **form)
    # A weight of rounding, and fewer sessions: a mean still.
    changed = {f"Sn({n}) {FIRST}*bf(1)": 1 / 3 for n in (1, 2, 4)} | {"Sn(1) R1": -1e-17}
    odd.write_contrasts(tmp_path / "fewer", changed, **form)
    (tmp_path / "spm/02/SPM.mat").write_bytes((tmp_path / "fewer/02/SPM.mat").read_bytes())
    is_t = form.get("prefix") == "spmT"
    for subject in read(table, atlas=atlas):
        expected = data.patterns_of(subject.subject, data.ROIS[0]).mean(axis=0)
        factor = 4 * form.get("each", 0.25)
        np.testing.assert_allclose(subject.rois["visual"].values, factor * expected, atol=1e-6)
        notes = [CANONICAL] if form.get("prefix") != "renamed" else []
        notes += ["the volumes hold t values, according to their headers"] if is_t else []
        assert subject.notes == tuple(f"{subject.label}: {note}" for note in notes)
        assert subject.kind == ("t" if is_t else None)


def test_multiples_of_responses_are_told(tmp_path: Path, atlas: Path) -> None:
    changed = {f"Sn({n}) {FIRST}*bf(1)": 1.0 for n in (1, 2, 4)}
    told = [
        [note for note in subject.notes if "times the mean" in note]
        for subject in read(odd.write_contrasts(tmp_path, changed, each=1.0), atlas=atlas)
    ]
    notes = [
        f"SPM contrasts whose weights sum to {total} are {total} times the mean response: "
        "distances that depend on its size are wrong if sums differ between stimuli"
        for total in (4, 3)
    ]
    assert told == [
        [f"sub-01: {notes[0]}"],
        [f"sub-02: {n}" for n in notes],
        [f"sub-03: {notes[0]}"],
    ]


def test_contrasts_without_weights(tmp_path: Path, atlas: Path) -> None:
    table = odd.write_contrasts(tmp_path, description="")
    for model in tmp_path.rglob("SPM.mat"):
        model.unlink()
    for subject in read(table, atlas=atlas):
        assert subject.notes == (f"{subject.label}: {CONTRAST_DOUBT}",)
    table = odd.write_one_changed(tmp_path, description="Contrast 3: n01")
    notes = [subject.notes for subject in read(table, atlas=atlas)]
    assert notes == [(), (f"sub-02: {CONTRAST_DOUBT}",), ()]
    (tmp_path / "02" / "SPM.mat").symlink_to("absent")
    with pytest.raises(InputError, match=r"SPM\.mat is a link to a file that is missing"):
        read(tmp_path / "contrasts.tsv", atlas=atlas)


def test_contrasts_in_one_file_have_the_description_of_the_first(
    tmp_path: Path, atlas: Path
) -> None:
    odd.write_contrasts(tmp_path)
    lines = ["subject\tstimulus\tfile\tvolume"]
    for subject in data.SUBJECTS:
        betas = np.moveaxis(data.runs_of(subject).mean(axis=0), 0, -1)
        odd.write_described(tmp_path / subject / "all.nii", betas, "Contrast 9: none such")
        lines += [f"{subject}\t{s}\t{subject}/all.nii\t{n}" for n, s in enumerate(data.STIMULI)]
    (tmp_path / "all.tsv").write_text("\n".join(lines) + "\n")
    for subject in read(tmp_path / "all.tsv", atlas=atlas):
        assert subject.notes == (f"{subject.label}: {CONTRAST_DOUBT}",)


@pytest.mark.parametrize("kind", ["5", "7.3"])
@pytest.mark.parametrize(
    ("n_left", "names", "said"),
    [
        (0, None, "SPM.mat has no readable weights for the contrasts beside it ("),
        (
            1,
            None,
            "SPM's contrast 2 (NAME), but the SPM.mat beside it has no such contrast: put",
        ),
        (
            8,
            "other",
            "SPM's contrast 1 (NAME), but the SPM.mat beside it has the contrast other",
        ),
        (
            8,
            "short",
            "SPM.mat lacks weights of the 92 regressors for contrast 1 (NAME): give",
        ),
    ],
)
def test_models_that_are_not_of_the_contrasts(
    n_left: int, names: str | None, said: str, kind: str, tmp_path: Path, atlas: Path
) -> None:
    table = odd.write_contrasts(tmp_path)
    regressors = [name for _, _, name in data.spm_names()]
    weights = np.array([name == f"Sn(1) {data.STIMULI[0]}*bf(1)" for name in regressors], float)
    short = weights[:5] if names == "short" else weights
    contrasts = [
        (names if names == "other" else odd.contrast_name(row), short) for row in range(n_left)
    ]
    odd.write_model(tmp_path / "01" / "SPM.mat", regressors, "hrf", kind, contrasts)
    with pytest.raises(InputError) as caught:
        read(table, atlas=atlas)
    row = 1 if n_left == 1 else 0
    assert said.replace("NAME", odd.contrast_name(row)) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("description", "prefix", "said"),
    [
        ("", "ess", "ess_0001.nii is of an SPM F contrast according to its name, not"),
        ("", "spmF", "spmF_0001.nii is of an SPM F contrast according to its name, not"),
        (
            "ESS contrast {number}: {name}",
            "x",
            "is SPM's ESS contrast 1: NAME, an F contrast according to",
        ),
        ("SPM ESS -contrast {number}: {name}", "x", "SPM's SPM ESS -contrast 1: NAME, an F"),
    ],
)
def test_f_contrasts_are_refused(
    description: str, prefix: str, said: str, tmp_path: Path, atlas: Path
) -> None:
    table = odd.write_contrasts(tmp_path, description=description, prefix=prefix)
    with pytest.raises(InputError) as caught:
        read(table, atlas=atlas)
    assert said.replace("NAME", odd.contrast_name(0)) in str(caught.value)


def test_contrasts_of_other_bases_are_no_responses(tmp_path: Path, atlas: Path) -> None:
    table = odd.write_contrasts(tmp_path, prefix="renamed")
    names = [name for _, _, name in data.spm_names()]
    odd.write_model(tmp_path / "01" / "SPM.mat", names, "Finite Impulse Response")
    with pytest.raises(InputError, match="so no beta is the response"):
        read(table, atlas=atlas)


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "is not finite in any"), (0.0, "is the same")]
)
def test_volumes_without_data(value: float, said: str, tmp_path: Path, atlas: Path) -> None:
    table = odd.write_one_changed(tmp_path)
    data.save(np.full(data.SHAPE, value, np.float32), tmp_path / f"02_{data.STIMULI[3]}_2.nii.gz")
    with pytest.raises(InputError, match=f"stimulus {data.STIMULI[3]} in .*_2.nii.gz {said}"):
        read(table, atlas=atlas)


@pytest.mark.parametrize("other", [f"02_{data.STIMULI[3]}_4", f"02_{data.STIMULI[0]}_2"])
def test_one_volume_under_two_names(other: str, tmp_path: Path, atlas: Path) -> None:
    table = odd.write_one_changed(tmp_path)
    copy = tmp_path / f"{other}.nii.gz"
    copy.write_bytes((tmp_path / f"02_{data.STIMULI[3]}_2.nii.gz").read_bytes())
    with pytest.raises(InputError, match=r"hold the same numbers in every voxel .* one is a copy"):
        read(table, atlas=atlas)


def small_and_whole(seed: int) -> RoiPatterns:
    """Of few voxels and values, so that two stimuli are the same by chance."""
    values = np.random.default_rng(seed).integers(3, size=(len(data.STIMULI), 5)).astype(float)
    values[4] = values[2]
    return RoiPatterns(values, np.arange(5))


def test_patterns_that_are_there_twice() -> None:
    one, other = made_by_hand()
    roi = one.rois["visual"]
    with pytest.raises(InputError, match=r"sub-01 and sub-02 in .* have the same betas in every"):
        require_comparable([one, replace(other, rois=one.rois)])
    few = [
        replace(subject, rois={"V1": small_and_whole(n)}) for n, subject in enumerate((one, other))
    ]
    require_comparable(few)
    values = roi.values.copy()
    values[4] = values[2]
    twice = replace(one, rois={"visual": replace(roi, whole=values)})
    with pytest.raises(InputError, match=f"for {data.STIMULI[2]} and {data.STIMULI[4]} in .* copy"):
        require_comparable([twice, other])
    halves = replace(one, rois={"visual": replace(roi, halves=(roi.odd, roi.odd))})
    with pytest.raises(InputError, match=r"odd and of the even runs of sub-01 in .* are the same"):
        require_comparable([halves, other])
    rdm = np.random.default_rng(0).random((1, 28))
    with pytest.raises(InputError, match=r"sub-01 and sub-02 in .* have the same RDMs in every"):
        require_comparable([SubjectRdms(s, data.STIMULI, {"V1": rdm}) for s in ("01", "02")])


@pytest.mark.parametrize("together", [True, False])
def test_two_reconstructions_are_one_recording(together: bool, tmp_path: Path, atlas: Path) -> None:
    data.write_statmaps(tmp_path / "maps")
    for file in sorted((tmp_path / "maps").rglob("*_run-1_*")):
        dico = file.with_name(file.name.replace("_run-1_", "_rec-dico_run-1_"))
        file.rename(dico)
        if together:
            moco = dico.with_name(dico.name.replace("dico", "moco"))
            data.save(odd.nib.load(dico).get_fdata().astype(np.float32) * 1.001, moco)
    if not together:
        assert (
            read(tmp_path / "maps", atlas=atlas, stimuli=data.STIMULI)[0].rois["visual"].odd
            is not None
        )
        return
    with pytest.raises(
        InputError, match=r"rec-moco\S+ and \S+rec-dico\S+ are both betas of .* keep one"
    ):
        read(tmp_path / "maps", atlas=atlas, stimuli=data.STIMULI)


def test_contrasts_that_are_no_conditions() -> None:
    nuisance = ["constant", "drift_1", "cosine00", "trans_x", "rotz", "a_comp_cor_00", "rest"]
    derived = ["cat_derivative", "dog_dispersion", "catderivative"]
    names = ["cat", "dog", "my_derivative", *nuisance, *derived]
    chosen, left_out = stimuli_of(names, ConditionRule(), Path("x"))
    assert list(chosen) == ["cat", "dog", "my_derivative"]
    assert left_out == (*nuisance, *derived)
    chosen, _ = stimuli_of(["constant", "cat"], ConditionRule(stimuli=("constant",)), Path("x"))
    assert chosen == {"constant": "constant"}


@pytest.mark.parametrize("stimuli", [None, ("n01_2", "dog")])
def test_time_bins_of_nilearn_are_no_responses(stimuli: tuple[str, ...] | None) -> None:
    bins = ["n012delay0", "n012delay1", "dog"]
    with pytest.raises(
        InputError, match="n012delay0 and n012delay1 of x are time bins of a finite"
    ):
        stimuli_of(bins, ConditionRule(stimuli=stimuli), Path("x"))
    rule = ConditionRule(stimuli=stimuli, exclude=("*delay*",))
    assert list(stimuli_of(bins, rule, Path("x"))[0]) == ["dog"]


def test_maps_of_other_statistics_and_nuisance_are_left_out(tmp_path: Path, atlas: Path) -> None:
    data.write_statmaps(tmp_path / "maps")
    for file in sorted((tmp_path / "maps").rglob("*facesGtHouses*")):
        file.rename(file.with_name(file.name.replace("facesGtHouses", "drift1")))
    subjects = read_betas(tmp_path / "maps", data.ROIS, atlas=atlas)
    assert subjects[0].stimuli == tuple(data.contrast(stimulus) for stimulus in data.STIMULI)
    note = "conditions left out, because they are not stimuli: drift1, fixation"
    assert subjects[0].notes == (f"sub-01: {note}",)


@pytest.mark.parametrize("model", ["fir", "spm"])
def test_what_nilearn_says_of_its_model(model: str, tmp_path: Path, atlas: Path) -> None:
    data.write_statmaps(tmp_path / "maps")
    sidecar = tmp_path / "maps" / "sub-02" / "ses-1" / "sub-02_ses-1_task-x_run-1_statmap.json"
    sidecar.write_text(json.dumps({"ModelParameters": {"hrf_model": model, "fir_delays": [0, 1]}}))
    subjects = read(tmp_path / "maps", atlas=atlas, stimuli=data.STIMULI)
    note = f"sub-02: {sidecar.name} describes a finite impulse response model"
    assert [note in "".join(subject.notes) for subject in subjects] == [
        False,
        model == "fir",
        False,
    ]
