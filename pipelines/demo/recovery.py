"""Compare recovered with planted values of the demo: recovery.tsv, and its limits."""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.tsv import read_table, write_table
from conceptrsa.pipelines.demo import recovery_measures as measures
from conceptrsa.pipelines.demo.truth import SubjectTruth

WITHIN = {"at most": operator.le, "at least": operator.ge, "above": operator.gt}


@dataclass(frozen=True)
class Limit:
    """Limits of a quantity.

    Attributes
    ----------
    side : {'at most', 'at least', 'above'}
    of_roi : mapping of region to float
        'any' stands for all regions; a region that is not named has no limit.
    by_subject : bool
        Whether each subject has a row of its own, or only the one who came off worst.
    """

    side: str
    of_roi: dict[str, float]
    by_subject: bool = False


CORRELATIONS = {"visual": 0.8, "fusiform": 0.8}
LIMITS = {
    measures.MOTION: Limit("at most", {"any": 0.1}),
    measures.COREGISTRATION: Limit("at most", {"any": 1.0}),
    measures.NORMALIZATION: Limit("at most", {"any": 3.0}),
    measures.DICE: Limit(
        "at least",
        {"visual": 0.60, "fusiform": 0.65, "parahippocampal": 0.60, "hippocampus": 0.80},
        by_subject=True,
    ),
    measures.CENTRE: Limit("at most", {"any": 3.0}, by_subject=True),
    measures.BOLD_BETAS: Limit("above", CORRELATIONS),
    measures.MNI305_BETAS: Limit(
        "above",
        {f"{roi}-{side}": r for roi, r in CORRELATIONS.items() for side in measures.HEMISPHERES},
    ),
}
LOWEST_CEILING = 0.1
"""Mean noise ceiling above which a region has to tell its model."""


@dataclass(frozen=True)
class RecoveryRow:
    """One line of recovery.tsv.

    `planted` and `recovered` are figures as of `Measure`, or names of models. `subject` is 'worst'
    where the figures are those of whoever came off worst. `within_limit` is None where there is no
    limit.
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
        *texts, within = astuple(self)
        return (*texts, {True: "yes", False: "no", None: "n/a"}[within])


def write_recovery(
    truth_dir: Path, derivatives_dir: Path, out_file: Path
) -> tuple[RecoveryRow, ...]:
    """Compare the derivatives with the truth, write the table and return its rows.

    The regions have rows for each subject, with the hemisphere that came off worse. Any other
    figure is that of the subject who came off worst, except the highest score of a region, whose
    score is the mean over subjects as in the group's figures.

    Parameters
    ----------
    truth_dir : Path
        As `write_demo_dataset` wrote it.
    derivatives_dir : Path
        What the participant and the group level wrote.
    out_file : Path
        Tab-separated; columns are the fields of `RecoveryRow`.

    Raises
    ------
    InputError
        If a derivative is missing or belongs to another data set.
    """
    truth_files = sorted(truth_dir.glob("sub-*.npz"))
    if not truth_files:
        raise InputError(f"{truth_dir} holds no planted truth: run the demo again.")
    truths = {path.stem: SubjectTruth.read(path) for path in truth_files}
    measured = [
        measure
        for subject, truth in truths.items()
        for measure in measures.measure_subject(truth, derivatives_dir / subject)
    ]
    first = next(iter(truths.values()))
    scores = derivatives_dir / "group" / "rsa.tsv"
    rows = (*measured_rows(measured), *_model_rows(first.rois, first.models, scores))
    columns = [field.name for field in fields(RecoveryRow)]
    write_table(out_file, pd.DataFrame([row.as_text() for row in rows], columns=columns))
    return rows


def measured_rows(measured: Sequence[measures.Measure]) -> Iterator[RecoveryRow]:
    """Give the rows of what was measured, with the worst figure each, in the order of `LIMITS`."""
    table = pd.DataFrame(measured)
    for quantity, limit in LIMITS.items():
        of_quantity = table[table["quantity"] == quantity]
        if not limit.by_subject:
            of_quantity = of_quantity.assign(subject="worst")
        for roi, of_roi in of_quantity.groupby("roi", sort=False):
            value = limit.of_roi.get(str(roi), limit.of_roi.get("any"))
            for subject, figures in of_roi.groupby("subject", sort=False):
                errors = figures["recovered"].to_numpy() * (1 if limit.side == "at most" else -1)
                # argmax takes a NaN for the largest: what has no result must not be passed over.
                planted, recovered = figures[["planted", "recovered"]].iloc[int(np.argmax(errors))]
                yield RecoveryRow(
                    quantity,
                    str(roi),
                    str(subject),
                    f"{planted:.3f}",
                    f"{recovered:.3f}",
                    "n/a" if value is None else f"{limit.side} {value:g}",
                    None if value is None else bool(WITHIN[limit.side](recovered, value)),
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
        others = _not_ruled_out(rsa_file.with_name("scores.tsv"), roi, str(best))
        ceiling = of_roi.drop_duplicates("subject")["ceiling"].mean()
        limited = ceiling > LOWEST_CEILING
        yield RecoveryRow(
            f"highest score (ceiling {ceiling:.2f})",
            roi,
            "n/a",
            planted,
            f"{best} (not ruled out: {', '.join(others)})" if others else str(best),
            "the planted one" if limited else "n/a",
            bool(best == planted) if limited else None,
        )


def _not_ruled_out(scores_file: Path, roi: str, best: str) -> list[str]:
    """Other models that may be the best by the recommended test."""
    if not scores_file.is_file():
        return []
    scores = read_table(scores_file).frame()
    left = (scores["roi"] == roi) & (scores["model"] != best) & (scores["may_be_best"] != "False")
    return list(scores["model"][left])
