"""The numbers that the paper's authors published, to hold a comparison of their betas against.

Table 1 and the ceilings are in the paper; the numbers of voxels at the ceilings' peaks are in the
authors' code (github.com/bhavinc/multimodal-concepts, the selection `max_of_each_region`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.brain.brain_rdms import brain_rdms
from conceptrsa.analysis.brain.patterns import SubjectPatterns
from conceptrsa.analysis.brain.voxel_selection import max_beta, rank_voxels
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.analysis.rsa.ceiling_sweep import CeilingSweep, peak_size, sweep_top
from conceptrsa.analysis.rsa.correlations import mean_over_subjects
from conceptrsa.analysis.rsa.noise_ceiling import NoiseCeiling, noise_ceiling, sem_of_ceilings
from conceptrsa.analysis.settings import PRESETS

VOXEL_COUNTS = {
    "visual": (530, 831, 343, 707, 592),
    "fusiform": (532, 376, 217, 368, 508),
    "hippocampus": (30, 30, 30, 30, 30),
    "parahippocampal": (122, 67, 85, 111, 167),
}
"""Table 1: voxels of subjects 1 to 5 above the threshold."""

PEAK_INDICES = {
    "visual": 1367,
    "visual-left": 888,
    "visual-right": 343,
    "fusiform": 629,
    "fusiform-left": 235,
    "fusiform-right": 355,
    "hippocampus": 29,
    "hippocampus-left": 8,
    "hippocampus-right": 17,
    "parahippocampal": 89,
    "parahippocampal-left": 56,
    "parahippocampal-right": 108,
}
"""Place of the highest ceiling in the authors' list of numbers of voxels, which begins with 2."""

FIRST_SIZE, LAST_SIZE = 2, 1999
"""The authors' sweep takes every number of voxels from the first to the last."""

HIPPOCAMPAL_CEILING = -0.012
HIPPOCAMPAL_CEILING_SEM = 0.012
"""Mean and standard error over subjects of the ceiling of all hippocampal voxels."""

VISUAL_ROIS = ("visual", "fusiform", "parahippocampal")
VISUAL_CEILINGS = 0.2, 0.6
"""Between these lie the ceilings of all voxels of the more visual regions."""

COLUMNS = ["quantity", "roi", "subject", "published", "found", "agrees"]

Row = tuple[str, str, str | None, str, float, bool | None]


def check_result(result: ComparisonResult, subjects: Sequence[SubjectPatterns]) -> pd.DataFrame:
    """Hold a comparison by the preset 'paper' of the published betas against what was published.

    Parameters
    ----------
    result : ComparisonResult
        Voxel counts are those of its analysis by threshold.
    subjects : sequence of SubjectPatterns
        What it was made from. Ceilings are computed anew, by the paper's distance and correlation
        and for every number of voxels, whatever the sweep of Figure 1 was told to take.

    Returns
    -------
    DataFrame
        See `check_against_published`.
    """
    counts = {
        roi.roi: dict(zip(result.subjects, map(int, roi.n_voxels[0]), strict=True))
        for analysis in (result.primary, *result.variants)
        if analysis.settings.voxel_selection == "threshold"
        for roi in analysis.rois
    }
    all_voxels = replace(PRESETS["paper"], voxel_selection="all")
    ceilings = {
        roi: noise_ceiling(brain_rdms(roi, subjects, all_voxels).rdms[0], "pearson").pairwise
        for roi in subjects[0].rois
    }
    sweeps = [_every_number_of_voxels(roi, subjects) for roi in subjects[0].rois]
    return check_against_published(counts, sweeps, ceilings)


def _every_number_of_voxels(roi: str, subjects: Sequence[SubjectPatterns]) -> CeilingSweep:
    patterns = [subject.rois[roi].values for subject in subjects]
    orders = [rank_voxels(max_beta(values)) for values in patterns]
    settings = replace(PRESETS["paper"], sweep_dense_until=LAST_SIZE)
    return replace(sweep_top(patterns, orders, settings), roi=roi)


def check_against_published(
    voxel_counts: Mapping[str, Mapping[str, int]],
    sweeps: Sequence[CeilingSweep],
    all_voxel_ceilings: Mapping[str, Floats],
) -> pd.DataFrame:
    """Hold what was found with the published betas against what was published.

    Parameters
    ----------
    voxel_counts : mapping of str to mapping of str to int
        By region and subject (`sub-01` to `sub-05`): voxels of the selection by threshold.
    sweeps : sequence of CeilingSweep
        Every number of voxels should have been visited, up to 1999 or the whole region.
    all_voxel_ceilings : mapping of str to ndarray, (subjects,)
        By region: pairwise ceilings with all voxels.

    Returns
    -------
    DataFrame
        Columns quantity, roi, subject (missing where it is about all), published (as text),
        found, agrees. Counts and peaks must be equal, ceilings after rounding to the published
        decimals; `agrees` is missing where a quantity was not found or a sweep has gaps.
    """
    rows = [
        *_counts(voxel_counts),
        *_peaks({sweep.roi: sweep for sweep in sweeps}),
        *_ceilings(all_voxel_ceilings),
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"agrees": "boolean"})


def _counts(found: Mapping[str, Mapping[str, int]]) -> Iterator[Row]:
    for roi, counts in VOXEL_COUNTS.items():
        for number, published in enumerate(counts, start=1):
            subject = f"sub-{number:02d}"
            count = found.get(roi, {}).get(subject)
            yield (
                "voxels above the threshold",
                roi,
                subject,
                str(published),
                np.nan if count is None else count,
                None if count is None else count == published,
            )


def _peaks(sweeps: Mapping[str, CeilingSweep]) -> Iterator[Row]:
    for roi, index in PEAK_INDICES.items():
        published = index + FIRST_SIZE
        sweep = _within_published_range(sweeps[roi]) if roi in sweeps else None
        there = sweep is not None and len(sweep.n_voxels) > 0
        found = peak_size(sweep) if sweep is not None and there else np.nan
        without_gaps = sweep is not None and there and bool((np.diff(sweep.n_voxels) == 1).all())
        yield (
            "voxels at the peak of the ceiling",
            roi,
            None,
            str(published),
            found,
            found == published if without_gaps else None,
        )


def _within_published_range(sweep: CeilingSweep) -> CeilingSweep:
    kept = sweep.n_voxels <= LAST_SIZE
    top = NoiseCeiling(*(bound[kept] for bound in sweep.top))
    return CeilingSweep(sweep.roi, sweep.n_voxels[kept], top, sweep.random, sweep.note)


def _ceilings(found: Mapping[str, Floats]) -> Iterator[Row]:
    hippocampal = found.get("hippocampus", np.array([]))
    for quantity, published, value in (
        ("ceiling of all voxels, mean", HIPPOCAMPAL_CEILING, _mean(hippocampal)),
        (
            "ceiling of all voxels, standard error",
            HIPPOCAMPAL_CEILING_SEM,
            float(sem_of_ceilings(hippocampal)),
        ),
    ):
        agrees = round(value, 3) == published if np.isfinite(value) else None
        yield quantity, "hippocampus", None, f"{published:.3f}", value, agrees
    low, high = VISUAL_CEILINGS
    for roi in VISUAL_ROIS:
        value = _mean(found.get(roi, np.array([])))
        agrees = low <= round(value, 1) <= high if np.isfinite(value) else None
        yield "ceiling of all voxels, mean", roi, None, f"{low:g} to {high:g}", value, agrees


def _mean(values: Floats) -> float:
    return float(mean_over_subjects(values))
