"""Plots for a notebook: one matplotlib `Axes` each, from the tables of a result."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
from scipy.spatial.distance import squareform

from conceptrsa.analysis.output.figures.all_figures import draw_figure
from conceptrsa.analysis.output.figures.style import CEILING_COLOUR, RSA_NAMES, group_colours
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

    def scores(self, roi: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw every model's RSA in one region, with intervals where there are any.

        Parameters
        ----------
        roi : str, optional
            By default the first region.
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
            A point a model: the mean over subjects, with its 95 % interval for new subjects and new
            stimuli (preset 'recommended'); small points are subjects. The dashed line is the mean
            pairwise noise ceiling, a reliability that a good model can exceed.
        """
        region = self._region(roi)
        models = self._result.models
        ax = ax or _new_axes(len(models))
        rows = np.arange(len(models))
        ax.plot(region.rsa.T, rows, ".", color="#777777", markersize=4, zorder=4)
        means = mean_over_subjects(region.rsa)
        scores = tables_of(self._result)["scores"]
        if scores is not None:
            of_roi = scores[scores["roi"] == region.roi].set_index("model")
            limits = of_roi.loc[[model.name for model in models], ["low", "high"]]
            ax.hlines(rows, limits["low"], limits["high"], color="#444444", linewidth=1, zorder=2)
        for group, colour in group_colours(model.group for model in models).items():
            of_group = [row for row, model in enumerate(models) if model.group == group]
            if of_group:
                ax.plot(means[of_group], of_group, "o", color=colour, label=group, zorder=3)
        ceiling = float(mean_over_subjects(region.ceiling.pairwise))
        ax.axvline(ceiling, color=CEILING_COLOUR, linestyle="--", label="pairwise noise ceiling")
        ax.axvline(0, color="#333333", linewidth=0.8)
        ax.set_yticks(rows, [model.name for model in models])
        ax.set_ylim(len(models) - 0.5, -0.5)
        ax.set_xlabel(f"RSA ({RSA_NAMES[self._result.settings.rsa_metric]})")
        ax.set_title(region.roi)
        ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
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
