"""The paper's algorithm once more, in plain loops and SciPy, for the tests to hold ours against.

Nothing here comes from `analysis`: a mistake there cannot hide here. Written from the paper's text
and from what its authors' code does, one number at a time, as slow as that is.
"""

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr, ttest_ind, wilcoxon

CORRELATE = {"pearson": pearsonr, "spearman": spearmanr}


def highest_betas(betas: np.ndarray) -> list[float]:
    """Score of each voxel: the largest of its betas."""
    return [max(betas[:, voxel]) for voxel in range(betas.shape[1])]


def voxels_with_data(betas: np.ndarray) -> list[int]:
    """Voxels without a NaN in any image that are not the same in all."""
    return [
        v
        for v in range(betas.shape[1])
        if not any(np.isnan(b) for b in betas[:, v]) and max(betas[:, v]) > min(betas[:, v])
    ]


def select_top(betas: np.ndarray, n_voxels: int, skip_zeros: bool = False) -> list[int]:
    """Go down the scores until there are n voxels; of equal ones the first comes first."""
    scores = highest_betas(betas)
    chosen: list[int] = []
    left = list(range(len(scores)))
    while left and len(chosen) < n_voxels:
        best = left[0]
        for voxel in left:
            if scores[voxel] > scores[best]:
                best = voxel
        left.remove(best)
        if not (skip_zeros and any(beta == 0 for beta in betas[:, best])):
            chosen.append(best)
    return chosen


def hippocampal_threshold(betas: np.ndarray, n_voxels: int) -> float:
    """The (n + 1)th largest score of the hippocampus."""
    return sorted(highest_betas(betas))[-(n_voxels + 1)]


def select_above(betas: np.ndarray, threshold: float) -> list[int]:
    """Voxels whose score is above the threshold."""
    return [voxel for voxel, score in enumerate(highest_betas(betas)) if score > threshold]


def rdm(betas: np.ndarray, voxels: list[int], metric: str) -> np.ndarray:
    """Distances of all pairs of images over some voxels."""
    return pdist(betas[:, voxels], metric)


def ceilings(rdms: list[np.ndarray], metric: str) -> list[float]:
    """Mean correlation of each subject's RDM with each of the others'."""
    found = []
    for i, one in enumerate(rdms):
        with_others = [
            CORRELATE[metric](one, other).statistic for j, other in enumerate(rdms) if j != i
        ]
        found.append(sum(with_others) / len(with_others))
    return found


def correlations(rdms: list[np.ndarray], model_rdms: list[np.ndarray], metric: str) -> np.ndarray:
    """RSA of each subject with each model."""
    return np.array(
        [[CORRELATE[metric](one, model).statistic for model in model_rdms] for one in rdms]
    )


def normalised(scores: np.ndarray, ceiling: list[float]) -> np.ndarray:
    """Each subject's scores divided by that subject's ceiling, which must be above zero."""
    shares = np.full(scores.shape, np.nan)
    for subject, attainable in enumerate(ceiling):
        if attainable > 0:
            for model in range(scores.shape[1]):
                shares[subject, model] = scores[subject, model] / attainable
    return shares


def sweep(
    subjects: list[np.ndarray], rdm_metric: str, rsa_metric: str, voxels: list[list[int]]
) -> dict[int, list[float]]:
    """Ceilings of the first n of each subject's voxels, for every n from 3 on."""
    found = {}
    for n in range(3, min(len(order) for order in voxels) + 1):
        rdms = [
            rdm(betas, order[:n], rdm_metric) for betas, order in zip(subjects, voxels, strict=True)
        ]
        found[n] = ceilings(rdms, rsa_metric)
    return found


def peak(curve: dict[int, list[float]]) -> int:
    """The first number of voxels of the highest mean ceiling."""
    best = min(curve)
    for n in sorted(curve):
        if np.mean(curve[n]) > np.mean(curve[best]):
            best = n
    return best


def test_of_model(scores: np.ndarray, model: int, reference: int) -> tuple[float, float]:
    """Wilcoxon's signed-rank statistic and p over the subjects that have both values."""
    differences = [
        row[model] - row[reference] for row in scores if np.isfinite(row[model] - row[reference])
    ]
    result = wilcoxon(differences, method="exact")
    return result.statistic, result.pvalue


def test_of_groups(
    scores: np.ndarray, groups: list[str], group_a: str, group_b: str
) -> tuple[float, float]:
    """Welch's t and p between the models' means over subjects."""
    means: dict[str, list[float]] = {group_a: [], group_b: []}
    for model, group in enumerate(groups):
        if group in means:
            there = [value for value in scores[:, model] if np.isfinite(value)]
            means[group].append(sum(there) / len(there))
    result = ttest_ind(means[group_a], means[group_b], equal_var=False)
    return result.statistic, result.pvalue


test_of_model.__test__ = False
test_of_groups.__test__ = False
