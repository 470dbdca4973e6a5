"""fMRIPrep's runs in a standard space are modelled there, and compared at regions of that space."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from small_demo import STIMULI, planted_features
from standard_space import AFFINE, RUNS, SPACE, DataSet, write_data_set
from validation import bids_errors

from conceptrsa.analysis.betas.read import find_format, read_betas
from conceptrsa.analysis.brain.patterns import SubjectPatterns
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.reader import PACKAGED_FOLDER
from conceptrsa.pipelines.cli import main

OPTIONS = ("--skip-bids-validation", "--nprocs", "1")


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return write_data_set(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's, with white noise, so that least squares are the oracle."""
    file = tmp_path_factory.mktemp("config") / "ols.toml"
    text = (PACKAGED_FOLDER / "demo.toml").read_text().replace('"ar1"', '"ols"')
    file.write_text(text)
    return file


def participant(data_set: DataSet, out: Path, config: Path, *options: str) -> int:
    return main([
        "run", str(data_set.raw), str(out), "participant", "--dataset-config", str(config),
        "--derivatives", str(data_set.fmriprep), *OPTIONS, *options,
    ])  # fmt: skip


@pytest.fixture(scope="module")
def out(data_set: DataSet, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("derivatives") / "out"
    options = ("--run-betas", "--runs-per-partition", "1")
    assert participant(data_set, folder, config, *options) == 0
    return folder


def func(out: Path, rest: str, subject: str = "01") -> Path:
    return out / f"sub-{subject}" / "func" / f"sub-{subject}_task-perception_{SPACE}_{rest}"


def least_squares(data_set: DataSet, out: Path) -> NDArray[np.float64]:
    """Betas (stimuli, voxels in the mask) of one model of both runs, by plain least squares."""
    mask = nib.load(func(out, "desc-brain_mask.nii.gz")).get_fdata() > 0
    designs, series = [], []
    for run in RUNS:
        table = pd.read_csv(
            out / f"sub-01/func/sub-01_task-perception_run-0{run}_design.tsv", sep="\t"
        )
        shown = [*(f"stimulus:{stimulus}" for stimulus in STIMULI), "one-back"]
        designs.append((table[shown], table.drop(columns=shown)))
        bold = nib.load(data_set.func("01", f"{SPACE}_desc-preproc_bold.nii.gz", run)).get_fdata()
        signal = bold[mask].T
        series.append(100 * signal / signal[:, np.ptp(signal, axis=0) > 0].mean())
    first, second = (others.to_numpy() for _, others in designs)
    others = np.block([
        [first, np.zeros((len(first), second.shape[1]))],
        [np.zeros((len(second), first.shape[1])), second],
    ])  # fmt: skip
    stimuli = np.concatenate([shown.to_numpy() for shown, _ in designs])
    fitted = np.linalg.lstsq(np.hstack([stimuli, others]), np.concatenate(series), rcond=None)
    return fitted[0][: len(STIMULI)]


def test_betas_are_those_of_least_squares_in_the_runs_own_voxels(
    data_set: DataSet, out: Path
) -> None:
    image = nib.load(func(out, "stat-effect_statmap.nii.gz"))
    bold = nib.load(data_set.func("01", f"{SPACE}_desc-preproc_bold.nii.gz"))
    assert image.shape == (*bold.shape[:3], len(STIMULI))
    np.testing.assert_allclose(image.affine, AFFINE)
    mask = nib.load(func(out, "desc-brain_mask.nii.gz")).get_fdata() > 0
    betas = image.get_fdata()
    assert np.isnan(betas[~mask]).all()
    expected = least_squares(data_set, out)
    found = betas[mask].T
    assert np.isfinite(found).mean() > 0.99
    where = np.isfinite(found)
    np.testing.assert_allclose(found[where], expected[where], atol=1e-5 * expected.std())


def test_the_brain_mask_is_that_of_any_run(data_set: DataSet, out: Path) -> None:
    mask = nib.load(func(out, "desc-brain_mask.nii.gz")).get_fdata() > 0
    assert not (mask & ~data_set.brain).any()
    assert mask.sum() > 0.95 * data_set.brain.sum()


def test_run_betas_are_the_runs_own_voxels(out: Path) -> None:
    import h5py

    with h5py.File(func(out, "desc-runs_roibetas.h5")) as file:
        betas = nib.load(func(out, "stat-effect_desc-odd_statmap.nii.gz")).get_fdata()
        voxels = file["fusiform/voxels"][:]
        np.testing.assert_allclose(
            file["fusiform/betas"][0].T, betas.reshape(-1, len(STIMULI))[voxels], atol=1e-4
        )


def test_nothing_is_registered_and_nothing_said_of_it(out: Path) -> None:
    assert sorted(path.name for path in (out / "sub-01" / "anat").iterdir()) == [
        f"sub-01_{SPACE}_desc-rois_dseg.{end}" for end in ("json", "nii.gz", "tsv")
    ]
    names = [path.name for path in (out / "sub-01" / "func").iterdir()]
    assert not [name for name in names if "xfm" in name or "MNI305" in name or "boldref_" in name]
    page = (out / "sub-01.html").read_text()
    for absent in ("coregistration", "normalization", "t1w"):
        assert f'id="{absent}"' not in page and f'href="#{absent}"' not in page
    assert "MNI152NLin2009cAsym:res-2" in page and "fusiform" in page
    sidecar = json.loads(func(out, "stat-effect_statmap.json").read_text())
    assert sidecar["Estimation"]["Space"] == "MNI152NLin2009cAsym:res-2"
    assert sidecar["Resolution"] == {"2": "the grid of fMRIPrep's runs"}


def test_it_is_valid_bids(out: Path, tmp_path: Path) -> None:
    assert bids_errors(out, tmp_path) == []


def write_features(folder: Path) -> None:
    folder.mkdir()
    for name, features in planted_features().items():
        np.savez(folder / f"{name}.npz", stimulus=np.array(STIMULI), features=features)
    rows = "".join(f"{name}\tvisual\n" for name in planted_features())
    (folder / "models.tsv").write_text(f"model\tgroup\n{rows}")


def test_the_planted_answer_comes_back(data_set: DataSet, out: Path, tmp_path: Path) -> None:
    write_features(tmp_path / "features")
    words = ["--features", str(tmp_path / "features"), "--preset", "paper"]
    assert main(["run", str(data_set.raw), str(out), "group", *words]) == 0
    table = pd.read_csv(out / "group" / "rsa.tsv", sep="\t")
    mean = table.groupby(["roi", "model"])["rsa"].mean().unstack()
    assert mean.loc["visual"].idxmax() == "EfficientNet-Lite0"
    assert mean.loc["fusiform"].idxmax() == "EfficientNet-Lite0-early"


def test_betas_are_read_back_at_their_own_regions(out: Path) -> None:
    assert find_format(out).name == "derivatives"
    (subject, _) = read_betas(out)
    assert isinstance(subject, SubjectPatterns)
    labels = nib.load(out / f"sub-01/anat/sub-01_{SPACE}_desc-rois_dseg.nii.gz").get_fdata()
    betas = nib.load(func(out, "stat-effect_statmap.nii.gz")).get_fdata()
    inside = np.isin(labels, (1007, 2007)) & np.isfinite(betas).all(axis=-1)
    np.testing.assert_allclose(subject.rois["fusiform"].values, betas[inside].T, rtol=1e-6)


# What is chosen, and what is refused


def dry_run(
    data_set: DataSet, out: Path, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, str, list[str]]:
    code = participant(data_set, out, Path("demo"), "--dry-run", *options)
    text = capsys.readouterr().out
    problems = [line for line in text.splitlines() if line.startswith("problem: ")]
    return code, text, problems


def test_a_dry_run_names_the_space_and_the_steps_that_are_left(
    data_set: DataSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, problems = dry_run(data_set, tmp_path / "out", capsys)
    assert code == 0 and not problems
    assert "engine python, space MNI152NLin2009cAsym:res-2, output" in text
    assert "  step import of runs " in text and "  step GLM " in text
    for left_out in ("registration", "MNI305", "brain mask", "slice timing", "coregistration"):
        assert left_out not in text


@pytest.fixture
def copy(data_set: DataSet, tmp_path: Path) -> DataSet:
    """A copy of fMRIPrep's output that may be changed."""
    shutil.copytree(data_set.fmriprep, tmp_path / "fmriprep")
    return replace(data_set, fmriprep=tmp_path / "fmriprep")


def rename(data_set: DataSet, space: str, pattern: str = "*") -> None:
    for file in data_set.fmriprep.glob(f"sub-*/func/{pattern}{SPACE}_*"):
        file.rename(file.with_name(file.name.replace(SPACE, space)))


@pytest.mark.parametrize(
    ("space", "entities"),
    [
        ("MNI152NLin6Asym", "space-MNI152NLin6Asym"),
        ("MNI152NLin2009cAsym:res-native", "space-MNI152NLin2009cAsym_res-native"),
        ("MNIPediatricAsym:cohort-2:res-2", "space-MNIPediatricAsym_cohort-2_res-2"),
    ],
)
def test_any_template_is_a_space(
    space: str, entities: str, copy: DataSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rename(copy, entities)
    for options in ((), ("--space", space), ("--space", space.partition(":")[0])):
        code, text, problems = dry_run(copy, tmp_path / "out", capsys, *options)
        assert (code, problems) == (0, []) and f"space {space}, output" in text


def test_a_space_that_is_not_there_is_one_sentence(
    data_set: DataSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, problems = dry_run(data_set, tmp_path / "out", capsys, "--space", "MNI152NLin6Asym")
    assert problems == [
        f"problem: {data_set.fmriprep} holds runs of task perception in "
        "MNI152NLin2009cAsym:res-2, not in MNI152NLin6Asym: choose --space "
        "MNI152NLin2009cAsym:res-2, or run fMRIPrep again with MNI152NLin6Asym among its "
        "--output-spaces"
    ]
    _, _, problems = dry_run(data_set, tmp_path / "out", capsys, "--space", "T1w")
    assert len(problems) == 1 and "not in T1w: choose --space MNI152NLin2009" in problems[0]


def test_several_spaces_need_a_choice(
    copy: DataSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rename(copy, "space-MNI152NLin2009cAsym", "*run-1_")
    _, _, problems = dry_run(copy, tmp_path / "out", capsys)
    assert len(problems) == 1
    assert "choose --space MNI152NLin2009cAsym or --space MNI152NLin2009cAsym:res-2" in problems[0]
    # Of all four runs two are not there: said once.
    _, _, problems = dry_run(copy, tmp_path / "out", capsys, "--space", "MNI152NLin2009cAsym:res-2")
    assert len(problems) == 1 and problems[0].startswith("problem: 2 alike (sub-01, sub-02)")
    assert "exists in MNI152NLin2009cAsym only, but runs are read in MNI152" in problems[0]


def write_atlas(file: Path, labels: NDArray[np.int32], voxel_mm: float = 3.0) -> Path:
    """Write labels of the data set's grid in a finer one of the same space."""
    factor = voxel_mm / AFFINE[0, 0]
    shape = [int(size / factor) for size in labels.shape]
    affine = AFFINE @ np.diag([factor, factor, factor, 1])
    affine[:3, 3] += (factor - 1) / 2 * AFFINE[0, 0]
    at = [
        np.clip(((np.arange(n) + 0.5) * factor).astype(int), 0, size - 1)
        for n, size in zip(shape, labels.shape, strict=True)
    ]
    nib.save(nib.Nifti1Image(labels[np.ix_(*at)], affine), file)
    return file


@pytest.fixture
def labels(data_set: DataSet) -> NDArray[np.int32]:
    file = data_set.func("01", f"{SPACE}_desc-aparcaseg_dseg.nii.gz")
    return np.asarray(nib.load(file).dataobj).astype(np.int32)


def test_an_atlas_in_another_grid_is_resampled_and_that_is_said_once(
    copy: DataSet, labels: NDArray[np.int32], tmp_path: Path, config: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for file in copy.fmriprep.glob("sub-*/func/*_dseg.nii.gz"):
        file.unlink()
    shutil.rmtree(copy.fmriprep / "sub-02")
    atlas = write_atlas(tmp_path / "tpl-MNI152NLin2009cAsym_atlas-own_dseg.nii.gz", labels)
    out = tmp_path / "out"
    own = config.with_name("atlas.toml")
    own.write_text(f'atlas = "{atlas}"\n{config.read_text()}')
    assert participant(copy, out, own, "--participant-label", "01") == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "nearest neighbour" in line]
    assert len(said) == 1
    assert f"{atlas.name} resampled by nearest neighbour to the grid of the betas" in said[0]
    dseg = out / f"sub-01/anat/sub-01_{SPACE}_desc-rois_dseg"
    found = nib.load(f"{dseg}.nii.gz")
    np.testing.assert_allclose(found.affine, AFFINE)
    assert (np.asarray(found.dataobj) == labels).mean() > 0.97
    assert json.loads(Path(f"{dseg}.json").read_text())["Atlas"] == atlas.name
    estimation = json.loads(func(out, "stat-effect_statmap.json").read_text())["Estimation"]
    assert estimation["RegionsFrom"] == atlas.name
    assert f'atlas = "{atlas}"' in (out / "dataset_config.toml").read_text()
    assert "visual" in pd.read_csv(f"{dseg}.tsv", sep="\t")["name"].tolist()


def test_without_an_atlas_of_the_space_nothing_says_where_regions_lie(
    copy: DataSet, labels: NDArray[np.int32], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in copy.fmriprep.glob("sub-*/func/*_dseg.nii.gz"):
        file.unlink()
    _, _, problems = dry_run(copy, tmp_path / "out", capsys)
    assert len(problems) == 1 and problems[0].endswith(
        "so it has no regions: give a label volume in that space with --atlas"
    )
    assert problems[0].startswith("problem: 2 alike (sub-01, sub-02), the first: sub-01 has no ")
    other = write_atlas(tmp_path / "atlas_space-MNI305_dseg.nii.gz", labels)
    _, _, problems = dry_run(copy, tmp_path / "out", capsys, "--atlas", str(other))
    assert len(problems) == 1 and f"{other} is in the space MNI305 but" in problems[0]
    assert problems[0].endswith("according to their names or headers: give an atlas in that space")
    labels[labels == 17] = 0
    without = write_atlas(tmp_path / "without.nii.gz", labels)
    _, _, problems = dry_run(copy, tmp_path / "out", capsys, "--atlas", str(without))
    assert len(problems) == 1 and "no voxel with label 17, which region hippocampus" in problems[0]


def test_an_atlas_of_another_form_of_mni152_is_said(
    data_set: DataSet, labels: NDArray[np.int32], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    other = write_atlas(tmp_path / "atlas_space-MNI152NLin6Asym_dseg.nii.gz", labels)
    code = participant(data_set, tmp_path / "out", Path("demo"), "--dry-run", "--atlas", str(other))
    said = capsys.readouterr()
    assert code == 0 and "these versions of MNI152 differ by 2 mm" in said.out + said.err


def test_another_space_is_not_added_to_an_output_folder(
    copy: DataSet, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rename(copy, "space-MNI152NLin6Asym")
    _, _, problems = dry_run(copy, out, capsys)
    assert len([one for one in problems if "runs.space" in one]) == 1
    assert (out / "dataset_config.toml").read_text().count(
        'space = "MNI152NLin2009cAsym:res-2"'
    ) == 1


def test_subjects_in_different_spaces_are_not_compared(out: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(out, mixed, ignore=shutil.ignore_patterns(".work", "group"))
    for file in mixed.glob(f"sub-02/*/*{SPACE}_*"):
        file.rename(file.with_name(file.name.replace(SPACE, "space-MNI152NLin6Asym")))
    with pytest.raises(InputError) as caught:
        read_betas(mixed)
    said = str(caught.value)
    assert " is in the space MNI152NLin2009cAsym:res-2 but " in said
    assert "in MNI152NLin6Asym: keep betas of one space in a folder" in said


@pytest.mark.parametrize("damage", ["missing", "other grid"])
def test_a_brain_mask_that_does_not_fit(
    damage: str, copy: DataSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = copy.func("02", f"{SPACE}_desc-brain_mask.nii.gz")
    image = nib.load(mask)
    smaller = np.asarray(image.dataobj)[1:]
    mask.unlink()
    said = f"problem: {mask} is missing (brain mask of "
    if damage == "other grid":
        nib.save(nib.Nifti1Image(smaller, image.affine), mask)
        said = f"problem: {mask} does not lie on the grid of "
    _, _, problems = dry_run(copy, tmp_path / "out", capsys)
    assert len(problems) == 1 and problems[0].startswith(said)


def test_options_that_mean_nothing_here_are_refused(
    data_set: DataSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", str(data_set.raw), str(tmp_path / "out"), "participant", "--dataset-config"]
    for option, said in (
        (("--space", "MNI152NLin6Asym"), "give --derivatives too"),
        (("--atlas", "x.nii.gz"), "needs fMRIPrep's runs in a standard space"),
        (("--space", "MNI152NLin6Asym:2mm"), "is not a space: write it as in fMRIPrep's"),
    ):
        assert main([*words, "demo", *OPTIONS, *option]) == 2
        assert said in capsys.readouterr().err


def test_the_graph_has_no_registration(data_set: DataSet, tmp_path: Path) -> None:
    words = ["--bids-dir", str(data_set.raw), "--derivatives", str(data_set.fmriprep)]
    graph = tmp_path / "graph.dot"
    for engine in ("python", "spm"):
        assert main(["graph", str(graph), *words, "--dataset-config", "demo", "--engine", engine,
                     "--normalization", "freesurfer"]) == 0  # fmt: skip
        text = graph.read_text()
        for step in ("import_runs", "combine_masks", "estimate_betas", "find_rois", "coverage"):
            assert step in text
        for step in ("normalize", "find_brain", "coregist", "resample", "reconstruct"):
            assert step not in text
