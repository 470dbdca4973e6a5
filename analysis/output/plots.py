"""Plots for a notebook: one matplotlib `Axes` each, from the tables of a result."""

from collections.abc import Sequence
from typing import get_args

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
from scipy.spatial.distance import squareform

from conceptrsa.analysis.output.figures.all_figures import draw_figure
from conceptrsa.analysis.output.figures.appearance import Appearance, Sort
from conceptrsa.analysis.output.figures.models import (
    draw_scores_of,
    score_handles,
    score_labels,
)
from conceptrsa.analysis.output.figures.style import RSA_NAMES, View, group_handles
from conceptrsa.analysis.output.tables import tables_of
from conceptrsa.analysis.results import ComparisonResult, RoiResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import require_one_of

ROW_INCHES = 0.28
MAX_NAMED_STIMULI = 30


class Plots:
    """Plots of a result; every method draws into `ax`, or into a new figure, and returns it.

    A new figure is one of pyplot's: a script that makes many closes them (`plt.close`).
    """

    def __init__(self, result: ComparisonResult) -> None:
        self._result = result

    def scores(self, roi: str | None = None, ax: Axes | None = None, sort: Sort = "table") -> Axes:
        """Draw every model's RSA in one region, with intervals where there are any.

        Parameters
        ----------
        roi : str, optional
            By default the first region.
        ax : matplotlib Axes, optional
        sort : {'table', 'score'}
            Models group by group, or the one of the highest score first.

        Returns
        -------
        matplotlib Axes
            As the figure 'scores' of the report: a point a model, the mean over subjects, with its
            95 % interval for new subjects and new stimuli (preset 'recommended'); small points are
            subjects. The dashed line is the mean pairwise noise ceiling, a reliability that a good
            model can exceed, on a band between Nili's bounds.
        """
        require_one_of(sort, get_args(Sort), "sort cannot be")
        region = self._region(roi)
        result = self._result
        view = View(result, result.primary, (region,), appearance=Appearance(sort=sort))
        labels = score_labels(view)
        ax = ax or _new_axes(len(labels))
        draw_scores_of(ax, view, region)
        ax.set_yticks(range(len(labels)), labels)
        ax.set_ylim(len(labels) - 0.5, -0.5)
        ax.set_xlabel(f"RSA ({RSA_NAMES[result.settings.rsa_metric]})")
        ax.set_title(region.roi)
        handles = [*group_handles(view, as_points=view.has_intervals), *score_handles(view)]
        ax.legend(
            handles=handles, frameon=False, fontsize="small", loc="upper left",
            bbox_to_anchor=(1.08, 1),
        )  # fmt: skip
        return ax

    def noise_ceiling(self, roi: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw the noise ceiling over the number of voxels: the highest ones, and random ones.

        Parameters
        ----------
        roi : str, optional
            By default the first region.
        ax : matplotlib Axes, optional
        """
        region = self._region(roi)
        table = tables_of(self._result)["noise_ceilings"]
        assert table is not None
        of_roi = table[table["roi"] == region.roi]
        if of_roi.empty:
            raise InputError("supplied RDMs have no voxels: there is no noise ceiling over them")
        ax = ax or plt.subplots(layout="constrained")[1]
        for selection, of_selection in of_roi.groupby("selection", sort=False):
            mean = of_selection.groupby("n_voxels")["ceiling_mean"].mean()
            ax.plot(mean.index, mean, label=f"{selection} voxels")
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel("number of voxels")
        ax.set_ylabel("noise ceiling")
        ax.set_title(region.roi)
        ax.legend(frameon=False)
        return ax

    def rdm(self, name: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw an RDM: of a region (the mean over subjects), or of a model.

        Parameters
        ----------
        name : str, optional
            Of a region, or of a model that is not called like a region; by default the first
            region.
        ax : matplotlib Axes, optional
        """
        if not self._result.stimuli:
            raise InputError(
                "subjects share too few stimuli for an RDM of all of them: make one of a subject's "
                "patterns with scipy.spatial.distance.pdist"
            )
        models = [model.name for model in self._result.models]
        if name in models and name not in [roi.roi for roi in self._result.rois]:
            rdm = self._result.model_rdms[models.index(name)]
        else:
            region = self._region(name, models)
            name = region.roi
            rdm = mean_over_subjects(region.rdms.reshape(-1, region.rdms.shape[-1]))
        ax = ax or plt.subplots(layout="constrained")[1]
        image = ax.imshow(squareform(rdm, checks=False), cmap="viridis")
        ax.figure.colorbar(image, ax=ax, label="dissimilarity")
        stimuli = self._result.stimuli
        if len(stimuli) <= MAX_NAMED_STIMULI:
            ax.set_xticks(range(len(stimuli)), stimuli, rotation=90, fontsize="x-small")
            ax.set_yticks(range(len(stimuli)), stimuli, fontsize="x-small")
        else:
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_xlabel(f"{len(stimuli)} stimuli, in the order of their names")
        ax.set_title(name)
        return ax

    def figure(self, name: str) -> Figure:
        """Draw one of the figures that `save` writes, such as 'groups'."""
        return draw_figure(self._result, name)

    def _region(self, name: str | None, others: Sequence[str] = ()) -> RoiResult:
        regions = {roi.roi: roi for roi in self._result.rois}
        if name is None:
            return next(iter(regions.values()))
        require_one_of(name, [*regions, *others], "the result has no")
        return regions[name]


def _new_axes(n_rows: int) -> Axes:
    height = max(2.0, ROW_INCHES * n_rows + 1.0)
    axes: Axes = plt.subplots(figsize=(6.4, height), layout="constrained")[1]
    return axes
