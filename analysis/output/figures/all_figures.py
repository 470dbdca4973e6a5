"""All figures of a comparison, as files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from conceptrsa.analysis.output.figures.captions import CAPTIONS
from conceptrsa.analysis.output.figures.ceiling_curves import draw_ceiling_sweep
from conceptrsa.analysis.output.figures.explained_shares import (
    draw_partial_rsa,
    draw_variance_partition,
)
from conceptrsa.analysis.output.figures.groups import draw_groups
from conceptrsa.analysis.output.figures.model_differences import draw_model_tests
from conceptrsa.analysis.output.figures.models import draw_scores, draw_shares
from conceptrsa.analysis.output.figures.specification_curve import draw_multiverse
from conceptrsa.analysis.output.figures.style import (
    FORMATS,
    View,
    is_hemisphere,
    save,
    style,
)
from conceptrsa.analysis.results import ComparisonResult, RoiResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects
from conceptrsa.analysis.settings import MANY_REGIONS
from conceptrsa.bids_config.names import require_one_of

Draw = Callable[[View], Figure]

EARLIER_NAMES = ("figure_1", "figure_2a", "figure_2b", "figure_3")
"""Of figures that earlier versions wrote: left in a folder, they would show an earlier result."""

MOST_REGIONS, MOST_OF_MANY_REGIONS = 24, 12
"""In one figure: of a whole brain's parcels each would be metres long, and take minutes."""


def write_figures(result: ComparisonResult, figures_dir: Path) -> None:
    """Write the figures as SVG and PNG; regions that are a hemisphere get their own.

    Figures of an earlier result that this one does not have are removed.
    """
    stale = {
        figures_dir / f"{name}{suffix}"
        for name in (*CAPTIONS, *EARLIER_NAMES)
        for suffix in ("", "_hemispheres")
    }
    with style():
        for stem, draw, view in _figures(result, figures_dir):
            save(draw(view), stem)
            stale.discard(stem)
    for stem in stale:
        for file_format in FORMATS:
            stem.with_name(f"{stem.name}.{file_format}").unlink(missing_ok=True)


def draw_figure(result: ComparisonResult, name: str) -> Figure:
    """Draw the figure that is written under a name.

    Raises
    ------
    InputError
        If the result has no such figure, with a list of those that it has.
    """
    figures = {stem.name: (draw, view) for stem, draw, view in _figures(result, Path())}
    require_one_of(name, figures, "the result has no figure")
    draw, view = figures[name]
    with style():
        return draw(view)


def primary_figures(result: ComparisonResult) -> Mapping[str, Draw]:
    """Functions that draw the primary analysis, by the figure's name."""
    figures: dict[str, Draw] = {}
    if result.sweeps:
        figures["ceiling_sweep"] = draw_ceiling_sweep
    figures |= {
        "shares_of_ceiling": draw_shares,
        "groups": draw_groups,
        "scores": draw_scores,
    }
    if result.inference is not None:
        if len(result.models) > 1:
            figures["model_tests"] = draw_model_tests
        if result.inference.variance_parts:
            figures["variance_partition"] = draw_variance_partition
        if result.inference.partial_scores:
            figures["partial_rsa"] = draw_partial_rsa
    if result.multiverse:
        figures["multiverse"] = draw_multiverse
    return figures


def _is_there(name: str, roi: RoiResult, result: ComparisonResult) -> bool:
    """Whether a figure has something to show of a region."""
    kinds = {"variance_partition": "variance_parts", "partial_rsa": "partial_scores"}
    if name not in kinds:
        return True
    assert result.inference is not None
    return bool(getattr(result.inference.of(roi.roi), kinds[name]))


def _figures(result: ComparisonResult, figures_dir: Path) -> Iterator[tuple[Path, Draw, View]]:
    """Give the path without extension, the function and the view of each figure."""
    drawings = [(name, draw, result.primary) for name, draw in primary_figures(result).items()]
    drawings += [(variant.name, draw_scores, variant) for variant in result.variants]
    for suffix, hemispheres in (("", False), ("_hemispheres", True)):
        for name, draw, analysis in drawings:
            rois = tuple(
                roi
                for roi in analysis.rois
                if is_hemisphere(roi.roi) is hemispheres and _is_there(name, roi, result)
            )
            if rois:
                view = View(result, analysis, _most_reliable(rois), len(rois))
                yield figures_dir / f"{name}{suffix}", draw, view


def _most_reliable(rois: Sequence[RoiResult]) -> tuple[RoiResult, ...]:
    """As many regions as a figure holds, those with the highest noise ceiling, in their order.

    Models have no say in which are shown.
    """
    ceilings = [float(mean_over_subjects(roi.ceiling.pairwise)) for roi in rois]
    order = sorted(range(len(rois)), key=lambda place: -np.nan_to_num(ceilings[place], nan=-np.inf))
    most = MOST_REGIONS if len(rois) <= MANY_REGIONS else MOST_OF_MANY_REGIONS
    return tuple(rois[place] for place in sorted(order[:most]))
