"""The library as a notebook uses it."""

import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau

import conceptrsa as crsa
from conceptrsa.analysis import library
from conceptrsa.analysis.comparison import compare as compare_patterns
from conceptrsa.analysis.files.stimuli import Stimulus
from conceptrsa.analysis.models.weights.places import WeightsOptions
from conceptrsa.analysis.models.zoo import read_zoo
from conceptrsa.analysis.settings import settings_for
from conceptrsa.bids_config import machine
from conceptrsa.bids_config.region_choice import read_choice

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "python.md"
STIMULI = tuple(f"s{number:02d}" for number in range(10))
QUICK = {"n_permutations": 100, "multiverse": False}


def subjects_of(n: int, seed: int = 0) -> list[crsa.SubjectPatterns]:
    rng = np.random.default_rng(seed)
    content = rng.normal(size=(10, 6))
    return [
        crsa.SubjectPatterns.from_arrays(
            f"{label:02d}",
            STIMULI,
            {
                roi: content @ rng.normal(size=(6, 30)) + rng.normal(size=(4, 10, 30))
                for roi in ("V1", "IT")
            },
        )
        for label in range(1, n + 1)
    ]


def models_of(seed: int = 1) -> list[crsa.Features | crsa.ModelRdm]:
    rng = np.random.default_rng(seed)
    return [
        crsa.Features("net", "visual", STIMULI, rng.normal(size=(10, 5))),
        crsa.Features("clip", "multimodal", STIMULI, rng.normal(size=(10, 5))),
        crsa.ModelRdm("words", "language", STIMULI, pdist(rng.normal(size=(10, 5)))),
    ]


@pytest.fixture(scope="module")
def result() -> crsa.Comparison:
    matplotlib.use("Agg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", crsa.ComparisonWarning)
        return crsa.compare(subjects_of(3), models_of(), **QUICK)


def test_import_is_quick_and_loads_nothing() -> None:
    code = "import sys, conceptrsa; print(sorted({'numpy', 'pandas', 'nipype'} & set(sys.modules)))"
    took = []
    for text in (code, "pass") * 3:
        start = time.perf_counter()
        said = subprocess.run([sys.executable, "-c", text], capture_output=True, check=True)
        took.append(time.perf_counter() - start)
        assert said.stdout.strip() in (b"[]", b"")
    assert min(took[0::2]) - min(took[1::2]) < 0.05


def test_every_public_name_is_there_and_documented() -> None:
    page = PAGE.read_text()
    for name in crsa.__all__:
        assert getattr(crsa, name).__doc__
        assert re.search(rf"\b{name}\b", page), name
    assert set(crsa.__all__) < set(dir(crsa))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = crsa.nothing


def test_the_page_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"(<!-- not run[^\n]*-->\n)?```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len(blocks) > 8
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for skipped, block in blocks:
            if not skipped:
                exec(compile(block, str(PAGE), "exec"), names)
    assert (tmp_path / "out" / "group" / "scores.tsv").is_file()
    plt.close("all")


def test_patterns_from_arrays_are_sorted_and_checked() -> None:
    runs = np.arange(4 * 3 * 5, dtype=float).reshape(4, 3, 5) ** 2
    patterns = crsa.SubjectPatterns.from_arrays("sub-7", ["c", "a", "b.png"], {"V1": runs})
    assert patterns.subject == "7" and patterns.stimuli == ("a", "b", "c")
    roi = patterns.rois["V1"]
    mean = runs.mean(axis=0)[[1, 2, 0]]
    np.testing.assert_array_equal(roi.values, mean)
    np.testing.assert_array_equal(roi.odd, runs[::2].mean(axis=0)[[1, 2, 0]])
    np.testing.assert_array_equal(roi.runs, runs[:, [1, 2, 0]])
    assert repr(patterns) == "SubjectPatterns(sub-7: 3 stimuli; V1 5 voxels)"
    for stimuli, betas, message in (
        (["a", "b", "a"], runs, "the stimuli of the arrays of sub-7 include 'a' more than once"),
        (["a", "b"], runs, r"array of V1 of sub-7 has 3 rows for 2 stimuli"),
        (["a", "b", "c"], runs[0, 0], r"array of V1 of sub-7 is of shape \(5,\)"),
    ):
        with pytest.raises(crsa.InputError, match=message):
            crsa.SubjectPatterns.from_arrays("7", stimuli, {"V1": betas})
    with pytest.raises(crsa.InputError, match=r"features of net are of shape \(3,\)"):
        crsa.Features("net", "visual", ["a", "b", "c"], np.ones(3))


def test_tables_are_the_files_and_numbers_the_command_lines(
    result: crsa.Comparison, tmp_path: Path
) -> None:
    group = result.save(tmp_path)
    for name, table in result.tables.items():
        written = pd.read_csv(group / f"{name}.tsv", sep="\t", na_values="n/a")
        assert list(written.columns) == list(table.columns) and len(written) == len(table)
    settings = settings_for("recommended", **QUICK)
    inner = compare_patterns(subjects_of(3), models_of(), settings)
    assert inner.inference is not None
    assert [score.rsa for score in inner.inference.model_scores] == list(result.scores["rsa"])


def test_results_are_shown_in_a_few_lines(result: crsa.Comparison) -> None:
    assert len(repr(result)) < 200 and len(repr(result.result)) < 200
    html = result._repr_html_()
    assert "3 models with 3 subjects" in html and "<table" in html
    assert len(repr(subjects_of(2))) < 300 and len(repr(models_of())) < 300


def test_notes_are_warnings_once_each() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        result = crsa.compare(subjects_of(3), models_of(), **QUICK)
    said = [str(one.message) for one in caught if one.category is crsa.ComparisonWarning]
    assert said == list(result.notes) and len(set(said)) == len(said) > 0


def test_plots_draw_into_given_axes(result: crsa.Comparison) -> None:
    figure, axes = plt.subplots(1, 3)
    for ax, plot in zip(
        axes, (result.plot.scores, result.plot.noise_ceiling, result.plot.rdm), strict=True
    ):
        assert plot("IT", ax=ax) is ax
        assert ax.get_title() == "IT"
    assert len(figure.axes) == 4
    assert result.plot.rdm("clip").get_title() == "clip"
    labels = [label.get_text() for label in result.plot.scores().get_yticklabels()]
    assert labels == [
        "clip",
        "net",
        "words",
        "noise ceiling",
        "Nili lower bound",
        "Nili upper bound",
    ]
    means = result.scores.query("roi == 'V1'").set_index("model")["rsa"].sort_values()
    by_score = result.plot.scores("V1", sort="score").get_yticklabels()
    assert [label.get_text() for label in by_score][:3] == means.index[::-1].tolist()
    assert result.plot.figure("scores").axes
    with pytest.raises(crsa.InputError, match="no figure 'figure_9'"):
        result.plot.figure("figure_9")
    with pytest.raises(crsa.InputError, match=r"has no 'V2'.*V1, IT"):
        result.plot.scores("V2")
    plt.close("all")


def test_tables_of_another_preset_are_named(result: crsa.Comparison) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paper = crsa.compare(subjects_of(3), models_of(), "paper", n_voxels=5)
    assert paper.settings.preset == "paper"
    with pytest.raises(
        crsa.InputError, match="preset paper has no table 'scores': choose one of rsa"
    ):
        _ = paper.scores


def test_a_comparison_of_ones_own_gives_what_it_gives_by_name(tmp_path: Path) -> None:
    def tau_a(rdm: np.ndarray, other: np.ndarray) -> float:
        # Without ties tau-b is tau-a.
        return float(kendalltau(rdm, other).statistic)

    def correlation(patterns: np.ndarray) -> np.ndarray:
        return pdist(patterns, "correlation")

    given = {"voxel_selection": "all", "n_permutations": 100}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = crsa.compare(
            subjects_of(3), models_of(), rdm_metric=correlation, rsa_metric=tau_a, **given
        )
        named = crsa.compare(subjects_of(3), models_of(), rsa_metric="kendall-tau-a", **given)
    page = (own.save(tmp_path) / "report.html").read_text()
    assert "computed by the function correlation()" in page and "the function tau_a()" in page
    np.testing.assert_allclose(own.rsa["rsa"], named.rsa["rsa"], rtol=1e-12)
    np.testing.assert_allclose(own.rsa["ceiling"], named.rsa["ceiling"], rtol=1e-12)
    np.testing.assert_allclose(own.scores["p"], named.scores["p"])
    assert set(own.rsa["rdm_metric"]) == {"correlation()"} and set(own.rsa["rsa_metric"]) == {
        "tau_a()"
    }
    primary = own.multiverse[own.multiverse["primary"]]
    assert set(primary["rsa_metric"]) == {"tau_a()"}


def test_bad_functions_are_one_sentence() -> None:
    def whole_matrix(patterns: np.ndarray) -> np.ndarray:
        return np.ones((len(patterns), len(patterns)))

    with pytest.raises(crsa.InputError, match=r"whole_matrix\(\) gave .*\(10, 10\).* 45 "):
        crsa.compare(subjects_of(3), models_of(), rdm_metric=whole_matrix, voxel_selection="all")


def quiet_compare(*given: object, **settings: object) -> crsa.Comparison:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return crsa.compare(*given, **{**QUICK, **settings})


def pearson(rdm: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(rdm, other)[0, 1])


def test_pearson_of_ones_own_has_the_estimates_of_the_packages() -> None:
    own = quiet_compare(subjects_of(4), models_of(), rsa_metric=pearson).scores
    named = quiet_compare(subjects_of(4), models_of()).scores
    np.testing.assert_allclose(own["rsa"], named["rsa"], rtol=1e-9)
    np.testing.assert_allclose(own[["low", "high"]], named[["low", "high"]], atol=0.06)
    np.testing.assert_allclose(own["se_both"], named["se_both"], atol=0.02)
    assert own["normalised"].isna().all()


def test_a_function_gets_the_brain_first_and_no_subject_twice() -> None:
    def slope(brain: np.ndarray, other: np.ndarray) -> float:
        return float(np.polyfit(other, brain, 1)[0])

    def fisher_z(rdm: np.ndarray, other: np.ndarray) -> float:
        return float(np.arctanh(pearson(rdm, other)))

    scores = quiet_compare(subjects_of(3), models_of(), rsa_metric=slope).scores
    centre = (scores["low"] + scores["high"]) / 2
    np.testing.assert_allclose(centre, scores["rsa"], atol=1e-9)
    ceilings = quiet_compare(subjects_of(3), models_of(), rsa_metric=fisher_z).ceilings
    pairwise = ceilings[ceilings["ceiling"] == "pairwise"]
    assert np.isfinite(pairwise["estimate"]).all()


def test_a_function_is_called_from_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may keep something between calls; regions are otherwise compared side by side."""
    monkeypatch.setattr(machine, "available_processors", lambda: 4)
    threads = set()

    def compare(brain: np.ndarray, other: np.ndarray) -> float:
        threads.add(threading.get_ident())
        return pearson(brain, other)

    quiet_compare(subjects_of(3), models_of(), rsa_metric=compare)
    assert threads == {threading.get_ident()}


def test_a_function_that_needs_every_pair_has_no_intervals() -> None:
    def by_stimulus(rdm: np.ndarray, other: np.ndarray) -> float:
        return pearson(squareform(rdm).mean(axis=0), squareform(other).mean(axis=0))

    scores = quiet_compare(subjects_of(3), models_of(), rsa_metric=by_stimulus).scores
    assert np.isfinite(scores["p"]).all() and scores["low"].isna().all()


def test_public_functions_take_functions_and_refuse_other_names() -> None:
    rdms = np.random.default_rng(0).normal(size=(3, 45))
    np.testing.assert_allclose(
        crsa.noise_ceiling(rdms, pearson).pairwise, crsa.noise_ceiling(rdms, "pearson").pairwise
    )
    with pytest.raises(crsa.InputError, match="did you mean 'spearman'"):
        crsa.noise_ceiling(rdms, "spearmn")
    with pytest.raises(crsa.InputError, match="rdm_metric cannot be 'cityblock'"):
        crsa.compute_rdm(rdms, "cityblock")


def test_rows_of_a_table_are_found_by_its_index() -> None:
    values = np.random.default_rng(0).normal(size=(10, 4))
    table = pd.DataFrame(values[::-1], index=STIMULI[::-1])
    features = crsa.Features("net", "visual", [f"{name}.png" for name in STIMULI], table)
    np.testing.assert_array_equal(features.values, values)
    assert features.stimuli == STIMULI
    patterns = crsa.SubjectPatterns.from_arrays("1", STIMULI, {"V1": table})
    np.testing.assert_array_equal(patterns.rois["V1"].values, values)
    with pytest.raises(crsa.InputError, match=r"index of .* names other stimuli"):
        crsa.Features("net", "visual", STIMULI, table.rename(index={"s00": "x"}))


def test_rdms_of_subjects_from_arrays() -> None:
    values = np.random.default_rng(0).normal(size=(10, 4))
    order = list(range(9, -1, -1))
    square = squareform(pdist(values[order]))
    rdms = crsa.SubjectRdms.from_arrays("sub-1", [STIMULI[row] for row in order], {"V1": square})
    np.testing.assert_allclose(rdms.rois["V1"][0], pdist(values))


def test_betas_without_runs_are_taken_with_any_setting() -> None:
    rng = np.random.default_rng(0)
    without = [
        crsa.SubjectPatterns.from_arrays(label, STIMULI, {"V1": rng.normal(size=(10, 20))})
        for label in "123"
    ]
    result = quiet_compare(without, models_of(), rsa_metric="spearman")
    assert result.settings.voxel_selection == "all"
    assert "without betas of odd and even runs" in result.notes[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda s, m: quiet_compare(s, m, rsa_metric=lambda a, b: np.nan), "gave nan for two RDMs"),
        (lambda s, m: quiet_compare(s, m, rsa_metric=kendalltau), r"\.statistic|gave \["),
        (lambda s, m: quiet_compare(s, m, rsa_metrc="pearson"), "did you mean 'rsa_metric'"),
        (lambda s, m: quiet_compare(s, m, n_voxels=5.0), "n_voxels = 5.0 is not a whole number"),
        (lambda s, m: quiet_compare(s, m, seed=None), "seed = None is not a whole number"),
        (lambda s, m: quiet_compare(s, m, multiverse="no"), "neither True nor False"),
        (lambda s, m: quiet_compare(s, m, rsa_metric=None), "rsa_metric cannot be None"),
        (lambda s, m: quiet_compare(s, [np.ones((10, 3))]), "models are Features or ModelRdm"),
        (lambda s, m: quiet_compare([], m), "there is no subject to compare"),
        (
            lambda s, m: quiet_compare(
                [s[0], crsa.SubjectRdms.from_arrays("9", STIMULI, {"V1": m[2].rdm})], m
            ),
            "some subjects have patterns and others have RDMs",
        ),
        (lambda s, m: crsa.Features("n", "all", STIMULI, np.ones((10, 2))), "group called 'all'"),
        (lambda s, m: crsa.Features("n", "visual", ["x", "x"], np.ones((2, 2))), "'x' more than"),
        (lambda s, m: crsa.Features("n", "visual", "ab", np.ones((2, 2))), "give a list of names"),
        (lambda s, m: crsa.ModelRdm("n", "visual", STIMULI, np.full(45, np.nan)), "not finite"),
        (lambda s, m: crsa.ModelRdm("n", "visual", STIMULI, np.ones(5)), r"of shape \(5,\)"),
        (lambda s, m: crsa.RoiPatterns.from_array(np.ones((4, 6)), voxels=[1, 2]), "give "),
        (lambda s, m: crsa.SubjectPatterns.from_arrays("1", STIMULI, np.ones((10, 2))), "a dict"),
        (lambda s, m: crsa.to_rsatoolbox([]), "give a Comparison"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence(
    wrong: Callable[[list[crsa.SubjectPatterns], list[crsa.Features]], object], message: str
) -> None:
    with pytest.raises(crsa.InputError, match=message) as raised:
        wrong(subjects_of(3), models_of())
    assert "\n" not in str(raised.value)


def test_one_model_a_generator_and_a_region_without_data() -> None:
    assert list(quiet_compare(iter(subjects_of(3)), models_of()[0]).scores["model"]) == ["net"] * 2
    constant = [
        crsa.SubjectPatterns.from_arrays(label, STIMULI, {"V1": np.ones((10, 4))}) for label in "12"
    ]
    with pytest.raises(crsa.InputError, match="holds no voxel with data"):
        quiet_compare(constant, models_of())


def test_rdms_go_to_rsatoolbox_and_back(result: crsa.Comparison) -> None:
    pytest.importorskip("rsatoolbox")
    rdms = crsa.to_rsatoolbox(result)
    assert rdms.n_rdm == 2 * 3 + 3
    brains = crsa.from_rsatoolbox(rdms.subset("kind", "brain"))
    models = crsa.from_rsatoolbox(rdms.subset("kind", "model"))
    assert [subject.label for subject in brains] == ["sub-01", "sub-02", "sub-03"]
    np.testing.assert_array_equal(
        brains[1].rois["IT"][0], result.result.rois[1].rdms.mean(axis=0)[1]
    )
    np.testing.assert_array_equal(models[0].rdm, result.result.model_rdms[0])
    again = crsa.to_rsatoolbox(models)
    np.testing.assert_array_equal(again.dissimilarities, result.result.model_rdms)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert crsa.compare(brains, models, **QUICK).result.stimuli == STIMULI


def test_rdms_of_rsatoolbox_in_another_order() -> None:
    rsatoolbox = pytest.importorskip("rsatoolbox")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 6))
    names = ["d", "b", "c", "a"]
    data = rsatoolbox.data.Dataset(values, obs_descriptors={"conds": names})
    rdms = rsatoolbox.rdm.calc_rdm(data, method="euclidean", descriptor="conds")
    rdms.rdm_descriptors["name"] = ["mine"]
    assert crsa.from_rsatoolbox(rdms)[0].group == "models"
    (model,) = crsa.from_rsatoolbox(rdms, group="visual")
    assert model.stimuli == ("a", "b", "c", "d")
    order = [3, 1, 2, 0]
    np.testing.assert_allclose(model.rdm, crsa.compute_rdm(values[order], "euclidean"))


def test_extras_are_left_out_where_stimuli_are_many_and_come_back_when_asked_for() -> None:
    rng = np.random.default_rng(0)
    names = [f"s{number:03d}" for number in range(201)]
    content = rng.normal(size=(201, 5))
    subjects = [
        crsa.SubjectPatterns.from_arrays(
            label, names, {"V1": content @ rng.normal(size=(5, 8)) + rng.normal(size=(2, 201, 8))}
        )
        for label in ("1", "2", "3")
    ]
    models = [crsa.Features("content", "own", names, content)]
    few = {"n_permutations": 100, "n_random_draws": 1}
    with pytest.warns(crsa.ComparisonWarning):
        result = crsa.compare(subjects, models, **few)
    notes = " ".join(result.notes)
    assert "the multiverse of choices is skipped, because it takes long with 201 stimuli" in notes
    assert "Figure" not in notes
    assert "multiverse" not in result.tables
    assert result.scores.loc[0, "p_max"] <= 0.01
    with pytest.warns(crsa.ComparisonWarning):
        asked = crsa.compare(subjects, models, multiverse=True, **few)
    assert "multiverse" in asked.tables


def test_default_networks_are_those_that_can_read_the_pictures(tmp_path: Path) -> None:
    places = WeightsOptions(cache=tmp_path)
    pictures = [Stimulus("a", tmp_path / "a.png")]
    labelled = [Stimulus("a", tmp_path / "a.png", "a cat")]
    every = library._installed_models(labelled, places)
    reading = set(every) - set(library._installed_models(pictures, places))
    entries = {entry.name: entry for entry in read_zoo().entries}
    assert reading == {name for name in every if entries[name].network.input == "label"}


def test_regions_are_given_by_a_list_of_names() -> None:
    (region,) = library._regions_given({"V1": ["L_V1", "R_V1"]})
    assert region == read_choice("V1=L_V1,R_V1")
