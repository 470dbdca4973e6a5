"""The preset 'recommended' gives every score its interval and every question its test."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from recommended_cases import MODELS, ROIS, TOP_10, features, patterns
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr

from conceptrsa.analysis.brain.patterns import SubjectPatterns
from conceptrsa.analysis.comparison import compare
from conceptrsa.analysis.inference.findings import (
    MIXED_MODEL,
    ONE_SIDED_PERMUTATION,
    RANDOM_EFFECTS,
    TWO_SIDED_PERMUTATION,
    ZERO,
)
from conceptrsa.analysis.results import ComparisonResult


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


def test_the_cosine_of_unrelated_rdms_is_not_tested_against_zero() -> None:
    settings = replace(TOP_10, rsa_metric="cosine")
    result = compare(patterns(signal=0.0, seed=5), features(), settings)
    assert result.inference is not None
    assert all("above zero" in row.withheld for row in result.inference.model_scores)
    for test in (*result.model_tests, *result.group_tests):
        assert np.isfinite(test.p) == ("label permutation" in test.test), test
    assert np.mean([row.p for row in result.inference.model_scores]) > 0.2


def test_models_that_are_the_same_do_not_differ() -> None:
    models = features()
    models[1] = replace(models[0], model="again", values=3.7 * models[0].values)
    result = compare(patterns(), models, TOP_10)
    for test in result.model_tests:
        if {test.model, test.reference} == {"CLIP", "again"}:
            assert np.isnan(test.p) or test.p == 1, test


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


def test_every_value_that_is_there_has_an_interval(result: ComparisonResult) -> None:
    assert result.inference is not None
    for row in (*result.inference.partial_scores, *result.inference.variance_parts):
        assert np.isfinite([row.low, row.high]).all(), row


def test_tests_over_subjects_come_with_a_caution() -> None:
    result = compare(patterns(7), features(), TOP_10)
    assert any(test.p < 0.05 for test in result.model_tests if "sign-flip" in test.test)
    assert any("but not to new stimuli" in text for text in result.warnings)


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
        quiet, whole=quiet.values - 100, halves=(quiet.odd - 100, quiet.even - 100)
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
