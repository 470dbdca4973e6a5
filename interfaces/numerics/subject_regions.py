"""Desikan-Killiany regions of one head, where its own sulci and gyri are.

The template is brought to the affinely normalized brain by symmetric diffeomorphic registration
on local cross-correlation (Avants et al. 2008, as dipy implements it), and the atlas with it. As
FreeSurfer's cortical labels fill the grey matter, each grey voxel then takes the nearest cortical
label. What is grey is told by the T1w image: local means and variances of the tissues, with the
template's tissue maps as the prior.
"""

import logging
from dataclasses import dataclass, replace
from functools import cache

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from nibabel.spatialimages import SpatialImage
from scipy import ndimage
from threadpoolctl import threadpool_limits

from conceptrsa.bids_config.desikan_killiany import desikan_killiany_mni152
from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.normalization import brain_data
from conceptrsa.interfaces.numerics.resampling import resample_affine

WARP_MM, TISSUE_MM = 2.0, 1.0
MARGIN_MM = 6.0
RADIUS = 2  # voxels of the local correlation
ITERATIONS = (100, 50, 10)
NOISE_FWHM = 0.9  # mm, smoothing before sampling

FIRST_CORTICAL = 1000
REACH_MM = 1.5  # from a grey voxel to the label that it takes
TISSUE_SIGMA_MM, TISSUE_STEP = 15.0, 3
PRIOR_SIGMA_MM, PRIOR_FLOOR, PRIOR_POWER = 1.0, 0.02, 0.5
GREY_SHARE = (0.4, 0.97)
MINIMUM_JACOBIAN = 0.05


@dataclass(frozen=True)
class SubjectRegions:
    """The regions of one head in MNI305, and the evidence for them.

    Attributes
    ----------
    labels : nibabel image, int16 (76, 76, 93)
        FreeSurfer's `aparc+aseg` ids in the MNI305 grid of 2 mm.
    before, after : float
        Correlation of head and template in the brain, by the affine transform and by the warp.
    jacobian : tuple of 2 float
        Least and largest local change of volume by the warp.
    grey_share : float
        Share of the warped cortical labels that lies in grey matter.
    warnings : tuple of str
    """

    labels: nib.Nifti1Image
    before: float
    after: float
    jacobian: tuple[float, float]
    grey_share: float
    warnings: tuple[str, ...] = ()

    @property
    def in_grey_matter(self) -> bool:
        """Whether cortical labels fill the grey matter, or keep the shape of the atlas."""
        return self.grey_share >= GREY_SHARE[0]

    def report(self) -> dict[str, object]:
        """All but the labels, as plain values for a JSON file."""
        return {
            "method": "symmetric diffeomorphic registration of the MNI152 template with the head, "
            "on local cross-correlation"
            + ("; cortical labels in the head's grey matter" if self.in_grey_matter else ""),
            "correlation_with_template_affine": self.before,
            "correlation_with_template_warped": self.after,
            "jacobian_range": list(self.jacobian),
            "cortical_labels_in_grey_matter": self.grey_share,
            "warnings": list(self.warnings),
        }


@threadpool_limits.wrap(limits=1)
def find_regions(t1w: SpatialImage, mask: np.ndarray, t1w_to_mni305: np.ndarray) -> SubjectRegions:
    """Find the regions of one head.

    Parameters
    ----------
    t1w : nibabel image
        3D.
    mask : array of bool (x, y, z)
        Its brain.
    t1w_to_mni305 : array (4, 4)
        World of the T1w to MNI305, RAS mm.

    Raises
    ------
    StepError
        If the registration tears or folds the template, or fits no better than the affine
        transform.
    """
    to_mni152 = mni305_grid.MNI305_TO_MNI152 @ t1w_to_mni305
    brain = brain_data(t1w, mask)
    size = np.linalg.norm(t1w.affine[:3, :3], axis=0)
    smooth = ndimage.gaussian_filter(brain, NOISE_FWHM / np.sqrt(8 * np.log(2)) / size)

    template = _template(WARP_MM)
    head = _sample(smooth, t1w.affine, template, to_mni152)
    field = _register(head, template.t1w)
    jacobian = _jacobian(field)
    before = float(np.corrcoef(head[template.brain], template.t1w[template.brain])[0, 1])
    warped = _warped(template.t1w, field)
    after = float(np.corrcoef(head[template.brain], warped[template.brain])[0, 1])
    if jacobian.min() < MINIMUM_JACOBIAN or after < before:
        raise StepError(
            "The template could not be warped to this head (least local volume "
            f"{jacobian.min():.2f}, correlation {before:.2f} before and {after:.2f} after): check "
            "the T1w image and its brain mask, or choose --roi-source template."
        )
    labels, affine, share = _label(brain, mask, t1w.affine, to_mni152, field, template)
    warnings: tuple[str, ...] = ()
    if not GREY_SHARE[0] <= share <= GREY_SHARE[1]:
        warnings = (
            f"{share:.0%} of the cortical labels lie in grey matter (40 to 97 % is usual): check "
            "that the T1w image separates grey from white matter. Below 40 %, labels keep the "
            "shape of the atlas.",
        )
    to_mni305 = mni305_grid.MNI152_TO_MNI305
    in_mni305 = mni305_grid.to_mni305(labels, affine, to_mni305, "nearest")
    return SubjectRegions(
        nib.Nifti1Image(in_mni305, mni305_grid.AFFINE),
        before,
        after,
        (float(jacobian.min()), float(jacobian.max())),
        share,
        warnings,
    )


@dataclass(frozen=True)
class _Template:
    """nilearn's MNI152 template round its brain: T1w, tissues, atlas, and where the grid lies."""

    affine: np.ndarray
    brain: np.ndarray
    t1w: np.ndarray
    grey: np.ndarray
    white: np.ndarray


@cache
def _template(voxel_mm: float) -> _Template:
    from nilearn import datasets

    images = [
        load(resolution=int(voxel_mm))
        for load in (
            datasets.load_mni152_brain_mask,
            datasets.load_mni152_template,
            datasets.load_mni152_gm_template,
            datasets.load_mni152_wm_template,
        )
    ]
    mask, t1w, grey, white = (np.asarray(image.dataobj, dtype=np.float32) for image in images)
    (whole,) = ndimage.find_objects((mask > 0).astype(np.int8))
    room = int(MARGIN_MM / voxel_mm)
    box = tuple(
        slice(max(side.start - room, 0), min(side.stop + room, size))
        for side, size in zip(whole, mask.shape, strict=True)
    )
    corner = nib.affines.from_matvec(np.eye(3), [part.start for part in box])
    brain = mask[box] > 0
    return _Template(images[0].affine @ corner, brain, t1w[box] * brain, grey[box], white[box])


def _sample(
    data: np.ndarray, affine: np.ndarray, template: _Template, to_mni152: np.ndarray
) -> np.ndarray:
    """The image in the template's grid by the affine transform; 0 outside it."""
    to_voxels = np.linalg.inv(to_mni152 @ affine) @ template.affine
    return resample_affine(data, to_voxels, template.brain.shape)


def _register(head: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Displacement in voxels (x, y, z, 3) from each point of the head to that of the template."""
    from dipy.align.imwarp import SymmetricDiffeomorphicRegistration
    from dipy.align.metrics import CCMetric

    logging.getLogger("dipy").setLevel(logging.WARNING)
    scaled = [
        np.clip(image / max(np.percentile(image[image > 0], 99), 1e-6), 0, 1.1)
        for image in (head, template)
    ]
    registration = SymmetricDiffeomorphicRegistration(
        CCMetric(3, radius=RADIUS), level_iters=list(ITERATIONS)
    )
    mapping = registration.optimize(*(image.astype(np.float32) for image in scaled))
    return np.asarray(mapping.get_forward_field())


def _jacobian(field: np.ndarray) -> np.ndarray:
    """Local volume of the template for each voxel of the head."""
    gradient = np.stack(
        [np.stack(np.gradient(field[..., axis]), axis=-1) for axis in range(3)], axis=-2
    )
    return np.asarray(np.linalg.det(np.eye(3) + gradient))


def _warped(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    points = np.moveaxis(field, -1, 0) + np.indices(image.shape)
    warped: np.ndarray = ndimage.map_coordinates(image, points, order=1)
    return warped


def _label(
    brain: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    to_mni152: np.ndarray,
    field: np.ndarray,
    coarse: _Template,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Labels of the head on fine voxels of MNI152, their affine, and the share that is grey."""
    fine = _template(TISSUE_MM)
    # The atlas' voxels lie half-way between the template's: on its own grid, rounding has no bias.
    half = nib.affines.from_matvec(np.eye(3), [0.5, 0.5, 0.5])
    grid = replace(fine, affine=fine.affine @ half)
    inside = _sample(mask.astype(np.float32), affine, grid, to_mni152) > 0.5
    head = _sample(brain, affine, grid, to_mni152)
    points = apply_affine(grid.affine, np.argwhere(inside))
    in_field = apply_affine(np.linalg.inv(coarse.affine), points).T
    there = points + WARP_MM * np.stack(
        [
            ndimage.map_coordinates(field[..., axis], in_field, order=1, mode="nearest")
            for axis in range(3)
        ],
        axis=-1,
    )
    grey = _grey_matter(head, inside, apply_affine(np.linalg.inv(fine.affine), there).T, fine)

    atlas, _ = desikan_killiany_mni152()
    voxels = np.rint(apply_affine(np.linalg.inv(atlas.affine), there)).astype(int).T
    known = np.asarray(atlas.dataobj)
    within = ((voxels >= 0) & (voxels < np.reshape(known.shape, (3, 1)))).all(axis=0)
    labels = np.zeros(inside.shape, dtype=np.int16)
    labels[tuple(np.argwhere(inside)[within].T)] = known[tuple(voxels[:, within])]

    is_cortical = labels >= FIRST_CORTICAL
    share = float(grey[is_cortical].mean()) if is_cortical.any() else 0.0
    if share < GREY_SHARE[0]:
        return labels, grid.affine, share
    distance, nearest = ndimage.distance_transform_edt(
        ~is_cortical, sampling=TISSUE_MM, return_indices=True
    )
    takes = grey & (distance <= REACH_MM) & ((labels == 0) | is_cortical)
    labels = np.where(takes, labels[tuple(nearest)], np.where(is_cortical, 0, labels))
    return labels.astype(np.int16), grid.affine, share


def _grey_matter(
    head: np.ndarray, inside: np.ndarray, there: np.ndarray, template: _Template
) -> np.ndarray:
    """Find voxels that are more likely grey matter than white matter or cerebrospinal fluid.

    Parameters
    ----------
    head : array (x, y, z)
        Intensities.
    inside : array of bool (x, y, z)
        The brain.
    there : array (3, n)
        Voxel of the template's tissue maps for each voxel of the brain.
    template : _Template
        Of the same grid.
    """
    grey, white = np.zeros(inside.shape, np.float32), np.zeros(inside.shape, np.float32)
    grey[inside] = ndimage.map_coordinates(template.grey, there, order=1)
    white[inside] = ndimage.map_coordinates(template.white, there, order=1)
    fluid = np.clip(1 - grey - white, 0, 1) * inside
    likeliest = np.zeros(inside.shape, dtype=bool)
    best = np.full(inside.shape, -np.inf, dtype=np.float32)
    for tissue, is_grey in ((fluid, False), (grey, True), (white, False)):
        prior = ndimage.gaussian_filter(tissue, PRIOR_SIGMA_MM / TISSUE_MM)
        mean, variance = _local_moments(head, prior)
        log_density = PRIOR_POWER * np.log(prior + PRIOR_FLOOR)
        log_density -= (head - mean) ** 2 / variance / 2 + np.log(variance) / 2
        better = log_density > best
        best = np.where(better, log_density, best)
        likeliest = np.where(better, is_grey, likeliest)
    return np.asarray(likeliest & inside)


def _local_moments(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and variance round each voxel, from every third voxel."""
    thin = (slice(None, None, TISSUE_STEP),) * 3
    sigma = TISSUE_SIGMA_MM / TISSUE_MM / TISSUE_STEP

    def spread(image: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(image, sigma, truncate=3.0))

    sums = spread(weights[thin]) + 1e-6
    mean = spread((weights * values)[thin]) / sums
    variance = spread((weights * values**2)[thin]) / sums - mean**2
    floor = 1e-4 * float(np.var(values)) + np.finfo(np.float32).tiny
    variance = np.maximum(variance, floor)
    indices = np.indices(values.shape, dtype=np.float32) / TISSUE_STEP
    full = [
        ndimage.map_coordinates(moment, indices, order=1, mode="nearest")
        for moment in (mean, variance)
    ]
    return full[0], full[1]
