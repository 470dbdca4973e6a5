"""A head with skull, scalp and neck around nilearn's MNI152 template, as T1w and as EPI see it."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from nibabel.affines import apply_affine
from nilearn import datasets
from scipy import ndimage

from interfaces.embedded.atlas import desikan_killiany_mni152

TEMPLATE_RESOLUTION_MM = 2
PADDING_VOXELS = (14, 14, 14)

# Relative intensities; grey matter in EPI is 1. The T1w ones continue the template's own scale.
T1W_CSF, T1W_SKULL, T1W_MUSCLE, T1W_SKIN, T1W_AIR = 0.25, 0.06, 0.40, 0.85, 0.03
EPI_GREY, EPI_WHITE, EPI_CSF, EPI_MUSCLE, EPI_SKIN = 1.0, 0.8, 1.35, 0.15, 0.25

# Thickness in mm of the layers around the brain.
CSF_LAYER, SKULL_LAYER, SCALP_LAYER, SKIN = 2.0, 7.0, 6.0, 4.0


@dataclass(frozen=True)
class Dropout:
    """A place of signal loss in EPI: centre in MNI152 and radius in mm, share of signal lost."""

    centre: tuple[float, float, float]
    radius: float
    depth: float


# Above the frontal sinus and above the ear canals, where air meets tissue.
DROPOUTS = (
    Dropout((0.0, 38.0, -22.0), 16.0, 0.85),
    Dropout((-58.0, -20.0, -30.0), 12.0, 0.75),
    Dropout((58.0, -20.0, -30.0), 12.0, 0.75),
)


@dataclass(frozen=True)
class TemplateHead:
    """The head before it is moved, turned and scaled into a subject.

    Attributes
    ----------
    affine : (4, 4) array, voxel to MNI152 RAS in mm
    t1w, epi : (x, y, z) arrays of relative intensity, `epi` without dropout
    epi_gain : (x, y, z) array, the share of the signal that dropout leaves
    brain : (x, y, z) array, 1 inside the brain
    """

    affine: np.ndarray
    t1w: np.ndarray
    epi: np.ndarray
    epi_gain: np.ndarray
    brain: np.ndarray


def _ellipsoid(
    points: np.ndarray, centre: tuple[float, ...], radii: tuple[float, ...]
) -> np.ndarray:
    inside: np.ndarray = (((points - centre) / radii) ** 2).sum(axis=-1) < 1
    return inside


@cache
def template_head() -> TemplateHead:
    """Build the head from nilearn's packaged template and tissue maps (read offline)."""
    images = [
        load(resolution=TEMPLATE_RESOLUTION_MM)
        for load in (
            datasets.load_mni152_template,
            datasets.load_mni152_gm_template,
            datasets.load_mni152_wm_template,
            datasets.load_mni152_brain_mask,
        )
    ]
    padding = [(n, n) for n in PADDING_VOXELS]
    t1w_brain, grey, white, mask = (
        np.pad(np.asarray(image.dataobj, dtype=np.float32), padding) for image in images
    )
    affine = images[0].affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ PADDING_VOXELS
    brain = mask > 0.5
    points = apply_affine(affine, np.moveaxis(np.indices(brain.shape), 0, -1))

    distance = ndimage.distance_transform_edt(~brain, sampling=TEMPLATE_RESOLUTION_MM)
    skull_edge = CSF_LAYER + SKULL_LAYER
    neck = _ellipsoid(points[..., :2], (0.0, -30.0), (58.0, 62.0)) & (points[..., 2] < -35)
    face = _ellipsoid(points, (0.0, 45.0, -55.0), (62.0, 52.0, 62.0))
    head = (distance < skull_edge + SCALP_LAYER) | neck | face
    skin = head & (ndimage.distance_transform_edt(head, sampling=TEMPLATE_RESOLUTION_MM) < SKIN)
    skull = (distance < skull_edge) & ~brain
    csf = (distance < CSF_LAYER) & ~brain
    sinus = _ellipsoid(points, (0.0, 58.0, -42.0), (18.0, 16.0, 14.0)) & ~skull & ~brain

    t1w = np.where(head, T1W_MUSCLE, 0.0)
    epi = np.where(head, EPI_MUSCLE, 0.0)
    for layer, in_t1w, in_epi in (
        (skin, T1W_SKIN, EPI_SKIN),
        (skull, T1W_SKULL, 0.0),
        (csf, T1W_CSF, EPI_CSF),
        (sinus, T1W_AIR, 0.0),
    ):
        t1w[layer] = in_t1w
        epi[layer] = in_epi
    liquid = np.clip(1 - grey - white, 0, 1)
    tissue = EPI_GREY * grey + EPI_WHITE * white + EPI_CSF * liquid
    t1w = np.where(brain, np.maximum(t1w_brain, T1W_CSF), t1w)
    epi = np.where(brain, tissue, epi)
    maps = (array.astype(np.float32) for array in (t1w, epi, _epi_gain(points), brain))
    return TemplateHead(affine, *maps)


def _epi_gain(points: np.ndarray) -> np.ndarray:
    gain = np.ones(points.shape[:-1])
    for spot in DROPOUTS:
        squared = ((points - spot.centre) ** 2).sum(axis=-1)
        gain *= 1 - spot.depth * np.exp(-squared / (2 * spot.radius**2))
    return gain


def sample_template(
    image: np.ndarray, grid_to_mni152: np.ndarray, shape: tuple[int, int, int], subsamples: int = 1
) -> np.ndarray:
    """Average of a template image over each voxel of another grid.

    Parameters
    ----------
    image : (x, y, z) array on the template head's grid
    grid_to_mni152 : (4, 4) array, voxel of the wanted grid to MNI152 RAS in mm
    shape : of the wanted grid
    subsamples : int
        Points an axis in a voxel over which to average; 1 takes the voxel's centre alone.

    Returns
    -------
    (x, y, z) float32 array
    """
    to_voxel = np.linalg.inv(template_head().affine) @ grid_to_mni152
    offsets = (np.arange(subsamples) + 0.5) / subsamples - 0.5
    total = np.zeros(shape, dtype=np.float32)
    for shift in np.stack(np.meshgrid(offsets, offsets, offsets), axis=-1).reshape(-1, 3):
        total += ndimage.affine_transform(
            image,
            to_voxel[:3, :3],
            to_voxel[:3, :3] @ shift + to_voxel[:3, 3],
            output_shape=shape,
            order=1,
            output=np.float32,
        )
    return total / subsamples**3


def sample_atlas(grid_to_mni152: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Desikan-Killiany ids (FreeSurfer's) at the voxel centres of a grid, as int16."""
    atlas, _ = desikan_killiany_mni152()
    to_voxel = np.linalg.inv(atlas.affine) @ grid_to_mni152
    labels: np.ndarray = ndimage.affine_transform(
        np.asarray(atlas.dataobj, dtype=np.int16), to_voxel, output_shape=shape, order=0
    )
    return labels


def smooth_field(
    shape: tuple[int, ...], fwhm_voxels: float, rng: np.random.Generator
) -> np.ndarray:
    """Gaussian random field with unit variance, smooth over its last three axes.

    Parameters
    ----------
    shape : (..., x, y, z)
    fwhm_voxels : float
        Width of the smoothing kernel.
    rng : numpy Generator
    """
    sigma = fwhm_voxels / np.sqrt(8 * np.log(2))
    field = rng.standard_normal(shape, dtype=np.float32)
    field = ndimage.gaussian_filter(field, sigma, axes=(-3, -2, -1), mode="wrap")
    smoothed: np.ndarray = field / field.std(axis=(-3, -2, -1), keepdims=True)
    return smoothed


def bias_field(
    shape: tuple[int, int, int], strength: float, rng: np.random.Generator
) -> np.ndarray:
    """Smooth multiplicative inhomogeneity: the exponential of a random quadratic in the grid.

    `strength` is its standard deviation over the grid on the log scale.
    """
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    x, y, z = axes
    terms = (x, y, z, x * y, y * z, x * z, x**2, y**2, z**2)
    field = sum((w * term for w, term in zip(rng.standard_normal(9), terms, strict=True)), 0 * x)
    field = np.broadcast_to(field, shape)
    log_bias = strength * (field - field.mean()) / field.std()
    bias: np.ndarray = np.exp(log_bias).astype(np.float32)
    return bias
