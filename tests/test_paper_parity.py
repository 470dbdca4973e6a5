"""The preset `paper` against the paper's algorithm in plain loops, from files of betas on."""

from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import nibabel as nib
import numpy as np
import paper_algorithm as paper
import pytest
from scipy.spatial.distance import pdist

from conceptrsa.analysis.betas.read import read_betas
from conceptrsa.analysis.brain.patterns import SubjectPatterns
from conceptrsa.analysis.comparison import compare
from conceptrsa.analysis.models.feature_files import Features
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.analysis.rsa.ceiling_sweep import peak_size
from conceptrsa.analysis.settings import settings_for
from conceptrsa.bids_config.schema import RoiDefinition

SHAPE = (8, 6, 4)
AFFINE = np.diag([-2.0, 2.0, 2.0, 1.0])
LABELS = {"visual": (1011, 2011), "fusiform": (1007,), "hippocampus": (17, 53)}
N_VOXELS = {1011: 40, 2011: 30, 1007: 35, 17: 25, 53: 20}
STIMULI = tuple(f"n{10000000 + 7 * row}_{row}" for row in range(13))
MODELS = {
    "CLIP": "multimodal",
    "ICMLM-attfc": "multimodal",
    "VirTex": "multimodal",
    "ResNet50": "visual",
    "BiT-M": "visual",
    "BERT": "language",
    "GPT2": "language",
}
N_TOP = 16
METRICS = [
    (rdm_metric, rsa_metric)
    for rdm_metric in ("correlation", "cosine")
    for rsa_metric in ("pearson", "spearman")
]
PAPER = settings_for("paper", n_voxels=N_TOP, n_random_draws=1, sweep_dense_until=1000)


def atlas() -> np.ndarray:
    labels = np.zeros(np.prod(SHAPE), np.int16)
    start = 5
    for label, n_voxels in N_VOXELS.items():
        labels[start : start + n_voxels] = label
        start += n_voxels
    return labels.reshape(SHAPE)


def latent() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((len(STIMULI), 5))


def random_betas(subject: int) -> np.ndarray:
    """Volumes (stimuli, x, y, z) of what all subjects share, and noise."""
    rng = np.random.default_rng(100 + subject)
    signal = 0.6 * latent() @ rng.standard_normal((5, np.prod(SHAPE)))
    betas = signal + rng.standard_normal((len(STIMULI), np.prod(SHAPE)))
    return betas.reshape(-1, *SHAPE).astype(np.float32)


def awkward_betas(subject: int) -> np.ndarray:
    """The same with voxels that are 0 or NaN, and scores that tie."""
    betas = random_betas(subject)
    flat = betas.reshape(len(STIMULI), -1)
    for roi, labels in LABELS.items():
        voxels = np.flatnonzero(np.isin(atlas(), labels))
        # Five voxels of each region share the highest beta, in different images.
        ties = voxels[1 + subject : 11 + subject : 2]
        flat[np.arange(5) + subject, ties] = 6.0
        flat[:, voxels[12 + subject]] = 0.0
        flat[4, voxels[13 + subject]] = 0.0
        flat[2, ties[3]] = 0.0
        if roi != "fusiform":
            flat[0, voxels[15 + subject]] = np.nan
            flat[9, voxels[16 + subject]] = np.nan
            flat[:, voxels[17]] = np.nan
    return betas


KINDS = {"random": random_betas, "awkward": awkward_betas}


@dataclass(frozen=True)
class Case:
    """Betas as the tool read them, and as the plain algorithm takes them, by region."""

    subjects: tuple[SubjectPatterns, ...]
    betas: dict[str, list[np.ndarray]]
    curves: dict[tuple[str, str, str], dict[int, list[float]]] = field(default_factory=dict)

    def curve(self, roi: str, metrics: tuple[str, str]) -> dict[int, list[float]]:
        """The plain sweep of a region, which takes a while, made once."""
        if (roi, *metrics) not in self.curves:
            orders = [paper.select_top(betas, betas.shape[1]) for betas in self.betas[roi]]
            self.curves[roi, *metrics] = paper.sweep(self.betas[roi], *metrics, orders)
        return self.curves[roi, *metrics]


@pytest.fixture(scope="module", params=list(KINDS))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Five subjects' files, numbered in another order than their names."""
    folder = tmp_path_factory.mktemp(request.param)
    nib.save(nib.Nifti1Image(atlas(), AFFINE), folder / "atlas.nii.gz")
    whole = [KINDS[request.param](subject) for subject in range(5)]
    for subject, volumes in enumerate(whole):
        write_subject(folder / "betas" / f"sub-{subject + 1:02d}", volumes)
    rois = tuple(RoiDefinition(name, labels) for name, labels in LABELS.items())
    betas = {}
    for name, labels in LABELS.items():
        inside = np.isin(atlas(), labels)
        of_region = [volumes[:, inside].astype(np.float64) for volumes in whole]
        betas[name] = [values[:, paper.voxels_with_data(values)] for values in of_region]
    return Case(read_betas(folder / "betas", rois, atlas=folder / "atlas.nii.gz"), betas)


def write_subject(folder: Path, volumes: np.ndarray) -> None:
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(3).permutation(len(STIMULI)) + 3
    for stimulus, number, volume in zip(STIMULI, numbers, volumes, strict=True):
        nib.save(nib.Nifti1Image(volume, AFFINE), folder / f"{stimulus}_..beta_{number:04d}.nii")


def features() -> list[Features]:
    """Features whose stimuli are in another order than the betas', with one more."""
    rng = np.random.default_rng(2)
    order = [*rng.permutation(len(STIMULI)), 0]
    stimuli = (*(STIMULI[row] for row in order[:-1]), "n99999999_1")
    models = []
    for name, group in MODELS.items():
        noise = {"multimodal": 0.7, "visual": 2.0, "language": 6.0}[group]
        values = latent() @ rng.standard_normal((5, 40))
        values += noise * rng.standard_normal(values.shape)
        models.append(Features(name, group, stimuli, values[order], note=""))
    return models


def plain_model_rdms(metric: str) -> list[np.ndarray]:
    rdms = []
    for model in features():
        by_stimulus = dict(zip(model.stimuli, model.values, strict=True))
        rdms.append(pdist(np.stack([by_stimulus[stimulus] for stimulus in STIMULI]), metric))
    return rdms


def plain_voxels(case: Case, selection: str, skip_zeros: bool, metrics: tuple[str, str]) -> dict:
    """Voxels of each region and subject by the plain algorithm."""
    chosen: dict[str, list[list[int]]] = {}
    for roi, subjects in case.betas.items():
        if selection == "all":
            chosen[roi] = [list(range(betas.shape[1])) for betas in subjects]
        elif selection == "threshold":
            chosen[roi] = [
                paper.select_above(betas, paper.hippocampal_threshold(hippocampus, N_TOP))
                for betas, hippocampus in zip(subjects, case.betas["hippocampus"], strict=True)
            ]
        else:
            n_voxels = N_TOP
            if selection == "best-n":
                n_voxels = paper.peak(case.curve(roi, metrics))
            chosen[roi] = [paper.select_top(betas, n_voxels, skip_zeros) for betas in subjects]
    return chosen


def check_scores(
    result: ComparisonResult, case: Case, metrics: tuple[str, str], voxels: dict
) -> None:
    models = plain_model_rdms(metrics[0])
    for roi in result.rois:
        rdms = [
            paper.rdm(betas, chosen, metrics[0])
            for betas, chosen in zip(case.betas[roi.roi], voxels[roi.roi], strict=True)
        ]
        ceiling = paper.ceilings(rdms, metrics[1])
        rsa = paper.correlations(rdms, models, metrics[1])
        assert roi.n_voxels.ravel().tolist() == [len(chosen) for chosen in voxels[roi.roi]]
        np.testing.assert_allclose(roi.rdms.reshape(5, -1), rdms, rtol=0, atol=1e-12)
        np.testing.assert_allclose(roi.ceiling.pairwise, ceiling, rtol=0, atol=1e-12)
        np.testing.assert_allclose(roi.rsa, rsa, rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            roi.rsa_normalised, paper.normalised(rsa, ceiling), rtol=1e-11, atol=1e-12
        )


@pytest.mark.parametrize("metrics", METRICS, ids="-".join)
@pytest.mark.parametrize("selection", ["top-n", "threshold", "all", "best-n"])
def test_scores(case: Case, metrics: tuple[str, str], selection: str) -> None:
    settings = replace(
        PAPER, voxel_selection=selection, rdm_metric=metrics[0], rsa_metric=metrics[1]
    )
    result = compare(case.subjects, features(), settings)
    voxels = plain_voxels(case, selection, False, metrics)
    check_scores(result, case, metrics, voxels)
    if selection == "threshold":
        assert {len(chosen) for chosen in voxels["hippocampus"]} <= {N_TOP, N_TOP - 1}


@pytest.mark.parametrize("selection", ["top-n", "best-n"])
def test_scores_without_voxels_that_hold_a_zero(case: Case, selection: str) -> None:
    metrics = ("correlation", "pearson")
    settings = replace(PAPER, voxel_selection=selection, skip_zeros=True)
    result = compare(case.subjects, features(), settings)
    voxels = plain_voxels(case, selection, True, metrics)
    check_scores(result, case, metrics, voxels)
    differs = voxels != plain_voxels(case, selection, False, metrics)
    assert differs == any((betas == 0).any() for betas in case.betas["visual"])


@pytest.mark.parametrize("metrics", METRICS, ids="-".join)
def test_every_number_of_voxels(case: Case, metrics: tuple[str, str]) -> None:
    settings = replace(PAPER, rdm_metric=metrics[0], rsa_metric=metrics[1])
    result = compare(case.subjects, features(), settings)
    for sweep in result.sweeps:
        expected = case.curve(sweep.roi, metrics)
        assert sweep.n_voxels.tolist() == list(expected)
        np.testing.assert_allclose(sweep.top.pairwise, list(expected.values()), rtol=0, atol=1e-12)
        assert peak_size(sweep) == paper.peak(expected)


@pytest.mark.parametrize("groups", ["paper", "authors-code"])
def test_tests(case: Case, groups: str) -> None:
    settings = replace(PAPER, groups=groups)
    result = compare(case.subjects, features(), settings)
    voxels = plain_voxels(case, "top-n", False, ("correlation", "pearson"))
    names = list(MODELS)
    membership = dict(MODELS)
    if groups == "authors-code":
        membership["ICMLM-attfc"] = "visual"
    found_models = {(test.roi, test.model, test.score): test for test in result.model_tests}
    found_groups = {
        (test.roi, frozenset((test.group_a, test.group_b)), test.score): test
        for test in result.group_tests
    }
    for roi, subjects in case.betas.items():
        rdms = [
            paper.rdm(betas, chosen, "correlation")
            for betas, chosen in zip(subjects, voxels[roi], strict=True)
        ]
        rsa = paper.correlations(rdms, plain_model_rdms("correlation"), "pearson")
        shares = paper.normalised(rsa, paper.ceilings(rdms, "pearson"))
        assert np.isfinite(shares).any(axis=0).all()
        for score, values in {"rsa": rsa, "rsa_normalised": shares}.items():
            for model in names:
                if model != "ResNet50":
                    test = found_models[roi, model, score]
                    reference = names.index("ResNet50")
                    expected = paper.test_of_model(values, names.index(model), reference)
                    np.testing.assert_allclose((test.statistic, test.p), expected, rtol=1e-12)
            for pair in combinations(dict.fromkeys(MODELS.values()), 2):
                test = found_groups[roi, frozenset(pair), score]
                statistic, p = paper.test_of_groups(
                    values, [membership[name] for name in names], test.group_a, test.group_b
                )
                np.testing.assert_allclose(test.statistic, statistic, rtol=1e-10)
                np.testing.assert_allclose(test.p, p, rtol=1e-10)
