"""How well the embedded engine finds the brain, MNI305 and the regions of real heads.

    python -m benchmarks.heads FOLDER [--disturb] [--jobs N]

FOLDER holds FreeSurfer subjects (`*/mri/T1.mgz`, with `aparc+aseg.mgz` where there is one), or BIDS
T1w images (`sub-*/**/anat/*_T1w.nii.gz`, with a `*_desc-aparcaseg_dseg.nii.gz` beside it where
there is one), or just images.

The reference is each head's own segmentation: `error` is the mean distance over the brain, in mm,
from the affine transform that takes the centres of its regions to those of the atlas, the best that
an affine transform can do. Dice and distances of centres (mm) are those of the regions in MNI305,
of the packaged atlas as it is (affine) and fitted to the head (own).
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from conceptrsa.bids_config.desikan_killiany import desikan_killiany_mni152
from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.atlas import desikan_killiany_mni305
from conceptrsa.interfaces.numerics.brain_mask import find_brain
from conceptrsa.interfaces.numerics.freesurfer_subject import labels_mni305
from conceptrsa.interfaces.numerics.normalization import Normalization, normalize
from conceptrsa.interfaces.numerics.subject_regions import find_regions
from conceptrsa.interfaces.numerics.transforms import displacements, rigid_matrix

REGIONS = {
    "hippocampus": (17, 53),
    "fusiform": (1007, 2007),
    "parahippocampal": (1016, 2016),
    "occipital": (1011, 1021, 2011, 2021),
}
FEWEST_VOXELS = 20


@dataclass(frozen=True)
class Head:
    """A T1w image and, where there is one, its reference segmentation."""

    name: str
    t1w: Path
    segmentation: Path | None


def find_heads(folder: Path) -> Iterator[Head]:
    """Heads below a folder, in order of their names."""
    for t1w in sorted(folder.glob("*/mri/T1.mgz")):
        segmentation = t1w.with_name("aparc+aseg.mgz")
        yield Head(t1w.parts[-3], t1w, segmentation if segmentation.is_file() else None)
    for t1w in sorted(folder.glob("sub-*/**/anat/*_T1w.nii*")):
        stem = t1w.name.partition("_T1w")[0].removesuffix("_desc-preproc")
        beside = sorted(t1w.parent.glob(f"{stem}*_desc-aparcaseg_dseg.nii*"))
        yield Head(stem, t1w, beside[0] if beside else None)
    for t1w in sorted(folder.glob("*.nii*")):
        yield Head(t1w.name.split(".")[0], t1w, None)


def register(image: nib.Nifti1Image) -> tuple[np.ndarray, Normalization]:
    """Brain mask and transform, as a run of the participant level finds them."""
    mask = find_brain(image).mask
    return mask, normalize(image, mask)


def measure(head: Head) -> str:
    """One line of the table."""
    image = nib.load(head.t1w)
    began = time.perf_counter()
    try:
        mask, found = register(image)
        regions = find_regions(image, mask, found.t1w_to_mni305)
    except (StepError, InputError) as error:
        return f"{head.name:20s} refused: {error}"
    seconds = time.perf_counter() - began
    line = (
        f"{head.name:20s} accepted  r {found.correlation:.3f}  inner {found.detail:.3f}  "
        f"warp {regions.before:.2f} to {regions.after:.2f}  {seconds:4.0f} s"
    )
    if head.segmentation is None:
        return line
    own = np.asarray(regions.labels.dataobj)
    atlas = np.asarray(desikan_killiany_mni305()[0].dataobj)
    truth = np.asarray(labels_mni305(head.segmentation, found.t1w_to_mni305).dataobj)
    line += f"  error {error_of(found.matrix, nib.load(head.segmentation)):.2f}"
    for name, labels in REGIONS.items():
        where = [np.isin(segmentation, labels) for segmentation in (truth, atlas, own)]
        line += f"\n    {name:16s}" + "".join(
            f"  {whose} Dice {dice(where[0], region):.2f} centre {distance(where[0], region):.1f}"
            for whose, region in zip(("affine", "own"), where[1:], strict=True)
        )
    return line


def error_of(t1w_to_mni152: np.ndarray, segmentation: nib.Nifti1Image) -> float:
    """Mean distance (mm) over the brain from the affine transform fitted to centres of regions."""
    atlas, _ = desikan_killiany_mni152()
    target = _centres(np.asarray(atlas.dataobj), atlas.affine)
    labels = np.asarray(segmentation.dataobj).astype(int)
    source = _centres(labels, segmentation.affine)
    both = sorted(set(source) & set(target))
    design = np.c_[[source[label] for label in both], np.ones(len(both))]
    best = np.eye(4)
    best[:3] = np.linalg.lstsq(design, np.array([target[label] for label in both]), rcond=None)[0].T
    points = apply_affine(segmentation.affine, np.argwhere(labels > 0)[::50])
    return float(displacements(best, t1w_to_mni152, points).mean())


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Overlap of two masks."""
    return float(2 * (first & second).sum() / max(first.sum() + second.sum(), 1))


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Distance (mm) between the centres of two masks, the mean of those of both hemispheres."""
    right = (
        apply_affine(mni305_grid.AFFINE, np.indices(mni305_grid.SHAPE).reshape(3, -1).T)[:, 0] > 0
    )
    of_sides = []
    for side in (right.reshape(mni305_grid.SHAPE), ~right.reshape(mni305_grid.SHAPE)):
        centres = [np.argwhere(mask & side).mean(axis=0) for mask in (first, second)]
        of_sides.append(np.linalg.norm(mni305_grid.AFFINE[:3, :3] @ (centres[0] - centres[1])))
    return float(np.mean(of_sides))


def _centres(labels: np.ndarray, affine: np.ndarray) -> dict[int, np.ndarray]:
    voxels = np.argwhere(labels > 0)
    values = labels[tuple(voxels.T)]
    points = apply_affine(affine, voxels)
    return {
        int(label): points[values == label].mean(axis=0)
        for label in np.unique(values)
        if (values == label).sum() >= FEWEST_VOXELS
    }


def disturbances() -> dict[str, Callable[[nib.Nifti1Image], tuple[nib.Nifti1Image, np.ndarray]]]:
    """Disturbed versions of a head: the image, and where the world of the head went (4x4)."""

    def moved(shift: tuple[float, ...], turn: tuple[float, ...]) -> Callable:
        def apply(image: nib.Nifti1Image) -> tuple[nib.Nifti1Image, np.ndarray]:
            centre = apply_affine(image.affine, np.array(image.shape) / 2)
            motion = rigid_matrix(np.array(shift), np.array(turn), centre)
            return nib.Nifti1Image(_data(image), motion @ image.affine), motion

        return apply

    def changed(change: Callable[[nib.Nifti1Image], nib.Nifti1Image]) -> Callable:
        return lambda image: (change(image), np.eye(4))

    return {
        "moved 20 mm, turned": moved((12.0, -12.0, 10.0), (0.2, 0.1, -0.15)),
        "nodded by 0.35 rad": moved((0.0, 0.0, 0.0), (-0.35, 0.0, 0.0)),
        "origin 300 mm off": moved((300.0, -200.0, 250.0), (0.0, 0.0, 0.0)),
        "strong bias": changed(_biased),
        "noise": changed(_noisy),
        "2 mm": changed(lambda image: _resampled(image, (2.0, 2.0, 2.0))),
        "1 x 1 x 4 mm": changed(lambda image: _resampled(image, (1.0, 1.0, 4.0))),
        "neck cut": changed(lambda image: _cropped(image, 5.0, None)),
        "15 mm of the top cut": changed(lambda image: _cropped(image, None, -15.0)),
        "30 mm of the top cut": changed(lambda image: _cropped(image, None, -30.0)),
        "axes exchanged": changed(_exchanged),
    }


def wrong_versions() -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Images that must be refused, from the data of a head (first axis to the right) and its mask.

    A head whose sides are exchanged is not among them: the template is symmetric, so that no
    registration can tell.
    """

    def contrast(data: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.where(mask, data[mask].max() * 1.05 - data, data)

    def half(axis: int, upper: bool) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        def apply(data: np.ndarray, mask: np.ndarray) -> np.ndarray:
            (box,) = ndimage.find_objects(mask.astype(np.int8))
            middle = (box[axis].start + box[axis].stop) // 2
            indices = np.expand_dims(np.arange(data.shape[axis]), tuple({0, 1, 2} - {axis}))
            return np.where((indices >= middle) == upper, data, np.float32(0))

        return apply

    return {
        "upside down": lambda data, mask: data[:, :, ::-1],
        "back to front": lambda data, mask: data[:, ::-1],
        "half a turn about x": lambda data, mask: data[:, ::-1, ::-1],
        "another contrast": contrast,
        "right half only": half(0, upper=True),
        "front half only": half(1, upper=True),
        "upper half only": half(2, upper=True),
        "lower half only": half(2, upper=False),
    }


def disturb(head: Head) -> str:
    """Distance (mm) of the results of disturbed versions from that of the head itself."""
    image = nib.load(head.t1w)
    image = nib.Nifti1Image(_data(image), image.affine)
    mask, reference = register(image)
    points = apply_affine(image.affine, np.argwhere(mask)[::50])
    lines = []
    for name, change in disturbances().items():
        changed, motion = change(image)
        try:
            found = register(changed)[1].matrix @ motion
            off = displacements(reference.matrix, found, points).mean()
            lines.append(f"{head.name:20s} {name:22s} {off:.2f} mm")
        except StepError as error:
            lines.append(f"{head.name:20s} {name:22s} refused: {error}")
    canonical = nib.as_closest_canonical(image)
    mask = find_brain(canonical).mask
    for name, spoil in wrong_versions().items():
        data = np.ascontiguousarray(spoil(_data(canonical), mask))
        spoilt = nib.Nifti1Image(data, canonical.affine)
        try:
            found = register(spoilt)[1]
            lines.append(f"{head.name:20s} {name:22s} ACCEPTED, inner {found.detail:.2f}")
        except StepError as error:
            lines.append(f"{head.name:20s} {name:22s} refused, as it should be: {error}")
    return "\n".join(lines)


def _data(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(image.dataobj, dtype=np.float32)


def _biased(image: nib.Nifti1Image) -> nib.Nifti1Image:
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in image.shape), indexing="ij", sparse=True)
    return nib.Nifti1Image(_data(image) * np.exp(0.5 * (x - y + 0.5 * z**2)), image.affine)


def _noisy(image: nib.Nifti1Image) -> nib.Nifti1Image:
    data = _data(image)
    noise = np.random.default_rng(0).standard_normal((2, *data.shape), dtype=np.float32)
    sd = 0.1 * np.percentile(data[data > 0], 95)
    return nib.Nifti1Image(np.hypot(data + sd * noise[0], sd * noise[1]), image.affine)


def _resampled(image: nib.Nifti1Image, voxel: tuple[float, ...]) -> nib.Nifti1Image:
    canonical = nib.as_closest_canonical(image)
    factor = np.array(voxel) / np.linalg.norm(canonical.affine[:3, :3], axis=0)
    smooth = ndimage.gaussian_filter(_data(canonical), 0.42 * np.sqrt(np.maximum(factor**2 - 1, 0)))
    shape = np.ceil(np.array(canonical.shape) / factor).astype(int)
    scale = np.diag([*factor, 1.0])
    data = ndimage.affine_transform(smooth, scale, output_shape=tuple(shape), order=1)
    return nib.Nifti1Image(data, canonical.affine @ scale)


def _cropped(image: nib.Nifti1Image, below: float | None, top: float | None) -> nib.Nifti1Image:
    """Cut the picture so far (mm) below the brain, or from its top downwards."""
    canonical = nib.as_closest_canonical(image)
    slices = np.flatnonzero(find_brain(canonical).mask.any(axis=(0, 1)))
    size = np.linalg.norm(canonical.affine[:3, 2])
    first = 0 if below is None else max(slices[0] - round(below / size), 0)
    last = canonical.shape[2] if top is None else slices[-1] + round(top / size)
    return canonical.slicer[:, :, first:last]


def _exchanged(image: nib.Nifti1Image) -> nib.Nifti1Image:
    turn = np.zeros((4, 4))
    turn[[2, 0, 1, 3], [0, 1, 2, 3]] = 1
    turn[0, 1] = -1
    turn[0, 3] = image.shape[0] - 1
    return nib.Nifti1Image(
        np.ascontiguousarray(np.transpose(_data(image)[::-1], (2, 0, 1))), image.affine @ turn
    )


def main() -> None:
    """Print a line a head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--disturb", action="store_true", help="disturb each head in many ways")
    parser.add_argument("--jobs", type=int, default=1, help="heads at once")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    heads = list(find_heads(args.folder))
    with ProcessPoolExecutor(args.jobs) as pool:
        for line in pool.map(disturb if args.disturb else measure, heads):
            print(line, flush=True)


if __name__ == "__main__":
    main()
