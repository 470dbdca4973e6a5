"""What the studies of calibration have in common: the signals they simulate, and a table each."""

from dataclasses import dataclass

import numpy as np

from benchmarks.simulation import GROUPS, Design

SIGNALS = {"0.02": 0.18, "0.35": 0.5}
"""Strength of the signal that gives each mean pairwise ceiling: hippocampus and visual areas."""

UNRELATED = np.zeros(len(GROUPS))


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    quantity, data : str
        What was computed, and on which kind of data.
    value, standard_error : float
    target : tuple of float, or None
        Lowest and highest value that is right; None where the quantity is shown for comparison.
    """

    quantity: str
    data: str
    value: float
    standard_error: float
    target: tuple[float, float] | None

    @property
    def verdict(self) -> str:
        """Whether the value lies in the target, give or take two standard errors."""
        if self.target is None:
            return ""
        low, high = self.target
        near = low - 2 * self.standard_error <= self.value <= high + 2 * self.standard_error
        inside = low <= self.value <= high
        return "yes" if inside else "within error" if near else "**no**"


@dataclass(frozen=True)
class Study:
    """Rows of one heading."""

    title: str
    unit: str
    rows: tuple[Row, ...]


def rows_of(
    found: dict[tuple[str, str], list[float]],
    data: str,
    targets: dict[str, tuple[float, float]],
) -> tuple[Row, ...]:
    """Means and standard errors over data sets; targets by the first letters of the quantity."""
    return tuple(
        Row(
            quantity,
            data.format(region),
            float(np.mean(values)),
            float(np.std(values, ddof=1) / np.sqrt(len(values))),
            targets.get(quantity[:5]),
        )
        for (quantity, region), values in found.items()
    )


def described(metric: str, design: Design) -> str:
    stimuli = f"{design.n_stimuli} stimuli"
    if design.n_categories:
        stimuli += f" in {design.n_categories} categories"
    return f"{metric}, {design.n_subjects} subjects, {stimuli}"


def markdown(study: Study) -> str:
    """A heading and a table."""
    lines = [
        f"### {study.title}",
        "",
        f"| quantity | data | {study.unit} | as it should be |",
        "|---|---|---|---|",
    ]
    for row in study.rows:
        if study.unit == "mean":
            value = f"{row.value:.4f} ± {row.standard_error:.4f}"
        else:
            value = f"{100 * row.value:.1f} ± {100 * row.standard_error:.1f} %"
        lines.append(f"| {row.quantity} | {row.data} | {value} | {row.verdict} |")
    return "\n".join([*lines, ""])
