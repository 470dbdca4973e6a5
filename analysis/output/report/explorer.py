"""What the page's explorer of RDMs shows: distances, maps of the stimuli, and their influence."""

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.files.stimuli import StimulusPictures
from conceptrsa.analysis.inference.score_influence import influence_on_scores
from conceptrsa.analysis.output.figures.captions import RDM_NAMES
from conceptrsa.analysis.output.figures.style import RSA_NAMES
from conceptrsa.analysis.output.report.rendering import joined
from conceptrsa.analysis.output.report.stimulus_maps import place_stimuli
from conceptrsa.analysis.output.report.thumbnails import make_thumbnails
from conceptrsa.analysis.results import ComparisonResult, RoiResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects
from conceptrsa.analysis.rsa.distances import metric_of_models

MAX_CHARACTERS = 2_000_000
"""So much text RDMs may be. Where it would be more, RDMs of subjects are in 6 bits a distance, else
left out, else all are in 6 bits, which are as fine as the colours."""

MAX_INFLUENCES = 100_000
"""So many influences of stimuli are embedded at most; of more, those on the highest scores."""

Bits = Literal[6, 16]

LETTERS = np.frombuffer(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", dtype=np.uint8
)
"""Those of base64, of which each holds 6 bits."""


@dataclass(frozen=True)
class Form:
    """How RDMs are embedded: bits of a distance of means and models, and of subjects or None."""

    of_means: Bits
    of_subjects: Bits | None


FORMS = (Form(16, 16), Form(16, 6), Form(16, None), Form(6, None))

MEAN = "mean of all subjects"

N_COLOURS = 64

AS_SUPPLIED = "distance as supplied"


@dataclass(frozen=True)
class ShownRdms:
    """RDMs of one set of stimuli.

    Attributes
    ----------
    stimuli : tuple of str
    models : ndarray, (models, pairs)
    regions : tuple of ndarray, (folds, subjects, pairs)
    """

    stimuli: tuple[str, ...]
    models: Floats
    regions: tuple[Floats, ...]


def rdms_to_show(result: ComparisonResult) -> ShownRdms | None:
    """Give RDMs of the stimuli that subjects share, or of a single subject; None without any."""
    if result.stimuli:
        rdms = tuple(roi.rdms for roi in result.rois)
        return ShownRdms(result.stimuli, result.model_rdms, rdms)
    single = [roi.own.single[0] for roi in result.rois if roi.own is not None and roi.own.single]
    if len(result.subjects) > 1 or len(single) < len(result.rois):
        return None
    rdms = tuple(region.brain[:, None] for region in single)
    return ShownRdms(single[0].stimuli, single[0].models, rdms)


def explorer_data(result: ComparisonResult, rdms: ShownRdms) -> dict[str, Any] | None:
    """Gather RDMs, scores, maps of the stimuli and their influence, as JSON can hold them.

    Returns
    -------
    dict or None
        Subjects are left out, and only their means kept, where all would be too large for a page;
        None where even these would.
    """
    form = _form(result, rdms)
    if form is None:
        return None
    settings = result.settings
    supplied = result.primary.supplied
    return {
        "brainDistance": AS_SUPPLIED if supplied else RDM_NAMES[settings.rdm_metric],
        "comparison": RSA_NAMES[settings.rsa_metric],
        "regions": [
            {
                "name": roi.roi,
                "ceiling": _number(mean_over_subjects(roi.ceiling.pairwise)),
                "sources": list(_sources(result, roi, of_roi.mean(axis=0), form)),
                "map": _map(mean_over_subjects(of_roi.mean(axis=0))),
                "influence": influence,
            }
            for roi, of_roi, influence in zip(
                result.rois, rdms.regions, _influences(result, rdms), strict=True
            )
        ],
        "models": [
            {
                "name": model.name,
                "group": model.group,
                "distance": AS_SUPPLIED
                if model.supplied_rdm
                else RDM_NAMES[metric_of_models(settings.rdm_metric)],
                "rdm": encode(rdm, form.of_means),
                "map": _map(rdm),
            }
            for model, rdm in zip(result.models, rdms.models, strict=True)
        ],
        "colours": _colours(),
    }


def stimuli_data(
    stimuli: Sequence[str], stimulus_pictures: StimulusPictures
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
    thumbnails = make_thumbnails([stimulus_pictures.pictures.get(stimulus) for stimulus in stimuli])
    labels = [stimulus_pictures.labels.get(stimulus, "") for stimulus in stimuli]
    occurs = Counter(labels)
    names = [
        label if label and occurs[label] == 1 else f"{label} ({stimulus})" if label else stimulus
        for label, stimulus in zip(labels, stimuli, strict=True)
    ]
    notes = list(stimulus_pictures.notes)
    if thumbnails.too_many:
        notes.append(f"Pictures of {len(stimuli):,} stimuli are too much for a page.")
    if thumbnails.unreadable:
        unreadable = [file.name for file in thumbnails.unreadable]
        notes.append(f"These pictures cannot be read: {joined(unreadable)}.")
    absent = [stimulus for stimulus in stimuli if stimulus not in stimulus_pictures.pictures]
    if stimulus_pictures.pictures and absent:
        notes.append(f"There is no picture of {joined(absent)}.")
    return {"names": names, "pictures": list(thumbnails.addresses)}, tuple(notes)


def notes_on_rdms(result: ComparisonResult, rdms: ShownRdms) -> tuple[str, ...]:
    """Say what the explorer leaves out or rounds."""
    form = _form(result, rdms)
    notes = []
    most = max(map(len, result.sets.of_subjects))
    if len(rdms.stimuli) < most:
        notes.append(
            f"RDMs, maps and influences are of {len(rdms.stimuli):,} stimuli, scores of up to "
            f"{most:,}."
        )
    if form is not None and form.of_subjects is None and _several(result):
        notes.append("RDMs of single subjects are left out: they are too much for a page.")
    if form is not None and 6 in (form.of_means, form.of_subjects):
        whose = "" if form.of_means == 6 else " of single subjects"
        notes.append(f"Distances{whose} are rounded to 63 values, as many as there are colours.")
    return tuple(notes)


def _form(result: ComparisonResult, rdms: ShownRdms) -> Form | None:
    """The first of the forms that fits into a page; None where none does."""
    n_means = len(rdms.regions) + len(rdms.models)
    n_of_subjects = _several(result) * len(rdms.regions)
    for form in FORMS:
        n_bits = n_means * form.of_means + n_of_subjects * (form.of_subjects or 0)
        if n_bits * rdms.models.shape[-1] / 6 <= MAX_CHARACTERS:
            return form
    return None


def encode(values: Floats, bits: Bits = 16) -> dict[str, Any]:
    """Encode numbers as steps from the smallest, `low`, to `high`, in base64.

    A number is `low + step * (high - low) / (2**bits - 2)`; step 2**bits - 1 is NaN. Steps are
    little-endian integers of 16 bits, or of 6 bits, which are a letter each.
    """
    n_steps = 2**bits - 2
    present = np.isfinite(values)
    low, high = (
        (float(values[present].min()), float(values[present].max())) if present.any() else (0, 0)
    )
    span = high - low
    shares = (np.where(present, values, low) - low) / span if span > 0 else np.zeros(values.shape)
    steps = np.where(present, np.round(shares * n_steps), n_steps + 1).astype("<u2")
    text = LETTERS[steps].tobytes() if bits == 6 else base64.b64encode(steps.tobytes())
    return {"low": low, "high": high, "bits": bits, "steps": text.decode("ascii")}


def _map(rdm: Floats) -> dict[str, Any] | None:
    placed = place_stimuli(rdm)
    if placed is None:
        return None
    return {"places": encode(placed.places.ravel()), "share": _number(placed.share)}


def _influences(result: ComparisonResult, rdms: ShownRdms) -> Iterator[dict[str, Any] | None]:
    """Of each region: models, as places among all, and influences (models, stimuli) on them."""
    most = max(1, MAX_INFLUENCES // (len(rdms.stimuli) * len(result.rois)))
    found = influence_on_scores(rdms.models, rdms.regions, result.settings.rsa_metric)
    if found is None:
        yield from (None for _ in result.rois)
        return
    for roi, of_roi in zip(result.rois, found, strict=True):
        scores = mean_over_subjects(roi.rsa)
        highest = [int(place) for place in np.argsort(-scores)[:most] if np.isfinite(scores[place])]
        kept = [place for place in highest if np.isfinite(of_roi[place]).all()]
        yield {"models": kept, "values": encode(of_roi[kept].ravel())} if kept else None


def _several(result: ComparisonResult) -> int:
    """Number of subjects besides their mean: a single one is the mean."""
    return len(result.subjects) if len(result.subjects) > 1 else 0


def _sources(
    result: ComparisonResult, roi: RoiResult, rdms: Floats, form: Form
) -> Iterator[dict[str, Any]]:
    """The mean of all subjects, then each of them, from RDMs (subjects, pairs)."""
    several = _several(result)
    name = MEAN if several else result.subjects[0]
    yield _source(name, mean_over_subjects(rdms), mean_over_subjects(roi.rsa), form.of_means)
    if form.of_subjects and several:
        for label, rdm, scores in zip(result.subjects, rdms, roi.rsa, strict=True):
            yield _source(label, rdm, scores, form.of_subjects)


def _source(label: str, rdm: Floats, scores: Floats, bits: Bits) -> dict[str, Any]:
    return {"name": label, "rdm": encode(rdm, bits), "scores": [_number(s) for s in scores]}


def _number(value: Any) -> float | None:
    number = float(value)
    return round(number, 6) if np.isfinite(number) else None


def _colours() -> list[str]:
    """Dark to light, as colour-blind readers see them too."""
    scale = matplotlib.colormaps["viridis"]
    return [to_hex(scale(share)) for share in np.linspace(0, 1, N_COLOURS)]
