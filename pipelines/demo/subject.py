"""One synthetic subject: its head, its place in the two scans, and what it will respond to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, from_matvec

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.pipelines.demo.bold import (
    MARGIN,
    MEAN_SIGNAL,
    StillHead,
    draw_motion,
    rigid,
    simulate_run,
    slice_positions,
)
from conceptrsa.pipelines.demo.demo_settings import DemoSettings
from conceptrsa.pipelines.demo.head import (
    Warp,
    bias_field,
    draw_warp,
    in_face,
    sample_template,
    template_head,
)
from conceptrsa.pipelines.demo.presentations import (
    Schedule,
    draw_schedule,
    response_weights,
    slice_delays,
)
from conceptrsa.pipelines.demo.truth import SubjectTruth, place_responsive_voxels, plant_responses

BRAIN_CENTRE = np.array([0.0, -18.0, 8.0])
"""Centre in MNI152 (mm) of the rotation and scaling of a subject, and of its scans."""

# Each subject's anatomy against the template, and its BOLD runs against its T1w image.
HEAD_SHIFT_MM, HEAD_TURN_RAD, HEAD_SHEAR = 8.0, 0.1, 0.02
HEAD_SIZE = (0.92, 1.02)
COREGISTRATION_SHIFT_MM, COREGISTRATION_TURN_RAD = 5.0, 0.05
SLAB_TILT_RAD = 0.06

T1W_EXTENT_MM = (252.0, 210.0, 192.0)
"""Field of view to the front, upwards and to the right: sagittal slices, as an MPRAGE has."""

T1W_CENTRE = np.array([0.0, -10.0, 0.0])
"""Middle of the T1w field of view in scanner RAS (mm)."""

T1W_SCALE, T1W_NOISE, T1W_BIAS, EPI_BIAS = 1000.0, 12.0, 0.45, 0.3
"""The biases from peak to peak over the head."""


@dataclass(frozen=True)
class Subject:
    """A subject ready to be scanned.

    Attributes
    ----------
    label : str
        Without `sub-`.
    truth : SubjectTruth
    head : StillHead
    schedules : tuple of Schedule, one per run
    is_defaced : bool
        Whether the face is cut out of the T1w image, as in shared data sets.
    t1w_seed, run_seeds : seeds of what is random in each scan
    """

    label: str
    truth: SubjectTruth
    head: StillHead
    schedules: tuple[Schedule, ...]
    is_defaced: bool
    t1w_seed: np.random.SeedSequence
    run_seeds: tuple[np.random.SeedSequence, ...]


def runs_per_session(n_runs: int) -> tuple[int, ...]:
    """Two sessions, the first the larger; one where there is only one run."""
    first = (n_runs + 1) // 2
    return (first, n_runs - first) if n_runs > 1 else (1,)


def draw_subject(
    index: int, features: Mapping[str, np.ndarray], stimuli: Sequence[str], settings: DemoSettings
) -> Subject:
    """Draw subject number `index` (from 0); nothing depends on the other subjects."""
    seed = np.random.SeedSequence([settings.seed, index])
    t1w_seed, *seeds = seed.spawn(6)
    place_rng, motion_rng, plant_rng, schedule_rng, warp_rng = map(np.random.default_rng, seeds)

    warp = draw_warp(warp_rng)
    bold_to_t1w, t1w_to_mni152 = _draw_place(place_rng)
    bold_affine = _draw_bold_affine(np.linalg.inv(t1w_to_mni152 @ bold_to_t1w), settings, place_rng)
    grid_to_mni152 = t1w_to_mni152 @ bold_to_t1w @ bold_affine
    schedules = tuple(
        draw_schedule(len(stimuli), settings.n_one_backs, schedule_rng)
        for _ in range(settings.n_runs)
    )
    n_volumes = round(schedules[0].duration / settings.repetition_time)
    motion = draw_motion(
        tuple(runs * n_volumes for runs in runs_per_session(settings.n_runs)),
        n_volumes,
        _centre(bold_affine, settings.bold_shape),
        motion_rng,
    )

    x, y, z = (n + 2 * MARGIN for n in settings.bold_shape)
    with_margin = from_matvec(np.eye(3), np.full(3, -MARGIN))
    points = warp.template_points(grid_to_mni152 @ with_margin, (x, y, z))
    anatomy, gain = _epi_anatomy(points, grid_to_mni152[:3, :3], place_rng)
    inside = (slice(MARGIN, -MARGIN),) * 3
    points = points[(slice(None), *inside)]
    brain = sample_template(template_head().brain, points) > 0.5
    responsive, percent = _plant(points, features, len(stimuli), settings, plant_rng)
    responses = np.zeros((len(stimuli), *anatomy.shape), dtype=np.float32)
    responses[(slice(None), *inside)] = percent * gain[inside] / 100

    is_responsive = responsive > 0
    brain_mean = anatomy[inside][brain].mean()
    truth = SubjectTruth(
        stimuli=tuple(stimuli),
        rois=tuple(settings.planted),
        models=tuple(roi.model for roi in settings.planted.values()),
        bold_affine=bold_affine,
        bold_to_t1w=bold_to_t1w,
        t1w_to_mni152=t1w_to_mni152,
        warp=warp.coefficients,
        motion=motion.reshape(settings.n_runs, n_volumes, 4, 4),
        brain=brain,
        responsive=responsive,
        betas=percent[:, is_responsive] * gain[inside][is_responsive] / brain_mean,
    )
    return Subject(
        label=f"{index + 1:02d}",
        truth=truth,
        head=StillHead.from_images(anatomy, responses, bold_affine),
        schedules=schedules,
        is_defaced=index % 2 == 1,
        t1w_seed=t1w_seed,
        run_seeds=tuple(seed.spawn(settings.n_runs)),
    )


def _plant(
    points: np.ndarray,
    features: Mapping[str, np.ndarray],
    n_stimuli: int,
    settings: DemoSettings,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Region of each responsive voxel, and its responses in percent of grey matter's signal."""
    definitions = {roi.name: roi for roi in load_dataset_config("demo").rois}
    responsive = place_responsive_voxels(points, definitions, settings, rng)
    percent = np.zeros((n_stimuli, *responsive.shape), dtype=np.float32)
    for number, roi in enumerate(settings.planted.values(), start=1):
        mask = responsive == number
        percent[:, mask] = plant_responses(features[roi.model], mask, settings, rng)
    return responsive, percent


def scan_t1w(subject: Subject, settings: DemoSettings) -> nib.Nifti1Image:
    """The subject's T1w image, in a grid of its own."""
    rng = np.random.default_rng(subject.t1w_seed)
    voxel = settings.t1w_voxel_mm
    forwards, upwards, rightwards = (round(extent / voxel) for extent in T1W_EXTENT_MM)
    shape = (forwards, upwards, rightwards)
    affine = np.zeros((4, 4))
    affine[[1, 2, 0], [0, 1, 2]] = voxel
    affine[3, 3] = 1
    affine[:3, 3] = T1W_CENTRE - _centre(affine, shape)
    truth = subject.truth
    points = Warp(truth.warp).template_points(truth.t1w_to_mni152 @ affine, shape)
    image = sample_template(template_head().t1w, points)
    image *= T1W_SCALE * bias_field(image > 0, T1W_BIAS, rng)
    image += T1W_NOISE * rng.standard_normal(shape, dtype=np.float32)
    values = np.rint(np.abs(image)).astype(np.int16)
    if subject.is_defaced:
        values[in_face(points)] = 0
    return _as_image(values, affine, (voxel,) * 3)


def scan_bold(subject: Subject, run: int, settings: DemoSettings) -> nib.Nifti1Image:
    """Run number `run` (from 0) of the subject."""
    motion = subject.truth.motion[run]
    delays = slice_delays(settings.bold_shape[2], settings.repetition_time)
    times = settings.repetition_time * np.arange(len(motion))[:, np.newaxis] + delays
    weights = response_weights(subject.schedules[run], len(subject.truth.stimuli), times)
    rng = np.random.default_rng(subject.run_seeds[run])
    positions = slice_positions(motion, delays / settings.repetition_time)
    data = simulate_run(subject.head, positions, weights, settings, rng)
    zooms = (*(settings.bold_voxel_mm,) * 3, settings.repetition_time)
    return _as_image(data, subject.truth.bold_affine, zooms)


def _as_image(data: np.ndarray, affine: np.ndarray, zooms: tuple[float, ...]) -> nib.Nifti1Image:
    image = nib.Nifti1Image(data, affine)
    image.header.set_zooms(zooms)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine, code="scanner")
    image.set_sform(affine, code="scanner")
    return image


def _centre(affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """World coordinates of the middle of a grid."""
    centre: np.ndarray = apply_affine(affine, (np.array(shape) - 1) / 2)
    return centre


def _within_ball(radius: float, rng: np.random.Generator) -> np.ndarray:
    direction = rng.standard_normal(3)
    length: np.ndarray = radius * rng.uniform(0.3, 1) * direction / np.linalg.norm(direction)
    return length


def _draw_place(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`bold_to_t1w` and `t1w_to_mni152`."""
    shape = np.eye(4)
    shape[:3, :3] = np.diag(rng.uniform(*HEAD_SIZE, 3))
    shape[[0, 0, 1], [1, 2, 2]] = rng.uniform(-HEAD_SHEAR, HEAD_SHEAR, 3)
    shape[:3, 3] = BRAIN_CENTRE - shape[:3, :3] @ BRAIN_CENTRE
    placed = rigid(_within_ball(HEAD_SHIFT_MM, rng), _within_ball(HEAD_TURN_RAD, rng), BRAIN_CENTRE)
    bold_to_t1w = rigid(
        _within_ball(COREGISTRATION_SHIFT_MM, rng),
        _within_ball(COREGISTRATION_TURN_RAD, rng),
        BRAIN_CENTRE,
    )
    return bold_to_t1w, np.linalg.inv(placed @ shape)


def _draw_bold_affine(
    mni152_to_bold: np.ndarray, settings: DemoSettings, rng: np.random.Generator
) -> np.ndarray:
    """Tilted axial slices around the brain's centre, columns to the left as scanners store them."""
    voxel = settings.bold_voxel_mm
    tilt = rigid(np.zeros(3), _within_ball(SLAB_TILT_RAD, rng), np.zeros(3))
    affine: np.ndarray = tilt @ np.diag([-voxel, voxel, voxel, 1.0])
    affine[:3, 3] = apply_affine(mni152_to_bold, BRAIN_CENTRE) - _centre(
        affine, settings.bold_shape
    )
    return affine


def _epi_anatomy(
    points: np.ndarray, voxel: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """EPI image of the still head and the signal that grey matter has there.

    Both in scanner units. Responses are in percent of the second: they come from grey matter, so
    a bright voxel full of liquid has no larger ones.

    Parameters
    ----------
    points : (3, x, y, z) array
        Where in the template the voxels lie, in mm.
    voxel : (3, 3) array
        Edges of a voxel in the template in mm. The warp hardly bends within a voxel.
    rng : numpy Generator
    """
    head = template_head()
    corners = np.stack(np.meshgrid(*[[-0.25, 0.25]] * 3), axis=-1).reshape(-1, 3)
    still = sample_template(head.epi, points, corners @ voxel.T)
    gain = MEAN_SIGNAL * bias_field(still > 0, EPI_BIAS, rng)
    gain *= sample_template(head.epi_gain, points)
    return gain * still, gain
