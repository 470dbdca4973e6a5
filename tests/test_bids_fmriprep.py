"""Starting from fMRIPrep's output gives the betas of starting from the raw runs."""

import json
import re
import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from fake_freesurfer import write_reconstruction
from fmriprep_layout import Preprocessed, write_fmriprep
from scipy.spatial.distance import pdist
from small_demo import small_settings, write_brain_mask
from validation import bids_errors

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import InputError
from conceptrsa.interfaces.numerics.atlas import desikan_killiany_mni305
from conceptrsa.interfaces.numerics.freesurfer_subject import (
    labels_mni305,
    read_talairach,
    segmentation_file,
)
from conceptrsa.interfaces.numerics.mni305_grid import MNI152_TO_MNI305
from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.numerics.transforms import read_matrix, write_matrix
from conceptrsa.interfaces.python.fmriprep_inputs import outside_field_of_view
from conceptrsa.interfaces.python.rois import MNI305Rois
from conceptrsa.pipelines.bids.dataset import Reading, SubjectInputs
from conceptrsa.pipelines.bids.reading import read_dataset
from conceptrsa.pipelines.cli import main
from conceptrsa.pipelines.demo.demo_dataset import write_demo_dataset
from conceptrsa.pipelines.demo.demo_settings import PLANTED_ROIS
from conceptrsa.pipelines.demo.truth import SubjectTruth
from conceptrsa.pipelines.workflows.mni305 import NormalizationSettings
from conceptrsa.pipelines.workflows.participant import (
    ParticipantSettings,
    init_dataset_wf,
    init_participant_wf,
)

STIMULI = tuple(f"thing_{n:02d}" for n in range(8))
CONFIG = load_dataset_config("demo")
FUNC = "sub-01/func/sub-01_task-perception"
MASK = f"{FUNC}_space-boldref_desc-brain_mask.nii.gz"
DSEG = "sub-01/anat/sub-01_space-MNI305_seg-DesikanKilliany_res-2_dseg.nii.gz"
BETAS = f"{FUNC}_space-MNI305_res-2_stat-effect_statmap.nii.gz"


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One subject of two runs."""
    folder = tmp_path_factory.mktemp("raw")
    rng = np.random.default_rng(5)
    planted = {roi.model: rng.standard_normal((8, 40)) for roi in PLANTED_ROIS.values()}
    write_demo_dataset(folder, planted, STIMULI, small_settings())
    return folder / "bids"


@pytest.fixture(scope="module")
def reconstructions(bids: Path, subject: SubjectInputs) -> Path:
    """Where the brain truly lies, so that no registration with the template takes its time."""
    truth = SubjectTruth.read(bids.parent / "truth" / "sub-01.npz")
    t1w_to_mni305 = MNI152_TO_MNI305 @ truth.t1w_to_mni152
    folder = bids.parent / "reconstructions"
    write_reconstruction(folder / "sub-01", t1w_to_mni305)
    t1w = nib.load(subject.t1w)
    mri = folder / "sub-01" / "mri"
    nib.save(atlas_in_t1w(t1w, t1w_to_mni305), mri / "aparc+aseg.mgz")
    nib.save(nib.MGHImage(t1w.get_fdata(dtype=np.float32), t1w.affine), mri / "orig.mgz")
    write_brain_mask(bids.parent, folder / "sub-01")
    return folder


def atlas_in_t1w(t1w: nib.Nifti1Image, t1w_to_mni305: np.ndarray) -> nib.MGHImage:
    atlas, _ = desikan_killiany_mni305()
    labels = resample(
        np.asarray(atlas.dataobj), atlas.affine, t1w.shape, t1w.affine,
        np.linalg.inv(t1w_to_mni305), "nearest",
    )  # fmt: skip
    return nib.MGHImage(labels.astype(np.int32), t1w.affine)


@pytest.fixture(scope="module")
def subject(bids: Path) -> SubjectInputs:
    return read_dataset(bids, CONFIG)[0]


@pytest.fixture(scope="module")
def normal(
    subject: SubjectInputs, reconstructions: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Preprocessed]:
    """Results of the normal way, and what its first three steps left."""
    folder = tmp_path_factory.mktemp("normal")
    settings = ParticipantSettings(
        "python", "perception", CONFIG.glm, CONFIG.rois, folder / "out",
        NormalizationSettings("python", reconstructions, "subject"),
    )  # fmt: skip
    workflow = init_dataset_wf([subject], CONFIG, settings, folder / "work")
    workflow.config["execution"] |= {
        "remove_unnecessary_outputs": "false", "create_report": "false", "hash_method": "content",
        "crashdump_dir": str(folder),
    }  # fmt: skip
    graph = workflow.run()
    ended = {node.name: node.result.outputs for node in graph.nodes() if node.result.outputs}
    realigned = ended["realign"]
    return folder / "out", Preprocessed(
        realigned.out_files, realigned.motion_files, ended["coregister"].transform_file
    )


@pytest.fixture(scope="module")
def fmriprep(
    subject: SubjectInputs,
    normal: tuple[Path, Preprocessed],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The first three steps' results with fMRIPrep's names, voxels as they were."""
    folder = tmp_path_factory.mktemp("derivatives") / "fmriprep"
    write_fmriprep(folder, subject, normal[1])
    return folder


def run_from(fmriprep: Path, bids: Path, out: Path, *options: str) -> int:
    return main([
        "run", str(bids), str(out), "participant", "--dataset-config", "demo",
        "--derivatives", str(fmriprep), "--nprocs", "2", *options,
    ])  # fmt: skip


@pytest.fixture(scope="module")
def raw_without_images(bids: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Names, sidecars and events of the raw data are enough."""
    folder = tmp_path_factory.mktemp("names") / "bids"
    shutil.copytree(bids, folder, ignore=shutil.ignore_patterns("*_bold.nii.gz", "*_T1w.nii.gz"))
    return folder


@pytest.fixture(scope="module")
def started_from_fmriprep(
    fmriprep: Path,
    raw_without_images: Path,
    reconstructions: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    out = tmp_path_factory.mktemp("started") / "out"
    options = (
        "--skip-bids-validation", "--fs-subjects-dir", str(reconstructions), "--run-betas",
        "--runs-per-partition", "1",
    )  # fmt: skip
    assert run_from(fmriprep, raw_without_images, out, *options) == 0
    return out


def test_without_interpolation_the_betas_are_the_same(
    normal: tuple[Path, Preprocessed], started_from_fmriprep: Path
) -> None:
    expected, found = (
        nib.load(folder / BETAS).get_fdata() for folder in (normal[0], started_from_fmriprep)
    )
    assert found.shape == expected.shape
    is_brain, was_brain = (
        nib.load(folder / MASK).get_fdata() > 0 for folder in (started_from_fmriprep, normal[0])
    )
    # A zero may stand for no data, or be one: a handful of dark voxels beyond the brain.
    assert np.mean(is_brain[was_brain]) > 0.999 and (is_brain & ~was_brain).sum() < 10
    both = np.isfinite(expected) & np.isfinite(found)
    assert both.sum() > 0.999 * np.isfinite(expected).sum()
    # Voxels are the same and only the affine was moved, so what is left are roundings (affines
    # are float32 in NIfTI headers), and what the few voxels do to their neighbours in MNI305.
    difference = np.abs(found - expected)[both] / expected[both].std()
    assert np.quantile(difference, 0.999) < 0.005


@pytest.mark.slow
def test_resampled_as_fmriprep_does_it_the_betas_are_nearly_the_same(
    subject: SubjectInputs,
    normal: tuple[Path, Preprocessed],
    raw_without_images: Path,
    reconstructions: Path,
    tmp_path: Path,
) -> None:
    write_fmriprep(tmp_path / "fmriprep", subject, normal[1], voxel_mm=4.5)
    options = ("--skip-bids-validation", "--fs-subjects-dir", str(reconstructions))
    assert run_from(tmp_path / "fmriprep", raw_without_images, tmp_path / "out", *options) == 0
    expected, found = (
        nib.load(folder / BETAS).get_fdata() for folder in (normal[0], tmp_path / "out")
    )
    labels = nib.load(normal[0] / DSEG).get_fdata()
    for roi in CONFIG.rois:
        region = np.isin(labels, roi.labels) & np.isfinite(expected + found).all(axis=-1)
        assert region.sum() > 100
        # One more interpolation, of voxels of 4.5 mm, takes away fine detail, of which noise has
        # most; which stimuli are alike, over hundreds of voxels, hardly changes.
        assert np.corrcoef(expected[region].ravel(), found[region].ravel())[0, 1] > 0.75
        rdms = [pdist(betas[region].T, "correlation") for betas in (expected, found)]
        assert np.corrcoef(*rdms)[0, 1] > 0.95


def test_the_first_three_steps_are_left_out(started_from_fmriprep: Path) -> None:
    steps = {path.name for path in started_from_fmriprep.glob(".work/*/*/*/*")}
    assert "preprocessed_wf" in steps
    assert "preprocessing_wf" not in steps
    identity = np.loadtxt(started_from_fmriprep / f"{FUNC}_from-boldref_to-T1w_xfm.txt")
    np.testing.assert_array_equal(identity, np.eye(4))
    sidecar = json.loads((started_from_fmriprep / BETAS.replace(".nii.gz", ".json")).read_text())
    assert sidecar["Estimation"]["Preprocessing"] == "fMRIPrep 23.2.0"
    assert sidecar["Estimation"]["SliceTimeReference"] == 0.5
    assert sidecar["Estimation"]["SliceTimingCorrected"] is True
    assert sidecar["NonSteadyStateVolumes"] == [0, 0]


def test_that_epi_and_t1w_lie_on_one_another_is_checked(started_from_fmriprep: Path) -> None:
    xfm = json.loads((started_from_fmriprep / f"{FUNC}_from-boldref_to-T1w_xfm.json").read_text())
    assert xfm["starts_agreeing"] >= 4 and xfm["warnings"] == []


def test_a_dry_run_names_the_steps_that_are_left(
    fmriprep: Path, raw_without_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_from(fmriprep, raw_without_images, tmp_path / "out", "--dry-run") == 2
    text = capsys.readouterr().out
    # To the validator the sidecars of images that are not there are errors.
    assert text.count("problem: ") == 1 and "SIDECAR_WITHOUT_DATAFILE" in text
    assert "  step import of runs " in text and "  step GLM " in text
    assert "  step check of registration " in text
    assert "slice timing" not in text and "coregistration" not in text
    assert "sub-01: 2 runs, 8 stimuli" in text


def test_both_outputs_describe_themselves(
    bids: Path, fmriprep: Path, reconstructions: Path, normal: tuple[Path, Preprocessed],
    started_from_fmriprep: Path,
) -> None:  # fmt: skip
    roots = {"raw": bids, "preprocessed": fmriprep, "freesurfer": reconstructions}
    for out in (normal[0], started_from_fmriprep):
        described = [path for path in out.glob("sub-*/*/*") if path.suffix != ".json"]
        assert len(described) > 15
        for file in described:
            sidecar = json.loads((file.parent / f"{file.name.split('.')[0]}.json").read_text())
            assert sidecar["Description"], file
            assert sidecar["Sources"], file
            for source in sidecar["Sources"]:
                _, data_set, path = source.split(":")
                assert (roots.get(data_set, out) / path).exists(), source
            if "_statmap." in file.name or "_xfm." in file.name or "_boldref." in file.name:
                assert sidecar["Units"], file


def test_the_output_is_valid_bids(
    raw_without_images: Path, fmriprep: Path, reconstructions: Path, started_from_fmriprep: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    out = started_from_fmriprep
    assert bids_errors(out, tmp_path) == []
    # The validator looks at none of these in a derivative.
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["Name"].startswith("conceptrsa derivatives of ")
    assert re.fullmatch(r"1\.\d+\.\d+", description["BIDSVersion"])
    assert description["DatasetType"] == "derivative"
    made_by = {"Name": "conceptrsa", "Version": version("conceptrsa")}
    assert made_by.items() <= description["GeneratedBy"][0].items()
    folders = [raw_without_images, fmriprep, reconstructions]
    assert description["SourceDatasets"] == [{"URL": folder.as_uri()} for folder in folders]
    assert description["DatasetLinks"] == {
        "raw": str(raw_without_images), "preprocessed": str(fmriprep),
        "freesurfer": str(reconstructions),
    }  # fmt: skip


def test_bidsignore_hides_nothing_but_what_has_no_name_in_bids(
    started_from_fmriprep: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(started_from_fmriprep, out, ignore=shutil.ignore_patterns(".work"))
    patterns = (out / ".bidsignore").read_text().split()
    (out / ".bidsignore").unlink()
    errors = {Path(issue["location"]).name for issue in bids_errors(out, tmp_path)}
    hidden = {
        file.name
        for file in out.rglob("*")
        if any(fnmatch(part, one) for part in file.relative_to(out).parts for one in patterns)
    }
    not_in_bids = {name for name in hidden if name.startswith(("sub-", "dataset_config"))}
    assert errors == not_in_bids


@dataclass(frozen=True)
class Damage:
    """What is done to a copy of fMRIPrep's output, and the sentence it must lead to."""

    files: str
    said: str
    content: str | None = None


DAMAGES = {
    "no run": Damage(
        "sub-01/*/func/*_run-01_space-T1w_*", "is missing in T1w and every other space"
    ),
    "no confounds": Damage("sub-01/*/func/*_run-01_desc-confounds*", "motion parameters of"),
    "other confounds": Damage(
        "sub-01/*/func/*_run-01_desc-confounds*", "lacks the columns trans_x, ", "csf\n1\n"
    ),
    "no sidecar": Damage("sub-01/*/func/*_run-01_*_bold.json", "_bold.json is missing"),
    "no TR": Damage("sub-01/*/func/*_run-01_*_bold.json", "has no RepetitionTime", "{}"),
    "late start": Damage(
        "sub-01/*/func/*_run-01_*_bold.json", "StartTime 4",
        '{"RepetitionTime": 3.0, "StartTime": 4}',
    ),
    "two references": Damage(
        "sub-01/ses-perceptionTest01/func/*_run-01_*_bold.json", "with the same --slice-time-ref",
        '{"RepetitionTime": 3.0, "StartTime": 0}',
    ),
    "no T1w": Damage("sub-01/anat/*_T1w.nii.gz", "has no sub-01_desc-preproc_T1w.nii.gz"),
    "no description": Damage("dataset_description.json", "it has no dataset_description.json"),
    "raw data": Damage(
        "dataset_description.json", "is a raw data set",
        '{"Name": "x", "BIDSVersion": "1.9.0", "DatasetType": "raw"}',
    ),
    "damaged run": Damage("sub-01/*/func/*_run-01_*_bold.nii.gz", "_bold.nii.gz is", "no image"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGES)
def test_what_is_missing_is_told_in_one_sentence(
    case: str, fmriprep: Path, raw_without_images: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    damage = DAMAGES[case]
    copy = tmp_path / "fmriprep"
    shutil.copytree(fmriprep, copy)
    damaged = list(copy.glob(damage.files))
    assert damaged
    for file in damaged:
        file.unlink() if damage.content is None else file.write_text(damage.content)
    out = tmp_path / "out"
    assert run_from(copy, raw_without_images, out, "--skip-bids-validation") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("conceptrsa: ") and damage.said in error
    assert not (out / ".work").exists()


def test_runs_in_their_own_space_are_refused(
    fmriprep: Path, raw_without_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "fmriprep"
    shutil.copytree(fmriprep, copy)
    for file in copy.glob("sub-01/*/func/*_space-T1w_desc-preproc_bold.*"):
        file.rename(file.with_name(file.name.replace("_space-T1w", "")))
    assert run_from(copy, raw_without_images, tmp_path / "out") == 2
    said = "in their own space, but runs of a subject align only in T1w space and in standard"
    assert said in capsys.readouterr().err


def test_runs_in_different_grids_are_refused(
    fmriprep: Path, raw_without_images: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "fmriprep"
    shutil.copytree(fmriprep, copy)
    file = next(copy.glob("sub-01/*Test02/func/*_bold.nii.gz"))
    image = nib.load(file)
    shifted = image.affine + np.array([[0, 0, 0, 0.5], [0] * 4, [0] * 4, [0] * 4])
    moved = nib.Nifti1Image(np.asarray(image.dataobj), shifted)
    moved.header.set_zooms(image.header.get_zooms())
    moved.header.set_xyzt_units("mm", "sec")
    nib.save(moved, file)
    with pytest.raises(InputError, match="do not lie on those of"):
        read_dataset(raw_without_images, CONFIG, reading=Reading(derivatives_dir=copy))


@pytest.mark.parametrize(
    ("sidecar", "engine", "reference"),
    [
        ({"StartTime": 1.476, "SliceTimingCorrected": True}, "python", 0.492),
        ({"StartTime": 1.476, "SliceTimingCorrected": True}, "spm", 0.5),
        ({"StartTime": 0, "SliceTimingCorrected": True}, "python", 0.0),
        ({"StartTime": 2.99}, "spm", 0.9375),
        ({"SliceTimingCorrected": False}, "python", 0.5),
        ({}, "python", 0.5),
    ],
)
def test_the_model_is_sampled_when_fmriprep_says(
    sidecar: dict[str, float],
    engine: str,
    reference: float,
    fmriprep: Path,
    raw_without_images: Path,
    tmp_path: Path,
) -> None:
    copy = tmp_path / "fmriprep"
    shutil.copytree(fmriprep, copy)
    for file in copy.glob("sub-01/*/func/*_bold.json"):
        file.write_text(json.dumps({"RepetitionTime": 3.0, **sidecar}))
    reading = Reading(derivatives_dir=copy)
    (subject,) = read_dataset(raw_without_images, CONFIG, names_only=True, reading=reading)
    settings = ParticipantSettings(engine, "perception", CONFIG.glm, CONFIG.rois, tmp_path)
    workflow = init_participant_wf(subject, settings)
    (estimate,) = [
        node for node in map(workflow.get_node, workflow.list_node_names())
        if node.name == "estimate_betas"
    ]  # fmt: skip
    assert estimate.inputs.slice_time_reference == pytest.approx(reference)


def test_regions_of_the_subject_come_from_its_segmentation_in_t1w_space(
    fmriprep: Path, reconstructions: Path, raw_without_images: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "fmriprep"
    shutil.copytree(fmriprep, copy)
    aparc = nib.load(reconstructions / "sub-01" / "mri" / "aparc+aseg.mgz")
    dseg = copy / "sub-01" / "anat" / "sub-01_desc-aparcaseg_dseg.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(aparc.dataobj), aparc.affine), dseg)
    reading = Reading(derivatives_dir=copy)
    (subject,) = read_dataset(raw_without_images, CONFIG, names_only=True, reading=reading)
    assert subject.segmentation == dseg
    settings = ParticipantSettings(
        "python", "perception", CONFIG.glm, CONFIG.rois, tmp_path,
        NormalizationSettings(roi_source="subject"),
    )  # fmt: skip
    find_rois = init_participant_wf(subject, settings).get_node("standard_space_wf.find_rois")
    assert find_rois.inputs.segmentation_file == str(dseg)
    matrix = tmp_path / "t1w_to_mni305.txt"
    write_matrix(matrix, read_talairach(reconstructions / "sub-01"))
    (tmp_path / "step").mkdir()
    found = MNI305Rois(segmentation_file=str(dseg), t1w_to_mni305_file=str(matrix)).run(
        cwd=str(tmp_path / "step")
    )
    expected = labels_mni305(segmentation_file(reconstructions / "sub-01"), read_matrix(matrix))
    np.testing.assert_array_equal(
        nib.load(found.outputs.dseg_file).get_fdata(), expected.get_fdata()
    )


def test_without_a_segmentation_the_atlas_is_fitted_to_the_head(
    fmriprep: Path, raw_without_images: Path, tmp_path: Path
) -> None:
    reading = Reading(derivatives_dir=fmriprep)
    (subject,) = read_dataset(raw_without_images, CONFIG, names_only=True, reading=reading)
    assert subject.segmentation is None
    for source, is_fitted in (("subject", True), ("template", False)):
        settings = ParticipantSettings(
            "python", "perception", CONFIG.glm, CONFIG.rois, tmp_path,
            NormalizationSettings(roi_source=source),
        )  # fmt: skip
        workflow = init_participant_wf(subject, settings)
        find_rois = workflow.get_node("standard_space_wf.find_rois")
        fed = {
            field
            for _, node, data in workflow.get_node("standard_space_wf")._graph.edges(data=True)
            if node is find_rois
            for _, field in data["connect"]
        }
        of_head = {"t1w_file", "t1w_mask_file", "t1w_to_mni305_file"}
        assert fed == (of_head if is_fitted else set())


def test_fmripreps_brain_mask_is_taken_unless_another_is_given(
    fmriprep: Path, raw_without_images: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "fmriprep"
    shutil.copytree(fmriprep, copy)
    anat = copy / "sub-01" / "anat"
    t1w = nib.load(anat / "sub-01_desc-preproc_T1w.nii.gz")
    masks = {"its": anat / "sub-01_desc-brain_mask.nii.gz", "given": tmp_path / "sub-01.nii.gz"}
    for file in masks.values():
        nib.save(nib.Nifti1Image(np.ones(t1w.shape, np.uint8), t1w.affine), file)
    settings = ParticipantSettings("python", "perception", CONFIG.glm, CONFIG.rois, tmp_path)
    for t1w_mask, expected in ((None, masks["its"]), (masks["given"], masks["given"])):
        reading = Reading(derivatives_dir=copy, t1w_mask=t1w_mask)
        (found,) = read_dataset(raw_without_images, CONFIG, names_only=True, reading=reading)
        assert found.t1w_mask == expected
        find_brain = init_participant_wf(found, settings).get_node("normalization_wf.find_brain")
        assert find_brain.inputs.supplied_file == str(expected)
    without = Reading(derivatives_dir=fmriprep)
    (found,) = read_dataset(raw_without_images, CONFIG, names_only=True, reading=without)
    assert found.t1w_mask is None


def test_zeros_are_no_data_only_where_they_hang_together() -> None:
    values = np.ones((7, 8, 9))
    values[3, 3, 3] = 0  # a dark voxel
    values[:, :, 0] = 0  # a layer at the border that the moved scanner did not see
    i, j, k = np.indices(values.shape)
    beyond = i + j - k > 9  # all that lies beyond an oblique plane
    values[beyond] = 0
    outside = outside_field_of_view(values)
    assert not outside[3, 3, 3]
    assert outside[:, :, 0].all()
    assert outside[beyond].mean() > 0.9
    assert not outside[values == 1].any()
    assert not outside_field_of_view(np.ones((3, 3, 3))).any()
