"""The fit against nilearn and against planted betas, and the interface from file to file."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from block_design import (
    TR,
    autoregressive,
    block_events,
    n_volumes,
    random_motion,
    real_events,
    simulate,
)
from nilearn.glm.first_level import run_glm

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.interfaces.numerics import glm
from conceptrsa.interfaces.numerics.design import RunDesign, make_run_design
from conceptrsa.interfaces.numerics.glm import fit_glm, read_masked_series, scale_to_percent
from conceptrsa.interfaces.python.run_glm import EstimateBetas


def condition_names(design: RunDesign) -> list[str]:
    return [condition.name for condition in design.conditions]


@pytest.fixture(scope="module")
def run() -> tuple[np.ndarray, np.ndarray]:
    """Data (178, 600) with voxels of very different autocorrelation, and a design."""
    rng = np.random.default_rng(0)
    design = make_run_design(block_events(0), random_motion(178, rng), TR).matrix.to_numpy()
    noise = [autoregressive(178, 100, rho, rng) for rho in (-0.4, 0.0, 0.2, 0.5, 0.8, 0.95)]
    return 1000 + 30 * np.hstack(noise), design


@pytest.mark.parametrize("noise_model", ["ar1", "ols"])
def test_equals_nilearn(run, noise_model: str) -> None:
    data, design = run
    labels, results = run_glm(data, design, noise_model=noise_model)
    betas = np.empty((design.shape[1], data.shape[1]))
    variance = np.empty(data.shape[1])
    for label, result in results.items():
        betas[:, labels == label] = result.theta
        variance[labels == label] = result.dispersion
    fit = fit_glm(data, design, noise_model)
    np.testing.assert_allclose(fit.betas, betas, rtol=1e-5, atol=1e-7 * np.abs(betas).max())
    np.testing.assert_allclose(fit.residual_variance, variance, rtol=1e-5)
    np.testing.assert_allclose(fit.autocorrelation, labels.astype(float), atol=1e-12)


def test_blocks_do_not_change_the_result(run, monkeypatch: pytest.MonkeyPatch) -> None:
    data, design = run
    whole = fit_glm(data, design)
    monkeypatch.setattr(glm, "_BLOCK_VOXELS", 7)
    blocks = fit_glm(data, design)
    np.testing.assert_array_equal(blocks.autocorrelation, whole.autocorrelation)
    np.testing.assert_allclose(blocks.betas, whole.betas, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(blocks.residual_variance, whole.residual_variance, rtol=1e-10)


@pytest.mark.parametrize("noise_model", ["ar1", "ols"])
def test_voxels_without_signal_are_nan_and_alone(run, noise_model: str) -> None:
    data, design = run
    with_dead = data.copy()
    with_dead[:, [3, 77]] = [0.0, 812.0]
    fit, expected = fit_glm(with_dead, design, noise_model), fit_glm(data, design, noise_model)
    dead = np.isin(np.arange(data.shape[1]), [3, 77])
    assert np.isnan(fit.betas[:, dead]).all() and np.isnan(fit.residual_variance[dead]).all()
    np.testing.assert_allclose(fit.betas[:, ~dead], expected.betas[:, ~dead], rtol=1e-8)


@pytest.mark.parametrize("noise_model", ["ar1", "ols"])
@pytest.mark.parametrize("baseline", ["explicit", "implicit"])
def test_planted_betas_without_noise(noise_model: str, baseline: str) -> None:
    """The HRF is convolved independently, in other steps; what differs is the sampling."""
    rng = np.random.default_rng(1)
    events = block_events(1)
    design = make_run_design(events, random_motion(178, rng), TR, baseline=baseline)
    planted = {name: rng.normal(1, 0.5, 40) for name in condition_names(design)}
    planted["fixation"] = np.zeros(40)
    data = simulate(events, planted, 0.0, rng)
    fit = fit_glm(data, design.matrix.to_numpy(), noise_model)
    truth = np.array([planted[name] for name in condition_names(design)])
    recovered = fit.betas[: len(truth)]
    assert np.corrcoef(recovered.ravel(), truth.ravel())[0, 1] > 0.99
    assert np.sqrt(np.mean((recovered - truth) ** 2)) < 0.06


@pytest.mark.parametrize("noise_model", ["ar1", "ols"])
def test_planted_betas_are_recovered_within_their_standard_error(noise_model: str) -> None:
    rng = np.random.default_rng(2)
    events, voxels = block_events(2), 4000
    motion = random_motion(178, rng)
    design = make_run_design(events, motion, TR)
    names = condition_names(design)
    planted = {name: np.full(voxels, rng.normal(1, 0.5)) for name in names}
    planted["fixation"] = np.zeros(voxels)
    data = simulate(events, planted, 0.5, rng)
    data += motion @ rng.normal(0, 3, (6, voxels))
    fit = fit_glm(data, design.matrix.to_numpy(), noise_model)

    errors = fit.betas[: len(names)] - np.array([planted[name] for name in names])
    standard_error = errors.std(axis=1) / np.sqrt(voxels)
    assert np.abs(errors.mean(axis=1) / standard_error).max() < 4.5


def test_residual_variance_is_that_of_white_noise() -> None:
    rng = np.random.default_rng(7)
    design = make_run_design(block_events(2), random_motion(178, rng), TR).matrix.to_numpy()
    fit = fit_glm(100 + 0.5 * rng.standard_normal((178, 1000)), design, "ols")
    assert fit.residual_variance.mean() == pytest.approx(0.25, rel=0.02)


def test_drift_and_motion_are_taken_out() -> None:
    rng = np.random.default_rng(3)
    events, voxels = block_events(3), 50
    motion = random_motion(178, rng)
    design = make_run_design(events, motion, TR)
    planted = {name: rng.normal(1, 0.5, voxels) for name in condition_names(design)}
    clean = simulate(events, planted, 0.0, rng)
    phase = np.pi * (np.arange(178)[:, None] + 0.5) / 178
    slow = sum(np.cos(k * phase) * rng.normal(0, 2, voxels) for k in range(1, 9))
    moved = motion @ rng.normal(0, 10, (6, voxels))
    matrix = design.matrix.to_numpy()
    n = len(planted)

    expected = fit_glm(clean, matrix, "ols").betas[:n]
    disturbed = fit_glm(clean + slow + moved, matrix, "ols").betas[:n]
    np.testing.assert_allclose(disturbed, expected, atol=1e-8)

    unfiltered = make_run_design(events, np.zeros((178, 6)), TR, high_pass_seconds=1e4)
    without = fit_glm(clean + slow + moved, unfiltered.matrix.to_numpy(), "ols").betas[:n]
    assert np.abs(without - expected).mean() > 1.0


def test_explicit_baseline_adds_a_shift_common_to_all_images(shared_data) -> None:
    """With fixation in the model, all images of a voxel move up or down as one.

    Runs are taken together, as the betas are that leave the tool; without noise in the planted
    pattern, what is seen is the noise of the estimate.
    """
    sessions = ("perceptionTest01", "perceptionTest02", "perceptionTest03", "perceptionTest04")
    runs = [real_events(shared_data, "01", s, r) for s in sessions for r in ("01", "02", "03")]
    rng = np.random.default_rng(4)
    data = [autoregressive(178, 400, 0.3, rng) for _ in runs]
    pooled = {}
    for baseline in ("explicit", "implicit"):
        information, weighted = 0.0, 0.0
        for events, noise in zip(runs, data, strict=True):
            design = make_run_design(events, np.zeros((178, 6)), TR, baseline=baseline)
            fit = fit_glm(noise, design.matrix.to_numpy(), "ols")
            run_information = design.information().to_numpy()
            information = information + run_information
            weighted = weighted + run_information @ fit.betas[: len(run_information)]
        pooled[baseline] = np.linalg.solve(information, weighted)[:50]

    common = {name: np.mean(betas.mean(axis=0) ** 2) for name, betas in pooled.items()}
    total = {name: np.mean(betas**2) for name, betas in pooled.items()}
    assert common["explicit"] / total["explicit"] > 0.6
    assert common["explicit"] > 1.5 * common["implicit"]

    explicit, implicit = (betas - betas.mean(axis=0) for betas in pooled.values())
    assert np.corrcoef(explicit.ravel(), implicit.ravel())[0, 1] > 0.99
    assert np.mean(explicit**2) == pytest.approx(np.mean(implicit**2), rel=0.03)


def test_grand_mean_is_100_over_voxels_with_signal() -> None:
    rng = np.random.default_rng(5)
    series = 640 + rng.standard_normal((20, 30))
    series[:, 4] = 0
    ratio = series[:, 7] / series[:, 8]
    scale_to_percent(series)
    assert np.delete(series, 4, axis=1).mean() == pytest.approx(100)
    np.testing.assert_allclose(series[:, 7] / series[:, 8], ratio)
    with pytest.raises(StepError, match="not demeaned"):
        scale_to_percent(series - 200)


# From file to file


@pytest.fixture
def bold(tmp_path: Path) -> dict[str, str]:
    """A small run on disk: 6 x 5 x 4 voxels, NaN outside the field of view."""
    rng = np.random.default_rng(6)
    events = block_events(6, n_stimuli=12, n_repeats=2)
    volumes = n_volumes(events)
    planted = {name: rng.normal(2, 1, 120) for name in events["condition"].unique()}
    planted["fixation"] = np.zeros(120)
    data = 7 * simulate(events, planted, 0.05, rng)
    mask = np.ones((6, 5, 4), np.uint8)
    mask[0] = 0
    image = data.T.reshape(6, 5, 4, volumes).astype(np.float32)
    image[0] = np.nan
    image[3, 3, 3] = 0
    affine = np.array([[-3.0, 0, 0, 9], [0, 3, 0, -8], [0, 0, 3, -7], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(image, affine), tmp_path / "bold.nii")
    nib.save(nib.Nifti1Image(mask, affine), tmp_path / "mask.nii")
    np.savetxt(tmp_path / "motion.txt", random_motion(volumes, rng))
    events.to_csv(tmp_path / "events.tsv", sep="\t", index=False)
    truth = np.array([planted[name] for name in sorted(planted) if name.startswith("picture")])
    np.save(tmp_path / "truth.npy", truth.reshape(12, 6, 5, 4))
    return {
        "in_file": str(tmp_path / "bold.nii"),
        "mask_file": str(tmp_path / "mask.nii"),
        "motion_file": str(tmp_path / "motion.txt"),
        "events_file": str(tmp_path / "events.tsv"),
    }


def estimate(inputs: dict[str, str], folder: Path, **settings: object):
    folder.mkdir()
    interface = EstimateBetas(repetition_time=TR, **inputs, **settings)
    return interface.run(cwd=str(folder)).outputs


def test_interface_writes_named_betas(bold, tmp_path: Path) -> None:
    outputs = estimate(bold, tmp_path / "out")
    image = nib.load(outputs.betas_file)
    betas = image.get_fdata()
    conditions = pd.read_csv(outputs.conditions_file, sep="\t")
    design = pd.read_csv(outputs.design_matrix_file, sep="\t")
    report = json.loads(Path(outputs.design_report_file).read_text())
    truth = np.load(tmp_path / "truth.npy")

    names = [f"picture{number:02d}" for number in range(12)]
    assert conditions["condition"].tolist() == [*names, "fixation", "one-back"]
    assert conditions["volume"].tolist() == list(range(14))
    assert conditions["n_events"].tolist() == [1] * 12 + [2, 2]
    assert betas.shape == (6, 5, 4, 14) and image.get_data_dtype() == np.float32
    np.testing.assert_allclose(image.affine, nib.load(bold["in_file"]).affine)
    assert np.isnan(betas[0]).all() and np.isnan(betas[3, 3, 3]).all()
    inside = np.isfinite(betas[..., 0])
    assert inside.sum() == 5 * 5 * 4 - 1
    # Grand mean 100 within less than the mean of the responses: betas are near the planted percent.
    for volume in range(12):
        assert np.corrcoef(betas[inside, volume], truth[volume][inside])[0, 1] > 0.8
    assert report["Volumes"] == len(design)
    assert report["Regressors"] == design.shape[1] == 14 + 6 + report_cosines(len(design)) + 1
    assert 1 < report["ConditionNumber"] < 1e4
    residual_sd = nib.load(outputs.residual_sd_file).get_fdata()[inside]
    assert np.median(residual_sd) == pytest.approx(0.05, rel=0.3)


def report_cosines(volumes: int) -> int:
    return int(2 * volumes * TR / 128)


def test_interface_is_deterministic_and_reads_gzip(bold, tmp_path: Path) -> None:
    first = estimate(bold, tmp_path / "first")
    zipped = str(tmp_path / "bold.nii.gz")
    nib.save(nib.load(bold["in_file"]), zipped)
    second = estimate({**bold, "in_file": zipped}, tmp_path / "second")
    for name in ("betas_file", "conditions_file", "design_matrix_file", "information_file"):
        one, other = (Path(getattr(outputs, name)) for outputs in (first, second))
        assert one.read_bytes() == other.read_bytes()


def test_implicit_baseline_has_no_fixation_beta(bold, tmp_path: Path) -> None:
    outputs = estimate(bold, tmp_path / "out", baseline="implicit", noise_model="ols", hrf="glover")
    conditions = pd.read_csv(outputs.conditions_file, sep="\t")
    assert conditions["kind"].unique().tolist() == ["stimulus", "one-back"]


def test_values_that_are_not_finite_name_the_file(bold) -> None:
    image = nib.load(bold["in_file"], mmap=False)
    data = image.get_fdata(dtype=np.float32)
    data[2, 2, 2, 5] = np.inf
    nib.save(nib.Nifti1Image(data, image.affine), bold["in_file"])
    with pytest.raises(StepError, match=r"Volume 5 of .*bold\.nii"):
        read_masked_series(bold["in_file"], bold["mask_file"])


def test_mask_of_another_grid_and_empty_mask(bold, tmp_path: Path) -> None:
    mask = nib.load(bold["mask_file"])
    moved = mask.affine.copy()
    moved[0, 3] += 1
    nib.save(nib.Nifti1Image(mask.get_fdata(), moved), tmp_path / "moved.nii")
    nib.save(nib.Nifti1Image(mask.get_fdata() * 0, mask.affine), tmp_path / "empty.nii")
    with pytest.raises(StepError, match=r"moved\.nii does not lie in the grid"):
        read_masked_series(bold["in_file"], tmp_path / "moved.nii")
    with pytest.raises(StepError, match=r"empty\.nii is empty"):
        read_masked_series(bold["in_file"], tmp_path / "empty.nii")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("kind", "break", "kinds"),
        ("onset", "n/a", "not a number of seconds"),
        ("duration", "-1", "not a number of seconds"),
    ],
)
def test_bad_events_name_the_file(bold, tmp_path: Path, column, value, message) -> None:
    events = pd.read_csv(bold["events_file"], sep="\t", dtype=str)
    events.loc[3, column] = value
    events.to_csv(bold["events_file"], sep="\t", index=False)
    with pytest.raises(InputError, match=rf"events\.tsv .*{message}"):
        estimate(bold, tmp_path / "out")


def test_motion_of_another_run(bold, tmp_path: Path) -> None:
    np.savetxt(bold["motion_file"], np.zeros((5, 6)))
    with pytest.raises(StepError, match=r"motion\.txt does not hold six"):
        estimate(bold, tmp_path / "out")
