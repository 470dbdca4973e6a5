"""A raw BIDS subject whose anatomy is a real T1w image, and whose EPI is made from it."""

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.affines import apply_affine, from_matvec
from scipy import ndimage

from conceptrsa.interfaces.numerics.transforms import mask_points, rigid_matrix
from conceptrsa.pipelines.demo.bold import (
    MARGIN,
    MEAN_SIGNAL,
    StillHead,
    draw_motion,
    simulate_run,
    slice_positions,
)
from conceptrsa.pipelines.demo.demo_settings import DemoSettings
from conceptrsa.pipelines.demo.head import DROPOUTS, bias_field, smooth_field
from conceptrsa.pipelines.demo.presentations import BLOCK, response_weights, slice_delays

TASK = "blocks"
STIMULI = ("face", "house", "tool")
SETTINGS = DemoSettings(bold_shape=(52, 62, 40), bold_voxel_mm=3.5)
N_RUNS, N_VOLUMES = 2, 40
REST = 9.0
RESPONSIVE_MNI152, RESPONSIVE_RADIUS = (8.0, -80.0, 4.0), 16.0
CONFIG = f"""
name = "real-head"
description = "A real head, and an EPI made from it"

[runs]
task = "{TASK}"

[events]
condition_column = "trial_type"
[events.one_back]
rule = "none"

[glm]
hrf = "spm"
high_pass_seconds = 128.0
noise_model = "ar1"
baseline = "implicit"
slice_time_reference = 0.5

[rois]
hippocampus-left = [17]
hippocampus-right = [53]
fusiform = [1007, 2007]
occipital = [1011, 1021, 2011, 2021]

[stimuli]
prompt = "a photo of {{label}}"
"""


@dataclass(frozen=True)
class Blocks:
    """When which stimulus is shown, `REST` seconds before each and after the last."""

    shown: tuple[int, ...]

    @property
    def onsets(self) -> np.ndarray:
        return REST + (BLOCK + REST) * np.arange(len(self.shown))


@dataclass(frozen=True)
class Planted:
    """Where the EPI lies, and the responses in its grid (stimuli, x, y, z), 0 elsewhere."""

    bold_affine: np.ndarray
    bold_to_t1w: np.ndarray
    responsive: np.ndarray
    responses: np.ndarray


def write_subject(
    bids: Path, t1w_file: Path, mask: np.ndarray, t1w_to_mni152: np.ndarray
) -> Planted:
    """Write T1w, two runs with slice times, events and sidecars; give what was planted."""
    rng = np.random.default_rng(0)
    t1w = nib.load(t1w_file)
    centre = mask_points(mask, t1w.affine).mean(axis=0)
    bold_to_t1w = rigid_matrix(np.array([4.0, -3, 5]), np.array([0.05, -0.02, 0.04]), centre)
    tilt = rigid_matrix(np.zeros(3), np.array([-0.15, 0.02, 0]))
    bold_affine = tilt @ np.diag([-SETTINGS.bold_voxel_mm, *[SETTINGS.bold_voxel_mm] * 2, 1])
    middle = (np.array(SETTINGS.bold_shape) - 1) / 2
    bold_affine[:3, 3] = apply_affine(np.linalg.inv(bold_to_t1w), centre)
    bold_affine[:3, 3] -= bold_affine[:3, :3] @ middle

    x, y, z = (n + 2 * MARGIN for n in SETTINGS.bold_shape)
    with_margin = bold_affine @ from_matvec(np.eye(3), [-MARGIN] * 3)
    to_t1w = np.linalg.inv(t1w.affine) @ bold_to_t1w @ with_margin
    still = ndimage.affine_transform(_epi_contrast(t1w, mask), to_t1w, output_shape=(x, y, z))
    still = still.astype(np.float32) * bias_field(still > 0.02, 0.3, rng) * MEAN_SIGNAL
    places = np.moveaxis(np.indices((x, y, z)), 0, -1)
    places = apply_affine(t1w_to_mni152 @ bold_to_t1w @ with_margin, places)
    for spot in DROPOUTS:
        squared = ((places - spot.centre) ** 2).sum(axis=-1)
        still *= 1 - spot.depth * np.exp(-squared / (2 * spot.radius**2))
    responsive = np.linalg.norm(places - RESPONSIVE_MNI152, axis=-1) < RESPONSIVE_RADIUS
    fields = smooth_field((len(STIMULI), x, y, z), 2.0, rng)
    responses = (2 + 1.2 * fields) / 100 * still * responsive

    head = StillHead.from_images(still, responses.astype(np.float32), bold_affine)
    in_scanner = apply_affine(bold_affine, middle)
    motion = draw_motion((N_RUNS * N_VOLUMES,), N_VOLUMES, in_scanner, rng)
    delays = slice_delays(SETTINGS.bold_shape[2], SETTINGS.repetition_time)
    times = SETTINGS.repetition_time * np.arange(N_VOLUMES)[:, None] + delays
    anat, func = bids / "sub-01" / "anat", bids / "sub-01" / "func"
    anat.mkdir(parents=True)
    func.mkdir()
    (anat / "sub-01_T1w.nii.gz").write_bytes(t1w_file.read_bytes())
    _write_json(bids / "dataset_description.json", Name="A real head", BIDSVersion="1.9.0")
    _write_json(anat / "sub-01_T1w.json", Modality="MR")
    (bids / "README").write_text("One real head with an EPI that was made from it.\n")
    for run in range(N_RUNS):
        blocks = Blocks(tuple(rng.permutation([*range(len(STIMULI))] * 2).tolist()))
        data = simulate_run(
            head,
            slice_positions(
                motion[run * N_VOLUMES : (run + 1) * N_VOLUMES], delays / SETTINGS.repetition_time
            ),
            response_weights(blocks, len(STIMULI), times),
            SETTINGS,
            rng,
        )
        image = nib.Nifti1Image(data, bold_affine)
        image.header.set_zooms((*[SETTINGS.bold_voxel_mm] * 3, SETTINGS.repetition_time))
        image.header.set_xyzt_units("mm", "sec")
        stem = f"sub-01_task-{TASK}_run-{run + 1:02d}"
        nib.save(image, func / f"{stem}_bold.nii.gz")
        _write_json(
            func / f"{stem}_bold.json",
            TaskName=TASK,
            RepetitionTime=SETTINGS.repetition_time,
            SliceTiming=delays.tolist(),
        )
        events = pd.DataFrame({
            "onset": blocks.onsets,
            "duration": BLOCK,
            "trial_type": [STIMULI[index] for index in blocks.shown],
        })  # fmt: skip
        events.to_csv(func / f"{stem}_events.tsv", sep="\t", index=False)
    inside = (slice(MARGIN, -MARGIN),) * 3
    return Planted(bold_affine, bold_to_t1w, responsive[inside], responses[(slice(None), *inside)])


def _epi_contrast(t1w: nib.Nifti1Image, mask: np.ndarray) -> np.ndarray:
    """In the grid of the T1w image, as smooth as voxels of an EPI: liquid bright, scalp faint."""
    data = np.asarray(t1w.dataobj, dtype=np.float32)
    relative = np.clip(data / np.percentile(data[mask], 90), 0, 1.2)
    contrast = np.where(mask, 1.5 - 0.8 * relative, 0.2 * relative)
    size = np.linalg.norm(t1w.affine[:3, :3], axis=0)
    sigma = 0.42 * np.sqrt((SETTINGS.bold_voxel_mm / size) ** 2 - 1)
    return np.asarray(ndimage.gaussian_filter(contrast, sigma))


def _write_json(file: Path, **content: object) -> None:
    file.write_text(json.dumps(content))
