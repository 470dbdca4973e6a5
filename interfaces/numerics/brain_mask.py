"""Find the brain in a T1w image, and from there in the EPI.

Registration with a template without skull takes scalp for the edge of the brain, so the brain is
found first: it is supplied, told by a stripped image, or found by a network. The network is that of
deepbet (Fisch et al. 2024), whose weights its package brings.
"""

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from nibabel.spatialimages import SpatialImage
from scipy import ndimage

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.interfaces.numerics.normalization import normalize
from conceptrsa.interfaces.numerics.registration_search import image_data
from conceptrsa.interfaces.numerics.resampling import resample

VOLUME_ML = (700.0, 2500.0)
EXTENT_MM = {"width": (95.0, 190.0), "length": (120.0, 230.0), "height": (85.0, 200.0)}
MAXIMUM_CUT_MM2 = 2500.0
MINIMUM_LARGEST = 0.95
MINIMUM_LIKENESS = 0.9  # Dice; FreeSurfer's masks reach 0.92 to 0.96 with the network's
MINIMUM_BACKGROUND = 0.2
DILATION = 4.0  # mm
MINIMUM_VOLUME = 100_000.0  # mm3
INSTALL = "pip install --no-deps deepbet"


@dataclass(frozen=True)
class T1wMask:
    """A brain mask and how it was found.

    Attributes
    ----------
    mask : array of bool (x, y, z)
        In the grid of the T1w image.
    method : str
        How it was found.
    volume_ml : float
    warnings : tuple of str
        Reasons to look at the mask.
    """

    mask: np.ndarray
    method: str
    volume_ml: float
    warnings: tuple[str, ...] = ()

    def report(self) -> dict[str, object]:
        """All but the mask, as plain values for a JSON file."""
        return {
            "method": self.method,
            "volume_ml": self.volume_ml,
            "warnings": list(self.warnings),
        }


def find_brain(t1w: SpatialImage) -> T1wMask:
    """Find the brain in a T1w image, with its skull or without.

    A stripped image shows where its brain is. Else the network is asked; where what it finds is
    not the shape of a brain, the whole head is registered with the template, whose mask is taken.

    Parameters
    ----------
    t1w : nibabel image
        3D.

    Raises
    ------
    InputError
        If the network is needed and deepbet is not installed.
    StepError
        If no way leads to a brain; the message says why.
    """
    data = image_data(t1w)
    stripped = _stripped_brain(data, t1w.affine)
    if stripped is not None:
        return _result(stripped, t1w, "the image shows a brain without skull")
    found = _by_network(nib.Nifti1Image(data, t1w.affine))
    problems = _problems(found, t1w.affine)
    if not problems:
        return _result(found, t1w, "network of deepbet", _cut(found, t1w.affine))
    doubt = f"the network's brain mask was not used ({'; '.join(problems)})"
    try:
        matrix = normalize(t1w).matrix
    except StepError as error:
        raise StepError(
            f"No brain was found in the T1w image: {doubt}, and the whole head does not fit the "
            f"template. Check that {t1w.get_filename() or 'the image'} is a T1-weighted image of a "
            "whole human brain, or supply a brain mask with --t1w-mask."
        ) from error
    mask = _template_mask(t1w, matrix)
    return _result(mask, t1w, "the template's mask, by registration of the whole head", doubt)


def take_brain_mask(
    t1w: SpatialImage, given: SpatialImage, above: float = 0.0, trusted: bool = False
) -> T1wMask:
    """Bring a supplied mask, or a brain without skull, into the grid of the T1w image.

    A mask on another grid than the T1w image's is compared with the network's, where deepbet is
    installed and the mask is not trusted: little else shows that it lies beside the brain.

    Parameters
    ----------
    t1w : nibabel image
        3D.
    given : nibabel image
        3D in the same world, in any grid.
    above : float
        The brain is where `given` exceeds this; in images from 0 to 1 where it exceeds 0.5.
    trusted : bool
        Whether the mask is known to be of this T1w image.

    Raises
    ------
    StepError
        If it is not a brain mask in the space of the T1w image.
    """
    name = Path(given.get_filename() or "the supplied mask").name
    values = image_data(given)
    if values.min() >= 0 and values.max() <= 1:
        above = 0.5
    mask = values > above
    is_same_grid = mask.shape == t1w.shape[:3] and np.allclose(given.affine, t1w.affine, atol=1e-3)
    if not is_same_grid:
        shape, affine = t1w.shape[:3], t1w.affine
        source = mask.astype(np.uint8)
        mask = resample(source, given.affine, shape, affine, interpolation="nearest") > 0
    problems = _problems(mask, t1w.affine)
    if problems:
        raise StepError(
            f"{given.get_filename() or name} is not a brain mask in the space of the T1w image: "
            f"{'; '.join(problems)}. Supply a mask made from this T1w image, or none."
        )
    doubt = None if is_same_grid or trusted else _unlike_network(mask, t1w)
    return _result(mask, t1w, f"supplied: {name}", _cut(mask, t1w.affine), doubt)


def brain_mask(
    boldref: SpatialImage,
    valid: np.ndarray,
    bold_to_t1w: np.ndarray,
    t1w_mask: SpatialImage,
) -> nib.Nifti1Image:
    """Brain mask in the grid of the mean EPI, told by the T1w image and not by intensity.

    A threshold on the EPI would cut what dropout has darkened: orbitofrontal and ventral temporal
    cortex, and the hippocampus among them. Instead the brain mask of the T1w image comes through
    the coregistration, a little dilated, as the EPI is distorted where the field is.

    Parameters
    ----------
    boldref : nibabel image
        Mean EPI; only its grid is used.
    valid : array of bool
        Voxels with data in every volume of every run.
    bold_to_t1w : array (4, 4)
        World RAS mm of the first to that of the second.
    t1w_mask : nibabel image
        Above 0 in the brain, in any grid in the world of the T1w image.

    Returns
    -------
    nibabel image, uint8

    Raises
    ------
    StepError
        If less than 100 ml of brain lie inside the EPI.
    """
    whole = np.asarray(t1w_mask.dataobj) > 0
    if not whole.any():
        raise StepError("The brain mask of the T1w image is empty: supply another with --t1w-mask.")
    (box,) = ndimage.find_objects(whole.astype(np.int8))
    sizes = np.linalg.norm(t1w_mask.affine[:3, :3], axis=0)
    # Room for the dilation on all sides, also where the brain reaches the border of the image.
    room = np.ceil(DILATION / sizes).astype(int)
    brain = np.pad(whole[box], [(size, size) for size in room])
    wide = ndimage.distance_transform_edt(~brain, sampling=sizes) <= DILATION
    corner = nib.affines.from_matvec(np.eye(3), [side.start for side in box] - room)
    mask = valid & (
        resample(
            wide.astype(np.uint8),
            t1w_mask.affine @ corner,
            boldref.shape[:3],
            boldref.affine,
            np.linalg.inv(bold_to_t1w),
            "nearest",
        )
        > 0
    )
    volume = mask.sum() * abs(np.linalg.det(boldref.affine[:3, :3]))
    if volume < MINIMUM_VOLUME:
        raise StepError(
            f"Only {volume / 1000:.0f} ml of brain lie inside the EPI; check the field of view and "
            "both registrations in the report."
        )
    return nib.Nifti1Image(mask.astype(np.uint8), boldref.affine)


def is_stripped(t1w: SpatialImage) -> bool:
    """Tell whether an image shows a brain without skull, so that no network is needed."""
    return _stripped_brain(image_data(t1w), t1w.affine) is not None


def require_network() -> None:
    """Raise InputError where deepbet cannot be used."""
    for module, command in (
        ("torch", "pip install torch"),
        ("deepbet", INSTALL),
        ("fill_voids", "pip install fill-voids"),
        ("cc3d", "pip install connected-components-3d"),
    ):
        if find_spec(module) is None:
            raise InputError(
                f"The Python package {command.split()[-1]}, which finds the brain in T1w images, "
                f"is missing: install it with `{command}`, or supply brain masks with --t1w-mask."
            )


def _unlike_network(mask: np.ndarray, t1w: SpatialImage) -> str | None:
    try:
        found = _by_network(nib.Nifti1Image(image_data(t1w), t1w.affine))
    except InputError:
        return None
    overlap = 2 * (mask & found).sum() / (mask.sum() + found.sum())
    if overlap >= MINIMUM_LIKENESS:
        return None
    return (
        f"Dice {overlap:.2f} with the brain found by the network: check that it is in the right "
        "place"
    )


def _stripped_brain(data: np.ndarray, affine: np.ndarray) -> np.ndarray | None:
    mask = _support(data)
    if mask is None or _problems(mask, affine) or _cut(mask, affine):
        return None
    return mask


def _by_network(t1w: nib.Nifti1Image) -> np.ndarray:
    require_network()
    import torch
    from deepbet.bet import BrainExtraction

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order give another mask
    try:
        with warnings.catch_warnings():
            # Its weights are TorchScript, which torch has announced to give up.
            warnings.simplefilter("ignore", FutureWarning)
            _, mask, _ = BrainExtraction(no_gpu=True).run(t1w)
    except (AssertionError, ValueError, IndexError):
        # What deepbet raises where it finds no brain.
        return np.zeros(t1w.shape, dtype=bool)
    finally:
        torch.set_num_threads(threads)
    return _filled(np.asarray(mask.dataobj) > 0)


def _support(data: np.ndarray) -> np.ndarray | None:
    """Voxels that differ from an exactly constant background; None if there is no such."""
    inside = data != data.min()
    if inside.mean() > 1 - MINIMUM_BACKGROUND:
        return None
    return _filled(inside)


def _filled(mask: np.ndarray) -> np.ndarray:
    """The largest component, without holes."""
    labels, n = ndimage.label(mask)
    if n == 0:
        return mask
    sizes = np.bincount(labels.ravel())[1:]
    if sizes.max() < MINIMUM_LARGEST * sizes.sum():
        return mask
    return np.asarray(ndimage.binary_fill_holes(labels == 1 + sizes.argmax()))


def _problems(mask: np.ndarray, affine: np.ndarray) -> list[str]:
    """List reasons why this cannot be the mask of a whole human brain."""
    volume = _volume_ml(mask, affine)
    if volume == 0:
        return ["it is empty"]
    found = []
    if not VOLUME_ML[0] <= volume <= VOLUME_ML[1]:
        found.append(f"its volume is {volume:.0f} ml")
    points = apply_affine(affine, np.argwhere(mask))
    extents = np.ptp(points, axis=0)
    for (name, (low, high)), extent in zip(EXTENT_MM.items(), extents, strict=True):
        if not low <= extent <= high:
            found.append(f"its {name} is {extent:.0f} mm")
    labels, _ = ndimage.label(mask)
    largest = np.bincount(labels.ravel())[1:].max() / mask.sum()
    if largest < MINIMUM_LARGEST:
        found.append(f"only {largest:.0%} of it is one connected component")
    return found


def _cut(mask: np.ndarray, affine: np.ndarray) -> str | None:
    """Say so where the border of the image cuts through the mask."""
    columns = affine[:3, :3].T
    cut = 0.0
    for axis in range(3):
        face = np.cross(columns[axis - 2], columns[axis - 1])
        cut += float(np.linalg.norm(face) * mask.take([0, -1], axis=axis).sum())
    return (
        f"the border of the image cuts through {cut / 100:.0f} square cm of the brain"
        if cut > MAXIMUM_CUT_MM2
        else None
    )


def _template_mask(t1w: SpatialImage, t1w_to_mni152: np.ndarray) -> np.ndarray:
    from nilearn.datasets import load_mni152_brain_mask

    template = load_mni152_brain_mask(resolution=2)
    brain = (np.asarray(template.dataobj) > 0).astype(np.uint8)
    inverse = np.linalg.inv(t1w_to_mni152)
    return resample(brain, template.affine, t1w.shape[:3], t1w.affine, inverse, "nearest") > 0


def _volume_ml(mask: np.ndarray, affine: np.ndarray) -> float:
    return float(mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000)


def _result(mask: np.ndarray, t1w: SpatialImage, method: str, *warnings: str | None) -> T1wMask:
    said = tuple(warning for warning in warnings if warning)
    return T1wMask(mask, method, _volume_ml(mask, t1w.affine), said)
