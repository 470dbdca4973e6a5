"""All figures of a comparison, as files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from conceptrsa.analysis.output.figures.appearance import IN_REPORT, Appearance
from conceptrsa.analysis.output.figures.brain_maps import (
    draw_brain_slices,
    draw_brain_surface,
    is_mapped,
    reaches_cortex,
)
from conceptrsa.analysis.output.figures.captions import CAPTIONS
from conceptrsa.analysis.output.figures.ceiling_curves import draw_ceiling_sweep
from conceptrsa.analysis.output.figures.depth_profiles import draw_depth_profile
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
    RC,
    View,
    is_hemisphere,
    networks_of,
    save,
    save_as,
    style,
)
from conceptrsa.analysis.output.finished_comparison import FinishedComparison
from conceptrsa.analysis.output.tables import noise_ceiling_table
from conceptrsa.analysis.results import ComparisonResult, RoiResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects
from conceptrsa.analysis.settings import MANY_REGIONS
from conceptrsa.bids_config.names import require_one_of
from conceptrsa.bids_config.writing import write_text

Draw = Callable[[View], Figure]

EARLIER_NAMES = ("figure_1", "figure_2a", "figure_2b", "figure_3")
"""Of figures that earlier versions wrote: left in a folder, they would show an earlier result."""

BRAIN: Mapping[str, Draw] = {
    "brain_slices": draw_brain_slices,
    "brain_surface": draw_brain_surface,
}

CAPTIONS_FILE = "captions.md"

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


def draw_figure(result: ComparisonResult, name: str, appearance: Appearance = IN_REPORT) -> Figure:
    """Draw the figure that is written under a name.

    Raises
    ------
    InputError
        If the result has no such figure, with a list of those that it has.
    """
    figures = {stem.name: (draw, view) for stem, draw, view in _figures(result, Path(), appearance)}
    require_one_of(name, figures, "the result has no figure")
    draw, view = figures[name]
    with style(appearance.fonts):
        return draw(view)


def redraw_figures(
    result: ComparisonResult,
    folder: Path,
    appearance: Appearance,
    formats: Sequence[str],
    dpi: float,
    names: Sequence[str] = (),
) -> list[Path]:
    """Write figures that look otherwise than those of the report, and their captions.

    Parameters
    ----------
    result : ComparisonResult
    folder : Path
    appearance : Appearance
    formats : sequence of {'svg', 'pdf', 'png', 'tiff'}
    dpi : float
        Of formats that are made of pixels.
    names : sequence of str
        Of the figures; none: all.

    Returns
    -------
    list of Path
        Of the files. Where words are not in the figures, the last is `captions.md`.
    """
    there = figure_names(result, appearance)
    for name in names:
        require_one_of(name, there, "the result has no figure")
    files: list[Path] = []
    captions: dict[str, str] = {}
    with style(appearance.fonts or (RC["font.family"],)):
        for stem, draw, view in _figures(result, folder, appearance):
            if names and stem.name not in names:
                continue
            figure = draw(view)
            files += [save_as(figure, stem, file_format, dpi) for file_format in formats]
            captions[stem.name] = f"## {stem.name}\n\n{figure.get_label()}\n"
    if not appearance.with_words:
        files.append(folder / CAPTIONS_FILE)
        write_text(files[-1], "\n".join((_earlier_captions(files[-1]) | captions).values()))
    return files


def _earlier_captions(file: Path) -> dict[str, str]:
    """Captions of figures that were drawn into the folder before, by name."""
    if not file.exists():
        return {}
    sections = f"\n{file.read_text(encoding='utf-8')}".split("\n## ")[1:]
    return {text.partition("\n")[0]: f"## {text.rstrip()}\n" for text in sections}


def figure_names(result: ComparisonResult, appearance: Appearance = IN_REPORT) -> list[str]:
    """Names of the figures that a result has."""
    return [stem.name for stem, _, _ in _figures(result, Path(), appearance)]


def primary_figures(result: ComparisonResult) -> Mapping[str, Draw]:
    """Functions that draw the primary analysis, by the figure's name."""
    figures: dict[str, Draw] = {}
    if not noise_ceiling_table(result).empty:
        figures["ceiling_sweep"] = draw_ceiling_sweep
    if not (isinstance(result, FinishedComparison) and result.inference is None):
        # Which noise ceilings are weak is in no table of the preset 'paper'.
        figures["shares_of_ceiling"] = draw_shares
        if len({model.group for model in result.models}) > 1:
            figures["groups"] = draw_groups
    figures["scores"] = draw_scores
    if result.region_map is not None:
        figures |= BRAIN
    networks = networks_of(result.models)
    if networks:
        figures["depth_profile"] = draw_depth_profile
    if result.inference is not None:
        if len(result.models) - sum(len(of) - 1 for of in networks.values()) > 1:
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


def _figures(
    result: ComparisonResult, figures_dir: Path, appearance: Appearance = IN_REPORT
) -> Iterator[tuple[Path, Draw, View]]:
    """Give the path without extension, the function and the view of each figure."""
    drawings = [(name, draw, result.primary) for name, draw in primary_figures(result).items()]
    drawings += [(variant.name, draw_scores, variant) for variant in result.variants]
    for suffix, hemispheres in (("", False), ("_hemispheres", True)):
        for name, draw, analysis in drawings:
            names = [roi.roi for roi in analysis.rois]
            rois = tuple(
                roi
                for roi in analysis.rois
                if (not appearance.regions or roi.roi in appearance.regions)
                and is_hemisphere(roi.roi, names) is hemispheres
                and _is_there(name, roi, result)
            )
            if rois:
                shown = rois if appearance.regions or name in BRAIN else _most_reliable(rois)
                view = View(result, analysis, shown, len(rois), appearance)
                if name in BRAIN and not is_mapped(view):
                    continue
                if name == "brain_surface" and not reaches_cortex(view):
                    continue
                if name == "depth_profile" and not view.networks:
                    continue
                yield figures_dir / f"{name}{suffix}", draw, view


def _most_reliable(rois: Sequence[RoiResult]) -> tuple[RoiResult, ...]:
    """As many regions as a figure holds, those with the highest noise ceiling, in their order.

    Models have no say in which are shown.
    """
    ceilings = [float(mean_over_subjects(roi.ceiling.pairwise)) for roi in rois]
    order = sorted(range(len(rois)), key=lambda place: -np.nan_to_num(ceilings[place], nan=-np.inf))
    most = MOST_REGIONS if len(rois) <= MANY_REGIONS else MOST_OF_MANY_REGIONS
    return tuple(rois[place] for place in sorted(order[:most]))
