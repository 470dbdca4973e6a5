"""Real RDMs of 92 images (Kriegeskorte et al. 2008) through the functions of the group level."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat
from scipy.spatial.distance import squareform

from conceptrsa.analysis.rsa.correlations import correlate_rdms
from conceptrsa.analysis.rsa.noise_ceiling import noise_ceiling

METRICS = {
    "pearson": "corr",
    "spearman": "spearman",
    "kendall-tau-a": "tau-a",
    "rho-a": "rho-a",
    "cosine": "cosine",
    "whitened-cosine": "cosine_cov",
}

REAL_MODELS = {
    "animacy": 0.3871,
    "monkeyIT": 0.3335,
    "FaceBodyManmadeNatobj": 0.2816,
    "EVA": 0.2591,
    "HMAX": 0.1521,
    "Silhouette": 0.1159,
    "RADON": 0.0365,
    "V1": 0.0250,
}


def real_brain_rdms(shared_data: Path) -> np.ndarray:
    """Human IT, the mean over two sessions of four people, (4, 4186)."""
    sessions = loadmat(shared_data / "rsatoolbox_92images" / "92_brainRDMs.mat")["RDMs"][0]
    return np.array(
        [
            np.mean([squareform(s["RDM"].astype(float), checks=False) for s in person], axis=0)
            for person in sessions
        ]
    )


def real_model_rdms(shared_data: Path) -> dict[str, np.ndarray]:
    models = loadmat(shared_data / "rsatoolbox_92images" / "92_modelRDMs.mat")["Models"][0]
    return {
        str(model["name"][0]): squareform(model["RDM"].astype(float), checks=False)
        for model in models
    }


def test_real_models_of_92_images(shared_data: Path) -> None:
    models = real_model_rdms(shared_data)
    found = correlate_rdms(
        real_brain_rdms(shared_data), np.stack(list(models.values())), "pearson"
    ).mean(axis=0)
    assert dict(zip(models, found.round(4), strict=True)) == pytest.approx(REAL_MODELS, abs=1e-9)


@pytest.mark.parametrize(
    ("metric", "lower", "upper"), [("pearson", 0.39441, 0.68041), ("spearman", 0.37231, 0.66572)]
)
def test_real_92_images(shared_data: Path, metric: str, lower: float, upper: float) -> None:
    found = noise_ceiling(real_brain_rdms(shared_data), metric)
    assert found.lower.mean() == pytest.approx(lower, abs=5e-6)
    assert found.upper.mean() == pytest.approx(upper, abs=5e-6)
    if metric == "pearson":
        assert found.pairwise.mean() == pytest.approx(0.28395, abs=5e-6)


@pytest.mark.parametrize(("metric", "method"), METRICS.items())
def test_real_models_of_rsatoolbox(shared_data: Path, metric: str, method: str) -> None:
    rsatoolbox = pytest.importorskip("rsatoolbox")
    brain, models = real_brain_rdms(shared_data), np.stack([*real_model_rdms(shared_data).values()])
    expected = rsatoolbox.rdm.compare(
        rsatoolbox.rdm.RDMs(brain), rsatoolbox.rdm.RDMs(models), method=method
    )
    np.testing.assert_allclose(correlate_rdms(brain, models, metric), expected, atol=1e-10)


@pytest.mark.filterwarnings("ignore:Noise ceiling for tau")
@pytest.mark.parametrize(("metric", "method"), METRICS.items())
def test_real_ceilings_of_rsatoolbox(shared_data: Path, metric: str, method: str) -> None:
    rsatoolbox = pytest.importorskip("rsatoolbox")
    brain = real_brain_rdms(shared_data)
    expected = rsatoolbox.inference.boot_noise_ceiling(rsatoolbox.rdm.RDMs(brain), method=method)
    found = noise_ceiling(brain, metric)
    np.testing.assert_allclose([found.lower.mean(), found.upper.mean()], expected, atol=1e-10)
