"""What a figure says about the analysis that it shows."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files

import numpy as np

from conceptrsa.analysis.arrays import Integers
from conceptrsa.analysis.inference.findings import ALPHA
from conceptrsa.analysis.output.figures.style import RSA_NAMES, View
from conceptrsa.analysis.results import RoiResult
from conceptrsa.analysis.settings import ComparisonSettings, Names, RdmMetric, VoxelScore

RDM_NAMES: dict[RdmMetric, str] = Names(
    {
        "correlation": "correlation distance",
        "cosine": "cosine distance",
        "euclidean": "squared Euclidean distance",
        "mahalanobis": "squared Mahalanobis distance",
        "crossnobis": "crossnobis distance",
    }
)

SCORE_NAMES: dict[VoxelScore, str] = {
    "max-beta": "highest betas",
    "reliability": "highest split-half reliability",
    "ncsnr": "highest noise-ceiling signal-to-noise ratio",
}

CIRCULAR = "CIRCULAR SELECTION: voxels are chosen by the betas that are then scored"
CROSS_HALF = "Voxels chosen on one half of the runs, scored on the other; mean of both ways"

CAPTIONS: Mapping[str, Mapping[str, str]] = tomllib.loads(
    files(__package__).joinpath("captions.toml").read_text(encoding="utf-8")
)
"""Of every figure that a result can have, by its name: title, notes and what it shows."""

_FILLED_IN = {
    "alpha": f"{ALPHA:g}",
    "weak": "Weak: the noise ceiling is not above 95 % of those of permuted stimuli; shares of it "
    "mean little. Subjects whose ceiling is not above zero are left out.",
}


def title(name: str, settings: ComparisonSettings) -> str:
    """Give a figure's title, with its number in the paper where the analysis is the paper's."""
    words = CAPTIONS[name]
    numbered = settings.preset == "paper" and "paper" in words
    return f"Figure {words['paper']}. {words['title']}" if numbered else words["title"]


def note(view: View, name: str, *kinds: str, **values: object) -> str:
    """Give the note under a figure: that of `captions.toml`, or those of the kinds named."""
    texts = (CAPTIONS[name][f"note_{kind}" if kind else "note"] for kind in kinds or ("",))
    filled_in = {**_FILLED_IN, **_design(view), **values}
    return " ".join(text.format(**filled_in) for text in texts)


def _design(view: View) -> dict[str, str]:
    """What means and intervals are over, and what the noise ceiling compares."""
    is_single = len(view.result.subjects) == 1
    region_map = view.result.region_map
    space = "MNI152" if region_map is None else region_map.grid.space
    by_halves = any(roi.ceiling_from == "halves" for roi in view.rois)
    return {
        "population": "new stimuli in this subject"
        if is_single
        else "new subjects and new stimuli",
        "space": space,
        "mean": "score" if is_single else "mean over subjects",
        "over_subjects": "" if is_single else ", mean over subjects",
        "dots": "" if is_single else "small dots: subjects; ",
        "band": "" if is_single else "; band: ± standard error over subjects",
        "bars": "Bars: score; triangles: beyond the axis."
        if is_single
        else "Bars: mean over subjects; whiskers: ± standard error over subjects; dots: subjects; "
        "triangles: beyond the axis.",
        "ceiling": "split-half" if by_halves else "pairwise",
        "bounds": "There is no noise ceiling."
        if not has_ceiling(view)
        else "Noise ceiling: similarity of the RDMs of odd and even runs."
        if by_halves
        else "Noise ceiling: mean RDM correlation between subjects. Nili's bounds: with the mean "
        "of the other subjects, and of all.",
    }


def best_layers(view: View) -> list[str]:
    """Say what stands for a network of which several layers were compared."""
    if not view.networks:
        return []
    return [
        "Of a network with several layers, the one of the highest score in the region (2/24: the "
        "second of 24, in the order of the tables). It is chosen on the data that it is scored "
        "on: its score and its lead over other models are optimistic, the more so the more layers "
        "were compared."
    ]


def has_ceiling(view: View) -> bool:
    """Whether any region has a noise ceiling."""
    return any(np.isfinite(roi.ceiling.pairwise).any() for roi in view.rois)


def has_voxels(view: View) -> bool:
    """Whether there were voxels to choose; not where RDMs were supplied."""
    return any((roi.n_voxels > 0).any() for roi in view.analysis.rois)


def details_of(view: View) -> list[str]:
    """Lines that say by which choices the scores were made, and whether that is circular."""
    settings = view.settings
    metrics = f"compared by {RSA_NAMES[settings.rsa_metric]}"
    if not has_voxels(view):
        supplied = f"RDMs as supplied, {metrics}; how voxels were chosen is not known here."
        return [supplied, *regions_left_out(view)]
    lines = [f"{_voxels(view)}; {RDM_NAMES[settings.rdm_metric]}, {metrics}."]
    if settings.remove_mean_pattern:
        lines[0] = f"{lines[0][:-1]}; mean pattern removed."
    if view.analysis.circular:
        lines.append(f"{CIRCULAR}.")
    elif any(fold.select_on for fold in view.analysis.folds):
        lines.append(f"{CROSS_HALF}.")
    return [*lines, *regions_left_out(view)]


def regions_left_out(view: View) -> list[str]:
    """Say which regions are shown, where there are more than a figure holds."""
    if view.n_regions <= len(view.rois):
        return []
    return [
        f"The {len(view.rois)} of {view.n_regions} regions with the highest noise ceiling; the "
        "tables hold all."
    ]


def _voxels(view: View) -> str:
    settings = view.settings
    score = SCORE_NAMES[settings.voxel_score]
    match settings.voxel_selection:
        case "top-n":
            return f"The {settings.n_voxels} voxels of the {score} in each region"
        case "threshold":
            return (
                f"Voxels above the score that leaves {settings.n_voxels} in "
                f"{settings.threshold_roi}, per subject ({score})"
            )
        case "best-n":
            return f"As many voxels of the {score} as give the highest noise ceiling, per region"
        case "random":
            return f"{settings.n_voxels} random voxels in each region, mean of draws"
        case "all":
            return "All voxels of each region"


def n_voxels_label(roi: RoiResult) -> str:
    """Number of voxels of a region: one, one per fold, or the range; empty for supplied RDMs."""
    counts = roi.n_voxels
    if not counts.any():
        return ""
    if (counts == counts.flat[0]).all():
        return f"{counts.flat[0]} voxels"
    if len(counts) == 2 and (counts == counts[:, :1]).all():
        return f"{counts[0, 0]} and {counts[1, 0]} voxels"
    return f"{counts.min()} to {counts.max()} voxels"


def visited_sizes(sizes: Sequence[Integers]) -> str:
    """Say which numbers of voxels were visited."""
    dense_until = []
    for of_region in sizes:
        steps = np.flatnonzero(np.diff(of_region) > 1)
        if len(steps):
            dense_until.append(int(of_region[steps[0]]))
    if not dense_until:
        return "every number of voxels from 3"
    return f"every number of voxels from 3 to {min(dense_until)}, above that log-spaced ones"


def subjects_left(roi: RoiResult) -> str:
    """Say how many subjects have shares of the ceiling, where not all have; else empty."""
    n_subjects = len(roi.rsa)
    return "" if roi.n_normalised == n_subjects else f"{roi.n_normalised} of {n_subjects} subjects"
