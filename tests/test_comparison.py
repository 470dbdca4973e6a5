"""The whole comparison against a plain-loop version of the paper's algorithm, and its files."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr

from conceptrsa.analysis.brain.patterns import RoiPatterns, SubjectPatterns
from conceptrsa.analysis.comparison import compare
from conceptrsa.analysis.models.feature_files import Features
from conceptrsa.analysis.output.write import write_comparison
from conceptrsa.analysis.settings import settings_for
from conceptrsa.bids_config.errors import InputError

STIMULI = tuple(f"n{10000000 + 7 * row}_{row}" for row in range(14))
ROIS = {"visual": 90, "hippocampus": 50, "hippocampus-left": 12}
MODELS = {
    "CLIP": "multimodal",
    "VirTex": "multimodal",
    "ResNet50": "visual",
    "BiT-M": "visual",
    "BERT": "language",
}
FAST = settings_for("paper", n_random_draws=2, sweep_dense_until=10, sweep_log_points=3)

RSA_COLUMNS = [
    "subject",
    "roi",
    "model",
    "group",
    "rdm_metric",
    "rsa_metric",
    "voxel_selection",
    "n_voxels",
    "rsa",
    "ceiling",
    "rsa_normalised",
    "circular",
]

CEILING_COLUMNS = [
    "roi",
    "selection",
    "draw",
    "n_voxels",
    "ceiling_mean",
    "ceiling_sem",
    "lower",
    "upper",
    "circular",
]

MODEL_TEST_COLUMNS = [
    "roi",
    "model",
    "reference",
    "score",
    "statistic",
    "p",
    "p_corrected",
    "test",
    "n",
    "p_floor",
    "p_max",
    "low",
    "high",
    "circular",
]


def latent() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((len(STIMULI), 6))


def patterns(n_subjects: int = 5) -> list[SubjectPatterns]:
    rng = np.random.default_rng(1)
    subjects = []
    for number in range(n_subjects):
        rois = {}
        for name, n_voxels in ROIS.items():
            strength = 1.0 if name == "visual" else 0.3
            signal = strength * latent() @ rng.standard_normal((6, n_voxels))
            noise = rng.standard_normal((len(STIMULI), n_voxels))
            rois[name] = RoiPatterns(signal + noise, np.arange(n_voxels))
        subjects.append(SubjectPatterns(f"{number + 1:02d}", STIMULI, rois))
    return subjects


def features() -> list[Features]:
    """Features whose stimuli are in another order than the betas', with one more."""
    rng = np.random.default_rng(2)
    order = [*rng.permutation(len(STIMULI)), 0]
    stimuli = (*(STIMULI[row] for row in order[:-1]), "n99999999_1")
    models = []
    for name, group in MODELS.items():
        noise = {"multimodal": 0.5, "visual": 3.0, "language": 12.0}[group]
        values = latent() @ rng.standard_normal((6, 40)) + noise * rng.standard_normal((14, 40))
        models.append(Features(name, group, stimuli, values[order], note=""))
    return models


def plain_paper(metrics: tuple[str, str], n_voxels: int) -> pd.DataFrame:
    """Top-N voxels, RDMs, RSA, mean pairwise ceiling and their ratio, one number at a time."""
    rdm_metric, rsa_metric = metrics
    correlate = {"pearson": pearsonr, "spearman": spearmanr}[rsa_metric]
    subjects = patterns()
    rows = []
    for roi in ROIS:
        rdms = []
        for subject in subjects:
            values = subject.rois[roi].values
            ordered = sorted(range(values.shape[1]), key=lambda v, b=values: -b[:, v].max())
            rdms.append(pdist(values[:, ordered[:n_voxels]], rdm_metric))
        for i, rdm in enumerate(rdms):
            others = [other for j, other in enumerate(rdms) if j != i]
            ceiling = np.mean([correlate(rdm, other).statistic for other in others])
            for model in features():
                by_stimulus = dict(zip(model.stimuli, model.values, strict=True))
                model_rdm = pdist(np.stack([by_stimulus[s] for s in STIMULI]), rdm_metric)
                rsa = correlate(rdm, model_rdm).statistic
                rows.append(
                    {
                        "subject": subjects[i].label,
                        "roi": roi,
                        "model": model.model,
                        "n_voxels": min(n_voxels, ROIS[roi]),
                        "rsa": rsa,
                        "ceiling": ceiling,
                        "rsa_normalised": rsa / ceiling if ceiling > 0 else np.nan,
                    }
                )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("rdm_metric", ["correlation", "cosine"])
@pytest.mark.parametrize("rsa_metric", ["pearson", "spearman"])
def test_paper_by_plain_loops(rdm_metric: str, rsa_metric: str) -> None:
    settings = replace(FAST, rdm_metric=rdm_metric, rsa_metric=rsa_metric, n_voxels=30)
    result = compare(patterns(), features(), settings)
    expected = plain_paper((rdm_metric, rsa_metric), 30)
    for roi in result.rois:
        wanted = expected[expected["roi"] == roi.roi]
        shape = len(result.subjects), len(result.models)
        for column, found in {"rsa": roi.rsa, "rsa_normalised": roi.rsa_normalised}.items():
            wanted_values = wanted[column].to_numpy().reshape(shape)
            # A ratio to a small ceiling amplifies rounding as much as it does noise.
            np.testing.assert_allclose(found, wanted_values, rtol=1e-11, atol=1e-12)
        ceiling = wanted["ceiling"].to_numpy().reshape(shape)[:, 0]
        np.testing.assert_allclose(roi.ceiling.pairwise, ceiling, rtol=0, atol=1e-12)
        assert set(wanted["n_voxels"]) == set(roi.n_voxels[0])


def test_planted_groups_come_out_in_order() -> None:
    result = compare(patterns(), features(), FAST)
    means = dict(zip(MODELS, result.rois[0].rsa.mean(axis=0), strict=True))
    assert min(means["CLIP"], means["VirTex"]) > max(means["ResNet50"], means["BiT-M"])
    assert min(means["ResNet50"], means["BiT-M"]) > means["BERT"]


@pytest.fixture(scope="module")
def group_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("comparison")
    write_comparison(compare(patterns(), features(), FAST), out_dir)
    return out_dir / "group"


def read(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, sep="\t", na_values="n/a", keep_default_na=False)


def test_rsa_table(group_dir: Path) -> None:
    table = read(group_dir / "rsa.tsv")
    assert list(table.columns) == RSA_COLUMNS
    expected = plain_paper(("correlation", "pearson"), 30)
    keys = ["subject", "roi", "model"]
    both = table.merge(expected, on=keys, suffixes=("", "_expected"))
    assert len(both) == len(table) == 5 * 3 * 5
    for column in ("n_voxels", "rsa", "ceiling", "rsa_normalised"):
        np.testing.assert_allclose(both[column], both[f"{column}_expected"], rtol=1e-7)
    assert dict(zip(table["model"], table["group"], strict=True)) == MODELS


def test_noise_ceiling_table(group_dir: Path) -> None:
    table = read(group_dir / "noise_ceilings.tsv")
    assert list(table.columns) == CEILING_COLUMNS
    top = table[table["selection"] == "top"]
    assert top["draw"].isna().all()
    random = table[table["selection"] == "random"]
    assert sorted(random["draw"].unique()) == [0, 1]
    for roi, n_voxels in ROIS.items():
        sizes = top[top["roi"] == roi]["n_voxels"]
        assert (sizes.iloc[0], sizes.iloc[-1]) == (3, n_voxels)
        for _, draw in random[random["roi"] == roi].groupby("draw"):
            assert draw["n_voxels"].tolist() == sizes.tolist()
    whole = top[(top["roi"] == "hippocampus-left") & (top["n_voxels"] == 12)].iloc[0]
    expected = plain_paper(("correlation", "pearson"), 30)
    ceilings = expected[expected["roi"] == "hippocampus-left"].groupby("subject")["ceiling"].first()
    assert whole["ceiling_mean"] == pytest.approx(ceilings.mean(), rel=1e-6)
    assert whole["ceiling_sem"] == pytest.approx(ceilings.sem(), rel=1e-6)
    assert whole["lower"] < whole["upper"]


def test_voxel_count_table(group_dir: Path) -> None:
    table = read(group_dir / "voxel_counts.tsv")
    counts = table.pivot(index="subject", columns="roi", values="n_voxels")
    assert counts.shape == (5, 3)
    assert (counts[["visual", "hippocampus"]] == 30).all(axis=None)
    assert (counts["hippocampus-left"] == 12).all()


def test_test_tables(group_dir: Path) -> None:
    models = read(group_dir / "model_tests.tsv")
    assert list(models.columns) == MODEL_TEST_COLUMNS
    assert set(models["reference"]) == {"ResNet50"}
    assert set(models["model"]) == set(MODELS) - {"ResNet50"}
    assert (models["p"].dropna() >= models["p_floor"][models["p"].notna()]).all()
    groups = read(group_dir / "group_tests.tsv")
    assert {"statistic", "p", "p_corrected", "test", "n", "p_floor"} <= set(groups.columns)
    assert len(groups) == 3 * 3 * 2
    assert groups["p_floor"].isna().all()


def test_missing_values_are_written_as_in_bids(group_dir: Path) -> None:
    for table in group_dir.glob("*.tsv"):
        cells = {cell for line in table.read_text().splitlines() for cell in line.split("\t")}
        assert not cells & {"", "nan", "NaN", "None", "inf", "-inf", "<NA>"}, table.name
    assert "n/a" in (group_dir / "group_tests.tsv").read_text()


def test_provenance(group_dir: Path) -> None:
    provenance = json.loads((group_dir / "provenance.json").read_text())
    assert provenance["versions"]["numpy"] == np.__version__
    assert provenance["settings"]["n_voxels"] == 30
    changed = "n_random_draws, sweep_dense_until, sweep_log_points"
    assert provenance["settings"]["preset"] == f"paper, changed: {changed}"
    assert provenance["seed"] == 0
    assert provenance["reference_model"] == "ResNet50"
    assert len({model["features_sha256"] for model in provenance["models"]}) == 5
    assert provenance["stimuli"] == list(STIMULI)


def test_reruns_give_the_same_bytes(group_dir: Path, tmp_path: Path) -> None:
    write_comparison(compare(patterns(), features(), FAST), tmp_path)
    files = sorted(path for path in group_dir.rglob("*") if path.is_file())
    assert {file.stem for file in files if file.suffix == ".tsv"} == {
        "rsa",
        "rsa_variants",
        "noise_ceilings",
        "voxel_counts",
        "table_1",
        "coverage",
        "model_tests",
        "group_tests",
    }
    figures = {file.name for file in files if file.suffix == ".svg"}
    assert figures == {
        f"{name}{suffix}.svg"
        for name in (
            *("ceiling_sweep", "shares_of_ceiling", "groups", "scores"),
            *("figure_4", "figure_5", "figure_6", "figure_7"),
        )
        for suffix in ("", "_hemispheres")
    }
    for file in files:
        again = tmp_path / "group" / file.relative_to(group_dir)
        assert again.read_bytes() == file.read_bytes(), file.name


def test_provenance_says_that_all_is_written(tmp_path: Path, monkeypatch) -> None:
    result = compare(patterns(2), features(), FAST)
    write_comparison(result, tmp_path, {"noise_model": "ols"})
    file = tmp_path / "group" / "provenance.json"
    assert json.loads(file.read_text())["further_settings"] == {"noise_model": "ols"}

    def fail(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("conceptrsa.analysis.output.write.write_figures", fail)
    with pytest.raises(OSError):
        write_comparison(result, tmp_path)
    assert not file.exists()


def test_input_files_are_hashed(tmp_path: Path) -> None:
    subjects = []
    for subject in patterns(2):
        file = tmp_path / subject.label / "betas.nii"
        file.parent.mkdir()
        file.write_text(subject.label)
        subjects.append(replace(subject, sources=(file,)))
    write_comparison(compare(subjects, features(), FAST), tmp_path / "out")
    provenance = json.loads((tmp_path / "out" / "group" / "provenance.json").read_text())
    assert list(provenance["inputs_sha256"]) == ["sub-01/betas.nii", "sub-02/betas.nii"]
    expected = hashlib.sha256(b"sub-01").hexdigest()
    assert provenance["inputs_sha256"]["sub-01/betas.nii"] == expected


def test_doubts_are_spoken() -> None:
    result = compare(patterns(), features(), FAST)
    text = "\n".join(result.warnings)
    assert "circular selection" in text
    fewest = min(test.n for test in result.model_tests if np.isfinite(test.p))
    assert f"with {fewest} subjects" in text
    assert f"p is never below {2.0 ** (1 - fewest):.4g}" in text
    assert "in 41 to 60 % of data sets" in text
    assert "hippocampus-left holds 12 voxels with data, fewer than the requested 30" in text
    everything = compare(patterns(), features(), replace(FAST, voxel_selection="all"))
    assert not any(text.startswith("circular") for text in everything.warnings)
    many = compare(patterns(20), features(), FAST)
    assert "p is never below" not in "\n".join(many.warnings)
    alone = [model for model in features() if model.model in ("CLIP", "ResNet50")]
    assert "Welch" not in "\n".join(compare(patterns(2), alone, FAST).warnings)


def with_noise(roi: str) -> list[SubjectPatterns]:
    rng = np.random.default_rng(8)
    return [
        replace(
            subject,
            rois={
                **subject.rois,
                roi: RoiPatterns(rng.standard_normal((14, ROIS[roi])), np.arange(ROIS[roi])),
            },
        )
        for subject in patterns()
    ]


def test_a_ceiling_that_is_not_above_zero_withholds_the_share() -> None:
    result = compare(with_noise("hippocampus"), features(), FAST)
    roi = next(roi for roi in result.rois if roi.roi == "hippocampus")
    below = roi.ceiling.pairwise <= 0
    assert below.any()
    np.testing.assert_array_equal(np.isnan(roi.rsa_normalised).all(axis=1), below)
    assert np.isfinite(roi.rsa).all()
    text = "\n".join(result.warnings)
    assert "normalised scores mean little, in hippocampus (" in text
    first = result.subjects[int(np.flatnonzero(below)[0])]
    assert f"above zero: hippocampus for {first}" in text


def test_a_region_without_voxels_above_the_threshold_gives_no_result(tmp_path: Path) -> None:
    subjects = patterns()
    rois = dict(subjects[3].rois)
    quiet = rois["hippocampus-left"].values - 100
    rois["hippocampus-left"] = RoiPatterns(quiet, np.arange(12))
    subjects[3] = replace(subjects[3], rois=rois)
    settings = replace(FAST, voxel_selection="threshold")
    result = compare(subjects, features(), settings)
    hippocampus, left = result.rois[1], result.rois[2]
    assert hippocampus.n_voxels.tolist() == [[30] * 5]
    assert left.n_voxels[0, 3] == 0
    assert np.isnan(left.rsa[3]).all()
    present = left.n_voxels[0] >= 3
    np.testing.assert_array_equal(np.isfinite(left.ceiling.pairwise), present)
    assert "hippocampus-left: no result for " in "\n".join(result.warnings)
    write_comparison(result, tmp_path)


def test_a_region_without_any_result_is_said_so() -> None:
    subjects = patterns()
    for subject in subjects:
        values = subject.rois["hippocampus-left"].values - 100
        subject.rois["hippocampus-left"] = RoiPatterns(values, np.arange(12))
    result = compare(subjects, features(), replace(FAST, voxel_selection="threshold"))
    text = "\n".join(result.warnings)
    assert "hippocampus-left: no subject has a result" in text
    assert "nan" not in text


@pytest.mark.parametrize(
    ("models", "wanted", "reference"),
    [
        (["CLIP", "ResNet50", "BiT-M"], None, "ResNet50"),
        (["CLIP", "BiT-M", "BERT"], None, "BiT-M"),
        (["CLIP", "BERT"], None, "CLIP"),
        (["CLIP", "ResNet50", "BERT"], "BERT", "BERT"),
    ],
)
def test_reference_model(models: list[str], wanted: str | None, reference: str) -> None:
    chosen = [model for model in features() if model.model in models]
    result = compare(patterns(2), chosen, replace(FAST, reference_model=wanted))
    assert result.reference_model == reference
    fallen_back = any("every other model is tested against" in text for text in result.warnings)
    assert fallen_back == (wanted is None and "ResNet50" not in models)


def lacking(stimulus: str) -> list[Features]:
    models = features()
    keep = [row for row, name in enumerate(models[1].stimuli) if name != stimulus]
    models[1] = replace(
        models[1],
        stimuli=tuple(models[1].stimuli[row] for row in keep),
        values=models[1].values[keep],
    )
    return models


def constant_pattern() -> list[SubjectPatterns]:
    subjects = patterns()
    subjects[2].rois["visual"].values[5] = 3.7
    return subjects


def constant_features() -> list[Features]:
    models = features()
    models[0].values[models[0].stimuli.index(STIMULI[4])] = 0.1
    return models


@pytest.mark.parametrize(
    ("subjects", "models", "settings", "message"),
    [
        ([], features(), FAST, "there is no subject to compare"),
        (patterns(), lacking(STIMULI[3]), FAST, f"stimulus {STIMULI[3]} .* no features of VirTex"),
        (patterns(), [], FAST, "no model"),
        (
            patterns(),
            [features()[0]] * 2,
            FAST,
            "the comparison holds the model 'CLIP' more than once",
        ),
        (
            patterns(),
            features(),
            replace(FAST, reference_model="VGG"),
            r"no model 'VGG': choose the reference model \(--reference-model\) among CLIP, VirTex",
        ),
        (constant_pattern(), features(), FAST, f"{STIMULI[5]} of sub-03 .* same in every voxel"),
        (patterns(), constant_features(), FAST, f"features of CLIP for stimulus {STIMULI[4]}"),
    ],
)
def test_bad_input_is_named(subjects, models, settings, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare(subjects, models, settings)


def test_progress_is_told() -> None:
    steps: list[str] = []
    compare(patterns(2), features(), FAST, steps.append)
    assert steps == [
        "RDMs and their comparison, region by region",
        "inference",
    ]
