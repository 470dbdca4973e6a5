"""Heads around nilearn's MNI152 template, as T1w and as EPI see them.

The template gets a skull, scalp and neck; what makes a head differ from it by more than an affine
is a smooth displacement.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from nibabel.affines import apply_affine
from nilearn import datasets
from scipy import ndimage

from conceptrsa.bids_config.desikan_killiany import desikan_killiany_mni152

TEMPLATE_RESOLUTION_MM = 2
PADDING_VOXELS = (14, 14, 14)

# Relative intensities; grey matter in EPI is 1. The T1w ones continue the template's own scale.
T1W_CSF, T1W_SKULL, T1W_MUSCLE, T1W_SKIN, T1W_AIR = 0.25, 0.06, 0.40, 0.85, 0.03
EPI_GREY, EPI_WHITE, EPI_CSF, EPI_MUSCLE, EPI_SKIN = 1.0, 0.8, 1.35, 0.15, 0.25

# What defacing removes lies before a plane, tilted forwards and down, and before the ears (mm).
FACE_NORMAL, FACE_DISTANCE, FACE_BACK = (0.6, -0.8), 64.0, 0.0

# Thickness in mm of the layers around the brain.
CSF_LAYER, SKULL_LAYER, SCALP_LAYER, SKIN = 2.0, 7.0, 6.0, 4.0

WARP_SD_MM = 2.2
"""Standard deviation per axis over the brain, as of region centres in real heads."""

WARP_FWHM_MM = 40.0
WARP_LEAST_JACOBIAN = 0.3
"""A displacement that squeezes the head more than this anywhere is drawn again."""

# The nodes reach beyond the padded head on all sides; outside them the displacement is continued.
WARP_NODES_SHAPE = (37, 41, 36)
WARP_NODES_MM = 8.0
WARP_NODES_AFFINE = np.diag([WARP_NODES_MM, WARP_NODES_MM, WARP_NODES_MM, 1.0])
WARP_NODES_AFFINE[:3, 3] = [-144.0, -176.0, -120.0]


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


def in_face(points: np.ndarray) -> np.ndarray:
    """Tell which (3, ...) points lie in the part of the face that defacing removes."""
    _, y, z = points
    in_front = y * FACE_NORMAL[0] + z * FACE_NORMAL[1] > FACE_DISTANCE
    return np.asarray(in_front & (y > FACE_BACK))


def sample_template(
    image: np.ndarray, points: np.ndarray, offsets: np.ndarray | None = None
) -> np.ndarray:
    """Linear interpolation of a template image, 0 outside of it.

    Parameters
    ----------
    image : (x, y, z) array on the template head's grid
    points : (3, ...) array, MNI152 RAS in mm
    offsets : (n, 3) array in mm, optional
        Average over the points moved by each of these.

    Returns
    -------
    (...) float32 array
    """
    to_voxel = np.linalg.inv(template_head().affine)
    centres = _transform(to_voxel, points)
    shifts = np.zeros((1, 3)) if offsets is None else offsets @ to_voxel[:3, :3].T
    total = np.zeros(points.shape[1:], dtype=np.float32)
    for shift in shifts.astype(np.float32):
        moved = centres + shift.reshape(3, *[1] * total.ndim)
        total += ndimage.map_coordinates(image, moved, order=1, output=np.float32)
    return total / len(shifts)


def sample_atlas(points: np.ndarray) -> np.ndarray:
    """Desikan-Killiany ids (FreeSurfer's), int16, at (3, ...) points of MNI152 RAS in mm."""
    atlas, _ = desikan_killiany_mni152()
    labels: np.ndarray = ndimage.map_coordinates(
        np.asarray(atlas.dataobj, dtype=np.int16),
        _transform(np.linalg.inv(atlas.affine), points),
        order=0,
    )
    return labels


def _transform(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply an affine to points whose coordinates lie along the first axis."""
    matrix = affine.astype(np.float32)
    moved: np.ndarray = np.tensordot(matrix[:3, :3], points.astype(np.float32, copy=False), 1)
    moved += matrix[:3, 3].reshape(3, *[1] * (points.ndim - 1))
    return moved


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


def bias_field(inside: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth multiplicative inhomogeneity: the exponential of a random quadratic in the grid.

    Parameters
    ----------
    inside : (x, y, z) array of bool
        The head.
    strength : float
        From peak to peak inside, on the log scale.
    rng : numpy Generator

    Returns
    -------
    (x, y, z) float32 array, its logarithm zero on average inside
    """
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in inside.shape), indexing="ij", sparse=True)
    x, y, z = axes
    terms = (x, y, z, x * y, y * z, x * z, x**2, y**2, z**2)
    field = sum((w * term for w, term in zip(rng.standard_normal(9), terms, strict=True)), 0 * x)
    field = np.broadcast_to(field, inside.shape)
    log_bias = strength * (field - field[inside].mean()) / np.ptp(field[inside])
    bias: np.ndarray = np.exp(log_bias).astype(np.float32)
    return bias


@dataclass(frozen=True)
class Warp:
    """The map x -> x + w(x) from where an affine puts a subject's head to the template.

    A point x of MNI152 that `t1w_to_mni152` gives for a point of the subject holds what the
    template (and the atlas) have at x + w(x).

    Attributes
    ----------
    coefficients : (3, x, y, z) array
        Cubic B-spline coefficients of w in mm, at the nodes that `WARP_NODES_AFFINE` takes to
        MNI152.
    """

    coefficients: np.ndarray

    def template_points(
        self, grid_to_mni152: np.ndarray, shape: tuple[int, int, int]
    ) -> np.ndarray:
        """Points of the template that lie in the voxel centres of a grid.

        Parameters
        ----------
        grid_to_mni152 : (4, 4) array, voxel of the grid to MNI152 RAS in mm, by affines alone
        shape : of the grid

        Returns
        -------
        (3, x, y, z) float32 array in mm
        """
        to_nodes = np.linalg.inv(WARP_NODES_AFFINE) @ grid_to_mni152
        points = np.empty((3, *shape), dtype=np.float32)
        i, j, k = np.ogrid[: shape[0], : shape[1], : shape[2]]
        for axis, (to_i, to_j, to_k, origin) in enumerate(grid_to_mni152[:3]):
            ndimage.affine_transform(
                self.coefficients[axis],
                to_nodes[:3, :3],
                to_nodes[:3, 3],
                output_shape=shape,
                output=points[axis],
                order=3,
                mode="nearest",
                prefilter=False,
            )
            points[axis] += to_i * i + to_j * j + to_k * k + origin
        return points

    def jacobians(self) -> np.ndarray:
        """Determinants of the map's derivative at the nodes; it is invertible where positive."""
        derivative = np.empty((*WARP_NODES_SHAPE, 3, 3))
        for row, component in enumerate(self.coefficients):
            for column in range(3):
                slope = ndimage.correlate1d(component, [-0.5, 0, 0.5], column, mode="nearest")
                others = [axis for axis in range(3) if axis != column]
                slope = _values_at_nodes(slope, others) / WARP_NODES_MM
                derivative[..., row, column] = slope + (row == column)
        determinants: np.ndarray = np.linalg.det(derivative)
        return determinants


def draw_warp(rng: np.random.Generator) -> Warp:
    """Draw a Gaussian random field without affine part that does not fold the head."""
    while True:
        warp = _without_affine_part(
            smooth_field((3, *WARP_NODES_SHAPE), WARP_FWHM_MM / WARP_NODES_MM, rng)
        )
        if warp.jacobians().min() > WARP_LEAST_JACOBIAN:
            return warp


def _without_affine_part(coefficients: np.ndarray) -> Warp:
    """Take the best affine over the brain out, so that the planted affine stays the best one."""
    nodes = apply_affine(WARP_NODES_AFFINE, np.moveaxis(np.indices(WARP_NODES_SHAPE), 0, -1))
    linear = np.concatenate([nodes, np.ones((*WARP_NODES_SHAPE, 1))], axis=-1)
    rest = np.moveaxis(coefficients, 0, -1)
    values = np.zeros(nodes.shape)
    for _ in range(3):
        # Where the brain lies depends a little on the warp itself.
        brain = sample_template(template_head().brain, np.moveaxis(nodes + values, -1, 0)) > 0.5
        values = _values_at_nodes(rest, (0, 1, 2))
        fit, *_ = np.linalg.lstsq(linear[brain], values[brain], rcond=None)
        scale = WARP_SD_MM / (values - linear @ fit)[brain].std(axis=0)
        # The coefficients of an affine function are its values at the nodes.
        rest, values = ((array - linear @ fit) * scale for array in (rest, values))
    return Warp(np.ascontiguousarray(np.moveaxis(rest, -1, 0), dtype=np.float32))


def _values_at_nodes(coefficients: np.ndarray, axes: list[int] | tuple[int, ...]) -> np.ndarray:
    values = coefficients
    for axis in axes:
        values = ndimage.correlate1d(values, [1 / 6, 4 / 6, 1 / 6], axis, mode="nearest")
    return values
