"""The preset 'recommended' writes tables of every kind of data, and its multiverse."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from recommended_cases import FEW, MODELS, ROIS, STIMULI, TOP_10, features, patterns, without
from scipy.spatial.distance import pdist

from conceptrsa.analysis.brain.patterns import SubjectRdms
from conceptrsa.analysis.comparison import compare
from conceptrsa.analysis.models.feature_files import ModelRdm
from conceptrsa.analysis.output.tables import write_tables
from conceptrsa.analysis.output.write import write_comparison
from conceptrsa.analysis.settings import settings_for


def test_choosing_on_what_is_scored_is_labelled_everywhere(tmp_path: Path) -> None:
    settings = replace(TOP_10, selection_data="same", multiverse=True)
    circular = compare(patterns(), features(), settings)
    assert circular.primary.circular
    assert any(text.startswith("circular selection") for text in circular.warnings)
    write_tables(circular, tmp_path)
    assert pd.read_csv(tmp_path / "rsa.tsv", sep="\t")["circular"].all()
    assert not (tmp_path / "rsa_variants.tsv").exists()
    multiverse = pd.read_csv(tmp_path / "multiverse.tsv", sep="\t")
    honest = multiverse["voxel_selection"].isin(["all", "random"])
    assert (multiverse["circular"] == ~honest).all()


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
    assert not (tmp_path / "voxel_counts.tsv").exists()


def test_the_multiverse_says_once_why_choices_are_left_out() -> None:
    subjects = []
    for subject in patterns(3):
        rois = {
            roi: replace(betas, halves=None, runs=None, residual_covariance=None)
            for roi, betas in subject.rois.items()
            if "hippocampus" not in roi
        }
        subjects.append(replace(subject, rois=rois))
    settings = replace(TOP_10, voxel_selection="all", multiverse=True)
    result = compare(subjects, features(), settings)
    notes = [text for text in result.warnings if text.startswith("the multiverse leaves out ")]
    assert [note.removeprefix("the multiverse leaves out ").split(":")[0] for note in notes] == [
        "top-n, best-n",
        "mahalanobis distances",
        "crossnobis distances",
    ]
    assert not any("hippocampus" in text or "ResNet50" in text for text in result.warnings)


def test_tables_of_another_preset_are_removed(tmp_path: Path) -> None:
    few = settings_for("paper", **FEW)
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
            quiet, whole=quiet.values - 100, halves=(quiet.odd - 100, quiet.even - 100)
        )
    result = compare(subjects, features(), replace(TOP_10, voxel_selection="threshold"))
    assert result.inference is not None
    empty = [row for row in result.inference.model_scores if row.roi == "hippocampus-left"]
    assert all(np.isnan(row.rsa) and "fewer than two subjects" in row.withheld for row in empty)
    assert {test.roi for test in result.model_tests} == {"visual", "hippocampus"}
    assert any("hippocampus-left: no subject has a result" in text for text in result.warnings)
    write_comparison(result, tmp_path)
