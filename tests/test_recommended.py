"""The preset 'recommended': selection on the other half, inference, multiverse, what is written."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr

from analysis.brain_rdms import brain_rdms
from analysis.comparison import compare
from analysis.folds import Fold, folds_of
from analysis.inference.comparisons import (
    MIXED_MODEL,
    ONE_SIDED_PERMUTATION,
    RANDOM_EFFECTS,
    TWO_SIDED_PERMUTATION,
    ZERO,
)
from analysis.models.feature_files import Features
from analysis.models.model_rdms import ModelRdm
from analysis.outputs import write_comparison
from analysis.patterns import RoiPatterns, SubjectPatterns, SubjectRdms
from analysis.results import ComparisonResult
from analysis.settings import ComparisonSettings, settings_for
from analysis.tables import write_tables
from bids_config.errors import InputError

N_STIMULI = 16
STIMULI = tuple(f"n{row:08d}_{row}" for row in range(N_STIMULI))
ROIS = {"visual": (60, 1.0), "hippocampus": (45, 0.4), "hippocampus-left": (20, 0.4)}
MODELS = {
    "CLIP": ("multimodal", 0.5),
    "VirTex": ("multimodal", 1.0),
    "ResNet50": ("visual", 3.0),
    "BiT-M": ("visual", 4.0),
    "BERT": ("language", 1e6),
}
FEW = {
    "n_random_draws": 2,
    "sweep_dense_until": 10,
    "sweep_log_points": 3,
    "n_permutations": 200,
    "n_bootstraps": 100,
}
TOP_10 = settings_for("recommended", voxel_selection="top-n", n_voxels=10, multiverse=False, **FEW)


def latent() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N_STIMULI, 6))


def patterns(n_subjects: int = 5, *, signal: float = 1.0, seed: int = 1) -> list[SubjectPatterns]:
    rng = np.random.default_rng(seed)
    subjects = []
    for number in range(n_subjects):
        rois = {}
        for name, (n_voxels, strength) in ROIS.items():
            shown = signal * strength * latent() @ rng.standard_normal((6, n_voxels))
            runs = shown + 2 * rng.standard_normal((4, N_STIMULI, n_voxels))
            rois[name] = RoiPatterns(
                values=runs.mean(axis=0),
                voxels=np.arange(n_voxels),
                odd=runs[0::2].mean(axis=0),
                even=runs[1::2].mean(axis=0),
                runs=runs,
                residual_covariance=np.diag(np.linspace(1, 3, n_voxels)),
            )
        subjects.append(SubjectPatterns(f"{number + 1:02d}", STIMULI, rois))
    return subjects


def features() -> list[Features]:
    rng = np.random.default_rng(2)
    return [
        Features(
            name,
            group,
            STIMULI,
            latent() @ rng.standard_normal((6, 40)) + noise * rng.standard_normal((N_STIMULI, 40)),
        )
        for name, (group, noise) in MODELS.items()
    ]


def without(field: str, subjects: list[SubjectPatterns]) -> list[SubjectPatterns]:
    return [
        replace(
            subject,
            rois={name: replace(roi, **{field: None}) for name, roi in subject.rois.items()},
        )
        for subject in subjects
    ]


def plain_cross_half(subject: SubjectPatterns, roi: str, chosen_by: str, scored: str) -> np.ndarray:
    """RDM of the ten voxels with the highest beta in one half, from the other half."""
    betas = getattr(subject.rois[roi], chosen_by)
    order = sorted(range(betas.shape[1]), key=lambda voxel: -betas[:, voxel].max())
    return pdist(getattr(subject.rois[roi], scored)[:, order[:10]], "correlation")


@pytest.fixture(scope="module")
def result() -> ComparisonResult:
    return compare(patterns(), features(), TOP_10)


def test_scores_are_means_over_both_ways_to_divide_the_runs(result: ComparisonResult) -> None:
    models = [pdist(model.values, "correlation") for model in features()]
    subjects = patterns()
    for roi in result.rois:
        for s, subject in enumerate(subjects):
            rdms = [
                plain_cross_half(subject, roi.roi, *halves)
                for halves in (("odd", "even"), ("even", "odd"))
            ]
            expected = [np.mean([pearsonr(rdm, m).statistic for rdm in rdms]) for m in models]
            np.testing.assert_allclose(roi.rsa[s], expected, rtol=0, atol=1e-12)
        ceilings = []
        for halves in (("odd", "even"), ("even", "odd")):
            rdms = [plain_cross_half(subject, roi.roi, *halves) for subject in subjects]
            ceilings.append(np.corrcoef(rdms)[0, 1:].mean())
        assert roi.ceiling.pairwise[0] == pytest.approx(np.mean(ceilings), abs=1e-12)


def test_what_is_scored_does_not_choose() -> None:
    """Betas of the scored half, shuffled over voxels, leave the choice of voxels as it was."""
    subjects = patterns()
    roi = subjects[0].rois["visual"]
    assert roi.odd is not None and roi.even is not None
    before = brain_rdms(subjects, TOP_10).rdms["visual"][0, 0]
    shift = np.zeros(roi.n_voxels)
    chosen = np.argsort(-roi.odd.max(axis=0), kind="stable")[:10]
    shift[np.setdiff1d(np.arange(roi.n_voxels), chosen)] = 1000
    subjects[0].rois["visual"] = replace(roi, even=roi.even + shift)
    np.testing.assert_array_equal(brain_rdms(subjects, TOP_10).rdms["visual"][0, 0], before)


def test_no_inflation_on_noise() -> None:
    """Of pure noise the number of voxels at the peak has a ceiling on the same data only."""
    ceilings: dict[str, list[float]] = {"other-half": [], "same": []}
    for seed in range(30):
        subjects = patterns(signal=0.0, seed=100 + seed)
        for selection_data, found in ceilings.items():
            settings = replace(
                TOP_10,
                voxel_selection="best-n",
                selection_data=selection_data,  # type: ignore[arg-type]
            )
            rdms = brain_rdms(subjects, settings).rdms["visual"]
            correlations = [np.corrcoef(fold)[np.triu_indices(5, 1)].mean() for fold in rdms]
            found.append(float(np.mean(correlations)))
    means = {name: np.mean(found) for name, found in ceilings.items()}
    sem = np.std(ceilings["other-half"]) / np.sqrt(30)
    assert abs(means["other-half"]) < 3 * sem
    assert means["same"] > means["other-half"] + 5 * sem


def test_folds() -> None:
    assert folds_of(TOP_10) == (Fold("odd", "even"), Fold("even", "odd"))
    assert folds_of(replace(TOP_10, selection_data="same")) == (Fold(),)
    assert folds_of(replace(TOP_10, voxel_selection="all")) == (Fold(),)
    assert len(folds_of(replace(TOP_10, voxel_selection="random"))) == 2


def test_choosing_on_what_is_scored_is_labelled_everywhere(tmp_path: Path) -> None:
    settings = replace(TOP_10, selection_data="same", multiverse=True)
    circular = compare(patterns(), features(), settings)
    assert circular.primary.circular
    assert any(text.startswith("circular selection") for text in circular.warnings)
    write_tables(circular, tmp_path)
    for name in ("rsa", "rsa_variants"):
        assert pd.read_csv(tmp_path / f"{name}.tsv", sep="\t")["circular"].all()
    multiverse = pd.read_csv(tmp_path / "multiverse.tsv", sep="\t")
    honest = multiverse["voxel_selection"].isin(["all", "random"])
    assert (multiverse["circular"] == ~honest).all()


def test_without_halves_it_is_said_what_to_do() -> None:
    with pytest.raises(
        InputError, match=r"no betas of odd and even runs of sub-01.*--preset paper"
    ):
        compare(without("odd", patterns()), features(), TOP_10)
    everything = replace(TOP_10, voxel_selection="all")
    assert not compare(without("odd", patterns()), features(), everything).primary.circular


@pytest.mark.parametrize(
    ("metric", "field"), [("crossnobis", "runs"), ("mahalanobis", "residual_covariance")]
)
def test_distances_that_need_more_say_so(metric: str, field: str) -> None:
    settings = replace(TOP_10, rdm_metric=metric)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="--run-betas"):
        compare(without(field, patterns()), features(), settings)
    assert np.isfinite(compare(patterns(), features(), settings).rois[0].rsa).all()


def test_crossnobis_needs_the_noise_of_all_or_of_none() -> None:
    settings = replace(TOP_10, rdm_metric="crossnobis")
    subjects = patterns(3)
    subjects[1] = without("residual_covariance", subjects)[1]
    with pytest.raises(InputError, match="no residual covariance of sub-02 in visual"):
        compare(subjects, features(), settings)
    of_none = compare(without("residual_covariance", patterns(3)), features(), settings)
    assert any("without noise normalisation" in text for text in of_none.warnings)


@pytest.mark.parametrize("factor", [1e150, 1e-150])
def test_numbers_that_cannot_be_computed_with_are_refused(factor: float) -> None:
    subjects = patterns(3)
    roi = subjects[1].rois["visual"]
    assert roi.odd is not None and roi.even is not None
    subjects[1].rois["visual"] = replace(roi, odd=roi.odd * factor, even=roi.even * factor)
    with pytest.raises(InputError, match=r"sub-02 in visual .* too large or too small"):
        compare(subjects, features(), TOP_10)


def test_the_cosine_of_unrelated_rdms_is_not_tested_against_zero() -> None:
    settings = replace(TOP_10, rsa_metric="cosine")
    result = compare(patterns(signal=0.0, seed=5), features(), settings)
    assert result.inference is not None
    assert all("above zero" in row.withheld for row in result.inference.model_scores)
    for test in (*result.model_tests, *result.group_tests):
        assert np.isfinite(test.p) == test.test.startswith("label permutation"), test
    assert np.mean([row.p for row in result.inference.model_scores]) > 0.2


def test_models_that_are_the_same_do_not_differ() -> None:
    models = features()
    models[1] = replace(models[0], model="again", values=3.7 * models[0].values)
    result = compare(patterns(), models, TOP_10)
    for test in result.model_tests:
        if {test.model, test.reference} == {"CLIP", "again"}:
            assert np.isnan(test.p) or test.p == 1, test


def test_crossnobis_of_a_half_takes_the_runs_of_that_half() -> None:
    settings = replace(TOP_10, rdm_metric="crossnobis")
    subject = patterns()[0]
    roi = subject.rois["visual"]
    assert roi.odd is not None and roi.runs is not None
    columns = np.argsort(-roi.odd.max(axis=0), kind="stable")[:10]
    first, second = roi.runs[1][:, columns], roi.runs[3][:, columns]
    noise = np.linspace(1, 3, roi.n_voxels)[columns]
    expected = [
        ((first[i] - first[j]) * (second[i] - second[j]) / noise).mean()
        for i, j in combinations(range(N_STIMULI), 2)
    ]
    found = brain_rdms(patterns(), settings).rdms["visual"][0, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_best_n_is_the_peak_of_the_half_that_chooses() -> None:
    settings = replace(TOP_10, voxel_selection="best-n", sweep_dense_until=60)
    subjects = patterns()
    brain = brain_rdms(subjects, settings)
    curve = {}
    for n in range(3, 61):
        rdms = []
        for subject in subjects:
            odd = subject.rois["visual"].odd
            assert odd is not None
            rdms.append(
                pdist(odd[:, np.argsort(-odd.max(axis=0), kind="stable")[:n]], "correlation")
            )
        curve[n] = np.corrcoef(rdms)[np.triu_indices(5, 1)].mean()
    assert set(brain.n_voxels["visual"][0]) == {max(curve, key=lambda n: curve[n])}


def test_intervals_and_tests_agree_with_the_scores(result: ComparisonResult) -> None:
    assert result.inference is not None
    scores = {(row.roi, row.model): row for row in result.inference.model_scores}
    assert len(scores) == len(ROIS) * len(MODELS)
    for roi in result.rois:
        for m, model in enumerate(result.models):
            row = scores[roi.roi, model.name]
            assert row.rsa == pytest.approx(roi.rsa[:, m].mean(), abs=1e-12)
            assert row.low < row.rsa < row.high
            assert 0 < row.p <= row.p_max <= 1
            if not row.withheld:
                ratio = roi.rsa[:, m].mean() / roi.ceiling.pairwise.mean()
                assert row.normalised == pytest.approx(ratio, rel=1e-10)
                assert row.normalised_low < row.normalised < row.normalised_high
    assert scores["visual", "CLIP"].p_max < 0.05
    assert scores["visual", "CLIP"].low > 0
    assert scores["visual", "BERT"].p > 0.05
    ceilings = {(row.roi, row.ceiling): row for row in result.inference.ceilings}
    for roi in result.rois:
        for name in ("pairwise", "lower", "upper"):
            row = ceilings[roi.roi, name]  # type: ignore[index]
            assert row.estimate == pytest.approx(getattr(roi.ceiling, name).mean(), abs=1e-12)
            assert row.low < row.estimate < row.high


def test_a_share_of_a_ceiling_that_may_be_zero_is_withheld() -> None:
    noise = compare(patterns(signal=0.0, seed=5), features(), TOP_10)
    assert noise.inference is not None
    for row in noise.inference.model_scores:
        assert np.isnan(row.normalised)
        assert "ceiling" in row.withheld


def test_every_question_has_its_test(result: ComparisonResult) -> None:
    pairs = len(list(combinations(MODELS, 2)))
    counts = pd.Series([test.test for test in result.model_tests]).value_counts()
    assert counts[ONE_SIDED_PERMUTATION] == len(ROIS) * len(MODELS)
    assert counts[TWO_SIDED_PERMUTATION] == len(ROIS) * pairs
    assert counts[RANDOM_EFFECTS] == len(ROIS) * (len(MODELS) + pairs)
    for test in result.model_tests:
        if test.test == RANDOM_EFFECTS and test.reference == ZERO:
            assert (test.low > 0 or test.high < 0) == (test.p < 0.05)
        if "sign-flip" in test.test:
            assert test.p >= test.p_floor == 0.0625
    names = {test.test for test in result.group_tests}
    assert names == {TWO_SIDED_PERMUTATION, MIXED_MODEL}
    best = next(t for t in result.group_tests if t.test == TWO_SIDED_PERMUTATION)
    assert (best.group_a, best.group_b) == ("multimodal", "visual")
    assert best.statistic == pytest.approx(best.mean_a - best.mean_b, abs=1e-12)


def test_what_groups_explain(result: ComparisonResult) -> None:
    assert result.inference is not None
    parts = {(row.roi, row.part): row.r2 for row in result.inference.variance_parts}
    of_visual = {part: r2 for (roi, part), r2 in parts.items() if roi == "visual"}
    exact = [r2 for part, r2 in of_visual.items() if not part.startswith("explained")]
    assert len(exact) == 7
    assert sum(exact) == pytest.approx(of_visual["explained by all"], abs=1e-12)
    assert of_visual["only by multimodal"] == max(
        r2 for part, r2 in of_visual.items() if part.startswith("only")
    )
    given = {(row.model, row.given) for row in result.inference.partial_scores}
    assert ("CLIP", "visual") in given
    assert ("CLIP", "multimodal") not in given


def test_multiverse_holds_every_choice_and_the_primary_one() -> None:
    settings = replace(TOP_10, multiverse=True)
    result = compare(patterns(3), features(), settings)
    table = pd.DataFrame(result.multiverse)
    choices = ["voxel_selection", "rdm_metric", "rsa_metric"]
    assert len(table) == 5 * 5 * 6 * len(ROIS) * len(MODELS)
    assert table.groupby(choices).ngroups == 5 * 5 * 6
    primary = table[table["primary"]]
    assert set(map(tuple, primary[choices].to_numpy())) == {("top-n", "correlation", "pearson")}
    visual = primary[primary["roi"] == "visual"]
    np.testing.assert_allclose(visual["rsa"], result.rois[0].rsa.mean(axis=0), atol=1e-12)
    assert sorted(visual["rank"]) == [1, 2, 3, 4, 5]
    assert visual.loc[visual["rsa"].idxmax(), "rank"] == 1
    without_runs = compare(
        without("residual_covariance", without("runs", patterns(3))), features(), settings
    )
    assert {row.rdm_metric for row in without_runs.multiverse} == {
        "correlation", "cosine", "euclidean",
    }  # fmt: skip


def test_supplied_rdms(tmp_path: Path) -> None:
    subjects = [
        SubjectRdms(
            subject.subject,
            STIMULI,
            {name: pdist(roi.values, "correlation")[None] for name, roi in subject.rois.items()},
        )
        for subject in patterns()
    ]
    models = [
        ModelRdm(model.model, model.group, STIMULI, pdist(model.values, "correlation"))
        for model in features()
    ]
    settings = settings_for("recommended", voxel_selection="all", multiverse=False, **FEW)
    result = compare(subjects, models, settings)
    of_patterns = compare(patterns(), features(), settings)
    for roi, expected in zip(result.rois, of_patterns.rois, strict=True):
        np.testing.assert_allclose(roi.rsa, expected.rsa, atol=1e-12)
    assert result.sweeps == ()
    write_tables(result, tmp_path)
    table = pd.read_csv(tmp_path / "rsa.tsv", sep="\t")
    assert set(table["rdm_metric"]) == set(table["voxel_selection"]) == {"supplied"}
    assert table["n_voxels"].isna().all()


def test_tables_of_another_preset_are_removed(tmp_path: Path) -> None:
    few = ComparisonSettings(**FEW)  # type: ignore[arg-type]
    write_tables(compare(patterns(3), features(), replace(TOP_10, multiverse=True)), tmp_path)
    extra = {"scores", "ceilings", "variance_partition", "partial_rsa", "multiverse"}
    assert extra <= {file.stem for file in tmp_path.glob("*.tsv")}
    write_tables(compare(patterns(3), features(), few), tmp_path)
    assert not extra & {file.stem for file in tmp_path.glob("*.tsv")}


def test_a_region_of_a_single_subject_has_no_inference(tmp_path: Path) -> None:
    subjects = patterns(3)
    for subject in subjects[1:]:
        quiet = subject.rois["hippocampus-left"]
        assert quiet.odd is not None and quiet.even is not None
        subject.rois["hippocampus-left"] = replace(
            quiet, values=quiet.values - 100, odd=quiet.odd - 100, even=quiet.even - 100
        )
    result = compare(subjects, features(), replace(TOP_10, voxel_selection="threshold"))
    assert result.inference is not None
    empty = [row for row in result.inference.model_scores if row.roi == "hippocampus-left"]
    assert all(np.isnan(row.rsa) and "fewer than two subjects" in row.withheld for row in empty)
    assert {test.roi for test in result.model_tests} == {"visual", "hippocampus"}
    assert any("hippocampus-left: no subject has a result" in text for text in result.warnings)
    write_comparison(result, tmp_path)


def test_every_value_that_is_there_has_an_interval(result: ComparisonResult) -> None:
    assert result.inference is not None
    for row in (*result.inference.partial_scores, *result.inference.variance_parts):
        assert np.isfinite([row.low, row.high]).all(), row


def test_tests_over_subjects_come_with_a_caution() -> None:
    result = compare(patterns(7), features(), TOP_10)
    assert any(test.p < 0.05 for test in result.model_tests if "sign-flip" in test.test)
    assert any("who see these same stimuli" in text for text in result.warnings)


@pytest.mark.parametrize("n_subjects", [2, 3])
def test_few_subjects(n_subjects: int) -> None:
    result = compare(patterns(n_subjects), features(), TOP_10)
    assert result.inference is not None
    for row in result.inference.model_scores:
        assert np.isfinite(row.rsa)
        assert np.isfinite(row.p)


def test_a_subject_without_voxels_leaves_the_others_alone() -> None:
    subjects = patterns()
    quiet = subjects[2].rois["hippocampus-left"]
    assert quiet.odd is not None and quiet.even is not None
    subjects[2].rois["hippocampus-left"] = replace(
        quiet, values=quiet.values - 100, odd=quiet.odd - 100, even=quiet.even - 100
    )
    result = compare(subjects, features(), replace(TOP_10, voxel_selection="threshold"))
    left = result.rois[2]
    assert np.isnan(left.rsa[2]).all()
    assert result.inference is not None
    row = next(row for row in result.inference.model_scores if row.roi == "hippocampus-left")
    others = np.delete(left.rsa[:, 0], 2)
    assert row.rsa == pytest.approx(np.nanmean(others))
    assert np.isfinite([row.low, row.high, row.p]).all()


@pytest.mark.parametrize(
    "rsa_metric", ["spearman", "kendall-tau-a", "rho-a", "cosine", "whitened-cosine"]
)
def test_every_comparison_goes_through(rsa_metric: str) -> None:
    settings = replace(TOP_10, rsa_metric=rsa_metric, n_permutations=100)  # type: ignore[arg-type]
    result = compare(patterns(3), features(), settings)
    assert result.inference is not None
    scores = {(row.roi, row.model): row for row in result.inference.model_scores}
    assert scores["visual", "CLIP"].rsa > scores["visual", "BERT"].rsa
    assert np.isfinite(scores["visual", "CLIP"].low)


def test_mean_pattern_is_removed_by_name() -> None:
    subjects = patterns()
    shifted = [
        replace(
            subject,
            rois={
                name: replace(roi, odd=roi.odd + 7 * rank, even=roi.even + 7 * rank)
                for name, roi in subject.rois.items()
                for rank in [np.linspace(0, 1e-9, roi.n_voxels)]
                if roi.odd is not None and roi.even is not None
            },
        )
        for subject in subjects
    ]
    settings = replace(TOP_10, remove_mean_pattern=True)
    one, other = (brain_rdms(each, settings).rdms["visual"] for each in (subjects, shifted))
    np.testing.assert_allclose(one, other, atol=1e-7)
    expected = subjects[0].rois["visual"]
    assert expected.odd is not None and expected.even is not None
    columns = np.argsort(-expected.odd.max(axis=0), kind="stable")[:10]
    even = expected.even[:, columns]
    np.testing.assert_allclose(
        one[0, 0], pdist(even - even.mean(axis=0), "correlation"), atol=1e-12
    )
