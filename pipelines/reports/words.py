"""How settings, evidence and numbers are said on the page of a subject."""

from collections.abc import Mapping, Sequence
from typing import Any

from conceptrsa.pipelines.reports.subject_records import RunRecord, SubjectRecord

NONE = "n/a"

SETTINGS = {
    "Engine": "Engine",
    "Version": "conceptrsa",
    "HRF": "Haemodynamic response",
    "HighPassSeconds": "High-pass filter (s)",
    "NoiseModel": "Noise model",
    "Baseline": "Baseline",
    "SliceTimingCorrected": "Slices corrected for their timing",
    "SliceTimeReference": "Slice time reference (share of the TR)",
    "Pooling": "Pooling of runs",
    "Normalization": "Way to MNI305",
    "RegionsFrom": "Regions from",
    "MissingBetas": "Missing betas",
    "RunModel": "Model of the runs",
    "Preprocessing": "Preprocessed by",
}


def plural(count: int, noun: str) -> str:
    """A number and its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def settings_in_words(
    estimation: Mapping[str, Any], software: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Names and values of the settings, then versions."""
    named = [(SETTINGS.get(name, name), _value(value)) for name, value in estimation.items()]
    return named + [(name, str(version)) for name, version in software.items()]


def evidence(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Single values of a step's report; lists of starts and controls stay in the file.

    Keys with a capital are BIDS' own, and say what the file is.
    """
    return [
        (name.replace("_", " "), _value(value))
        for name, value in report.items()
        if isinstance(value, str | int | float) and name[:1].islower()
    ]


def of_sessions(runs: Sequence[RunRecord]) -> str:
    """In how many sessions runs were acquired, if they name theirs."""
    sessions = {part for run in runs for part in run.name.split() if part.startswith("ses-")}
    return f" in {plural(len(sessions), 'session')}" if sessions else ""


def reference_of_motion(record: SubjectRecord) -> str:
    """What motion parameters are relative to; SPM and fMRIPrep take each run by itself."""
    if record.is_preprocessed:
        return "against the reference image of each run"
    if record.estimation.get("Engine") == "spm":
        return "against the first volume of each run"
    return "against the first volume of the first run"


def slices_in_words(record: SubjectRecord) -> str:
    """What is said of slice timing where no slice times are known."""
    without = record.estimation.get("SliceTimingCorrected") is False
    if not record.is_preprocessed:
        return (
            "The slices were not corrected for their timing (--ignore slicetiming)."
            if without
            else "The slice times were not saved."
        )
    return (
        f"The runs were preprocessed before{', without slice timing correction' if without else ''}"
        "; their slice times are not known here."
    )


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return NONE if value is None else str(value)
