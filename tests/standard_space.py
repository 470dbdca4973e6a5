"""What fMRIPrep leaves in a standard space, of heads that lie there, with a planted answer."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from small_demo import STIMULI, planted_features, small_settings

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.pipelines.demo.bold import MARGIN, MEAN_SIGNAL, StillHead, simulate_run
from conceptrsa.pipelines.demo.demo_settings import PLANTED_ROIS, DemoSettings
from conceptrsa.pipelines.demo.head import sample_atlas, sample_template, template_head
from conceptrsa.pipelines.demo.presentations import (
    Schedule,
    draw_schedule,
    events_table,
    response_weights,
)
from conceptrsa.pipelines.demo.truth import place_responsive_voxels, plant_responses

SPACE = "space-MNI152NLin2009cAsym_res-2"
SHAPE = (36, 44, 32)
VOXEL_MM = 4.5
AFFINE = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
AFFINE[:3, 3] = [-78.75, -112.0, -64.0]
RUNS = ("1", "2")
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
SETTINGS: DemoSettings = replace(small_settings(n_subjects=2), bold_shape=SHAPE)


@dataclass(frozen=True)
class DataSet:
    """A raw data set of events alone, what fMRIPrep made of it, and where responses are planted."""

    raw: Path
    fmriprep: Path
    brain: NDArray[np.bool_]
    responsive: NDArray[np.int64]

    def func(self, subject: str, rest: str, run: str = "1") -> Path:
        """Path of a functional file of fMRIPrep."""
        folder = self.fmriprep / f"sub-{subject}" / "func"
        return folder / f"sub-{subject}_task-perception_run-{run}_{rest}"


def write_data_set(folder: Path, subjects: tuple[str, ...] = ("01", "02")) -> DataSet:
    """Write both; every subject has its own noise, and runs of its own order of stimuli."""
    points = _points(0)
    head = template_head()
    brain = sample_template(head.brain, points) > 0.5
    definitions = {roi.name: roi for roi in load_dataset_config("demo").rois}
    rng = np.random.default_rng(7)
    responsive = place_responsive_voxels(points, definitions, SETTINGS, rng)
    data_set = DataSet(folder / "raw", folder / "fmriprep", brain, responsive)
    for root, kind in ((data_set.raw, "raw"), (data_set.fmriprep, "derivative")):
        root.mkdir(parents=True)
        made_by = {"GeneratedBy": [{"Name": "fMRIPrep", "Version": "21.0.2"}]}
        description = {"Name": "x", "BIDSVersion": "1.4.0", "DatasetType": kind, **made_by}
        (root / "dataset_description.json").write_text(json.dumps(description))
    for number, subject in enumerate(subjects):
        still = _still_head(responsive, np.random.default_rng(number))
        for run in RUNS:
            seed = np.random.default_rng([number, int(run)])
            schedule = draw_schedule(len(STIMULI), SETTINGS.n_one_backs, seed)
            _write_run(data_set, subject, run, schedule, still, seed)
    return data_set


def _points(margin: int) -> NDArray[np.float64]:
    """Places (mm) of the voxels, with some more beyond each face of the grid."""
    shape = [size + 2 * margin for size in SHAPE]
    indices = np.indices(shape).reshape(3, -1).T - margin
    return np.moveaxis(apply_affine(AFFINE, indices).reshape(*shape, 3), -1, 0)


def _still_head(responsive: NDArray[np.int64], rng: np.random.Generator) -> StillHead:
    points, head = _points(MARGIN), template_head()
    gain = MEAN_SIGNAL * sample_template(head.epi_gain, points)
    responses = np.zeros((len(STIMULI), *points.shape[1:]), dtype=np.float32)
    inside = (slice(None), *(slice(MARGIN, -MARGIN),) * 3)
    percent = np.zeros((len(STIMULI), *SHAPE), dtype=np.float32)
    for number, roi in enumerate(PLANTED_ROIS.values(), start=1):
        mask = responsive == number
        percent[:, mask] = plant_responses(planted_features()[roi.model], mask, SETTINGS, rng)
    responses[inside] = percent
    anatomy = MEAN_SIGNAL * sample_template(head.epi, points)
    return StillHead.from_images(anatomy, responses * gain / 100, AFFINE)


def _write_run(
    data_set: DataSet,
    subject: str,
    run: str,
    schedule: Schedule,
    head: StillHead,
    rng: np.random.Generator,
) -> None:
    """Write the events, and images as slices would be after correction to the middle of a TR."""
    tr = SETTINGS.repetition_time
    n_volumes = round(schedule.duration / tr)
    times = np.repeat(tr * (np.arange(n_volumes) + 0.5), SHAPE[2]).reshape(n_volumes, -1)
    weights = response_weights(schedule, len(STIMULI), times)
    positions = np.broadcast_to(np.eye(4), (n_volumes, SHAPE[2], 4, 4))
    data = simulate_run(head, positions, weights, SETTINGS, rng)

    raw = data_set.raw / f"sub-{subject}" / "func"
    raw.mkdir(parents=True, exist_ok=True)
    # Raw names are padded and fMRIPrep's are not, as in 20.2 to 21.0.
    events = raw / f"sub-{subject}_task-perception_run-0{run}_events.tsv"
    events_table(schedule, STIMULI).to_csv(events, sep="\t", index=False)
    data_set.func(subject, "", run).parent.mkdir(parents=True, exist_ok=True)
    _save(data, data_set.func(subject, f"{SPACE}_desc-preproc_bold.nii.gz", run), tr)
    sidecar = {"RepetitionTime": tr, "SliceTimingCorrected": True, "StartTime": tr / 2}
    data_set.func(subject, f"{SPACE}_desc-preproc_bold.json", run).write_text(json.dumps(sidecar))
    # Masks follow the intensity of each run: the second lacks a layer that the first has.
    brain = data_set.brain.copy()
    if run == "2":
        brain[..., : SHAPE[2] // 4] = False
    _save(brain.astype(np.uint8), data_set.func(subject, f"{SPACE}_desc-brain_mask.nii.gz", run))
    labels = sample_atlas(_points(0)).astype(np.int32)
    _save(labels, data_set.func(subject, f"{SPACE}_desc-aparcaseg_dseg.nii.gz", run))
    wandering = np.cumsum(rng.normal(0, [0.02] * 3 + [3e-4] * 3, (n_volumes, 6)), axis=0)
    motion = pd.DataFrame(wandering, columns=list(MOTION))
    motion.insert(0, "csf", 1.0)
    confounds = data_set.func(subject, "desc-confounds_timeseries.tsv", run)
    motion.to_csv(confounds, sep="\t", index=False)


def _save(values: NDArray[np.generic], file: Path, tr: float | None = None) -> None:
    image = nib.Nifti1Image(values, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    if tr is not None:
        image.header.set_zooms((VOXEL_MM,) * 3 + (tr,))
    image.set_qform(AFFINE, code="mni")
    image.set_sform(AFFINE, code="mni")
    nib.save(image, file)
