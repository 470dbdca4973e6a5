"""The recovery table on derivatives made by hand, with errors of known size."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from conceptrsa.bids_config.errors import InputError
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.atlas import desikan_killiany_mni305
from conceptrsa.interfaces.numerics.design import MOTION_PARAMETERS
from conceptrsa.interfaces.numerics.mni305_grid import MNI152_TO_MNI305
from conceptrsa.interfaces.numerics.realignment import rigid_parameters
from conceptrsa.interfaces.numerics.transforms import write_matrix
from conceptrsa.pipelines.demo.bold import draw_motion, rigid
from conceptrsa.pipelines.demo.head import draw_warp
from conceptrsa.pipelines.demo.recovery import RecoveryRow, measured_rows, write_recovery
from conceptrsa.pipelines.demo.recovery_measures import (
    BOLD_BETAS,
    MOTION,
    Measure,
    common_offset,
    motion_error,
    overlap,
)
from conceptrsa.pipelines.demo.truth import SubjectTruth

SHAPE = (12, 14, 10)
STIMULI = tuple(f"s{n}" for n in range(8))
ROIS = ("visual", "fusiform", "hippocampus")
MODELS = ("A", "B", "C")
SIDES = ("left", "right")
N_RUNS, N_VOLUMES = 2, 20
ORIGIN = np.zeros(3)


Recover = Callable[["Errors"], dict[tuple[str, str], RecoveryRow]]
"""The rows by quantity and region; of the regions' own rows, those of sub-02."""


def shift(x: float = 0, y: float = 0, z: float = 0) -> np.ndarray:
    return rigid(np.array([x, y, z]), ORIGIN, ORIGIN)


@cache
def make_truth(seed: int) -> SubjectTruth:
    rng = np.random.default_rng(seed)
    affine = np.diag([-4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = [22.0, -26.0, -18.0]
    brain = np.zeros(SHAPE, dtype=bool)
    brain[2:-2, 2:-2, 2:-2] = True
    responsive = np.where(brain, rng.integers(0, 4, SHAPE), 0).astype(np.int8)
    motion = draw_motion((N_RUNS * N_VOLUMES,), N_VOLUMES, ORIGIN, rng)
    place = rigid(rng.normal(0, 3, 3), rng.normal(0, 0.05, 3), ORIGIN)
    return SubjectTruth(
        stimuli=STIMULI,
        rois=ROIS,
        models=MODELS,
        bold_affine=affine,
        bold_to_t1w=place,
        t1w_to_mni152=place @ np.diag([1.05, 0.98, 1.02, 1.0]),
        warp=draw_warp(rng).coefficients,
        motion=motion.reshape(N_RUNS, N_VOLUMES, 4, 4),
        brain=brain,
        responsive=responsive,
        betas=2 + rng.standard_normal((len(STIMULI), int((responsive > 0).sum()))),
    )


@dataclass(frozen=True)
class Errors:
    """What to do to a subject's derivatives."""

    motion: Callable[[int], np.ndarray] = lambda volume: np.eye(4)
    offset: np.ndarray = field(default_factory=shift)
    coregistration: np.ndarray = field(default_factory=shift)
    normalization: np.ndarray = field(default_factory=shift)
    beta_noise: float = 0.0
    flipped: bool = False
    labels: Callable[[np.ndarray], np.ndarray] = lambda true: true


def write_derivatives(folder: Path, subject: str, truth: SubjectTruth, errors: Errors) -> None:
    func, anat = folder / subject / "func", folder / subject / "anat"
    func.mkdir(parents=True)
    anat.mkdir()
    positions = truth.motion.reshape(-1, 4, 4) @ errors.offset
    recovered = [errors.motion(volume) @ matrix for volume, matrix in enumerate(positions)]
    parameters = np.array([rigid_parameters(np.linalg.inv(matrix)) for matrix in recovered])
    for run, rows in enumerate(np.split(parameters, N_RUNS)):
        pd.DataFrame(rows, columns=MOTION_PARAMETERS).to_csv(
            func / f"{subject}_task-perception_run-0{run + 1}_desc-confounds_timeseries.tsv",
            sep="\t",
            index=False,
        )
    stem = f"{subject}_task-perception"
    write_matrix(
        func / f"{stem}_from-boldref_to-T1w_xfm.txt",
        errors.coregistration @ truth.bold_to_t1w @ errors.offset,
    )
    t1w_to_mni305 = MNI152_TO_MNI305 @ errors.normalization @ truth.t1w_to_mni152
    write_matrix(anat / f"{subject}_from-T1w_to-MNI305_xfm.txt", t1w_to_mni305)
    labels = errors.labels(truth.labels_in_mni305(t1w_to_mni305))
    nib.save(
        nib.Nifti1Image(labels, mni305_grid.AFFINE),
        anat / f"{subject}_space-MNI305_seg-DesikanKilliany_res-2_dseg.nii.gz",
    )
    rng = np.random.default_rng(9)
    order = rng.permutation(len(STIMULI))
    noisy = truth.betas + errors.beta_noise * rng.standard_normal(truth.betas.shape)
    betas = np.full((*SHAPE, len(STIMULI)), np.nan, dtype=np.float32)
    betas[truth.responsive > 0] = noisy[order].T
    betas[2] = np.nan
    table = pd.DataFrame({"volume": range(len(STIMULI)), "stimulus": np.array(STIMULI)[order]})
    in_mni305 = to_mni305(truth, noisy[order], errors)
    for space, values, affine in (
        ("boldref", betas, truth.bold_affine),
        ("MNI305_res-2", in_mni305, mni305_grid.AFFINE),
    ):
        name = func / f"{stem}_space-{space}_stat-effect_statmap"
        nib.save(nib.Nifti1Image(values, affine), f"{name}.nii.gz")
        table.to_csv(f"{name}.tsv", sep="\t", index=False)


def to_mni305(truth: SubjectTruth, betas: np.ndarray, errors: Errors) -> np.ndarray:
    """Responses taken to MNI305 by scipy through the transforms with their errors."""
    volumes = np.zeros((len(betas), *SHAPE), dtype=np.float32)
    volumes[:, truth.responsive > 0] = betas
    bold_to_mni305 = (
        MNI152_TO_MNI305
        @ errors.normalization
        @ truth.t1w_to_mni152
        @ errors.coregistration
        @ truth.bold_to_t1w
    )
    to_bold = np.linalg.inv(bold_to_mni305 @ truth.bold_affine) @ mni305_grid.AFFINE
    there = [
        ndimage.affine_transform(volume, to_bold, output_shape=mni305_grid.SHAPE, order=1)
        for volume in volumes
    ]
    stacked = np.stack(there, axis=-1)
    return stacked[::-1] if errors.flipped else stacked


def write_rsa(folder: Path) -> None:
    """Of the planted A, B and C, B is beaten in fusiform, C in hippocampus; there is no ceiling."""
    mean = {
        "visual": {"A": 0.5, "B": 0.4, "C": 0.1},
        "fusiform": {"A": 0.3, "B": 0.25, "C": 0.1},
        "hippocampus": {"A": 0.05, "B": 0.04, "C": 0.03},
    }
    ceiling = {"visual": 0.4, "fusiform": 0.2, "hippocampus": 0.02}
    # One subject alone would rank B first in visual.
    tilt = {"01": -0.08, "02": 0.08}
    rows = [
        {
            "subject": subject,
            "roi": roi,
            "model": model,
            "rsa": rsa + (tilt[subject] if model == "A" else 0),
            "ceiling": ceiling[roi],
        }
        for subject in tilt
        for roi, scores in mean.items()
        for model, rsa in scores.items()
    ]
    (folder / "group").mkdir()
    pd.DataFrame(rows).to_csv(folder / "group" / "rsa.tsv", sep="\t", index=False)


@pytest.fixture
def recover(tmp_path: Path) -> Recover:
    truth_dir, derivatives_dir = tmp_path / "truth", tmp_path / "derivatives"
    truths = {f"sub-0{n}": make_truth(n) for n in (1, 2)}
    for subject, truth in truths.items():
        truth.write(truth_dir / f"{subject}.npz")

    def run(errors: Errors) -> dict[tuple[str, str], RecoveryRow]:
        for subject, truth in truths.items():
            # The first subject is flawless: the table shall show the second.
            used = errors if subject == "sub-02" else replace(Errors(), offset=errors.offset)
            write_derivatives(derivatives_dir, subject, truth, used)
        write_rsa(derivatives_dir)
        rows = write_recovery(truth_dir, derivatives_dir, tmp_path / "recovery.tsv")
        return {
            (row.quantity.split(" (")[0].split(",")[0], row.roi): row
            for row in rows
            if row.subject in ("worst", "sub-02", "n/a")
        }

    return run


def test_truth_is_read_as_it_was_written(tmp_path: Path) -> None:
    truth = make_truth(1)
    truth.write(tmp_path / "truth.npz")
    read = SubjectTruth.read(tmp_path / "truth.npz")
    for name, value in vars(truth).items():
        np.testing.assert_array_equal(getattr(read, name), value)


def test_flawless_derivatives(recover: Recover, tmp_path: Path) -> None:
    rows = recover(Errors())
    for step in ("motion", "coregistration", "normalization"):
        row = rows[step, "n/a"]
        assert float(row.recovered) == 0
        assert float(row.planted) > 0.1
        assert row.within_limit is True
    for roi in ROIS:
        assert rows["betas", roi].recovered == "1.000"
    assert rows["betas", "visual"].limit == "above 0.8"
    assert rows["betas", "hippocampus"].within_limit is None

    table = pd.read_csv(tmp_path / "recovery.tsv", sep="\t", keep_default_na=False)
    assert list(table.columns) == [
        "quantity",
        "roi",
        "subject",
        "planted",
        "recovered",
        "limit",
        "within_limit",
    ]
    of_subjects = table["subject"].isin(["sub-01", "sub-02"])
    assert of_subjects.sum() == 2 * 2 * len(ROIS)
    assert (table["within_limit"][of_subjects] == "yes").all()
    table = table[~of_subjects]
    assert table["subject"].tolist() == ["worst"] * (3 + 3 * len(ROIS)) + ["n/a"] * len(ROIS)
    in_mni305 = table[table["quantity"] == "betas, correlation in MNI305"]
    assert in_mni305["roi"].tolist() == [f"{roi}-{side}" for roi in ROIS for side in SIDES]
    assert (in_mni305["recovered"].astype(float) > 0.999).all()
    assert table["within_limit"].tolist() == [
        *["yes"] * 5, "n/a", *["yes"] * 4, *["n/a"] * 2, "yes", "no", "n/a"
    ]  # fmt: skip


def test_a_flip_of_sides_in_mni305_is_seen(recover: Recover) -> None:
    rows = recover(Errors(flipped=True))
    for side in SIDES:
        assert abs(float(rows["betas", f"visual-{side}"].recovered)) < 0.6
        assert rows["betas", f"visual-{side}"].within_limit is False
    assert rows["betas", "visual"].within_limit is True


def test_true_regions_overlap_wholly_and_the_plain_atlas_less(recover: Recover) -> None:
    rows = recover(Errors())
    for roi in ROIS:
        dice, centre = rows["region", roi], rows["region centre", roi]
        assert (dice.recovered, centre.recovered) == ("1.000", "0.000")
        assert 0.3 < float(dice.planted) < 0.9
        assert 0.2 < float(centre.planted) < 8


@pytest.mark.parametrize(
    ("labels", "highest_dice", "least_distance"),
    [
        (lambda true: true[::-1], 0.0, 20),
        # Along the columns, by 8 mm.
        (lambda true: np.roll(true, 4, axis=0), 0.5, 7.9),
        (lambda true: np.roll(true, 4, axis=1), 0.5, 7.9),
    ],
)
def test_regions_in_the_wrong_place_are_seen(
    recover: Recover,
    labels: Callable[[np.ndarray], np.ndarray],
    highest_dice: float,
    least_distance: float,
) -> None:
    rows = recover(Errors(labels=labels))
    for roi in ROIS:
        dice, centre = rows["region", roi], rows["region centre", roi]
        assert float(dice.recovered) <= highest_dice
        assert float(centre.recovered) > least_distance
        assert dice.within_limit is False
        assert centre.within_limit is False


def test_a_lost_region_is_over_the_limit(recover: Recover) -> None:
    rows = recover(Errors(labels=lambda true: np.where(true == 17, 0, true)))
    assert rows["region", "hippocampus"].recovered == "0.000"
    assert rows["region centre", "hippocampus"].recovered == "nan"
    assert rows["region centre", "hippocampus"].within_limit is False
    assert rows["region", "visual"].recovered == "1.000"


def test_regions_are_judged_through_the_recovered_affine() -> None:
    """The true region goes where the recovered affine takes the subject, right or wrong."""
    truth = make_truth(1)
    planted = MNI152_TO_MNI305 @ truth.t1w_to_mni152
    true = truth.labels_in_mni305(planted)
    moved = truth.labels_in_mni305(shift(x=-4, z=6) @ planted)
    # Columns run to the left, slices' rows downwards.
    np.testing.assert_array_equal(moved[2:, :-3], true[:-2, 3:])
    without = replace(truth, warp=np.zeros_like(truth.warp)).labels_in_mni305(planted)
    atlas = np.asarray(desikan_killiany_mni305()[0].dataobj)
    assert (without == atlas).mean() > 0.999


def test_overlap_is_twice_the_common_part() -> None:
    one, other = np.zeros((2, *mni305_grid.SHAPE), dtype=bool)
    one[10:14, 20, 20] = other[12:16, 20, 20] = True
    dice, distance = overlap(one, other)
    assert dice == 0.5
    assert distance == pytest.approx(4)


@pytest.mark.parametrize(("quantity", "good"), [(MOTION, 0.05), (BOLD_BETAS, 0.9)])
def test_a_subject_without_a_result_is_not_passed_over(quantity: str, good: float) -> None:
    found = (good, float("nan"), good)
    measured = [
        Measure(quantity, "visual", f"sub-{n}", 1.0, value) for n, value in enumerate(found)
    ]
    (row,) = measured_rows(measured)
    assert row.within_limit is False
    assert row.recovered == "nan"


def test_errors_of_known_size_are_measured(recover: Recover) -> None:
    rows = recover(
        Errors(
            # Of mean zero, so that no part of it is common: 0.06 mm to and fro.
            motion=lambda volume: shift(x=0.06 * (-1) ** volume),
            coregistration=shift(y=0.7),
            normalization=shift(z=3.2),
            beta_noise=1.0,
        )
    )
    assert float(rows["motion", "n/a"].recovered) == pytest.approx(0.06, abs=0.001)
    assert rows["motion", "n/a"].within_limit is True
    assert float(rows["coregistration", "n/a"].recovered) == pytest.approx(0.7, abs=0.002)
    assert rows["coregistration", "n/a"].within_limit is True
    assert float(rows["normalization", "n/a"].recovered) == pytest.approx(3.2, abs=0.002)
    assert rows["normalization", "n/a"].within_limit is False
    # Signal and noise of equal variance.
    assert float(rows["betas", "visual"].recovered) == pytest.approx(np.sqrt(0.5), abs=0.05)
    assert rows["betas", "visual"].within_limit is False


def test_errors_over_the_limit_are_said(recover: Recover) -> None:
    rows = recover(
        Errors(
            motion=lambda volume: shift(y=0.12 * (-1) ** volume),
            coregistration=rigid(ORIGIN, np.array([0, 0, 0.1]), ORIGIN),
        )
    )
    assert rows["motion", "n/a"].within_limit is False
    assert rows["coregistration", "n/a"].within_limit is False


def test_a_common_offset_is_no_error(recover: Recover) -> None:
    offset = rigid(np.array([0.3, -0.2, 0.1]), np.array([0.01, 0, -0.02]), ORIGIN)
    rows = recover(Errors(offset=offset))
    assert float(rows["motion", "n/a"].recovered) < 0.002
    assert float(rows["coregistration", "n/a"].recovered) < 0.002


def test_models_are_ranked_by_their_mean_over_subjects(recover: Recover) -> None:
    rows = recover(Errors())
    best = {roi: rows["highest score", roi] for roi in ROIS}
    assert (best["visual"].planted, best["visual"].recovered) == ("A", "A")
    assert best["visual"].within_limit is True
    assert (best["fusiform"].planted, best["fusiform"].recovered) == ("B", "A")
    assert best["fusiform"].within_limit is False
    # Below the lowest ceiling a model cannot be told, and nothing is claimed.
    assert best["hippocampus"].within_limit is None
    assert "0.02" in best["hippocampus"].quantity


def test_a_highest_score_names_those_that_may_be_the_best(recover: Recover, tmp_path: Path) -> None:
    recover(Errors())
    lines = ["roi\tmodel\tmay_be_best"]
    told = {"A": "True", "B": "True", "C": "False", "D": "n/a"}
    lines += [f"visual\t{model}\t{may_be}" for model, may_be in told.items()]
    lines.append("fusiform\tC\tTrue")
    table = tmp_path / "derivatives" / "group" / "scores.tsv"
    table.write_text("\n".join(lines) + "\n")
    rows = write_recovery(tmp_path / "truth", tmp_path / "derivatives", tmp_path / "out.tsv")
    (said,) = [row for row in rows if row.roi == "visual" and "highest score" in row.quantity]
    assert (said.recovered, said.within_limit) == ("A (not ruled out: B, D)", True)


def test_motion_error_equals_the_plain_sum_over_points() -> None:
    rng = np.random.default_rng(0)
    planted, recovered = (draw_motion((30,), 30, ORIGIN, rng) for _ in range(2))
    points = rng.normal(0, 40, (50, 3))
    homogeneous = np.column_stack([points, np.ones(50)])
    distances = np.linalg.norm(((planted - recovered) @ homogeneous.T)[:, :3], axis=1)
    expected = np.sqrt((distances**2).mean())
    assert motion_error(planted, recovered, points) == pytest.approx(expected)


def test_common_offset_is_found_exactly() -> None:
    planted = draw_motion((30,), 30, ORIGIN, np.random.default_rng(1))
    offset = rigid(np.array([1.0, 2, 3]), np.array([0.1, -0.05, 0.02]), ORIGIN)
    np.testing.assert_allclose(common_offset(planted, planted @ offset), offset, atol=1e-12)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("**/*confounds*", "do not hold the 40 volumes"),
        ("**/*statmap.tsv", "is missing"),
        ("**/*to-T1w_xfm.txt", "cannot be read"),
        ("**/rsa.tsv", "group level"),
        ("**/*_dseg.nii.gz", "is missing"),
    ],
)
def test_missing_derivatives_are_named(
    recover: Recover, tmp_path: Path, pattern: str, message: str
) -> None:
    recover(Errors())
    next((tmp_path / "derivatives").glob(pattern)).unlink()
    with pytest.raises(InputError, match=message):
        write_recovery(tmp_path / "truth", tmp_path / "derivatives", tmp_path / "out.tsv")


def test_missing_truth_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no planted truth"):
        write_recovery(tmp_path, tmp_path, tmp_path / "out.tsv")
