"""The lines of recovery.tsv: each figure beside what was planted and its limit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conceptrsa.analysis.inference.findings import ALPHA, RANDOM_EFFECTS, ZERO
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.tsv import read_table
from conceptrsa.pipelines.demo.regions import HEMISPHERES, RegionErrors

MOTION_LIMIT_MM = 0.1
COREGISTRATION_LIMIT_MM = 1.0
NORMALIZATION_LIMIT_MM = 3.0
DICE_LIMITS: Mapping[str, float] = {
    "visual": 0.60,
    "fusiform": 0.65,
    "parahippocampal": 0.60,
    "hippocampus": 0.80,
}
CENTRE_LIMIT_MM = 3.0
CORRELATION_LIMIT = 0.8
CORRELATION_LIMITED_ROIS = ("visual", "fusiform")
LOWEST_CEILING = 0.1
"""Mean noise ceiling above which a region has to tell its model."""


@dataclass(frozen=True)
class RecoveryRow:
    """One line of recovery.tsv.

    For an error in mm, `planted` is the displacement that was planted, that is the error of doing
    nothing, and `recovered` is the error that is left; for the overlap and the centre of a region,
    `planted` is the figure of the plain atlas. `subject` is 'worst' where the figures are those of
    whoever came off worst. `within_limit` is None where there is no limit.
    """

    quantity: str
    roi: str
    subject: str
    planted: str
    recovered: str
    limit: str
    within_limit: bool | None

    def as_text(self) -> tuple[str, ...]:
        """The cells of the line as they are printed and written."""
        verdict = {True: "yes", False: "no", None: "n/a"}[self.within_limit]
        return (
            self.quantity, self.roi, self.subject, self.planted, self.recovered, self.limit, verdict
        )  # fmt: skip


@dataclass(frozen=True)
class SubjectErrors:
    """Planted displacements and what is left of them (mm), regions, and correlations of betas.

    Correlations of each region in EPI space, and of each region and hemisphere in MNI305.
    """

    subject: str
    motion: tuple[float, float]
    coregistration: tuple[float, float]
    normalization: tuple[float, float]
    regions: tuple[RegionErrors, ...]
    correlations: dict[str, float]
    mni305_correlations: dict[tuple[str, str], float]


def recovery_rows(
    errors: Sequence[SubjectErrors], rois: Sequence[str], models: Sequence[str], rsa_file: Path
) -> tuple[RecoveryRow, ...]:
    """All lines of the table.

    Parameters
    ----------
    errors : sequence of SubjectErrors
    rois, models : sequences of str
        The planted regions, and the model that drives each.
    rsa_file : Path
        The group level's scores.

    Raises
    ------
    InputError
        If the scores are missing, or those of a region.
    """
    return (
        error_row("motion, RMS over the brain (mm)", [e.motion for e in errors], MOTION_LIMIT_MM),
        error_row(
            "coregistration, mean over the brain (mm)",
            [e.coregistration for e in errors],
            COREGISTRATION_LIMIT_MM,
        ),
        error_row(
            "normalization, mean over the brain (mm)",
            [e.normalization for e in errors],
            NORMALIZATION_LIMIT_MM,
        ),
        *_region_rows(rois, errors),
        *_correlation_rows(rois, errors),
        *_mni305_rows(rois, errors),
        *_model_rows(rois, models, rsa_file),
    )


def error_row(
    quantity: str,
    errors: Sequence[tuple[float, float]],
    limit: float,
    roi: str = "n/a",
    subject: str = "worst",
) -> RecoveryRow:
    """Line of the largest error among some pairs of what was planted and what is left (mm)."""
    # argmax takes a NaN for the largest: a subject without a result must not be passed over.
    planted, left = errors[int(np.argmax([left for _, left in errors]))]
    return RecoveryRow(
        quantity, roi, subject, f"{planted:.3f}", f"{left:.3f}", f"at most {limit:g}", left <= limit
    )


def _region_rows(rois: Sequence[str], errors: Sequence[SubjectErrors]) -> Iterator[RecoveryRow]:
    for roi in rois:
        limit = DICE_LIMITS[roi]
        for error in errors:
            worst = min((of for of in error.regions if of.roi == roi), key=lambda of: of.found.dice)
            yield RecoveryRow(
                "region, Dice of the worse hemisphere",
                roi,
                error.subject,
                f"{worst.atlas.dice:.3f}",
                f"{worst.found.dice:.3f}",
                f"at least {limit:g}",
                worst.found.dice >= limit,
            )
    for roi in rois:
        for error in errors:
            pairs = [
                (of.atlas.distance, of.found.distance) for of in error.regions if of.roi == roi
            ]
            quantity = "region centre, worse hemisphere (mm)"
            yield error_row(quantity, pairs, CENTRE_LIMIT_MM, roi, error.subject)


def _correlation_rows(
    rois: Sequence[str], errors: Sequence[SubjectErrors]
) -> Iterator[RecoveryRow]:
    for roi in rois:
        lowest = float(np.min([error.correlations[roi] for error in errors]))
        limited = roi in CORRELATION_LIMITED_ROIS
        yield RecoveryRow(
            "betas, correlation in EPI space",
            roi,
            "worst",
            "1.000",
            f"{lowest:.3f}",
            f"above {CORRELATION_LIMIT:g}" if limited else "n/a",
            lowest > CORRELATION_LIMIT if limited else None,
        )


def _mni305_rows(rois: Sequence[str], errors: Sequence[SubjectErrors]) -> Iterator[RecoveryRow]:
    for roi in rois:
        limited = roi in CORRELATION_LIMITED_ROIS
        for hemisphere in HEMISPHERES:
            lowest = float(np.min([error.mni305_correlations[roi, hemisphere] for error in errors]))
            yield RecoveryRow(
                "betas, correlation in MNI305",
                f"{roi}-{hemisphere}",
                "worst",
                "1.000",
                f"{lowest:.3f}",
                f"above {CORRELATION_LIMIT:g}" if limited else "n/a",
                lowest > CORRELATION_LIMIT if limited else None,
            )


def _model_rows(
    rois: Sequence[str], models: Sequence[str], rsa_file: Path
) -> Iterator[RecoveryRow]:
    if not rsa_file.is_file():
        raise InputError(f"{rsa_file} is missing: run the group level again.")
    table = read_table(rsa_file)
    rsa = table.frame()
    rsa[["rsa", "ceiling"]] = table.numbers(["rsa", "ceiling"], missing=True)
    for roi, planted in zip(rois, models, strict=True):
        of_roi = rsa[rsa["roi"] == roi]
        if of_roi.empty:
            raise InputError(f"{rsa_file} has no row of {roi}: run the group level again.")
        best = of_roi.groupby("model")["rsa"].mean().idxmax()
        level = _level_with(rsa_file.with_name("model_tests.tsv"), roi, str(best))
        ceiling = of_roi.drop_duplicates("subject")["ceiling"].mean()
        limited = ceiling > LOWEST_CEILING
        yield RecoveryRow(
            f"highest score (ceiling {ceiling:.2f})",
            roi,
            "n/a",
            planted,
            f"{best} (not told apart from {', '.join(level)})" if level else str(best),
            "the planted one" if limited else "n/a",
            bool(best == planted) if limited else None,
        )


def _level_with(model_tests_file: Path, roi: str, best: str) -> list[str]:
    """Models that the recommended test does not tell from that of the highest score."""
    if not model_tests_file.is_file():
        return []
    table = read_table(model_tests_file)
    tests = table.frame().assign(p_corrected=table.numbers(["p_corrected"], missing=True)[:, 0])
    tests = tests[(tests["roi"] == roi) & (tests["test"] == RANDOM_EFFECTS)]
    of_best = tests[(tests["model"] == best) | (tests["reference"] == best)]
    unclear = of_best[(of_best["reference"] != ZERO) & ~(of_best["p_corrected"] < ALPHA)]
    pairs = zip(unclear["model"], unclear["reference"], strict=True)
    return [other if model == best else model for model, other in pairs]
