"""The real SPM12 against planted truth and the embedded engine.

Runs where a launcher of SPM is configured (`SPMMCRCMD`) and is skipped elsewhere.
"""

import json
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nipype.pipeline.engine import Node
from small_demo import small_settings

from conceptrsa.bids_config.errors import InputError
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.design import make_run_design
from conceptrsa.interfaces.numerics.pooling import pool_betas, read_run_betas
from conceptrsa.interfaces.numerics.realignment import motion_parameters, rigid_matrix
from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.numerics.slice_timing import correct_slice_timing
from conceptrsa.interfaces.numerics.transforms import displacements, mask_points, read_matrix
from conceptrsa.interfaces.spm import first_level, first_level_model
from conceptrsa.interfaces.spm.find_spm import find_launcher
from conceptrsa.interfaces.spm.preprocessing_jobs import SpmCoregister, SpmRealign, SpmSliceTiming
from conceptrsa.interfaces.spm.run_models import (
    SpmConcatenatedBetas,
    SpmSamplePartition,
    SpmSessionBetas,
)
from conceptrsa.interfaces.spm.spm_files import workplace
from conceptrsa.pipelines.cli import main
from conceptrsa.pipelines.demo.demo_dataset import write_demo_dataset
from conceptrsa.pipelines.demo.demo_settings import PLANTED_ROIS
from conceptrsa.pipelines.demo.truth import SubjectTruth


def _find() -> str | None:
    try:
        find_launcher()
    except InputError as error:
        return str(error)
    return None


pytestmark = pytest.mark.skipif(_find() is not None, reason=f"no SPM here: {_find()}")

STIMULI = ("n01 'a", "n02%b", "Ähre_3", "n04,d", "n05;e", "n06*bf(1)")
TR, N_VOLUMES, N_RUNS = 3.0, 60, 4
SHAPE = (10, 10, 8)


def make_events(rng: np.random.Generator) -> pd.DataFrame:
    """Rest, the pictures of 9 s back to back, one repeated, rest to the very end of the run."""
    order = list(rng.permutation(STIMULI))
    shown = [*order, "one-back", *rng.permutation(STIMULI)]
    onsets = 30.0 + 9.0 * np.arange(len(shown))
    rows = [(0.0, 30.0, "fixation", "fixation")]
    rows += [
        (onset, 9.0, name, "one-back" if name == "one-back" else "stimulus")
        for onset, name in zip(onsets, shown, strict=True)
    ]
    rows.append((onsets[-1] + 9.0, 180.0 - onsets[-1] - 9.0, "fixation", "fixation"))
    return pd.DataFrame(rows, columns=["onset", "duration", "condition", "kind"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Runs whose means jump by half, with planted responses, drift and AR(1) noise."""
    folder = tmp_path_factory.mktemp("runs with 'quotes'")
    rng = np.random.default_rng(3)
    planted = rng.normal(1.0, 1.0, (len(STIMULI), *SHAPE))
    files: dict[str, list[str]] = {"in_files": [], "motion_files": [], "events_files": []}
    for number, mean in enumerate((800.0, 1200.0, 600.0, 1000.0), start=1):
        events = make_events(rng)
        motion = rng.normal(0, [0.02] * 3 + [0.0003] * 3, (N_VOLUMES, 6)).cumsum(axis=0)
        design = make_run_design(events, motion, TR, baseline="implicit").matrix
        response = sum(
            np.multiply.outer(planted[index], design[f"stimulus:{name}"].to_numpy())
            for index, name in enumerate(STIMULI)
        )
        noise = rng.normal(0, 0.4, (*SHAPE, N_VOLUMES))
        for volume in range(1, N_VOLUMES):
            noise[..., volume] += 0.3 * noise[..., volume - 1]
        drift = np.multiply.outer(rng.normal(0, 1, SHAPE), np.linspace(-1, 1, N_VOLUMES))
        data = mean * (1 + (response + noise + drift) / 100)
        stem = folder / f"run{number}"
        nib.save(nib.Nifti1Image(data.astype(np.float32), np.diag([3, 3, 3, 1])), f"{stem}.nii")
        np.savetxt(f"{stem}.txt", motion)
        events.to_csv(f"{stem}.tsv", sep="\t", index=False)
        for key, suffix in zip(files, (".nii", ".txt", ".tsv"), strict=True):
            files[key].append(f"{stem}{suffix}")
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:-1, 1:-1, 1:-1] = 1
    nib.save(nib.Nifti1Image(mask, np.diag([3, 3, 3, 1])), folder / "mask.nii")
    inputs = {
        **files, "repetition_times": [TR] * N_RUNS, "mask_file": str(folder / "mask.nii"),
        "baseline": "implicit",
    }  # fmt: skip
    return {"inputs": inputs, "planted": planted, "mask": mask > 0}


def run_node(interface: object, folder: Path) -> object:
    return Node(interface, name="step", base_dir=str(folder)).run().outputs


def in_order(betas_file: str | Path, stimuli_file: str | Path, mask: np.ndarray) -> np.ndarray:
    """Betas (stimuli, voxels) in the order of `STIMULI`, found by name."""
    names = list(pd.read_csv(stimuli_file, sep="\t")["stimulus"])
    data = np.asarray(nib.load(betas_file).dataobj)
    assert np.isnan(data[~mask]).all()
    return np.stack([data[..., names.index(name)][mask] for name in STIMULI])


@pytest.fixture
def joined_runs(runs: dict, tmp_path: Path) -> dict[str, object]:
    """Inputs whose events touch and cross the ends of their runs; explicit baseline."""
    inputs = {**runs["inputs"], "baseline": "explicit", "events_files": []}
    for number, file in enumerate(runs["inputs"]["events_files"]):
        events = pd.read_csv(file, sep="\t")
        if number == 1:  # begins before its run
            events.loc[0, ["onset", "duration"]] = [-4.0, 34.0]
        if number == 2:  # reaches beyond its end
            events.loc[events.index[-1], "duration"] += TR / 2
        inputs["events_files"].append(str(tmp_path / Path(file).name))
        events.to_csv(inputs["events_files"][-1], sep="\t", index=False)
    return inputs


@pytest.fixture(scope="module")
def sessions(runs: dict, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Betas of the model with a session a run, pooled jointly."""
    folder = tmp_path_factory.mktemp("sessions")
    out = run_node(SpmSessionBetas(**runs["inputs"]), folder)
    pooled = [folder / f"{name}.nii" for name in ("all", "odd", "even")]
    of_runs = read_run_betas(out.betas_files, out.conditions_files, out.information_files)
    pool_betas(of_runs, *pooled).to_csv(folder / "stimuli.tsv", sep="\t", index=False)
    return in_order(pooled[0], folder / "stimuli.tsv", runs["mask"])


@pytest.fixture(scope="module")
def concatenated(runs: dict, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Betas of the model of concatenated runs."""
    out = run_node(SpmConcatenatedBetas(**runs["inputs"]), tmp_path_factory.mktemp("concatenated"))
    return in_order(out.betas_file, out.stimuli_file, runs["mask"])


def relative_difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.sqrt(((first - second) ** 2).mean() / (second**2).mean()))


def test_planted_responses_are_found_under_their_names(
    runs: dict, sessions: np.ndarray, concatenated: np.ndarray
) -> None:
    planted = runs["planted"][:, runs["mask"]]
    for betas in (sessions, concatenated):
        for found, true in zip(betas, planted, strict=True):
            assert np.corrcoef(found, true)[0, 1] > 0.95
            # In percent of the run's mean (SPM's boxcars are one of 16 bins longer).
            assert np.polyfit(true, found, 1)[0] == pytest.approx(1.0, abs=0.05)


def test_concatenated_runs_are_within_one_percent_of_sessions(
    sessions: np.ndarray, concatenated: np.ndarray
) -> None:
    assert relative_difference(concatenated, sessions) < 0.01


def test_naive_concatenation_is_worse(
    runs: dict, sessions: np.ndarray, concatenated: np.ndarray, tmp_path: Path
) -> None:
    """One session without the statements of `model.concatenation`, as SPM takes it by default."""
    inputs = first_level.SpmModelStep.input_spec(**runs["inputs"])
    with workplace(tmp_path) as plain:
        of_runs = first_level.read_runs(inputs, plain)
        conditions = first_level_model.conditions_of(
            first_level_model.concatenated(of_runs, TR), "implicit"
        )
        first_level_model.write_motion_regressors(plain / "motion.mat", of_runs)
        scans = [run.scans for run in of_runs]
        session = first_level_model.session_info(scans, conditions, plain / "motion.mat", 128.0)
        estimated = first_level.estimate(inputs, plain, [session])
        columns = first_level.columns_of(estimated, 1, conditions)
        first_level.stack_betas(plain, columns, tmp_path / "naive.nii")
    names = [condition.name for condition in conditions]
    data = np.asarray(nib.load(tmp_path / "naive.nii").dataobj)
    naive = np.stack([data[..., names.index(name)][runs["mask"]] for name in STIMULI])
    planted = runs["planted"][:, runs["mask"]]
    assert relative_difference(naive, planted) > 3 * relative_difference(concatenated, planted)
    assert relative_difference(naive, sessions) > 0.1


def test_halves_are_of_their_runs(runs: dict, concatenated: np.ndarray, tmp_path: Path) -> None:
    inputs = runs["inputs"]
    odd = run_node(SpmConcatenatedBetas(**inputs, split="odd"), tmp_path / "odd")
    alone = {key: value[::2] if isinstance(value, list) else value for key, value in inputs.items()}
    same = run_node(SpmConcatenatedBetas(**alone), tmp_path / "same")
    first = in_order(odd.betas_file, odd.stimuli_file, runs["mask"])
    assert np.array_equal(first, in_order(same.betas_file, same.stimuli_file, runs["mask"]))
    assert 0.02 < relative_difference(first, concatenated) < 1


def test_a_single_run_has_no_even_half(runs: dict, tmp_path: Path) -> None:
    alone = {
        key: value[:1] if isinstance(value, list) else value
        for key, value in runs["inputs"].items()
    }
    out = run_node(SpmConcatenatedBetas(**alone, split="even"), tmp_path)
    assert np.isnan(nib.load(out.betas_file).dataobj).all()


def test_the_design_of_a_run_is_the_same_in_both_models(joined_runs: dict, tmp_path: Path) -> None:
    """SPM convolves a session's events by itself: nothing of them may reach into another run."""
    both = [
        run_node(interface(**joined_runs), tmp_path / interface.__name__)
        for interface in (SpmSessionBetas, SpmConcatenatedBetas)
    ]
    for first, second in zip(*(out.design_matrices for out in both), strict=True):
        one, other = pd.read_csv(first, sep="\t"), pd.read_csv(second, sep="\t")
        assert "fixation" in one and np.ptp(one["fixation"]) > 0.5
        pd.testing.assert_frame_equal(one[sorted(one)], other[sorted(other)], rtol=1e-9)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One subject of the small demo, two runs."""
    folder = tmp_path_factory.mktemp("small demo")
    rng = np.random.default_rng(5)
    planted = {roi.model: rng.standard_normal((12, 40)) for roi in PLANTED_ROIS.values()}
    stimuli = tuple(f"thing_{n:02d}" for n in range(12))
    write_demo_dataset(folder, planted, stimuli, small_settings(n_subjects=1), 2)
    return folder


def test_slice_timing_equals_the_embedded_engine(demo: Path, tmp_path: Path) -> None:
    raw = sorted(demo.glob("bids/sub-01/*/func/*_bold.nii.gz"))[0]
    sidecar = json.loads(next((demo / "bids").glob("*_bold.json")).read_text())
    times, repetition_time = sidecar["SliceTiming"], sidecar["RepetitionTime"]
    out = run_node(
        SpmSliceTiming(in_file=str(raw), slice_times=times, repetition_time=repetition_time),
        tmp_path,
    )
    correct_slice_timing(raw, tmp_path / "own.nii", times, "k", repetition_time, None)
    by_spm = np.asarray(nib.load(out.out_file).dataobj, dtype=float)
    own = np.asarray(nib.load(tmp_path / "own.nii").dataobj, dtype=float)
    assert np.abs(by_spm - own).max() <= 1.0  # SPM rounds to integers


def test_motion_is_that_which_was_planted(demo: Path, tmp_path: Path) -> None:
    raw = sorted(demo.glob("bids/sub-01/*/func/*_bold.nii.gz"))
    out = run_node(SpmRealign(in_files=[str(path) for path in raw]), tmp_path)
    found = np.concatenate([np.loadtxt(path) for path in out.motion_files])
    truth = SubjectTruth.read(demo / "truth" / "sub-01.npz").motion.reshape(-1, 4, 4)
    planted = motion_parameters(truth @ np.linalg.inv(truth[0]))
    error = found - planted
    assert np.abs(error[:, :3] - error[:, :3].mean(axis=0)).max() < 0.3  # mm, voxels of 4.5 mm
    assert np.abs(error[:, 3:] - error[:, 3:].mean(axis=0)).max() < 0.005  # rad
    mean = nib.load(out.mean_file)
    assert np.allclose(mean.affine, nib.load(raw[0]).affine, atol=1e-4)
    assert nib.load(out.valid_mask_file).shape == mean.shape


def test_a_moved_epi_is_brought_back(shared_data: Path, tmp_path: Path) -> None:
    """A real pair that lies aligned: what the EPI's header is moved by must be undone."""
    folder = shared_data / "nibabel_coregistration"
    epi = nib.load(folder / "someones_epi.nii.gz")
    anatomy = folder / "someones_anatomy.nii.gz"
    planted = rigid_matrix([6.0, -4.0, 3.0, 0.05, -0.04, 0.06])
    aligned, moved = tmp_path / "aligned.nii", tmp_path / "moved.nii"
    data = np.asarray(epi.dataobj, dtype=np.float32)
    nib.save(nib.Nifti1Image(data, epi.affine), aligned)
    nib.save(nib.Nifti1Image(data, planted @ epi.affine), moved)
    back, still = (
        read_matrix(
            run_node(
                SpmCoregister(source_file=str(source), reference_file=str(anatomy)),
                tmp_path / source.stem,
            ).transform_file
        )
        for source in (moved, aligned)
    )
    points = mask_points(data > np.percentile(data, 70), epi.affine)
    assert displacements(planted, np.eye(4), points).mean() > 5
    assert displacements(back @ planted, still, points).mean() < 0.5
    assert displacements(still, np.eye(4), points).mean() < 2


def test_bright_voxels_do_not_saturate(demo: Path, tmp_path: Path) -> None:
    """SPM writes in the type and scale of its input: one that is full leaves no room."""
    raw = nib.load(sorted(demo.glob("bids/sub-01/*/func/*_bold.nii.gz"))[0])
    data = np.asarray(raw.dataobj, dtype=float)
    data = np.rint(data / data.max() * 32767).astype(np.int16)
    nib.save(nib.Nifti1Image(data, raw.affine), tmp_path / "full.nii")
    out = run_node(SpmRealign(in_files=[str(tmp_path / "full.nii")]), tmp_path)
    resliced = nib.load(out.out_files[0])
    assert resliced.get_data_dtype() == np.float32


@pytest.mark.slow
@pytest.mark.parametrize("run_model", ["concatenated", "sessions"])
def test_the_whole_engine_by_the_command(run_model: str, demo: Path, tmp_path: Path) -> None:
    betas = {}
    for engine in ("spm", "python"):
        arguments = [
            "run", str(demo / "bids"), str(tmp_path / engine), "participant",
            "--dataset-config", "demo", "--engine", engine, "--nprocs", "2",
        ]  # fmt: skip
        if engine == "spm":
            arguments += ["--run-model", run_model]
        assert main(arguments) == 0
        func = tmp_path / engine / "sub-01" / "func"
        name = "sub-01_task-perception_space-boldref_stat-effect_statmap"
        betas[engine] = np.asarray(nib.load(func / f"{name}.nii.gz").dataobj)
        sidecar = json.loads((func / f"{name}.json").read_text())
        assert sidecar["Estimation"]["Engine"] == engine
    assert sidecar["Estimation"]["Engine"] == "python"
    truth = SubjectTruth.read(demo / "truth" / "sub-01.npz")
    responsive = truth.responsive > 0
    spm, python = betas["spm"][responsive], betas["python"][responsive]
    ok = np.isfinite(spm).all(axis=1) & np.isfinite(python).all(axis=1)
    assert ok.mean() > 0.9
    assert np.corrcoef(spm[ok].ravel(), python[ok].ravel())[0, 1] > 0.95


def test_betas_and_residuals_of_a_partition_are_those_of_its_model(
    runs: dict, tmp_path: Path
) -> None:
    """Two runs, concatenated: SPM's betas, and residuals whose variance is SPM's `ResMS`."""
    inputs = {
        key: value[:2] if isinstance(value, list) else value
        for key, value in runs["inputs"].items()
    }
    labels = np.zeros(mni305_grid.SHAPE, np.int16)
    labels[20:30, 30:42, 30:40] = 5
    nib.save(nib.Nifti1Image(labels, mni305_grid.AFFINE), tmp_path / "dseg.nii")
    # The middle of the runs' grid to the middle of the region.
    shift = np.eye(4)
    shift[:3, 3] = (mni305_grid.AFFINE @ [25, 36, 35, 1])[:3] - 3 * (np.array(SHAPE) - 1) / 2
    np.savetxt(tmp_path / "shift.txt", shift)
    np.savetxt(tmp_path / "same.txt", np.eye(4))
    places = {
        "bold_to_t1w_file": str(tmp_path / "same.txt"),
        "t1w_to_mni305_file": str(tmp_path / "shift.txt"),
        "dseg_file": str(tmp_path / "dseg.nii"),
        "rois": [("box", [5])],
    }
    out = run_node(SpmSamplePartition(**inputs, **places), tmp_path / "sampled")
    model_of_all = run_node(SpmConcatenatedBetas(**inputs), tmp_path / "model")
    names = list(pd.read_csv(out.conditions_file, sep="\t")["condition"])
    table = pd.read_csv(model_of_all.stimuli_file, sep="\t")
    image = nib.load(model_of_all.betas_file)

    def at_points(data: np.ndarray) -> np.ndarray:
        return resample(data, image.affine, mni305_grid.SHAPE, mni305_grid.AFFINE, shift)[
            labels == 5
        ]

    expected = at_points(np.asarray(image.dataobj))[
        :, [list(table["stimulus"]).index(n) for n in names]
    ]
    betas = np.load(out.betas_file)
    assert np.isfinite(betas).mean() > 0.5
    assert np.allclose(betas, expected.T, atol=1e-4, equal_nan=True)

    residuals = np.load(out.residuals_file)
    # Each run: 60 volumes, 6 stimuli shared, one-back shared, 2 cosines, 6 motion, 1 constant.
    n_free = 2 * (N_VOLUMES - 2 - 6 - 1) - len(STIMULI) - 1
    assert residuals.shape == (labels.sum() // 5, n_free)
    white = np.random.default_rng(1).standard_normal((*SHAPE, 300)).astype(np.float32)
    white[~runs["mask"]] = np.nan
    # Planted noise of independent voxels, AR(1) of 0.3; interpolation averages it.
    planted = at_points(white).var(axis=1) * 0.4**2 / (1 - 0.3**2)
    there = np.isfinite(planted)
    assert np.array_equal(there, np.isfinite(residuals[:, 0]))
    assert (residuals[there] ** 2).mean() == pytest.approx(planted[there].mean(), rel=0.1)
    assert not list((tmp_path / "sampled").rglob("Res_*.nii"))


@pytest.mark.slow
def test_run_wise_betas_by_the_command(demo: Path, tmp_path: Path) -> None:
    covariances, betas = [], []
    for engine in ("spm", "python"):
        arguments = [
            "run", str(demo / "bids"), str(tmp_path / engine), "participant",
            "--dataset-config", "demo", "--engine", engine, "--nprocs", "2", "--run-betas",
        ]  # fmt: skip
        assert main(arguments) == 0
        path = next((tmp_path / engine).glob("sub-01/func/*_desc-runs_roibetas.h5"))
        with h5py.File(path) as file:
            region = file["parahippocampal"]
            voxels = region["voxels"][:]
            betas.append(region["betas"][:])
            covariances.append(region["residual_covariance"][:])
        pooled = nib.load(next(path.parent.glob("*MNI305*stat-effect_desc-odd_statmap.nii.gz")))
        odd = np.asarray(pooled.dataobj).reshape(-1, 12)[voxels].T
        assert np.allclose(betas[-1][0], odd, atol=1e-3)
    same = betas[0].shape == betas[1].shape
    assert same
    assert np.corrcoef(betas[0].ravel(), betas[1].ravel())[0, 1] > 0.9
    assert np.corrcoef(covariances[0].ravel(), covariances[1].ravel())[0, 1] > 0.9
