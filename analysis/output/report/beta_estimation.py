"""How betas were estimated, in words, as their sidecar has it."""

from collections.abc import Iterator, Mapping
from typing import Any

UNKNOWN = (
    "How the responses were estimated is not recorded with them; it has to be added here from "
    "where they come from."
)

_HRFS = {"spm": "SPM's canonical", "glover": "Glover's"}
_NOISE = {"ar1": "first-order autoregressive", "ols": "white"}
_BASELINES = {
    "explicit": "a regressor for fixation",
    "implicit": "fixation as the implicit baseline",
}
_RUN_MODELS = {
    "concatenated": "All runs were one concatenated model.",
    "sessions": "Each run was a session of one model; betas are means over sessions.",
}
_POOLING = {
    "joint": "The runs' betas were pooled as one model of all runs would.",
    "mean": "Betas are means over runs.",
}


def describe_estimation(estimation: Mapping[str, Any]) -> str:
    """Word what the participant level recorded; say so where nothing is known.

    Parameters
    ----------
    estimation : mapping
        `Estimation` of the betas' sidecar; what it lacks is passed over.
    """
    if not estimation:
        return UNKNOWN
    sentences = (_by_whom(estimation), *_model(estimation), *_space(estimation))
    return " ".join(filter(None, sentences))


def _by_whom(estimation: Mapping[str, Any]) -> str:
    tool = f"conceptrsa {estimation.get('Version', '')}".strip()
    engine = "its python engine"
    if estimation.get("Engine") == "spm":
        engine = f"SPM ({estimation.get('SPM', 'n/a')})"
    made_by = estimation.get("Preprocessing")
    images = f" of images preprocessed by {made_by}" if made_by else ""
    return f"Responses were estimated by {tool} with {engine}{images}."


def _model(estimation: Mapping[str, Any]) -> Iterator[str]:
    parts = ["one regressor a stimulus"]
    if (hrf := estimation.get("HRF")) is not None:
        parts[0] += f" convolved with {_HRFS.get(hrf, hrf)} haemodynamic response function"
    if (baseline := estimation.get("Baseline")) is not None:
        parts.append(_BASELINES.get(baseline, str(baseline)))
    if (seconds := estimation.get("HighPassSeconds")) is not None:
        parts.append(f"a high-pass filter of {seconds:g} s")
    if (noise := estimation.get("NoiseModel")) is not None:
        parts.append(f"{_NOISE.get(noise, noise)} noise")
    if estimation.get("SliceTimingCorrected") is False:
        when = "had not been" if "Preprocessing" in estimation else "were not"
        yield f"Slices {when} corrected for their timing."
    yield f"The linear model had {', '.join(parts)}, and six motion parameters a run."
    if estimation.get("Engine") == "spm":
        yield _RUN_MODELS.get(str(estimation.get("RunModel")), "")
    else:
        yield _POOLING.get(str(estimation.get("Pooling")), "")


def _space(estimation: Mapping[str, Any]) -> Iterator[str]:
    if (normalization := estimation.get("Normalization")) is not None:
        regions = estimation.get("RegionsFrom")
        yield (
            f"Betas were taken into MNI305 space ({normalization}"
            f"{f'; regions: {regions}' if regions else ''})."
        )
