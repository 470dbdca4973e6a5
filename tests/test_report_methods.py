"""The text on the methods: it says what was done, and nothing that was not."""

from dataclasses import replace

import pytest
from report_cases import planted, planted_result, supplied

from conceptrsa.analysis.output.report.explorer import explorer_data, rdms_to_show
from conceptrsa.analysis.output.report.methods import REFERENCES, describe_methods
from conceptrsa.analysis.results import ComparisonResult


def methods_of(result: ComparisonResult) -> str:
    return " ".join(describe_methods(result).paragraphs)


def test_methods_follow_the_preset() -> None:
    recommended = methods_of(planted())
    assert "permuting the labels" in recommended and "100 permutations" in recommended
    assert "odd runs" in recommended and "circular" not in recommended
    assert "Choksi" not in recommended
    of_the_paper = methods_of(planted_result(truth={"V1": "visual"}, preset="paper"))
    assert "Welch's t-test" in of_the_paper and "Choksi" in of_the_paper
    assert "permuting the labels" not in of_the_paper
    assert "30 voxels" in of_the_paper and "circular" in of_the_paper


@pytest.mark.parametrize(
    ("changes", "said", "unsaid"),
    [
        ({"voxel_selection": "all"}, "All voxels", "odd runs"),
        ({"voxel_selection": "random", "n_voxels": 7}, "7 voxels were drawn at random", "odd runs"),
        ({"selection_data": "same"}, "which is circular", "odd runs"),
        (
            {"voxel_score": "reliability", "selection_data": "same"},
            "split-half reliability",
            "highest betas",
        ),
        (
            {"voxel_score": "ncsnr", "selection_data": "same"},
            "Allen et al., 2022",
            "highest betas",
        ),
        ({"remove_mean_pattern": True}, "mean pattern over stimuli", "crossnobis"),
        ({"rdm_metric": "cosine"}, "one minus the cosine", "one minus the Pearson"),
        ({"rdm_metric": "euclidean"}, "squared Euclidean distance", "one minus the Pearson"),
        ({"rsa_metric": "spearman"}, "Spearman's rank correlation", "Pearson's correlation."),
        ({"rsa_metric": "whitened-cosine"}, "label permutation only", "Fieller"),
        ({"rsa_metric": "kendall-tau-a"}, "tau-a", "Pearson's correlation."),
        ({"multiverse": True}, "Steegen et al., 2016", "crossnobis"),
        ({"seed": 77}, "numbers was 77", "numbers was 0"),
        ({"n_permutations": 200}, "200 permutations, including the identity", "100 permutations"),
    ],
)
def test_methods_follow_the_settings(changes: dict[str, object], said: str, unsaid: str) -> None:
    text = methods_of(planted_result(truth={"V1": "visual"}, n_subjects=3, **changes))
    assert said in text
    assert unsaid not in text


def test_methods_do_not_speak_of_voxels_where_rdms_were_supplied() -> None:
    text = methods_of(supplied())
    assert "were supplied" in text
    assert "voxels" not in text


def test_methods_say_what_happened_to_models_that_came_as_rdms() -> None:
    result = planted()
    assert "The distance between features of models was the correlation distance." in (
        methods_of(result)
    )
    first, *others = result.models
    mixed = replace(result, models=(replace(first, supplied_rdm=True), *others))
    assert f"The RDMs of {first.name} were supplied." in methods_of(mixed)
    rdms = rdms_to_show(mixed)
    assert rdms is not None
    explored = explorer_data(mixed, rdms)
    assert explored is not None
    assert [model["distance"] for model in explored["models"]] == [
        "distance as supplied", *["correlation distance"] * len(others),
    ]  # fmt: skip
    all_supplied = replace(
        result, models=tuple(replace(model, supplied_rdm=True) for model in result.models)
    )
    assert "The RDMs of the models were supplied." in methods_of(all_supplied)
    assert "features" not in methods_of(all_supplied)


def test_methods_tell_distances_with_noise_normalisation_from_those_without() -> None:
    result = planted()
    crossnobis = replace(
        result,
        primary=replace(result.primary, settings=replace(result.settings, rdm_metric="crossnobis")),
    )
    assert "squared Euclidean distance between two patterns, cross-validated" in methods_of(
        crossnobis
    )
    assert "Mahalanobis" not in methods_of(crossnobis)
    whitened = replace(crossnobis, primary=replace(crossnobis.primary, whitened=True))
    assert "squared Mahalanobis distance between two patterns, with noise" in methods_of(whitened)
    assert "squared Euclidean distance, divided by their number" in methods_of(whitened)


def test_methods_name_all_permutations_of_a_few_stimuli() -> None:
    text = methods_of(
        planted_result(
            truth={"V1": "visual"}, stimuli=tuple("abcde"), n_permutations=1000, n_subjects=3
        )
    )
    assert "(120 permutations, all that exist)" in text


def test_methods_name_no_test_that_was_not_made() -> None:
    text = methods_of(
        planted_result(truth={"V1": "visual"}, groups={"a": "visual", "b": "visual"}, n_subjects=3)
    )
    assert "Models were compared with each other" in text and "mixed model" not in text
    assert "Welch" not in methods_of(
        planted_result(truth={"V1": "visual"}, groups={"a": "visual"}, preset="paper")
    )


def test_methods_hold_what_the_sidecars_say_of_the_estimation() -> None:
    assert "not recorded" in methods_of(planted())
    estimation = {
        "Engine": "python", "Version": "0.1.0", "HRF": "spm", "HighPassSeconds": 128.0,
        "NoiseModel": "ar1", "Baseline": "implicit", "Pooling": "joint",
        "Normalization": "talairach.xfm", "RegionsFrom": "subject",
        "Preprocessing": "fMRIPrep 24.1.0",
    }  # fmt: skip
    text = methods_of(replace(planted(), estimation=estimation))
    assert (
        "by conceptrsa 0.1.0 with its Python engine, from images preprocessed by fMRIPrep" in text
    )
    assert "fixation as the implicit baseline, a high-pass filter of 128 s" in text
    assert "transformed to MNI305 space (talairach.xfm; regions: subject)." in text
    uncorrected = replace(planted(), estimation={**estimation, "SliceTimingCorrected": False})
    assert "Slice timing had not been corrected" in methods_of(uncorrected)
    assert "Slice timing had" not in text
    by_spm = {"Engine": "spm", "SPM": "SPM12 7771", "RunModel": "concatenated"}
    raw = replace(planted(), estimation={**by_spm, "SliceTimingCorrected": False})
    assert "Slice timing was not corrected." in methods_of(raw)
    assert "with SPM (SPM12 7771)" in methods_of(replace(planted(), estimation=by_spm))


def test_methods_and_references_belong_together() -> None:
    for result in (planted(), planted_result(truth={"V1": "visual"}, preset="paper")):
        methods = describe_methods(result)
        text = " ".join(methods.paragraphs)
        cited = {key for key, found in REFERENCES.items() if found.citation in text}
        assert {reference.key for reference in methods.references} == cited
        places = [text.index(reference.citation) for reference in methods.references]
        assert places == sorted(places)
        assert len(set(methods.references)) == len(methods.references)
