"""Regions of studies in which subjects have stimuli of their own, or there is one subject."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.random import Generator

import conceptrsa as crsa
from conceptrsa.analysis.rsa.noise_ceiling import split_half_p_value
from conceptrsa.analysis.settings import ComparisonSettings

OWN = ComparisonSettings(
    voxel_selection="all", subject_stimuli="own", n_permutations=200, multiverse=False
)
N_STIMULI, N_SHARED = 20, 15


@pytest.fixture
def generator() -> Generator:
    return np.random.default_rng(0)


def models_of(generator: Generator, n_stimuli: int) -> list[crsa.Features]:
    names = [f"s{number:03d}" for number in range(n_stimuli)]
    features = generator.standard_normal((4, n_stimuli, 6))
    return [
        crsa.Features(f"m{index}", f"g{index % 2}", names, values)
        for index, values in enumerate(features)
    ]


def study(
    generator: Generator, n_subjects: int, few_voxels_of: int | None = None
) -> tuple[list[crsa.SubjectPatterns], list[crsa.Features]]:
    """Subjects who share some stimuli; one may have too few voxels in the first region."""
    n_own = N_STIMULI - N_SHARED
    models = models_of(generator, N_SHARED + n_subjects * n_own)
    weights = generator.standard_normal((6, 30))
    subjects = []
    for subject in range(n_subjects):
        first = N_SHARED + subject * n_own
        rows = np.r_[:N_SHARED, first : first + n_own]
        betas = models[0].values[rows] @ weights + 4 * generator.standard_normal((2, 20, 30))
        regions = {
            "V1": betas[..., : 2 if subject == few_voxels_of else 30],
            "V2": betas + generator.standard_normal((2, 20, 30)),
        }
        names = [models[0].stimuli[row] for row in rows]
        subjects.append(crsa.SubjectPatterns.from_arrays(f"{subject:02d}", names, regions))
    return subjects, models


@pytest.mark.filterwarnings("ignore")
def test_a_subject_without_a_region_is_as_if_left_out_there(generator: Generator) -> None:
    subjects, models = study(generator, 5, few_voxels_of=4)
    columns = ["rsa", "low", "high", "se_subjects", "se_stimuli", "se_both"]
    found = crsa.compare(subjects, models, OWN).scores.query("roi == 'V1'")
    expected = crsa.compare(subjects[:4], models, OWN).scores.query("roi == 'V1'")
    np.testing.assert_allclose(found[columns], expected[columns], rtol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_subjects_with_and_without_halves_share_stimuli(generator: Generator) -> None:
    subjects, models = study(generator, 3)
    without = {name: roi.values for name, roi in subjects[1].rois.items()}
    subjects[1] = crsa.SubjectPatterns.from_arrays("01", subjects[1].stimuli, without)
    result = crsa.compare(subjects, models, OWN)
    assert np.isfinite(result.scores["low"]).all()
    assert result.scores["withheld"].str.contains("of all of them").all()


@pytest.mark.filterwarnings("ignore")
def test_of_one_subject_errors_are_over_stimuli_and_shares_are_withheld(
    generator: Generator,
) -> None:
    subjects, models = study(generator, 1)
    result = crsa.compare(subjects, models, OWN)
    scores = result.scores
    assert scores["se_subjects"].isna().all()
    np.testing.assert_allclose(scores["se_stimuli"], scores["se_both"])
    assert scores["normalised"].isna().all()
    assert scores["withheld"].str.contains("half").all()
    assert result.tables["rsa"]["rsa_normalised"].isna().all()
    assert set(result.tables["ceilings"]["ceiling"]) == {"split-half"}


@pytest.mark.filterwarnings("ignore")
def test_rdms_of_own_stimuli_need_no_choice_of_voxels(generator: Generator) -> None:
    models = models_of(generator, 20)
    subjects = [
        crsa.SubjectRdms.from_arrays(
            f"{subject:02d}",
            models[0].stimuli[10 * subject : 10 * subject + 10],
            {"V1": generator.random(45)},
        )
        for subject in range(2)
    ]
    result = crsa.compare(subjects, models, replace(OWN, voxel_selection="best-n"))
    assert np.isfinite(result.scores["rsa"]).all()


@pytest.mark.filterwarnings("ignore")
def test_labels_that_can_hardly_be_exchanged_test_nothing(generator: Generator) -> None:
    models = models_of(generator, 12)
    subjects = [
        crsa.SubjectPatterns.from_arrays(
            f"{subject:02d}",
            [models[0].stimuli[row] for row in rows],
            {"V1": generator.standard_normal((2, len(rows), 30))},
        )
        # Every stimulus was seen by another set of subjects.
        for subject, rows in enumerate(([0, 1, 2, 3], [1, 2, 4, 5], [2, 3, 5, 6]))
    ]
    result = crsa.compare(subjects, models, OWN)
    assert result.scores["p"].isna().all()
    assert any("exchanged" in note for note in result.notes)


def test_a_subject_without_rdms_does_not_take_the_ceilings_p_away(generator: Generator) -> None:
    signal = generator.standard_normal(190)
    halves = signal + 0.5 * generator.standard_normal((1, 2, 190))
    absent = np.full((1, 2, 190), np.nan)
    p = split_half_p_value([halves, absent], "pearson", np.random.default_rng(0))
    assert p == split_half_p_value([halves], "pearson", np.random.default_rng(0)) < 0.01
    assert np.isnan(split_half_p_value([absent], "pearson", np.random.default_rng(0)))
