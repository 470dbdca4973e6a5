"""Pictures of a subject's head: registrations, outlines of regions, maps of the tSNR."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from conceptrsa.analysis.output.figures.style import is_hemisphere
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.numerics.transforms import read_matrix
from conceptrsa.pipelines.reports.mosaics import (
    OKABE_ITO,
    LineStyle,
    Mosaic,
    Outline,
    bounds,
    draw_mosaic,
    lay_out,
)
from conceptrsa.pipelines.reports.subject_records import (
    RegionRecord,
    SubjectRecord,
    Volume,
)

BRIGHTEST = 99.5  # percentile of an image that is drawn white
BRIGHTEST_TSNR = 99.0  # percentile of the mean map that has the last colour
STYLES: tuple[LineStyle, ...] = ("solid", "dashed", "dotted")

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TsnrSummary:
    """Summary of the maps.

    Attributes
    ----------
    medians : tuple of float or None
        In the brain mask, of each run; None where a run has no map.
    mean : array or None
        Mean over the runs that have a map.
    regions : mapping of str to float
        Median of the mean over a region's voxels in the brain mask.
    highest : float
        Value that all pictures draw in the last colour.
    """

    medians: tuple[float | None, ...]
    mean: NDArray[np.float32] | None
    regions: Mapping[str, float]
    highest: float


class Heads:
    """A subject's images, read when they are first looked at.

    Parameters
    ----------
    record : SubjectRecord
        Where they lie.
    """

    def __init__(self, record: SubjectRecord) -> None:
        self._record = record

    @cached_property
    def boldref(self) -> Volume:
        """The mean EPI."""
        return Volume.read(self._record.boldref)

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """The brain mask, on the grid of the mean EPI."""
        file = self._record.epi("desc-brain_mask.nii.gz")
        return np.asarray(nib.load(file).dataobj) > 0

    @cached_property
    def bold_to_betas(self) -> FloatArray:
        """World of the EPI to that of the betas, MNI305 or the same."""
        if not self._record.has_anatomy:
            return np.eye(4)
        registered = "fsnative" if self._record.by_freesurfer else "T1w"
        to_t1w = read_matrix(self._record.func(f"from-boldref_to-{registered}_xfm.txt"))
        to_mni305 = read_matrix(self._record.anat("from-T1w_to-MNI305_xfm.txt"))
        return np.asarray(to_mni305 @ to_t1w)

    @cached_property
    def _segmentation(self) -> tuple[NDArray[np.int32], FloatArray]:
        image = nib.load(self._record.segmentation_file)
        return np.asarray(image.dataobj).astype(np.int32), image.affine

    @property
    def labels(self) -> NDArray[np.int32]:
        """Labels of the segmentation, on the grid of the betas."""
        return self._segmentation[0]

    @property
    def affine_of_labels(self) -> FloatArray:
        """Affine of that grid."""
        return self._segmentation[1]

    @cached_property
    def labels_in_bold(self) -> NDArray[np.int32]:
        """The same on the grid of the mean EPI, by nearest neighbour."""
        return resample(
            self.labels,
            self.affine_of_labels,
            self.boldref.data.shape,
            self.boldref.affine,
            np.linalg.inv(self.bold_to_betas),
            "nearest",
        )

    def region(self, region: RegionRecord) -> NDArray[np.bool_]:
        """Voxels of a region on the grid of the mean EPI."""
        return np.isin(self.labels_in_bold, region.labels)

    def summarize_tsnr(self) -> TsnrSummary:
        """Medians of the runs and the regions, and the mean map; one map is in memory at a time.

        Raises
        ------
        ValueError
            If the brain mask is empty or a map lies on another grid.
        """
        total = np.zeros(self.mask.shape, dtype=np.float64)
        medians: list[float | None] = []
        for run in self._record.runs:
            values = run.tsnr()
            if values is not None and values.shape != self.mask.shape:
                raise ValueError(f"{run.tsnr_file} does not lie on the grid of the brain mask")
            medians.append(None if values is None else float(np.median(values[self.mask])))
            total += 0 if values is None else values
        n_maps = sum(median is not None for median in medians)
        if n_maps == 0:
            return TsnrSummary(tuple(medians), None, {}, 1.0)
        mean = (total / n_maps).astype(np.float32)
        insides = {region.name: self.mask & self.region(region) for region in self._record.regions}
        return TsnrSummary(
            medians=tuple(medians),
            mean=mean,
            regions={name: float(np.median(mean[at])) for name, at in insides.items() if at.any()},
            highest=max(1.0, float(np.percentile(mean[self.mask], BRIGHTEST_TSNR))),
        )

    @cached_property
    def _brain(self) -> Mosaic:
        box = bounds(self.mask, self.boldref.affine)
        return lay_out(box, box)

    @cached_property
    def _brain_row(self) -> Mosaic:
        box = bounds(self.mask, self.boldref.affine)
        return lay_out(box, box, n_columns=9, planes=("axial",), pixel_mm=1.6)

    def draw_coregistration(self) -> tuple[str, str] | None:
        """Mean EPI and T1w at the same points; None where the T1w was not saved."""
        file = self._record.anat("space-boldref_res-fine_T1w.nii.gz")
        if not file.is_file():
            return None
        return (
            _draw_grey(self._brain, self.boldref, "mean EPI"),
            _draw_grey(self._brain, Volume.read(file), "T1w, moved to the mean EPI"),
        )

    def draw_normalization(self) -> tuple[str, str] | None:
        """T1w in MNI305 and the template at the same points; None where it was not saved."""
        file = self._record.anat("space-MNI305_res-2_T1w.nii.gz")
        if not file.is_file():
            return None
        from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

        brain = load_mni152_brain_mask(resolution=2)
        to_mni305 = mni305_grid.MNI152_TO_MNI305 @ brain.affine
        box = bounds(np.asarray(brain.dataobj) > 0, to_mni305)
        mosaic = lay_out(box, box)
        template = load_mni152_template(resolution=2)
        moved = Volume(
            np.asarray(template.dataobj, dtype=np.float32),
            mni305_grid.MNI152_TO_MNI305 @ template.affine,
        )
        return (
            _draw_grey(mosaic, Volume.read(file), "T1w in MNI305"),
            _draw_grey(mosaic, moved, "MNI152 template, taken to MNI305"),
        )

    def draw_t1w(self, regions: Sequence[RegionRecord]) -> str | None:
        """Outlines of brain mask and regions on the T1w in MNI305; None where it was not saved."""
        files = (
            self._record.anat("space-MNI305_res-2_T1w.nii.gz"),
            self._record.anat("desc-brain_mask.nii.gz"),
        )
        if not all(file.is_file() for file in files):
            return None
        t1w, mask = map(Volume.read, files)
        to_mni305 = read_matrix(self._record.anat("from-T1w_to-MNI305_xfm.txt"))
        box = bounds(mask.data > 0, to_mni305 @ mask.affine)
        inside = np.isin(self.labels, [label for region in regions for label in region.labels])
        mosaic = lay_out(box, bounds(inside, mni305_grid.AFFINE) if inside.any() else box)
        brain = mosaic.sample(mask.data, mask.affine, np.linalg.inv(to_mni305), order=0)
        labels = mosaic.sample(self.labels, mni305_grid.AFFINE, order=0)
        outlines = [Outline("brain mask", brain > 0, "#FFFFFF", "dotted")]
        return _draw_grey(mosaic, t1w, "T1w in MNI305", outlines + _outlines(labels, regions))

    def draw_regions(self, regions: Sequence[RegionRecord]) -> str | None:
        """Outlines of the brain mask and of regions on the mean EPI; None without their labels."""
        labels = [label for region in regions for label in region.labels]
        inside = np.isin(self.labels_in_bold, labels)
        if not inside.any():
            return None
        mosaic = lay_out(
            bounds(self.mask, self.boldref.affine), bounds(inside, self.boldref.affine)
        )
        sampled = mosaic.sample(self.labels, self.affine_of_labels, self.bold_to_betas, order=0)
        mask = mosaic.sample(self.mask.astype(np.uint8), self.boldref.affine, order=0)
        outlines = [Outline("brain mask", mask > 0, "#FFFFFF", "dotted")]
        return _draw_grey(mosaic, self.boldref, "mean EPI", outlines + _outlines(sampled, regions))

    def draw_tsnr(self, tsnr: NDArray[np.float32] | None, title: str, highest: float) -> str | None:
        """Axial planes of a map of the tSNR inside the brain mask; None if there is none."""
        if tsnr is None:
            return None
        inside = np.where(self.mask, tsnr, np.float32(0))
        values = self._brain_row.sample(inside, self.boldref.affine)
        return draw_mosaic(self._brain_row, values, title, (0, highest), cmap="inferno", bar="tSNR")


def _outlines(sampled: NDArray[np.int32], regions: Sequence[RegionRecord]) -> list[Outline]:
    """Outlines of regions in labels at pixels; of hemispheres only where there is no whole."""
    known = [region for region in regions if region.labels]
    names = [region.name for region in known]
    whole = [region for region in known if not is_hemisphere(region.name, names)]
    return [
        Outline(
            region.name,
            np.isin(sampled, region.labels),
            OKABE_ITO[number % len(OKABE_ITO)],
            STYLES[number // len(OKABE_ITO) % len(STYLES)],
        )
        for number, region in enumerate(whole)
    ]


def _draw_grey(mosaic: Mosaic, volume: Volume, title: str, outlines: Sequence[Outline] = ()) -> str:
    values = mosaic.sample(volume.data, volume.affine)
    shown = values[values > 0]
    highest = float(np.percentile(shown, BRIGHTEST)) if len(shown) else 1.0
    return draw_mosaic(mosaic, values, title, (0, highest), outlines=outlines)
