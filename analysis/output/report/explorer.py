"""What the page's explorer of RDMs shows: distances, maps of the stimuli, and their influence."""

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.files.stimuli import Appearance
from conceptrsa.analysis.inference.score_influence import influence_on_scores
from conceptrsa.analysis.output.figures.captions import RDM_NAMES
from conceptrsa.analysis.output.figures.style import RSA_NAMES
from conceptrsa.analysis.output.report.rendering import joined
from conceptrsa.analysis.output.report.stimulus_maps import place_stimuli
from conceptrsa.analysis.output.report.thumbnails import make_thumbnails
from conceptrsa.analysis.results import ComparisonResult, RoiResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects
from conceptrsa.analysis.rsa.distances import metric_of_models

MAX_BYTES = 1_900_000
"""So much RDMs may take, before they are written as text a third longer. Where all do not fit, RDMs
of subjects are left out, and then distances have one byte instead of two."""

MAX_INFLUENCES = 200_000
"""So many influences of stimuli are embedded at most; of more, those on the highest scores."""

Bits = Literal[8, 16]

MEAN = "mean of all subjects"

N_COLOURS = 64

AS_SUPPLIED = "distance as supplied"


def explorer_data(result: ComparisonResult) -> dict[str, Any] | None:
    """Gather RDMs, scores, maps of the stimuli and their influence, as JSON can hold them.

    Returns
    -------
    dict or None
        Subjects are left out, and only their means kept, where all would be too large for a page;
        None where even these would, or where subjects share no stimuli.
    """
    n_pairs = int(result.model_rdms.shape[-1])
    form = _form(result, n_pairs)
    if form is None or n_pairs == 0:
        return None
    with_subjects, bits = form
    settings = result.settings
    supplied = result.primary.supplied
    return {
        "brainDistance": AS_SUPPLIED if supplied else RDM_NAMES[settings.rdm_metric],
        "comparison": RSA_NAMES[settings.rsa_metric],
        "bits": bits,
        "regions": [
            {
                "name": roi.roi,
                "ceiling": _number(mean_over_subjects(roi.ceiling.pairwise)),
                "sources": list(_sources(result, roi, with_subjects, bits)),
                "map": _map(mean_over_subjects(roi.rdms.mean(axis=0))),
                "influence": influence,
            }
            for roi, influence in zip(result.rois, _influences(result), strict=True)
        ],
        "models": [
            {
                "name": model.name,
                "group": model.group,
                "distance": AS_SUPPLIED
                if model.supplied_rdm
                else RDM_NAMES[metric_of_models(settings.rdm_metric)],
                "rdm": encode(rdm, bits),
                "map": _map(rdm),
            }
            for model, rdm in zip(result.models, result.model_rdms, strict=True)
        ],
        "colours": _colours(),
    }


def stimuli_data(
    stimuli: Sequence[str], appearance: Appearance
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Give what stimuli are called and their thumbnails, as JSON can hold them.

    Returns
    -------
    dict
        `names`: labels, with the id where several have one label, or ids where there are none;
        `pictures`: addresses, none where there are no pictures.
    tuple of str
        Sentences on what is not shown.
    """
    thumbnails = make_thumbnails([appearance.pictures.get(stimulus) for stimulus in stimuli])
    labels = [appearance.labels.get(stimulus, "") for stimulus in stimuli]
    occurs = Counter(labels)
    names = [
        label if label and occurs[label] == 1 else f"{label} ({stimulus})" if label else stimulus
        for label, stimulus in zip(labels, stimuli, strict=True)
    ]
    notes = list(appearance.notes)
    if thumbnails.too_many:
        notes.append(f"Pictures are left out: those of {len(stimuli):,} stimuli are too many bytes.")
    if thumbnails.unreadable:
        unreadable = [file.name for file in thumbnails.unreadable]
        notes.append(f"These pictures cannot be read: {joined(unreadable)}.")
    absent = [stimulus for stimulus in stimuli if stimulus not in appearance.pictures]
    if appearance.pictures and absent:
        notes.append(f"There is no picture of {joined(absent)}.")
    return {"names": names, "pictures": list(thumbnails.addresses)}, tuple(notes)


def _form(result: ComparisonResult, n_pairs: int) -> tuple[bool, Bits] | None:
    """Whether RDMs of subjects are embedded, and bits of a distance; None where nothing fits."""
    forms: tuple[tuple[bool, Bits], ...] = ((True, 16), (False, 16), (False, 8))
    for with_subjects, bits in forms:
        n_sources = 1 + with_subjects * len(result.subjects)
        n_rdms = n_sources * len(result.rois) + len(result.models)
        if n_rdms * n_pairs * bits // 8 <= MAX_BYTES:
            return with_subjects, bits
    return None


def encode(values: Floats, bits: Bits = 16) -> dict[str, Any]:
    """Encode numbers as little-endian steps from the smallest, `low`, to `high`, in base64.

    A number is `low + step * (high - low) / (2**bits - 2)`; step 2**bits - 1 is NaN.
    """
    n_steps = 2**bits - 2
    present = np.isfinite(values)
    low, high = (
        (float(values[present].min()), float(values[present].max())) if present.any() else (0, 0)
    )
    span = high - low
    shares = (np.where(present, values, low) - low) / span if span > 0 else np.zeros(values.shape)
    steps = np.where(present, np.round(shares * n_steps), n_steps + 1).astype(f"<u{bits // 8}")
    return {"low": low, "high": high, "steps": base64.b64encode(steps.tobytes()).decode("ascii")}


def _map(rdm: Floats) -> dict[str, Any] | None:
    placed = place_stimuli(rdm)
    if placed is None:
        return None
    return {"places": encode(placed.places.ravel()), "share": _number(placed.share)}


def _influences(result: ComparisonResult) -> Iterator[dict[str, Any] | None]:
    """Of each region: models, as places among all, and influences (models, stimuli) on them."""
    n_stimuli = len(result.stimuli)
    most = max(1, MAX_INFLUENCES // (n_stimuli * len(result.rois)))
    found = influence_on_scores(result.model_rdms, [roi.rdms for roi in result.rois], result.settings.rsa_metric)
    if found is None:
        yield from (None for _ in result.rois)
        return
    for roi, of_roi in zip(result.rois, found, strict=True):
        scores = mean_over_subjects(roi.rsa)
        highest = [int(place) for place in np.argsort(-scores)[:most] if np.isfinite(scores[place])]
        kept = [place for place in highest if np.isfinite(of_roi[place]).all()]
        yield {"models": kept, "values": encode(of_roi[kept].ravel())} if kept else None


def _sources(
    result: ComparisonResult, roi: RoiResult, with_subjects: bool, bits: Bits
) -> Iterator[dict[str, Any]]:
    """The mean of all subjects, then each of them; means over folds."""
    rdms = roi.rdms.mean(axis=0)
    yield _source(MEAN, mean_over_subjects(rdms), mean_over_subjects(roi.rsa), bits)
    if with_subjects:
        for label, rdm, scores in zip(result.subjects, rdms, roi.rsa, strict=True):
            yield _source(label, rdm, scores, bits)


def _source(label: str, rdm: Floats, scores: Floats, bits: Bits) -> dict[str, Any]:
    return {"name": label, "rdm": encode(rdm, bits), "scores": [_number(s) for s in scores]}


def _number(value: Any) -> float | None:
    number = float(value)
    return round(number, 6) if np.isfinite(number) else None


def _colours() -> list[str]:
    """Dark to light, as colour-blind readers see them too."""
    scale = matplotlib.colormaps["viridis"]
    return [to_hex(scale(share)) for share in np.linspace(0, 1, N_COLOURS)]
