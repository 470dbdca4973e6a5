"""Run-wise betas and residual covariance: planted ones, the file, the command."""

import json
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from block_design import TR, block_events, n_volumes, random_motion
from nibabel.affines import apply_affine
from nipype.interfaces.base import Undefined
from scipy.ndimage import map_coordinates
from validation import bids_errors

from conceptrsa import bids_config
from conceptrsa.bids_config.errors import StepError
from conceptrsa.bids_config.spaces import MNI305
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.design import make_run_design
from conceptrsa.interfaces.numerics.mni305_grid import make_sampler
from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.python.normalize import ResampleToMNI305
from conceptrsa.interfaces.python.pool_runs import CollectRunBetas, PoolBetas, SampleRun
from conceptrsa.interfaces.python.run_glm import EstimateBetas
from conceptrsa.pipelines.bids.dataset import BoldRun, SubjectInputs
from conceptrsa.pipelines.cli import main
from conceptrsa.pipelines.participant_options import RUNS_PER_PARTITION, partition_runs
from conceptrsa.pipelines.workflows.mni305 import NormalizationSettings
from conceptrsa.pipelines.workflows.sidecars import SubjectDerivatives

SHAPE = (12, 11, 10)
AFFINE = np.array([[3.0, 0, 0, -16], [0, 3.0, 0, -40], [0, 0, 3.0, -12], [0, 0, 0, 1]])
TO_T1W = np.array([[1, 0.02, 0, 1.3], [-0.02, 1, 0, -0.7], [0, 0, 1, 0.4], [0, 0, 0, 1]])
TO_MNI305 = np.diag([1.05, 0.98, 1.02, 1.0])
ROIS = [("both", [5, 6]), ("left", [5]), ("right", [6])]
N_STIMULI, N_RUNS = 8, 4


@pytest.mark.parametrize("missing", ["excluded", "zero"])
def test_sampling_is_resampling_at_the_points(missing: str) -> None:
    rng = np.random.default_rng(4)
    data = rng.standard_normal((*SHAPE, 3)).astype(np.float32)
    valid = rng.random(SHAPE) > 0.2
    data[~valid] = np.nan
    everywhere = np.arange(np.prod(mni305_grid.SHAPE))
    sampler = make_sampler(everywhere, valid, AFFINE, TO_MNI305 @ TO_T1W, missing)
    found = sampler(data.reshape(-1, 3)[sampler.voxels])
    assert np.isfinite(found).sum() > 1000
    if missing == "excluded":
        whole = resample(data, AFFINE, mni305_grid.SHAPE, mni305_grid.AFFINE, TO_MNI305 @ TO_T1W)
        assert np.allclose(found, whole.reshape(-1, 3), atol=1e-5, equal_nan=True)
        return
    to_voxels = np.linalg.inv(TO_MNI305 @ TO_T1W @ AFFINE) @ mni305_grid.AFFINE
    points = apply_affine(to_voxels, np.indices(mni305_grid.SHAPE).reshape(3, -1).T).T
    filled = np.nan_to_num(data)
    for volume in range(3):
        whole = map_coordinates(filled[..., volume], points, order=1, mode="grid-constant")
        there = np.isfinite(found[:, volume])
        assert np.allclose(found[there, volume], whole[there], atol=1e-5)
    nearest = map_coordinates(valid.astype(np.uint8), points, order=0, mode="grid-constant") > 0
    assert (np.isfinite(found[:, 0]) == nearest).mean() > 0.9999


class Planted:
    """Runs on disk with planted betas and noise that voxels share, and all that is made of them."""

    def __init__(self, folder: Path, voxel_without_signal: bool = False) -> None:
        rng = np.random.default_rng(6)
        self.folder = folder
        self.betas = rng.standard_normal((N_STIMULI, *SHAPE))
        common = rng.standard_normal((2, *SHAPE))
        """Two time courses that all voxels share with these weights."""
        self.voxel_covariance = np.tensordot(common, common, (0, 0)).reshape(
            np.prod(SHAPE), -1
        ) + np.eye(np.prod(SHAPE))
        self.designs, self.estimates, self.bold = [], [], []
        mask = np.zeros(SHAPE, np.uint8)
        mask[1:-1, 1:-1, 1:-1] = 1
        self._save("mask.nii", mask)
        for run in range(N_RUNS):
            events = block_events(run, N_STIMULI, 2)
            volumes = n_volumes(events)
            motion = random_motion(volumes, rng)
            design = make_run_design(events, motion, TR, baseline="implicit").matrix
            names = [f"stimulus:picture{number:02d}" for number in range(N_STIMULI)]
            noise = rng.standard_normal((volumes, *SHAPE))
            noise += np.tensordot(rng.standard_normal((volumes, 2)), common, 1)
            data = 100 + np.tensordot(design[names].to_numpy(), self.betas, 1) + noise
            if voxel_without_signal and run == 1:
                data[:, 6, 5, 5] = 100
            self._save(f"bold{run}.nii", np.moveaxis(data, 0, -1).astype(np.float32))
            np.savetxt(folder / f"motion{run}.txt", motion)
            events.to_csv(folder / f"events{run}.tsv", sep="\t", index=False)
            self.estimates.append(self._estimate(run))
            self.bold.append(np.moveaxis(data, 0, -1))
        np.savetxt(folder / "to_t1w.txt", TO_T1W)
        np.savetxt(folder / "to_mni305.txt", TO_MNI305)
        self.labels = self._write_labels()

    def _save(self, name: str, data: np.ndarray, affine: np.ndarray = AFFINE) -> None:
        nib.save(nib.Nifti1Image(data, affine), self.folder / name)

    def _estimate(self, run: int):
        folder = self.folder / f"estimate{run}"
        folder.mkdir()
        return (
            EstimateBetas(
                in_file=str(self.folder / f"bold{run}.nii"),
                mask_file=str(self.folder / "mask.nii"),
                motion_file=str(self.folder / f"motion{run}.txt"),
                events_file=str(self.folder / f"events{run}.tsv"),
                repetition_time=TR,
                noise_model="ols",
                baseline="implicit",
            )
            .run(cwd=str(folder))
            .outputs
        )

    def _write_labels(self) -> np.ndarray:
        """Two boxes in MNI305 well inside of the EPI, and a corner of one that is not."""
        world = apply_affine(mni305_grid.AFFINE, np.indices(mni305_grid.SHAPE).reshape(3, -1).T)
        index = apply_affine(np.linalg.inv(TO_MNI305 @ TO_T1W @ AFFINE), world)
        inside = ((index > [3, 3, 3]) & (index < [8, 7, 6])).all(axis=1)
        labels = np.where(inside, np.where(index[:, 0] < 5.5, 5, 6), 0)
        labels[((index > [8.5, 4, 4]) & (index < [13, 5, 5])).all(axis=1)] = 6
        self._save(
            "dseg.nii", labels.reshape(mni305_grid.SHAPE).astype(np.int16), mni305_grid.AFFINE
        )
        return labels

    def places(self) -> dict[str, object]:
        return {
            "bold_to_t1w_file": str(self.folder / "to_t1w.txt"),
            "t1w_to_mni305_file": str(self.folder / "to_mni305.txt"),
            "dseg_file": str(self.folder / "dseg.nii"),
            "rois": ROIS,
        }

    def collect(self, name: str, size: int, **changed: object) -> Path:
        """Sample all runs and write the file of run-wise betas."""
        samples = []
        for run, estimate in enumerate(self.estimates):
            folder = self.folder / name / f"sample{run}"
            folder.mkdir(parents=True)
            step = SampleRun(
                in_file=str(self.folder / f"bold{run}.nii"),
                mask_file=str(self.folder / "mask.nii"),
                betas_file=estimate.betas_file,
                design_matrix_file=estimate.design_matrix_file,
                **self.places(),
            )
            samples.append(step.run(cwd=str(folder)).outputs)
        files = {
            "conditions_files": [estimate.conditions_file for estimate in self.estimates],
            "information_files": [estimate.information_file for estimate in self.estimates],
        }
        pooled = PoolBetas(betas_files=[e.betas_file for e in self.estimates], **files).run(
            cwd=str(self.folder / name)
        )
        resampled = ResampleToMNI305(
            in_file=pooled.outputs.pooled_file,
            **{key: self.places()[key] for key in ("bold_to_t1w_file", "t1w_to_mni305_file")},
        ).run(cwd=str(self.folder / name))
        partitions = partition_runs(N_RUNS, size)
        inputs = {
            "betas_files": [sample.betas_file for sample in samples],
            "residuals_files": [sample.residuals_file for sample in samples],
            "partitions": [list(part) for part in partitions],
            "names": ["+".join(f"run-{run + 1}" for run in part) for part in partitions],
            "pooled_boldref_file": pooled.outputs.pooled_file,
            "pooled_standard_file": resampled.outputs.out_file,
            **files,
            **self.places(),
            **changed,
        }
        step = CollectRunBetas(**inputs)
        return Path(step.run(cwd=str(self.folder / name)).outputs.out_file)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return Planted(tmp_path_factory.mktemp("planted"))


def interpolate(volumes: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """(volumes, voxels of MNI305) from (x, y, z, volumes), by scipy; no missing data near."""
    grid = np.column_stack(np.unravel_index(voxels, mni305_grid.SHAPE))
    to_voxels = np.linalg.inv(TO_MNI305 @ TO_T1W @ AFFINE) @ mni305_grid.AFFINE
    points = apply_affine(to_voxels, grid).T
    return np.stack([
        map_coordinates(volumes[..., volume], points, order=1)
        for volume in range(volumes.shape[-1])
    ])  # fmt: skip


def test_betas_of_each_run_are_those_of_interpolated_data(planted: Planted) -> None:
    path = planted.collect("single", 1)
    with h5py.File(path) as file:
        assert list(file["stimulus"].asstr()) == [f"picture{n:02d}" for n in range(N_STIMULI)]
        assert list(file["run"].asstr()) == [f"run-{n}" for n in (1, 2, 3, 4)]
        assert list(file["half"].asstr()) == ["odd", "even", "odd", "even"]
        voxels, betas = file["left/voxels"][:], file["left/betas"][:]
        covariance = file["left/residual_covariance"]
        assert betas.shape == (N_RUNS, N_STIMULI, len(voxels)) and len(voxels) > 30
        assert np.array_equal(voxels, np.flatnonzero(planted.labels == 5))
        residuals = []
        for run in range(N_RUNS):
            scaled = planted.bold[run]
            mask = np.zeros(SHAPE, bool)
            mask[1:-1, 1:-1, 1:-1] = True
            scaled = scaled * 100 / scaled[mask].mean()
            data = interpolate(scaled, voxels)
            design = pd.read_csv(planted.estimates[run].design_matrix_file, sep="\t").to_numpy()
            solved = np.linalg.lstsq(design, data)[0]
            assert np.allclose(betas[run], solved[:N_STIMULI], atol=1e-3)
            residuals.append(data - design @ solved)
        n_free = sum(len(part) for part in residuals) - N_RUNS * design.shape[1]
        assert covariance.attrs["degrees_of_freedom"] == n_free
        every = np.concatenate(residuals)
        sample = every.T @ every / n_free
        off = ~np.eye(len(voxels), dtype=bool)
        expected = np.where(off, (1 - covariance.attrs["shrinkage"]) * sample, sample)
        assert np.allclose(covariance[:], expected, rtol=1e-4, atol=1e-5)


def test_planted_betas_and_covariance_are_found(planted: Planted) -> None:
    with h5py.File(planted.collect("planted", 2)) as file:
        region = file["both"]
        voxels = region["voxels"][:]
        weights = interpolate(np.eye(np.prod(SHAPE)).reshape(*SHAPE, -1), voxels)
        truth = weights.T @ planted.voxel_covariance @ weights
        found = region["residual_covariance"][:]
        assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.97
        assert np.diag(found).mean() == pytest.approx(np.diag(truth).mean(), rel=0.2)
        betas = weights.T @ planted.betas.reshape(N_STIMULI, -1).T
        for partition in region["betas"][:]:
            found = partition - partition.mean(axis=0)
            assert np.corrcoef(found.ravel(), (betas - betas.mean(axis=1)[:, None]).T.ravel())[
                0, 1
            ] > 0.5  # fmt: skip


def test_all_runs_in_two_partitions_are_the_halves_pooled_jointly(planted: Planted) -> None:
    path = planted.collect("halves", N_RUNS)
    odd = nib.load(path.parent / "odd.nii")
    whole = resample(
        np.asarray(odd.dataobj),
        odd.affine,
        mni305_grid.SHAPE,
        mni305_grid.AFFINE,
        TO_MNI305 @ TO_T1W,
    )
    with h5py.File(path) as file:
        assert list(file["run"].asstr()) == ["run-1+run-3", "run-2+run-4"]
        for name, _ in ROIS:
            there = whole.reshape(-1, N_STIMULI)[file[name]["voxels"][:]].T
            assert np.allclose(file[name]["betas"][0], there, atol=1e-4)


def test_voxels_without_data_in_some_run_are_left_out(planted: Planted, tmp_path: Path) -> None:
    with h5py.File(planted.collect("all voxels", 1)) as file:
        before = {name: file[name]["voxels"][:] for name, _ in ROIS}
        assert len(before["right"]) < (planted.labels == 6).sum()  # the corner outside of the EPI
    (tmp_path / "dead").mkdir()
    dead = Planted(tmp_path / "dead", voxel_without_signal=True)
    with h5py.File(dead.collect("dead", 1)) as file:
        for name, _ in ROIS:
            after = file[name]["voxels"][:]
            assert np.isin(after, before[name]).all() and (np.diff(after) > 0).all()
            assert np.isfinite(file[name]["betas"][:]).all()
            assert np.isfinite(file[name]["residual_covariance"][:]).all()
            assert file[name]["residual_covariance"].shape == (len(after), len(after))


def test_the_same_input_gives_the_same_bytes(planted: Planted) -> None:
    first, second = (planted.collect(name, 1).read_bytes() for name in ("once", "again"))
    assert first == second


def test_a_transform_that_was_not_the_resampling_one_is_refused(planted: Planted) -> None:
    np.savetxt(planted.folder / "other.txt", np.diag([1.0, 1, 1, 1]) + np.eye(4, k=3) * 2)
    with pytest.raises(StepError, match="lie in different places"):
        planted.collect("moved", 1, bold_to_t1w_file=str(planted.folder / "other.txt"))


def test_a_partition_without_a_stimulus_is_refused(planted: Planted, tmp_path: Path) -> None:
    table = pd.read_csv(planted.estimates[1].conditions_file, sep="\t")
    table.loc[0, "condition"] = "other"
    table.to_csv(tmp_path / "conditions.tsv", sep="\t", index=False)
    files = [estimate.conditions_file for estimate in planted.estimates]
    files[1] = str(tmp_path / "conditions.tsv")
    with pytest.raises(StepError, match=r"other is not shown in .* run-1.*--runs-per-partition"):
        planted.collect("other", 1, conditions_files=files, information_files=Undefined)


def test_no_voxel_in_a_region_is_said(planted: Planted) -> None:
    with pytest.raises(StepError, match="No voxel of region away"):
        planted.collect("away", 1, rois=[("left", [5]), ("right", [6]), ("away", [7])])


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's configuration with two small regions."""
    file = tmp_path_factory.mktemp("config") / "config.toml"
    text = (Path(bids_config.__file__).parent / "demo.toml").read_text()
    before, _, after = text.partition("[rois]\n")
    regions = "[rois]\nparahippocampal = [1016, 2016]\nparahippocampal-left = [1016]\n\n"
    after = after[after.index("[stimuli]") :]
    file.write_text(before + regions + after)
    return file


def run_participant(bids: Path, config: Path, out: Path, *arguments: str) -> int:
    return main([
        "run", str(bids), str(out), "participant", "--participant-label", "01", "--nprocs", "2",
        "--skip-bids-validation", "--roi-source", "template", "--dataset-config", str(config),
        *arguments,
    ])  # fmt: skip


def checksums(out: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in sorted(out.glob("sub-01/*/*"))
        if "roibetas" not in path.name
    }


@pytest.mark.slow
def test_the_command_adds_run_wise_betas_to_a_finished_run(
    small_demo: Path, config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bids, out = small_demo / "bids", tmp_path / "out"
    assert run_participant(bids, config, out, "--keep-work") == 0
    assert not list(out.glob("sub-01/func/*roibetas*"))
    plain = checksums(out)
    capfd.readouterr()
    assert run_participant(bids, config, out, "--keep-work", "--run-betas") == 0
    said = capfd.readouterr().err
    for step in ("slice timing", "realign", "coregister", "normalize", "estimate betas"):
        assert f"{step} done (found)" in said
    assert checksums(out) == plain

    stem = f"sub-01/func/sub-01_task-perception_{MNI305.entities}"
    path = out / f"{stem}_desc-runs_roibetas.h5"
    pooled = [
        np.asarray(nib.load(out / f"{stem}_stat-effect{half}_statmap.nii.gz").dataobj)
        for half in ("_desc-odd", "_desc-even")
    ]
    with h5py.File(path) as file:
        assert list(file["half"].asstr()) == ["odd", "even"]
        for name in ("parahippocampal", "parahippocampal-left"):
            voxels, betas = file[name]["voxels"][:], file[name]["betas"]
            assert len(voxels) > 100 and betas.dtype == np.float32
            for partition, half in zip(betas, pooled, strict=True):
                assert np.allclose(partition, half.reshape(-1, 12)[voxels].T, atol=1e-4)
            covariance = file[name]["residual_covariance"][:]
            assert np.linalg.eigvalsh(covariance.astype(float)).min() > 0
    sidecar = json.loads(path.with_suffix(".json").read_text())
    assert sidecar["RunsPerPartition"] == RUNS_PER_PARTITION
    assert sidecar["Estimation"]["Engine"] == "python"
    assert bids_errors(out, tmp_path) == []


def test_the_sidecar_is_json_of_plain_values() -> None:
    runs = tuple(
        BoldRun("01", None, str(n), Path(f"/raw/sub-01/func/sub-01_task-t_run-{n}_bold.nii"),
                Path("events.tsv"), 2.0, (0.0,), "k")
        for n in (1, 2, 3)
    )  # fmt: skip
    files = SubjectDerivatives(
        SubjectInputs("01", Path("T1w.nii"), runs), "t", NormalizationSettings()
    )
    name, content = files.run_betas({"Engine": "python"}, 1)
    assert name == "sub-01/func/sub-01_task-t_space-MNI305_res-2_desc-runs_roibetas.h5"
    sidecar = json.loads(json.dumps(content))
    assert [part["Half"] for part in sidecar["Partitions"]] == ["odd", "even", "odd"]
    assert sidecar["Partitions"][1]["Sources"] == [
        "bids:raw:sub-01/func/sub-01_task-t_run-2_bold.nii"
    ]
