"""What the page's explorer of RDMs shows: every RDM in 16 bits a distance."""

import base64
from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.output.figures.captions import RDM_NAMES
from conceptrsa.analysis.output.figures.style import RSA_NAMES
from conceptrsa.analysis.results import ComparisonResult, RoiResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects
from conceptrsa.analysis.rsa.distances import metric_of_models

MAX_DISTANCES = 3_000_000
"""So many distances are embedded at most, 8 MB of text; of more, RDMs of subjects are left out."""

STEPS = 65_534
"""Steps between an RDM's smallest and largest distance."""

NOT_A_NUMBER = 65_535
"""Stands for a distance that is not there."""

MEAN = "mean of all subjects"

N_COLOURS = 64

AS_SUPPLIED = "distance as supplied"


def explorer_data(result: ComparisonResult) -> dict[str, Any] | None:
    """Gather RDMs and scores, as JSON can hold them.

    Returns
    -------
    dict or None
        Subjects are left out, and only their means kept, where all would be too large for a page;
        None where even these would, or where subjects share no stimuli.
    """
    n_pairs = int(result.model_rdms.shape[-1])
    n_subjects = len(result.subjects)

    def fits(n_sources: int) -> bool:
        n_rdms = n_sources * len(result.rois) + len(result.models)
        return n_rdms * n_pairs <= MAX_DISTANCES

    if not fits(1) or n_pairs == 0:
        return None
    settings = result.settings
    supplied = result.primary.supplied
    return {
        "stimuli": list(result.stimuli),
        "brainDistance": AS_SUPPLIED if supplied else RDM_NAMES[settings.rdm_metric],
        "comparison": RSA_NAMES[settings.rsa_metric],
        "regions": [
            {
                "name": roi.roi,
                "ceiling": _number(mean_over_subjects(roi.ceiling.pairwise)),
                "sources": list(_sources(result, roi, with_subjects=fits(n_subjects + 1))),
            }
            for roi in result.rois
        ],
        "models": [
            {
                "name": model.name,
                "group": model.group,
                "distance": AS_SUPPLIED
                if model.supplied_rdm
                else RDM_NAMES[metric_of_models(settings.rdm_metric)],
                "rdm": encode_rdm(rdm),
            }
            for model, rdm in zip(result.models, result.model_rdms, strict=True)
        ],
        "colours": _colours(),
    }


def encode_rdm(rdm: Floats) -> dict[str, Any]:
    """Encode distances (pairs,) as little-endian 16-bit steps from `low` to `high`, in base64.

    A distance is `low + step * (high - low) / 65534`; step 65535 is NaN.
    """
    present = np.isfinite(rdm)
    low, high = (float(rdm[present].min()), float(rdm[present].max())) if present.any() else (0, 0)
    span = high - low
    shares = (np.where(present, rdm, low) - low) / span if span > 0 else np.zeros(len(rdm))
    steps = np.where(present, np.round(shares * STEPS), NOT_A_NUMBER).astype("<u2")
    return {"low": low, "high": high, "steps": base64.b64encode(steps.tobytes()).decode("ascii")}


def _sources(
    result: ComparisonResult, roi: RoiResult, *, with_subjects: bool
) -> Iterator[dict[str, Any]]:
    """The mean of all subjects, then each of them; means over folds."""
    rdms = roi.rdms.mean(axis=0)
    yield _source(MEAN, mean_over_subjects(rdms), mean_over_subjects(roi.rsa))
    if with_subjects:
        for label, rdm, scores in zip(result.subjects, rdms, roi.rsa, strict=True):
            yield _source(label, rdm, scores)


def _source(label: str, rdm: Floats, scores: Floats) -> dict[str, Any]:
    return {"name": label, "rdm": encode_rdm(rdm), "scores": [_number(s) for s in scores]}


def _number(value: Any) -> float | None:
    number = float(value)
    return round(number, 6) if np.isfinite(number) else None


def _colours() -> list[str]:
    """Dark to light, as colour-blind readers see them too."""
    scale = matplotlib.colormaps["viridis"]
    return [to_hex(scale(share)) for share in np.linspace(0, 1, N_COLOURS)]
