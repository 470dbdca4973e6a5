"""The model of the highest score in each region, as the answer, maps and figures name it."""

from dataclasses import dataclass

import numpy as np

from conceptrsa.analysis.inference.findings import ALPHA
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects


@dataclass(frozen=True)
class LeadingModel:
    """The model of the highest score in a region.

    Attributes
    ----------
    model : str
    rsa : float
        Mean over subjects (and folds).
    """

    model: str
    rsa: float


def leading_models(result: ComparisonResult) -> dict[str, LeadingModel]:
    """Find the best model of each region that has one.

    With the preset 'recommended' it is the one of the highest score among those that are found to
    be related to the region (permutation of the stimuli's labels, corrected for all models and
    regions); with the preset 'paper', of the highest mean score.
    """
    best: dict[str, LeadingModel] = {}
    if result.inference is None:
        for roi in result.rois:
            means = mean_over_subjects(roi.rsa)
            if np.isfinite(means).any():
                highest = int(np.nanargmax(means))
                best[roi.roi] = LeadingModel(result.models[highest].name, float(means[highest]))
        return best
    for score in result.inference.model_scores:
        ahead = best.get(score.roi)
        if score.p_max < ALPHA and (ahead is None or score.rsa > ahead.rsa):
            best[score.roi] = LeadingModel(score.model, score.rsa)
    return best
