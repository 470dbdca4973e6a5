import math
import warnings

import numpy as np
import pytest
import rsatoolbox
from rsatoolbox.inference import evaluate
from rsatoolbox.rdm import RDMs
from rsatoolbox.util.inference_util import extract_variances
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr, spearmanr

from benchmarks import bootstrap as bootstrap_module
from benchmarks.bootstrap import (
    Draws,
    bootstrap_errors,
    bootstrap_scores,
    draw_samples,
    one_factor_variance,
    two_factor_variance,
)
from conceptrsa.analysis.rsa.correlations import variance_of_present

RSATOOLBOX = {
    "pearson": "corr",
    "cosine": "cosine",
    "whitened-cosine": "cosine_cov",
    "spearman": "spearman",
    "rho-a": "rho-a",
    "kendall-tau-a": "tau-a",
}
N_STIMULI, N_SUBJECTS, N_MODELS, N_BOOTSTRAPS = 12, 4, 3, 40


def random_rdms(generator, *shape, n_stimuli=N_STIMULI):
    patterns = generator.standard_normal((math.prod(shape), n_stimuli, 6))
    return np.array([pdist(values) for values in patterns]).reshape(*shape, -1)


@pytest.fixture(scope="module")
def rdms():
    """Correlated subjects, one with ties; a categorical model, a graded one, a random one."""
    generator = np.random.default_rng(0)
    shared = random_rdms(generator, 1)
    brain = shared + random_rdms(generator, N_SUBJECTS)
    brain[2] = np.round(brain[2])
    category = np.arange(N_STIMULI) % 3
    models = np.stack(
        [
            pdist(category[:, None], lambda a, b: float(a[0] != b[0])),
            shared[0] + random_rdms(generator, 1)[0],
            random_rdms(generator, 1)[0],
        ]
    )
    return brain, models


def rsatoolbox_samples(brain, models, draws, metric, function, monkeypatch):
    """What a bootstrap of rsatoolbox gives on our draws."""
    samples = iter(
        [
            (np.repeat(np.arange(len(d)), d), np.repeat(np.arange(len(c)), c))
            for c, d in zip(draws.stimuli, draws.subjects, strict=True)
        ]
    )

    def drawn(data, rdm_descriptor, pattern_descriptor):
        subjects, stimuli = next(samples)
        sample = data.subsample(rdm_descriptor, subjects)
        return sample.subsample_pattern(pattern_descriptor, stimuli), subjects, stimuli

    monkeypatch.setattr(evaluate, "bootstrap_sample", drawn)
    fixed = [rsatoolbox.model.ModelFixed(str(i), model) for i, model in enumerate(models)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(fixed, RDMs(brain), method=RSATOOLBOX[metric], N=len(draws.stimuli))


@pytest.mark.parametrize("metric", RSATOOLBOX)
def test_samples_are_those_of_rsatoolbox_on_the_same_draws(rdms, metric, monkeypatch):
    brain, models = rdms
    draws = draw_samples(N_STIMULI, N_SUBJECTS, N_BOOTSTRAPS, np.random.default_rng(1))
    draws.subjects[0] = 0, 4, 0, 0
    found = bootstrap_scores(draws, brain[None], models, metric)
    expected = rsatoolbox_samples(
        brain, models, draws, metric, rsatoolbox.inference.eval_bootstrap, monkeypatch
    )
    np.testing.assert_allclose(found, expected.evaluations, atol=1e-10)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_two_factor_variances_are_those_of_rsatoolbox(rdms, metric, monkeypatch):
    brain, models = rdms
    draws = draw_samples(N_STIMULI, N_SUBJECTS, N_BOOTSTRAPS, np.random.default_rng(2))
    expected = rsatoolbox_samples(
        brain, models, draws, metric, rsatoolbox.inference.eval_dual_bootstrap, monkeypatch
    )
    samples = [
        bootstrap_scores(which, brain[None], models, metric)
        for which in (draws, draws.of_subjects(), draws.of_stimuli())
    ]
    for index, found in enumerate(samples):
        np.testing.assert_allclose(found, expected.evaluations[:, :, 0, 0, index], atol=1e-10)
    models_variance, differences_variance, _ = extract_variances(
        expected.variances, n_rdm=N_SUBJECTS, n_pattern=N_STIMULI
    )
    sizes = N_SUBJECTS, N_STIMULI
    np.testing.assert_allclose(two_factor_variance(*samples, *sizes), models_variance, atol=1e-12)
    errors = bootstrap_errors(
        {"roi": brain[None]}, models, metric, N_BOOTSTRAPS, np.random.default_rng(2)
    )["roi"]
    np.testing.assert_allclose(errors[2] ** 2, models_variance, atol=1e-12)
    for error, values, n in (
        (errors[0], samples[1], N_SUBJECTS),
        (errors[1], samples[2], N_STIMULI),
    ):
        np.testing.assert_allclose(error**2, values.var(axis=0, ddof=1) * n / (n - 1))
    differences = [values[:, [0, 0, 1]] - values[:, [1, 2, 2]] for values in samples]
    np.testing.assert_allclose(
        two_factor_variance(*differences, *sizes), differences_variance, atol=1e-12
    )


def resampled(rdm, stimuli):
    """Distances between all drawn stimuli, those of a stimulus with itself left out."""
    chosen = np.repeat(np.arange(len(stimuli)), stimuli)
    square = squareform(rdm)
    np.fill_diagonal(square, np.nan)
    values = square[np.ix_(chosen, chosen)][np.triu_indices(len(chosen), k=1)]
    return values[np.isfinite(values)]


@pytest.mark.parametrize("over", ["subjects", "stimuli", "both"])
@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_samples_of_two_folds_are_those_of_plain_loops(metric, over):
    generator = np.random.default_rng(3)
    brain = random_rdms(generator, 2, N_SUBJECTS) + random_rdms(generator, 1)
    brain[0, 1, 5] = np.nan
    models = random_rdms(generator, N_MODELS)
    draws = draw_samples(N_STIMULI, N_SUBJECTS, 25, generator)
    draws = {"subjects": draws.of_subjects(), "stimuli": draws.of_stimuli(), "both": draws}[over]
    found = bootstrap_scores(draws, brain, models, metric)
    correlate = {"pearson": pearsonr, "spearman": spearmanr}[metric]
    for index in range(25):
        stimuli, counts = draws.stimuli[index], draws.subjects[index]
        scores = []
        for fold, there in zip(brain, ([0, 2, 3], [0, 1, 2, 3]), strict=True):
            drawn = {s: resampled(fold[s], stimuli) for s in there if counts[s]}
            for subject, rdm in drawn.items():
                row = [correlate(rdm, resampled(model, stimuli))[0] for model in models]
                scores += [row] * counts[subject]
        np.testing.assert_allclose(found[index], np.mean(scores, axis=0), atol=1e-12)


@pytest.mark.parametrize("metric", ["cosine", "whitened-cosine", "rho-a", "kendall-tau-a"])
def test_every_subject_and_stimulus_once_gives_the_data_themselves(rdms, metric):
    brain, models = rdms
    ones = Draws(np.ones((1, N_STIMULI), dtype=int), np.ones((1, N_SUBJECTS), dtype=int))
    found = bootstrap_scores(ones, brain[None], models, metric)
    expected = rsatoolbox.rdm.compare(RDMs(models), RDMs(brain), RSATOOLBOX[metric])
    np.testing.assert_allclose(found[0], expected.mean(axis=1), atol=1e-12)


@pytest.mark.parametrize("metric", RSATOOLBOX)
def test_missing_rdms_are_left_out(rdms, metric):
    brain, models = rdms
    missing = brain.copy()
    missing[1, 3] = np.nan
    with_gaps = models.copy()
    with_gaps[0, 3] = np.nan
    with_gaps[2] = 0
    draws = draw_samples(N_STIMULI, N_SUBJECTS, 20, np.random.default_rng(4))
    draws.subjects[0] = 0, 4, 0, 0
    found = bootstrap_scores(draws, missing[None], with_gaps, metric)
    others = Draws(draws.stimuli, draws.subjects[:, [0, 2, 3]])
    expected = bootstrap_scores(others, brain[None, [0, 2, 3]], models, metric)
    assert np.isnan(found[:, [0, 2]]).all()
    assert np.isnan(found[0, 1])
    np.testing.assert_allclose(found[:, 1], expected[:, 1], atol=1e-12)


@pytest.mark.parametrize("metric", RSATOOLBOX)
def test_results_do_not_depend_on_the_size_of_chunks(rdms, metric, monkeypatch):
    brain, models = rdms
    draws = draw_samples(N_STIMULI, N_SUBJECTS, 23, np.random.default_rng(5))
    before = bootstrap_scores(draws, brain[None], models, metric)
    monkeypatch.setattr(bootstrap_module, "WEIGHTS_AT_ONCE", 5 * models.shape[1])
    monkeypatch.setattr(bootstrap_module, "SIGNS_AT_ONCE", 300)
    after = bootstrap_scores(draws, brain[None], models, metric)
    np.testing.assert_allclose(after, before, atol=1e-13)


def test_constant_resampled_model_has_no_score():
    # The model sets one stimulus apart; a sample without it leaves nothing to correlate with.
    apart = np.array([5.0, *np.zeros(N_STIMULI - 1)])
    model = pdist(apart[:, None])
    brain = random_rdms(np.random.default_rng(6), 1, 2)
    stimuli = np.ones((2, N_STIMULI), dtype=int)
    stimuli[0, :2] = 0, 2
    draws = Draws(stimuli, np.ones((2, 2), dtype=int))
    for metric in ("pearson", "spearman"):
        found = bootstrap_scores(draws, brain, model[None], metric)
        assert np.isnan(found[:, 0]).tolist() == [True, False]


def test_subject_constant_in_a_sample_is_left_out_of_it():
    apart = pdist(np.array([5.0, *np.zeros(N_STIMULI - 1)])[:, None])
    brain = np.stack([apart, *random_rdms(np.random.default_rng(7), 3)])
    models = random_rdms(np.random.default_rng(8), 2)
    stimuli = np.ones((1, N_STIMULI), dtype=int)
    stimuli[0, :2] = 0, 2
    everybody, some = (Draws(stimuli, np.array([[first, 1, 1, 1]])) for first in (1, 0))
    found = bootstrap_scores(everybody, brain[None], models, "pearson")
    without = bootstrap_scores(some, brain[None], models, "pearson")
    np.testing.assert_allclose(found, without, atol=1e-14)


def test_draws():
    draws = draw_samples(4, 5, 2000, np.random.default_rng(7))
    assert (draws.stimuli.sum(axis=1) == 4).all()
    assert (draws.subjects.sum(axis=1) == 5).all()
    assert (np.count_nonzero(draws.stimuli, axis=1) >= 3).all()
    np.testing.assert_allclose(draws.subjects.mean(axis=0), 1, atol=0.08)
    np.testing.assert_allclose(draws.stimuli.mean(axis=0), 1, atol=0.08)
    assert (draws.of_stimuli().subjects == 1).all()
    assert (draws.of_subjects().stimuli == 1).all()
    again = draw_samples(4, 5, 2000, np.random.default_rng(7))
    assert (again.stimuli == draws.stimuli).all() and (again.subjects == draws.subjects).all()
    with pytest.raises(ValueError, match="2 stimuli cannot be resampled"):
        draw_samples(2, 5, 100, np.random.default_rng(8))


def test_variances():
    generator = np.random.default_rng(9)
    samples = generator.standard_normal((500, 3))
    gaps = samples.copy()
    gaps[:100, 1] = np.nan
    gaps[:, 2] = np.nan
    error = np.sqrt(variance_of_present(gaps))
    expected = samples[:, 0].std(ddof=1), samples[100:, 1].std(ddof=1)
    np.testing.assert_allclose(error[:2], expected)
    assert np.isnan(error[2])
    np.testing.assert_allclose(one_factor_variance(samples, 5), samples.var(axis=0, ddof=1) * 5 / 4)
    assert np.isnan(two_factor_variance(samples, samples, samples, 1, 50)).all()


def test_corrected_variances_are_those_of_new_subjects_and_stimuli():
    # Means of subject + stimulus + noise effects have a variance that is known.
    generator = np.random.default_rng(10)
    n_subjects, n_stimuli = 8, 20
    corrected, over_both = [], []
    for _ in range(60):
        table = (
            generator.standard_normal((n_subjects, 1))
            + generator.standard_normal((1, n_stimuli))
            + 3 * generator.standard_normal((n_subjects, n_stimuli))
        )
        draws = draw_samples(n_stimuli, n_subjects, 400, generator)
        means = [
            np.einsum("bs,st,bt->b", d.subjects, table, d.stimuli) / table.size
            for d in (draws, draws.of_subjects(), draws.of_stimuli())
        ]
        corrected.append(two_factor_variance(*means, n_subjects, n_stimuli))
        over_both.append(means[0].var())
    truth = 1 / n_subjects + 1 / n_stimuli + 9 / (n_subjects * n_stimuli)
    assert np.mean(corrected) == pytest.approx(truth, rel=0.15)
    assert np.mean(over_both) > 1.2 * truth
