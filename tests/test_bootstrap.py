import math
import warnings

import numpy as np
import pytest
import rsatoolbox
from rsatoolbox.inference import boot_noise_ceiling, evaluate
from rsatoolbox.rdm import RDMs
from rsatoolbox.util.inference_util import extract_variances
from scipy.io import loadmat
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr, rankdata, spearmanr, t

from conceptrsa.analysis.inference import bootstrap as bootstrap_module
from conceptrsa.analysis.inference import bootstrap_ranks
from conceptrsa.analysis.inference.bootstrap import (
    Draws,
    bootstrap,
    bootstrap_with,
    draw_samples,
)
from conceptrsa.analysis.inference.bootstrap_intervals import (
    bootstrap_variance,
    one_factor_variance,
    percentile_interval,
    t_interval,
    two_factor_variance,
)
from conceptrsa.analysis.rsa.noise_ceiling import noise_ceiling

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
    draws = draw_samples(N_STIMULI, N_SUBJECTS, "both", N_BOOTSTRAPS, np.random.default_rng(1))
    draws.subjects[0] = 0, 4, 0, 0
    found = bootstrap_with(draws, brain[None], models, metric)
    expected = rsatoolbox_samples(
        brain, models, draws, metric, rsatoolbox.inference.eval_bootstrap, monkeypatch
    )
    lower, upper = expected.noise_ceiling
    alone = np.count_nonzero(draws.subjects, axis=1) == 1
    np.testing.assert_allclose(found.scores, expected.evaluations, atol=1e-10)
    np.testing.assert_allclose(found.lower[~alone], lower[~alone], atol=1e-10)
    np.testing.assert_allclose(found.upper[~alone], upper[~alone], atol=1e-10)
    assert alone.any()
    # Of a single subject rsatoolbox takes the RDM itself for the mean of the others.
    assert np.isnan([found.lower[alone], found.upper[alone], found.pairwise[alone]]).all()


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_two_factor_variances_are_those_of_rsatoolbox(rdms, metric, monkeypatch):
    brain, models = rdms
    draws = draw_samples(N_STIMULI, N_SUBJECTS, "both", N_BOOTSTRAPS, np.random.default_rng(2))
    expected = rsatoolbox_samples(
        brain, models, draws, metric, rsatoolbox.inference.eval_dual_bootstrap, monkeypatch
    )
    samples = [
        bootstrap_with(which, brain[None], models, metric)
        for which in (draws, draws.of_subjects(), draws.of_stimuli())
    ]
    for index, found in enumerate(samples):
        np.testing.assert_allclose(
            found.scores, expected.evaluations[:, :, 0, 0, index], atol=1e-10
        )
        together = np.count_nonzero(found.draws.subjects, axis=1) > 1
        np.testing.assert_allclose(
            np.stack([found.lower, found.upper])[:, together],
            expected.noise_ceiling[:, together, 0, index],
            atol=1e-10,
        )
    models_variance, differences_variance, _ = extract_variances(
        expected.variances, n_rdm=N_SUBJECTS, n_pattern=N_STIMULI
    )
    sizes = N_SUBJECTS, N_STIMULI
    scores = [found.scores for found in samples]
    np.testing.assert_allclose(two_factor_variance(*scores, *sizes), models_variance, atol=1e-12)
    differences = [values[:, [0, 0, 1]] - values[:, [1, 2, 2]] for values in scores]
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
    found = bootstrap(brain, models, metric, over, 25, generator)
    correlate = {"pearson": pearsonr, "spearman": spearmanr}[metric]
    change = {"pearson": lambda x: (x - x.mean()) / x.std(), "spearman": rankdata}[metric]
    for index in range(25):
        stimuli, counts = found.draws.stimuli[index], found.draws.subjects[index]
        scores, ceilings = [], []
        for fold, there in zip(brain, ([0, 2, 3], [0, 1, 2, 3]), strict=True):
            drawn = {s: resampled(fold[s], stimuli) for s in there if counts[s]}
            for subject, rdm in drawn.items():
                row = [correlate(rdm, resampled(model, stimuli))[0] for model in models]
                scores += [row] * counts[subject]
            of_fold = []
            for subject, rdm in drawn.items():
                others = [s for s in drawn for _ in range(counts[s]) if s != subject]
                everybody = [s for s in drawn for _ in range(counts[s])]
                if not others:
                    continue
                of_fold.append(
                    (
                        np.mean([correlate(rdm, drawn[s])[0] for s in others]),
                        correlate(rdm, np.mean([change(drawn[s]) for s in others], axis=0))[0],
                        correlate(rdm, np.mean([change(drawn[s]) for s in everybody], axis=0))[0],
                    )
                )
            if of_fold:
                ceilings.append(np.mean(of_fold, axis=0))
        np.testing.assert_allclose(found.scores[index], np.mean(scores, axis=0), atol=1e-12)
        expected = np.mean(ceilings, axis=0) if ceilings else [np.nan] * 3
        np.testing.assert_allclose(
            [found.pairwise[index], found.lower[index], found.upper[index]], expected, atol=1e-12
        )


@pytest.mark.parametrize("metric", ["cosine", "whitened-cosine", "rho-a", "kendall-tau-a"])
def test_every_subject_and_stimulus_once_gives_the_data_themselves(rdms, metric):
    brain, models = rdms
    ones = Draws(np.ones((1, N_STIMULI), dtype=int), np.ones((1, N_SUBJECTS), dtype=int))
    found = bootstrap_with(ones, brain[None], models, metric)
    expected = rsatoolbox.rdm.compare(RDMs(models), RDMs(brain), RSATOOLBOX[metric])
    np.testing.assert_allclose(found.scores[0], expected.mean(axis=1), atol=1e-12)
    among = rsatoolbox.rdm.compare(RDMs(brain), RDMs(brain), RSATOOLBOX[metric])
    off_diagonal = among[~np.eye(N_SUBJECTS, dtype=bool)]
    np.testing.assert_allclose(found.pairwise[0], off_diagonal.mean(), atol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bounds = boot_noise_ceiling(RDMs(brain), RSATOOLBOX[metric])
    np.testing.assert_allclose([found.lower[0], found.upper[0]], bounds, atol=1e-12)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_ceilings_of_real_rdms(shared_data, metric):
    sessions = loadmat(shared_data / "rsatoolbox_92images" / "92_brainRDMs.mat")["RDMs"][0]
    brain = np.array(
        [
            np.mean([squareform(s["RDM"].astype(float), checks=False) for s in person], axis=0)
            for person in sessions
        ]
    )
    ones = Draws(np.ones((1, 92), dtype=int), np.ones((1, 4), dtype=int))
    found = bootstrap_with(ones, brain[None], brain[:1], metric)
    expected = noise_ceiling(brain, metric)
    for name in ("pairwise", "lower", "upper"):
        np.testing.assert_allclose(
            getattr(found, name)[0], getattr(expected, name).mean(), atol=1e-12
        )


@pytest.mark.parametrize("metric", RSATOOLBOX)
def test_missing_rdms_are_left_out(rdms, metric):
    brain, models = rdms
    missing = brain.copy()
    missing[1, 3] = np.nan
    with_gaps = models.copy()
    with_gaps[0, 3] = np.nan
    with_gaps[2] = 0
    draws = draw_samples(N_STIMULI, N_SUBJECTS, "both", 20, np.random.default_rng(4))
    draws.subjects[0] = 0, 4, 0, 0
    found = bootstrap_with(draws, missing[None], with_gaps, metric)
    others = Draws(draws.stimuli, draws.subjects[:, [0, 2, 3]])
    expected = bootstrap_with(others, brain[None, [0, 2, 3]], models, metric)
    assert np.isnan(found.scores[:, [0, 2]]).all()
    assert np.isnan(found.scores[0, 1])
    np.testing.assert_allclose(found.scores[:, 1], expected.scores[:, 1], atol=1e-12)
    for name in ("pairwise", "lower", "upper"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-12)


@pytest.mark.parametrize("metric", RSATOOLBOX)
def test_results_do_not_depend_on_the_size_of_chunks(rdms, metric, monkeypatch):
    brain, models = rdms
    draws = draw_samples(N_STIMULI, N_SUBJECTS, "both", 23, np.random.default_rng(5))
    before = bootstrap_with(draws, brain[None], models, metric)
    monkeypatch.setattr(bootstrap_module, "WEIGHTS_AT_ONCE", 5 * models.shape[1])
    monkeypatch.setattr(bootstrap_ranks, "SIGNS_AT_ONCE", 300)
    after = bootstrap_with(draws, brain[None], models, metric)
    for name in ("scores", "pairwise", "lower", "upper"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), atol=1e-13)


def test_constant_resampled_model_has_no_score():
    # The model sets one stimulus apart; a sample without it leaves nothing to correlate with.
    apart = np.array([5.0, *np.zeros(N_STIMULI - 1)])
    model = pdist(apart[:, None])
    brain = random_rdms(np.random.default_rng(6), 1, 2)
    stimuli = np.ones((2, N_STIMULI), dtype=int)
    stimuli[0, :2] = 0, 2
    draws = Draws(stimuli, np.ones((2, 2), dtype=int))
    for metric in ("pearson", "spearman"):
        found = bootstrap_with(draws, brain, model[None], metric)
        assert np.isnan(found.scores[:, 0]).tolist() == [True, False]
        assert np.isfinite(found.upper).all()


def test_subject_constant_in_a_sample_is_left_out_of_it():
    apart = pdist(np.array([5.0, *np.zeros(N_STIMULI - 1)])[:, None])
    brain = np.stack([apart, *random_rdms(np.random.default_rng(7), 3)])
    models = random_rdms(np.random.default_rng(8), 2)
    stimuli = np.ones((1, N_STIMULI), dtype=int)
    stimuli[0, :2] = 0, 2
    found = bootstrap_with(Draws(stimuli, np.array([[1, 1, 1, 1]])), brain[None], models, "pearson")
    without = bootstrap_with(
        Draws(stimuli, np.array([[0, 1, 1, 1]])), brain[None], models, "pearson"
    )
    for name in ("scores", "pairwise", "lower", "upper"):
        np.testing.assert_allclose(getattr(found, name), getattr(without, name), atol=1e-14)


def test_samples_of_two_distinct_stimuli_give_nothing(rdms):
    brain, models = rdms
    stimuli = np.zeros((1, N_STIMULI), dtype=int)
    stimuli[0, :2] = 6
    for metric in ("pearson", "spearman"):
        draws = Draws(stimuli, np.ones((1, N_SUBJECTS), dtype=int))
        found = bootstrap_with(draws, brain[None], models, metric)
        assert np.isnan(found.scores).all()
        assert np.isnan([found.pairwise, found.lower, found.upper]).all()


def test_draws():
    for over, of_stimuli, of_subjects in (
        ("subjects", False, True),
        ("stimuli", True, False),
        ("both", True, True),
    ):
        draws = draw_samples(4, 5, over, 2000, np.random.default_rng(7))
        assert (draws.stimuli.sum(axis=1) == 4).all()
        assert (draws.subjects.sum(axis=1) == 5).all()
        assert (draws.stimuli != 1).any() == of_stimuli
        assert (draws.subjects != 1).any() == of_subjects
        assert (np.count_nonzero(draws.stimuli, axis=1) >= 3).all()
        np.testing.assert_allclose(draws.subjects.mean(axis=0), 1, atol=0.08)
        np.testing.assert_allclose(draws.stimuli.mean(axis=0), 1, atol=0.08)
    again = draw_samples(4, 5, "both", 2000, np.random.default_rng(7))
    assert (again.stimuli == draws.stimuli).all() and (again.subjects == draws.subjects).all()
    with pytest.raises(ValueError, match="2 stimuli cannot be resampled"):
        draw_samples(2, 5, "both", 100, np.random.default_rng(8))


def test_intervals_and_variances():
    generator = np.random.default_rng(9)
    samples = generator.standard_normal((500, 3))
    gaps = samples.copy()
    gaps[:100, 1] = np.nan
    gaps[:, 2] = np.nan
    interval = percentile_interval(gaps, 0.9)
    np.testing.assert_allclose(interval[:, 0], np.quantile(samples[:, 0], [0.05, 0.95]))
    np.testing.assert_allclose(interval[:, 1], np.quantile(samples[100:, 1], [0.05, 0.95]))
    assert np.isnan(interval[:, 2]).all()
    error = np.sqrt(bootstrap_variance(gaps))
    expected = samples[:, 0].std(ddof=1), samples[100:, 1].std(ddof=1)
    np.testing.assert_allclose(error[:2], expected)
    assert np.isnan(error[2])
    np.testing.assert_allclose(one_factor_variance(samples, 5), samples.var(axis=0, ddof=1) * 5 / 4)
    low, high = t_interval(np.array(0.3), np.array(0.04), 4)
    np.testing.assert_allclose([low, high], t.interval(0.95, 4, loc=0.3, scale=0.2))
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
        draws = draw_samples(n_stimuli, n_subjects, "both", 400, generator)
        means = [
            np.einsum("bs,st,bt->b", d.subjects, table, d.stimuli) / table.size
            for d in (draws, draws.of_subjects(), draws.of_stimuli())
        ]
        corrected.append(two_factor_variance(*means, n_subjects, n_stimuli))
        over_both.append(means[0].var())
    truth = 1 / n_subjects + 1 / n_stimuli + 9 / (n_subjects * n_stimuli)
    assert np.mean(corrected) == pytest.approx(truth, rel=0.15)
    assert np.mean(over_both) > 1.2 * truth
