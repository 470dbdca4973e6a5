"""Residual covariance against rsatoolbox, and partitions of runs: nested in halves, less noisy."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from block_design import TR, random_motion, real_events
from rsatoolbox.data.noise import cov_from_residuals

from conceptrsa.interfaces.numerics.design import make_run_design
from conceptrsa.interfaces.numerics.glm import residual_basis, shrunk_covariance
from conceptrsa.pipelines.participant_options import RUNS_PER_PARTITION, partition_runs


@pytest.mark.parametrize(("n_samples", "n_voxels"), [(40, 7), (30, 90), (500, 300)])
def test_shrunk_covariance_is_that_of_rsatoolbox(n_samples: int, n_voxels: int) -> None:
    rng = np.random.default_rng(n_voxels)
    mixing = rng.standard_normal((n_voxels, n_voxels)) + 2 * np.eye(n_voxels)
    samples = rng.standard_normal((n_samples, n_voxels)) @ mixing
    samples -= samples.mean(axis=0)
    found = shrunk_covariance(part.T for part in np.array_split(samples, 3))
    expected = cov_from_residuals(samples, dof=n_samples, method="shrinkage_diag")
    assert np.abs(found.matrix - expected).max() < 1e-10 * np.abs(expected).max()
    assert found.degrees_of_freedom == n_samples
    off_diagonal = (samples.T @ samples / n_samples)[0, 1:]
    assert found.matrix[0, 1:] == pytest.approx(off_diagonal * (1 - found.shrinkage))
    assert 0 < found.shrinkage < 1
    assert np.linalg.eigvalsh(found.matrix).min() > 0


def test_independent_voxels_are_shrunk_to_their_variances() -> None:
    rng = np.random.default_rng(1)
    found = shrunk_covariance([rng.standard_normal((60, 50))])
    assert found.shrinkage > 0.9


def test_residual_basis_holds_the_residuals_and_no_more() -> None:
    rng = np.random.default_rng(2)
    design, data = rng.standard_normal((30, 9)), rng.standard_normal((30, 4))
    residuals = data - design @ np.linalg.lstsq(design, data)[0]
    samples = residual_basis(design).T @ data
    assert samples.shape == (21, 4)
    assert np.allclose(samples.T @ samples, residuals.T @ residuals)


def test_shrinkage_of_residuals_is_that_of_independent_samples() -> None:
    """Residuals as they are, as many as volumes, would be shrunk by far more than is needed."""
    rng = np.random.default_rng(3)
    n_volumes, n_regressors, n_voxels = 120, 60, 40
    mixing = np.linalg.cholesky(0.3 + 0.7 * np.eye(n_voxels))
    basis = residual_basis(rng.standard_normal((n_volumes, n_regressors)))

    def mean_shrinkage(project: np.ndarray) -> float:
        noise = (mixing @ rng.standard_normal((n_voxels, len(project))) for _ in range(100))
        return float(np.mean([shrunk_covariance([part @ project]).shrinkage for part in noise]))

    independent = mean_shrinkage(np.eye(n_volumes - n_regressors))
    assert mean_shrinkage(basis) == pytest.approx(independent, rel=0.05)
    residuals = [mixing @ rng.standard_normal((n_voxels, n_volumes)) @ basis @ basis.T]
    covariance = cov_from_residuals(residuals[0].T, dof=60, method="shrinkage_diag")
    sample = residuals[0] @ residuals[0].T / 60
    assert 1 - covariance[0, 1] / sample[0, 1] > 1.5 * independent


@pytest.mark.parametrize("n_runs", [2, 3, 6, 7, 18, 35])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 40])
def test_partitions_are_nested_in_odd_and_even_runs(n_runs: int, size: int) -> None:
    partitions = partition_runs(n_runs, size)
    assert sorted(itertools.chain(*partitions)) == list(range(n_runs))
    for number, part in enumerate(partitions):
        assert {run % 2 for run in part} == {number % 2}
        assert len(part) >= min(size, n_runs // 2)
    if size == 1:
        assert partitions == tuple((run,) for run in range(n_runs))
    if size >= n_runs:
        assert len(partitions) == 2


def crossnobis(partitions: np.ndarray) -> np.ndarray:
    """Mean over pairs of partitions of products of differences; noise of unit variance."""
    first, second = np.triu_indices(partitions.shape[1], 1)
    differences = partitions[:, first] - partitions[:, second]
    return np.mean([(a * b).sum(axis=1) for a, b in itertools.combinations(differences, 2)], axis=0)


def test_partitions_of_a_few_runs_tame_the_noise_of_single_ones(shared_data: Path) -> None:
    """Betas of runs with real timing, as least squares gives them from planted ones."""
    rng = np.random.default_rng(8)
    designs = [
        make_run_design(
            real_events(shared_data, "01", f"perceptionTest{session:02d}", f"{run:02d}"),
            random_motion(178, rng),
            TR,
            baseline="implicit",
        )
        for session in (1, 2, 3)
        for run in (1, 2, 3, 4)
    ]
    stimuli = [c.column for c in designs[0].conditions if c.kind == "stimulus"]
    columns = [*stimuli, "one-back"]
    information = [design.information().loc[columns, columns].to_numpy() for design in designs]
    planted = 0.3 * rng.standard_normal((len(columns), 60))
    betas = [
        planted + np.linalg.cholesky(np.linalg.inv(matrix)) @ rng.standard_normal(planted.shape)
        for matrix in information
    ]
    first, second = np.triu_indices(len(stimuli), 1)
    truth = ((planted[first] - planted[second]) ** 2).sum(axis=1)

    def agreement(size: int) -> float:
        pooled = [
            np.linalg.solve(
                sum(information[run] for run in part),
                sum(information[run] @ betas[run] for run in part),
            )[: len(stimuli)]
            for part in partition_runs(len(designs), size)
        ]
        return float(np.corrcoef(crossnobis(np.array(pooled)), truth)[0, 1])

    assert agreement(1) < 0.2
    assert agreement(RUNS_PER_PARTITION) > 0.6
