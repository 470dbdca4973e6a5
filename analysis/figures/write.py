"""All figures of a comparison, as files."""

from pathlib import Path

from analysis.figures.ceiling_sweep import draw_ceiling_sweep
from analysis.figures.groups import draw_groups
from analysis.figures.models import draw_normalised_models, draw_raw_models
from analysis.figures.style import FORMATS, View, is_hemisphere, save, style
from analysis.results import ComparisonResult

FIGURES = {
    "figure_1": draw_ceiling_sweep,
    "figure_2a": draw_normalised_models,
    "figure_2b": draw_groups,
    "figure_3": draw_raw_models,
}


def write_figures(result: ComparisonResult, figures_dir: Path) -> None:
    """Write the paper's figures as SVG and PNG; regions that are a hemisphere get their own.

    Figures of an earlier result that this one does not have are removed.
    """
    halves = tuple(roi for roi in result.rois if is_hemisphere(roi.roi))
    wholes = tuple(roi for roi in result.rois if not is_hemisphere(roi.roi))
    for suffix, rois in (("", wholes), ("_hemispheres", halves)):
        if not rois:
            for name in FIGURES:
                for file_format in FORMATS:
                    (figures_dir / f"{name}{suffix}.{file_format}").unlink(missing_ok=True)
            continue
        with style():
            for name, draw in FIGURES.items():
                save(draw(View(result, rois)), figures_dir / f"{name}{suffix}")
