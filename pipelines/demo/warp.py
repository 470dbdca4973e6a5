"""What makes a head differ from the template by more than an affine: a smooth displacement."""

from dataclasses import dataclass

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from conceptrsa.pipelines.demo.anatomy import sample_template, smooth_field, template_head

DEVIATION_MM = 2.2
"""Standard deviation per axis over the brain, as of region centres in real heads."""

FWHM_MM = 40.0
LEAST_JACOBIAN = 0.3
"""A displacement that squeezes the head more than this anywhere is drawn again."""

# The nodes reach beyond the padded head on all sides; outside them the displacement is continued.
NODES_SHAPE = (37, 41, 36)
NODES_MM = 8.0
NODES_AFFINE = np.diag([NODES_MM, NODES_MM, NODES_MM, 1.0])
NODES_AFFINE[:3, 3] = [-144.0, -176.0, -120.0]


@dataclass(frozen=True)
class Warp:
    """The map x -> x + w(x) from where an affine puts a subject's head to the template.

    A point x of MNI152 that `t1w_to_mni152` gives for a point of the subject holds what the
    template (and the atlas) have at x + w(x).

    Attributes
    ----------
    coefficients : (3, x, y, z) array
        Cubic B-spline coefficients of w in mm, at the nodes that `NODES_AFFINE` takes to MNI152.
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
        to_nodes = np.linalg.inv(NODES_AFFINE) @ grid_to_mni152
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
        derivative = np.empty((*NODES_SHAPE, 3, 3))
        for row, component in enumerate(self.coefficients):
            for column in range(3):
                slope = ndimage.correlate1d(component, [-0.5, 0, 0.5], column, mode="nearest")
                others = [axis for axis in range(3) if axis != column]
                slope = _values_at_nodes(slope, others) / NODES_MM
                derivative[..., row, column] = slope + (row == column)
        determinants: np.ndarray = np.linalg.det(derivative)
        return determinants


def draw_warp(rng: np.random.Generator) -> Warp:
    """Draw a Gaussian random field without affine part that does not fold the head."""
    while True:
        warp = _without_affine_part(smooth_field((3, *NODES_SHAPE), FWHM_MM / NODES_MM, rng))
        if warp.jacobians().min() > LEAST_JACOBIAN:
            return warp


def _without_affine_part(coefficients: np.ndarray) -> Warp:
    """Take the best affine over the brain out, so that the planted affine stays the best one."""
    nodes = apply_affine(NODES_AFFINE, np.moveaxis(np.indices(NODES_SHAPE), 0, -1))
    linear = np.concatenate([nodes, np.ones((*NODES_SHAPE, 1))], axis=-1)
    rest = np.moveaxis(coefficients, 0, -1)
    values = np.zeros(nodes.shape)
    for _ in range(3):
        # Where the brain lies depends a little on the warp itself.
        brain = sample_template(template_head().brain, np.moveaxis(nodes + values, -1, 0)) > 0.5
        values = _values_at_nodes(rest, (0, 1, 2))
        fit, *_ = np.linalg.lstsq(linear[brain], values[brain], rcond=None)
        scale = DEVIATION_MM / (values - linear @ fit)[brain].std(axis=0)
        # The coefficients of an affine function are its values at the nodes.
        rest, values = ((array - linear @ fit) * scale for array in (rest, values))
    return Warp(np.ascontiguousarray(np.moveaxis(rest, -1, 0), dtype=np.float32))


def _values_at_nodes(coefficients: np.ndarray, axes: list[int] | tuple[int, ...]) -> np.ndarray:
    values = coefficients
    for axis in axes:
        values = ndimage.correlate1d(values, [1 / 6, 4 / 6, 1 / 6], axis, mode="nearest")
    return values
