"""The preset 'recommended' computes distances in one half of the runs, of voxels of the other."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from recommended_cases import N_STIMULI, TOP_10, features, patterns, without
from scipy.spatial.distance import pdist

from conceptrsa.analysis.brain.brain_rdms import brain_rdms
from conceptrsa.analysis.brain.folds import Fold, folds_of
from conceptrsa.analysis.comparison import compare
from conceptrsa.bids_config.errors import InputError


def test_what_is_scored_does_not_choose() -> None:
    """Betas of the scored half, shuffled over voxels, leave the choice of voxels as it was."""
    subjects = patterns()
    roi = subjects[0].rois["visual"]
    assert roi.odd is not None and roi.even is not None
    before = brain_rdms("visual", subjects, TOP_10).rdms[0, 0]
    shift = np.zeros(roi.n_voxels)
    chosen = np.argsort(-roi.odd.max(axis=0), kind="stable")[:10]
    shift[np.setdiff1d(np.arange(roi.n_voxels), chosen)] = 1000
    subjects[0].rois["visual"] = replace(roi, halves=(roi.odd, roi.even + shift))
    np.testing.assert_array_equal(brain_rdms("visual", subjects, TOP_10).rdms[0, 0], before)


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
            rdms = brain_rdms("visual", subjects, settings).rdms
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


def test_without_halves_it_is_said_what_to_do() -> None:
    with pytest.raises(
        InputError, match=r"no betas of odd and even runs of sub-01.*--preset paper"
    ):
        compare(without("halves", patterns()), features(), TOP_10)
    everything = replace(TOP_10, voxel_selection="all")
    assert not compare(without("halves", patterns()), features(), everything).primary.circular


@pytest.mark.parametrize(
    ("metric", "field"), [("crossnobis", "runs"), ("mahalanobis", "residual_covariance")]
)
def test_distances_that_need_more_say_so(metric: str, field: str) -> None:
    settings = replace(TOP_10, rdm_metric=metric)  # type: ignore[arg-type]
    lacking = without(field, patterns())
    with pytest.raises(
        InputError, match=r"needs: supply (it|them), or choose another --rdm-metric"
    ):
        compare(lacking, features(), settings)
    own = [replace(subject, estimation={"Engine": "python"}) for subject in lacking]
    with pytest.raises(InputError, match="needs: run the participant level with --run-betas"):
        compare(own, features(), settings)
    assert np.isfinite(compare(patterns(), features(), settings).rois[0].rsa).all()


def test_crossnobis_needs_the_noise_of_all_or_of_none() -> None:
    settings = replace(TOP_10, rdm_metric="crossnobis")
    subjects = patterns(3)
    subjects[1] = without("residual_covariance", subjects)[1]
    with pytest.raises(InputError, match="sub-02 in visual has no residual covariance"):
        compare(subjects, features(), settings)
    of_none = compare(without("residual_covariance", patterns(3)), features(), settings)
    assert any("without noise normalisation" in text for text in of_none.warnings)


@pytest.mark.parametrize("factor", [1e150, 1e-150])
def test_numbers_that_cannot_be_computed_with_are_refused(factor: float) -> None:
    subjects = patterns(3)
    roi = subjects[1].rois["visual"]
    assert roi.odd is not None and roi.even is not None
    subjects[1].rois["visual"] = replace(roi, halves=(roi.odd * factor, roi.even * factor))
    with pytest.raises(InputError, match=r"sub-02 in visual .* too large or too small"):
        compare(subjects, features(), TOP_10)


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
    found = brain_rdms("visual", patterns(), settings).rdms[0, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_best_n_is_the_peak_of_the_half_that_chooses() -> None:
    settings = replace(TOP_10, voxel_selection="best-n", sweep_dense_until=60)
    subjects = patterns()
    brain = brain_rdms("visual", subjects, settings)
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
    assert set(brain.n_voxels[0]) == {max(curve, key=lambda n: curve[n])}


def test_mean_pattern_is_removed_by_name() -> None:
    subjects = patterns()
    shifted = [
        replace(
            subject,
            rois={
                name: replace(roi, halves=(roi.odd + 7 * rank, roi.even + 7 * rank))
                for name, roi in subject.rois.items()
                for rank in [np.linspace(0, 1e-9, roi.n_voxels)]
                if roi.odd is not None and roi.even is not None
            },
        )
        for subject in subjects
    ]
    settings = replace(TOP_10, remove_mean_pattern=True)
    one, other = (brain_rdms("visual", each, settings).rdms for each in (subjects, shifted))
    np.testing.assert_allclose(one, other, atol=1e-7)
    expected = subjects[0].rois["visual"]
    assert expected.odd is not None and expected.even is not None
    columns = np.argsort(-expected.odd.max(axis=0), kind="stable")[:10]
    even = expected.even[:, columns]
    np.testing.assert_allclose(
        one[0, 0], pdist(even - even.mean(axis=0), "correlation"), atol=1e-12
    )


def test_a_limited_search_for_the_number_of_voxels_is_said() -> None:
    """Not in a note on the figure of the sweep alone."""
    settings = replace(TOP_10, voxel_selection="best-n")
    assert not any(
        "numbers of voxels" in note for note in brain_rdms("visual", patterns(), settings).notes
    )
    slow = replace(settings, rsa_metric="whitened-cosine")
    notes = brain_rdms("visual", patterns(), slow).notes
    assert "the sweep that chose the numbers of voxels was limited in the same way" in notes
