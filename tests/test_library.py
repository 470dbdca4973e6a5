"""The library as a notebook uses it."""

import re
import subprocess
import sys
import time
import warnings
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import kendalltau

import conceptrsa as crsa
from conceptrsa.analysis.comparison import compare as compare_patterns
from conceptrsa.analysis.settings import settings_for

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "python.md"
STIMULI = tuple(f"s{number:02d}" for number in range(10))
QUICK = {"n_permutations": 100, "n_bootstraps": 100, "multiverse": False}


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
        (["a", "b", "a"], runs, "stimulus a of sub-7 is given twice"),
        (["a", "b"], runs, r"betas of V1 of sub-7 have 3 rows for 2 stimuli"),
        (["a", "b", "c"], runs[0, 0], r"betas of V1 of sub-7 are of shape \(5,\)"),
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
    assert [label.get_text() for label in result.plot.scores().get_yticklabels()] == [
        "net", "clip", "words",
    ]  # fmt: skip
    assert result.plot.figure("figure_3").axes
    with pytest.raises(crsa.InputError, match="no figure figure_9"):
        result.plot.figure("figure_9")
    with pytest.raises(crsa.InputError, match=r"has no V2.*V1, IT"):
        result.plot.scores("V2")
    plt.close("all")


def test_tables_of_another_preset_are_named(result: crsa.Comparison) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paper = crsa.compare(subjects_of(3), models_of(), "paper", n_voxels=5)
    assert paper.settings.preset == "paper"
    with pytest.raises(crsa.InputError, match=r"no table scores \(preset paper\): it has rsa"):
        _ = paper.scores


def test_a_comparison_of_ones_own_gives_what_it_gives_by_name(tmp_path: Path) -> None:
    def tau_a(rdm: np.ndarray, other: np.ndarray) -> float:
        # Without ties tau-b is tau-a.
        return float(kendalltau(rdm, other).statistic)

    def correlation(patterns: np.ndarray) -> np.ndarray:
        return pdist(patterns, "correlation")

    given = {"voxel_selection": "all", "n_permutations": 100, "n_bootstraps": 100}
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
    with pytest.raises(crsa.InputError, match="model mine is of the group None"):
        crsa.from_rsatoolbox(rdms)
    (model,) = crsa.from_rsatoolbox(rdms, group="visual")
    assert model.stimuli == ("a", "b", "c", "d")
    order = [3, 1, 2, 0]
    np.testing.assert_allclose(model.rdm, crsa.compute_rdm(values[order], "euclidean"))
