"""Pooling over runs: hand-computed means, least squares on all runs at once, names, halves."""

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import scipy.linalg
from block_design import TR, autoregressive, block_events, random_motion, simulate

from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.numerics.design import column_name, make_run_design
from conceptrsa.interfaces.numerics.glm import fit_glm
from conceptrsa.interfaces.python.pool_runs import PoolBetas

SHAPE = (3, 2, 2)


def write_run(
    folder: Path,
    run: int,
    betas: dict[str, float | np.ndarray],
    information: np.ndarray | None = None,
    affine: np.ndarray | None = None,
) -> tuple[str, ...]:
    """Write the betas (one value or one a voxel) of a run in the order given."""
    names = list(betas)
    kinds = [name if name in ("fixation", "one-back") else "stimulus" for name in names]
    data = np.empty((*SHAPE, len(names)), np.float32)
    for volume, values in enumerate(betas.values()):
        data[..., volume] = np.broadcast_to(values, np.prod(SHAPE)).reshape(SHAPE)
    affine = np.diag([-3.0, 3, 3, 1]) if affine is None else affine
    betas_file, conditions_file = folder / f"betas{run}.nii", folder / f"conditions{run}.tsv"
    nib.save(nib.Nifti1Image(data, affine), betas_file)
    pd.DataFrame(
        {"volume": range(len(names)), "condition": names, "kind": kinds, "n_events": 1}
    ).to_csv(conditions_file, sep="\t", index=False)
    if information is None:
        return str(betas_file), str(conditions_file)
    columns = list(map(column_name, names, kinds))
    information_file = folder / f"information{run}.tsv"
    pd.DataFrame(information, index=columns, columns=columns).to_csv(
        information_file, sep="\t", index_label="condition"
    )
    return str(betas_file), str(conditions_file), str(information_file)


def pool(runs: list[tuple[str, ...]], folder: Path):
    fields = ("betas_files", "conditions_files", "information_files")
    inputs = {
        field: list(files) for field, files in zip(fields, zip(*runs, strict=True), strict=False)
    }
    folder.mkdir()
    return PoolBetas(**inputs).run(cwd=str(folder)).outputs


def test_mean_by_name_over_the_runs_that_have_the_stimulus(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, 1, {"cat": 1, "dog": 10, "fixation": 7, "one-back": 8}),
        write_run(tmp_path, 2, {"dog": 30, "cat": 2, "fixation": 7, "one-back": 8}),
        write_run(tmp_path, 3, {"cat": 6, "001": 5, "fixation": 7}),
    ]
    outputs = pool(runs, tmp_path / "out")
    table = pd.read_csv(outputs.stimuli_file, sep="\t", dtype={"stimulus": str})
    assert table["stimulus"].tolist() == ["001", "cat", "dog"]
    assert table["volume"].tolist() == [0, 1, 2]
    assert table["n_runs"].tolist() == [1, 3, 2]
    assert table["n_runs_odd"].tolist() == [1, 2, 1]
    assert table["n_runs_even"].tolist() == [0, 1, 1]

    for path, expected in (
        (outputs.pooled_file, [5, 3, 20]),
        (outputs.odd_file, [5, 3.5, 10]),
        (outputs.even_file, [np.nan, 2, 30]),
    ):
        image = nib.load(path)
        assert image.shape == (*SHAPE, 3) and image.get_data_dtype() == np.float32
        np.testing.assert_allclose(image.affine, np.diag([-3.0, 3, 3, 1]))
        np.testing.assert_allclose(image.get_fdata()[2, 1, 0], expected, rtol=1e-6)


def test_every_voxel_keeps_its_place_and_nan_stays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, np.prod(SHAPE)))
    second[4] = np.nan
    runs = [write_run(tmp_path, k, {"cat": betas}) for k, betas in enumerate((first, second))]
    outputs = pool(runs, tmp_path / "out")
    pooled = nib.load(outputs.pooled_file).get_fdata()[..., 0].ravel()
    np.testing.assert_allclose(pooled, (first + second) / 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        nib.load(outputs.odd_file).get_fdata()[..., 0].ravel(), first, rtol=1e-6
    )


@pytest.mark.parametrize("joint", [True, False])
def test_one_run_has_no_even_half(tmp_path: Path, caplog, joint: bool) -> None:
    information = np.array([[2.0, 0.5], [0.5, 1.0]]) if joint else None
    run = write_run(tmp_path, 1, {"cat": 1.5, "dog": -2}, information)
    with caplog.at_level(logging.WARNING):
        outputs = pool([run], tmp_path / "out")
    assert "only one run" in caplog.text
    np.testing.assert_allclose(nib.load(outputs.odd_file).get_fdata()[0, 0, 0], [1.5, -2])
    np.testing.assert_allclose(nib.load(outputs.pooled_file).get_fdata()[0, 0, 0], [1.5, -2])
    assert np.isnan(nib.load(outputs.even_file).get_fdata()).all()
    assert (pd.read_csv(outputs.stimuli_file, sep="\t")["n_runs_even"] == 0).all()


def test_joint_estimate_is_least_squares_on_all_runs(tmp_path: Path) -> None:
    """Oracle: one design with a column a condition, and nuisance columns a run."""
    rng = np.random.default_rng(1)
    data, of_interest, nuisance, runs = [], [], [], []
    columns: list[str] = []
    for run in range(4):
        events = block_events(run, n_stimuli=14, n_repeats=2)
        if run == 2:
            events = events[events["condition"] != "picture03"]
        design = make_run_design(events, random_motion(60, rng), TR)
        names = [condition.column for condition in design.conditions]
        columns = columns or names
        bold = rng.standard_normal((60, int(np.prod(SHAPE))))
        fit = fit_glm(bold, design.matrix.to_numpy(), "ols")
        betas = {c.name: fit.betas[k] for k, c in enumerate(design.conditions)}
        runs.append(write_run(tmp_path, run, betas, design.information().to_numpy()))
        data.append(bold)
        of_interest.append(design.matrix.reindex(columns=columns, fill_value=0.0).to_numpy())
        nuisance.append(design.matrix.drop(columns=names).to_numpy())

    outputs = pool(runs, tmp_path / "out")
    for path, chosen in (
        (outputs.pooled_file, slice(None)),
        (outputs.odd_file, slice(0, None, 2)),
        (outputs.even_file, slice(1, None, 2)),
    ):
        everything = np.hstack(
            [np.vstack(of_interest[chosen]), scipy.linalg.block_diag(*nuisance[chosen])]
        )
        expected = np.linalg.lstsq(everything, np.vstack(data[chosen]), rcond=None)[0][:14]
        pooled = nib.load(path).get_fdata().reshape(-1, 14).T
        np.testing.assert_allclose(pooled, expected, rtol=1e-4, atol=1e-4)


def test_joint_estimate_recovers_what_the_mean_over_runs_loses(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    voxels = int(np.prod(SHAPE))
    planted = {f"picture{k:02d}": rng.normal(1, 0.5, voxels) for k in range(50)}
    planted |= {"one-back": np.ones(voxels)}
    runs = []
    for run in range(8):
        events = block_events(run)
        design = make_run_design(events, random_motion(178, rng), TR)
        bold = simulate(events, planted, 0.7, rng)
        fit = fit_glm(bold, design.matrix.to_numpy(), "ar1")
        betas = {c.name: fit.betas[k] for k, c in enumerate(design.conditions)}
        runs.append(write_run(tmp_path, run, betas, design.information().to_numpy()))
    truth = np.array([planted[name] for name in sorted(planted) if name != "one-back"])

    def pattern_correlation(outputs) -> float:
        betas = nib.load(outputs.pooled_file).get_fdata().reshape(-1, 50).T
        centred = [values - values.mean(axis=0) for values in (betas, truth)]
        return float(np.corrcoef(*map(np.ravel, centred))[0, 1])

    joint = pattern_correlation(pool(runs, tmp_path / "joint"))
    mean = pattern_correlation(pool([run[:2] for run in runs], tmp_path / "mean"))
    assert joint > 0.85
    assert mean < 0.6


def test_autocorrelated_noise_hardly_costs_precision() -> None:
    """The weights are those of white noise; under AR(1) of 0.3 they are still near the optimum."""
    rng = np.random.default_rng(3)
    noise_sets = []
    designs = [make_run_design(block_events(k), np.zeros((178, 6)), TR) for k in range(6)]
    lag = np.abs(np.subtract.outer(np.arange(178), np.arange(178)))
    precision = np.linalg.inv(0.3**lag)
    optimum = 0.0
    for design in designs:
        matrix = design.matrix.to_numpy()
        full = matrix.T @ precision @ matrix
        n = len(design.conditions)
        schur = full[:n, n:] @ np.linalg.solve(full[n:, n:], full[n:, :n])
        optimum = optimum + full[:n, :n] - schur
    information, weighted = 0.0, 0.0
    for design in designs:
        noise = autoregressive(178, 3000, 0.3, rng)
        betas = fit_glm(noise, design.matrix.to_numpy(), "ar1").betas[: len(design.conditions)]
        weight = design.information().to_numpy()
        information, weighted = information + weight, weighted + weight @ betas
        noise_sets.append(noise)
    centring = np.eye(50) - 1 / 50
    errors = centring @ np.linalg.solve(information, weighted)[:50]
    best = np.trace(centring @ np.linalg.inv(optimum)[:50, :50] @ centring) / 50
    assert np.mean(errors**2) / best == pytest.approx(1.05, abs=0.07)


def test_runs_in_different_grids(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, 1, {"cat": 1}),
        write_run(tmp_path, 2, {"cat": 1}, affine=np.diag([3.0, 3, 3, 1])),
    ]
    with pytest.raises(StepError, match=r"betas2\.nii and .*betas1\.nii are in different grids"):
        pool(runs, tmp_path / "out")


def test_conditions_that_do_not_fit_the_betas(tmp_path: Path) -> None:
    betas_file, _ = write_run(tmp_path, 1, {"cat": 1, "dog": 2})
    _, conditions_file = write_run(tmp_path, 2, {"cat": 1})
    with pytest.raises(StepError, match=r"conditions2\.tsv does not list each volume"):
        pool([(betas_file, conditions_file)], tmp_path / "out")


def test_information_of_another_run(tmp_path: Path) -> None:
    first = write_run(tmp_path, 1, {"cat": 1, "dog": 2}, np.eye(2))
    second = write_run(tmp_path, 2, {"cat": 1, "eel": 2}, np.eye(2))
    with pytest.raises(StepError, match=r"information2\.tsv does not have the conditions"):
        pool([(*first[:2], second[2])], tmp_path / "out")


def test_runs_without_stimuli(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="No run has a beta of a stimulus"):
        pool([write_run(tmp_path, 1, {"fixation": 1})], tmp_path / "out")
