"""Heads with known transforms: the MNI152 template with a scalp, seen as T1w and as EPI.

Those of the demo are bent as well, and have a skull and a neck.
"""

from dataclasses import dataclass, replace
from functools import cache

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template
from scipy import ndimage
from small_demo import small_settings

from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.numerics.transforms import mask_points, rigid_matrix
from conceptrsa.pipelines.demo.demo_settings import PLANTED_ROIS, DemoSettings
from conceptrsa.pipelines.demo.head import Warp, sample_template, template_head
from conceptrsa.pipelines.demo.subject import draw_subject, scan_t1w
from conceptrsa.pipelines.demo.truth import SubjectTruth

BRAIN_CENTRE = np.array([0.0, -18.0, 4.0])
DROPOUT = ((0, 38, -22), (42, -20, -30), (-42, -20, -30))


@dataclass(frozen=True)
class Head:
    """Tissue maps on 2 mm voxels, in MNI152."""

    affine: np.ndarray
    t1: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    fluid: np.ndarray
    scalp: np.ndarray
    brain: np.ndarray

    @property
    def brain_points(self) -> np.ndarray:
        return mask_points(self.brain, self.affine)[::50]


@cache
def head() -> Head:
    template = load_mni152_template(resolution=2)
    margin = ((8, 8), (8, 8), (2, 9))
    affine = template.affine.copy()
    affine[:3, 3] -= 2 * np.array([8, 8, 2])
    t1, grey, white = (
        np.pad(image.get_fdata(dtype=np.float32), margin)
        for image in (
            template,
            load_mni152_gm_template(resolution=2),
            load_mni152_wm_template(resolution=2),
        )
    )
    brain = ndimage.binary_fill_holes(t1 > 0.1)
    outside = 2 * ndimage.distance_transform_edt(~brain)
    fluid = np.where(brain, 1 - np.clip(grey + white, 0, 1), (outside > 0) & (outside <= 3))
    scalp = ((outside > 8) & (outside <= 14)).astype(np.float32)
    return Head(affine, t1 * brain, grey, white, fluid, scalp, brain)


@dataclass(frozen=True)
class DemoHead:
    """The T1w image of a subject of the demo, its brain in that grid, and what was planted."""

    t1w: nib.Nifti1Image
    brain: np.ndarray
    truth: SubjectTruth


@cache
def demo_head() -> DemoHead:
    """A head with skull and neck, warped against the template, on voxels of 1.5 mm."""
    stimuli = tuple(f"thing_{n:02d}" for n in range(4))
    rng = np.random.default_rng(8)
    features = {roi.model: rng.standard_normal((4, 10)) for roi in PLANTED_ROIS.values()}
    settings = replace(small_settings(seed=3), t1w_voxel_mm=DemoSettings().t1w_voxel_mm)
    subject = draw_subject(0, features, stimuli, settings)
    image = scan_t1w(subject, settings)
    truth = subject.truth
    points = Warp(truth.warp).template_points(truth.t1w_to_mni152 @ image.affine, image.shape)
    return DemoHead(image, sample_template(template_head().brain, points) > 0.5, truth)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Overlap of two masks."""
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def random_rigid(generator: np.random.Generator, mm: float = 8, rad: float = 0.1) -> np.ndarray:
    """Rigid motion by up to `mm` and `rad`, at least half of each."""
    shift, turn = generator.normal(size=(2, 3))
    shift *= mm * generator.uniform(0.5, 1) / np.linalg.norm(shift)
    turn *= rad * generator.uniform(0.5, 1) / np.linalg.norm(turn)
    return rigid_matrix(shift, turn, BRAIN_CENTRE)


def t1w(
    generator: np.random.Generator, native_to_mni152: np.ndarray | None = None, skull: bool = True
) -> nib.Nifti1Image:
    """T1w, 2 mm, with noise and a bias field, whose header is off MNI152 by the given matrix."""
    parts = head()
    image = ndimage.gaussian_filter(parts.t1 + 1.1 * skull * parts.scalp, 0.3)
    image = image * _bias(image.shape, generator)
    image = np.abs(image + 0.02 * generator.normal(size=image.shape)) * 500
    matrix = np.eye(4) if native_to_mni152 is None else native_to_mni152
    return nib.Nifti1Image(image.astype(np.float32), np.linalg.inv(matrix) @ parts.affine)


def epi(
    generator: np.random.Generator, bold_to_t1w: np.ndarray, slices: slice = slice(None)
) -> nib.Nifti1Image:
    """Mean EPI, 3.5 mm, oblique: bright fluid, dropout, faint scalp, noise, bias field."""
    parts = head()
    contrast = 0.62 * parts.grey + 0.5 * parts.white + parts.fluid + 0.25 * parts.scalp
    places = apply_affine(parts.affine, np.indices(contrast.shape).reshape(3, -1).T)
    lost = sum(
        np.exp(-((places - centre) ** 2).sum(axis=1) / 2 / 17**2) for centre in np.array(DROPOUT)
    )
    contrast = contrast * np.clip(1 - lost, 0.03, 1).reshape(contrast.shape)
    shape = (56, 64, 40)
    affine = rigid_matrix(np.zeros(3), np.array([-0.25, 0.03, 0])) @ np.diag([3.5, 3.5, 3.5, 1])
    affine[:3, 3] = BRAIN_CENTRE - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    smooth = ndimage.gaussian_filter(contrast, 0.6).astype(np.float32)
    image = resample(smooth, parts.affine, shape, affine, np.linalg.inv(bold_to_t1w))
    image = np.nan_to_num(image) * _bias(shape, generator)
    image = np.abs(image + 0.03 * generator.normal(size=shape)) * 900
    whole = nib.Nifti1Image(image.astype(np.float32), affine)
    return whole.slicer[:, :, slices]


def _bias(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    coarse = generator.normal(size=(3, 3, 3))
    field = ndimage.zoom(coarse, np.array(shape) / 3, order=3)
    return np.asarray(np.exp(0.3 * field / np.abs(field).max()))
