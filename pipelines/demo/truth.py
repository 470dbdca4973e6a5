"""The planted truth of a subject: positions of head and brain, and responses of voxels."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.linalg import polar

from conceptrsa.bids_config.schema import RoiDefinition
from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.pipelines.demo.demo_settings import DemoSettings
from conceptrsa.pipelines.demo.head import Warp, sample_atlas, smooth_field


@dataclass(frozen=True)
class SubjectTruth:
    """Everything planted in one subject; the EPI grid is that of the very first volume.

    Attributes
    ----------
    stimuli, rois : tuple of str
    models : tuple of str
        The model whose features drive each region.
    bold_affine : (4, 4) array, EPI voxel to scanner RAS of the BOLD runs in mm
    bold_to_t1w, t1w_to_mni152 : (4, 4) arrays between RAS worlds in mm
        The second is the best affine: what it leaves to the template is `warp`.
    warp : (3, x, y, z) array
        Coefficients of the `Warp` that leads on from there to the template.
    motion : (runs, volumes, 4, 4) array
        Scanner RAS of the first volume of the first run to that of each volume, at the middle of
        the volume: the moment to which slice timing takes all slices.
    brain : (x, y, z) array of bool in the EPI grid
    responsive : (x, y, z) array of int8 in the EPI grid
        1 + index of the region whose responsive voxel this is, 0 elsewhere.
    betas : (stimuli, voxels) array
        Responses of the responsive voxels, in C order of the grid, in percent of the mean
        signal of the brain.
    """

    stimuli: tuple[str, ...]
    rois: tuple[str, ...]
    models: tuple[str, ...]
    bold_affine: np.ndarray
    bold_to_t1w: np.ndarray
    t1w_to_mni152: np.ndarray
    warp: np.ndarray
    motion: np.ndarray
    brain: np.ndarray
    responsive: np.ndarray
    betas: np.ndarray

    def write(self, path: Path) -> None:
        """Write as compressed npz."""
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, **vars(self))

    @classmethod
    def read(cls, path: Path) -> "SubjectTruth":
        """Read what `write` wrote."""
        with np.load(path) as arrays:
            fields: dict[str, Any] = dict(arrays)
        for name in ("stimuli", "rois", "models"):
            fields[name] = tuple(fields[name].tolist())
        return cls(**fields)

    def labels_in_mni305(self, t1w_to_mni305: np.ndarray) -> np.ndarray:
        """Desikan-Killiany ids of the subject's own brain in the MNI305 grid of 2 mm.

        Parameters
        ----------
        t1w_to_mni305 : (4, 4) array
            The affine, planted or recovered, that takes the subject there.

        Returns
        -------
        (76, 76, 93) int16 array
        """
        grid_to_mni152 = self.t1w_to_mni152 @ np.linalg.inv(t1w_to_mni305) @ mni305_grid.AFFINE
        return sample_atlas(Warp(self.warp).template_points(grid_to_mni152, mni305_grid.SHAPE))


def place_responsive_voxels(
    points: np.ndarray,
    definitions: Mapping[str, RoiDefinition],
    settings: DemoSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Choose the planted share of voxels of each region, in patches.

    A voxel next to another planted region is never chosen: that region, found again a little
    beside its place, shall not answer with this one's model.

    Parameters
    ----------
    points : (3, x, y, z) array
        Where in the template the voxels lie, in mm.
    definitions : mapping of region name to RoiDefinition
    settings : DemoSettings
    rng : numpy Generator

    Returns
    -------
    (x, y, z) array of int8, 1 + index of the region in `settings.planted`, 0 elsewhere
    """
    atlas = sample_atlas(points)
    shape = settings.bold_shape
    masks = [np.isin(atlas, definitions[name].labels) for name in settings.planted]
    responsive = np.zeros(shape, dtype=np.int8)
    fwhm = settings.patch_fwhm_mm / settings.bold_voxel_mm
    for index, (mask, planted) in enumerate(zip(masks, settings.planted.values(), strict=True)):
        others = np.any([other for other in masks if other is not mask], axis=0)
        allowed = mask & ~ndimage.binary_dilation(others)
        preference = np.where(allowed, smooth_field(shape, fwhm, rng), -np.inf)
        n_voxels = min(round(planted.share * int(mask.sum())), int(allowed.sum()))
        chosen = np.argsort(preference, axis=None, kind="stable")[preference.size - n_voxels :]
        responsive.flat[chosen] = index + 1
    return responsive


def plant_responses(
    features: np.ndarray,
    mask: np.ndarray,
    settings: DemoSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Random linear projection of a model's features onto voxels, smooth over space.

    Each stimulus' features are centred and set to unit length first, so that the correlation of
    two stimuli over all voxels is the Pearson correlation of their features. The projection is
    drawn in the basis of the features' singular vectors, which is the same distribution and needs
    only as many random fields as stimuli; the fields are then made orthogonal (the polar factor,
    the nearest such ones), so that a region of few voxels shows all of the features' geometry.
    A mean response common to all voxels does not change a correlation over voxels.

    Parameters
    ----------
    features : (stimuli, features) array
    mask : (x, y, z) array of bool, the responsive voxels
    settings : DemoSettings
    rng : numpy Generator

    Returns
    -------
    (stimuli, voxels) array, in percent of the signal of grey matter there
    """
    centred = features - features.mean(axis=1, keepdims=True)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    left, singular_values, _ = np.linalg.svd(centred, full_matrices=False)
    fwhm = settings.patch_fwhm_mm / settings.bold_voxel_mm
    fields = smooth_field((len(singular_values), *mask.shape), fwhm, rng)[:, mask]
    projection, _ = polar(fields)
    patterns = (left * singular_values) @ projection
    responses: np.ndarray = settings.mean_response + patterns * (
        settings.response_spread / patterns.std()
    )
    return responses
