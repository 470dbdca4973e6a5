"""The figure of the statistics page, drawn from the tables of calibration when pages are built."""

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

ROWS = {
    "label permutation, model vs zero": "label permutation",
    "label permutation, model vs zero, family-wise": "label permutation, corrected",
    "random effects, model vs zero": "random effects, one model",
    "random effects, model vs model": "random effects, two models",
    "mixed model, group vs group": "mixed model, two groups",
    "paper: Wilcoxon against ResNet50, asymptotic": "Wilcoxon over subjects, two models",
    "paper: Welch over model means": "Welch's t over model means, two groups",
}
"""What the first table calls a test, and what the figure does."""

COLOURS = {"ceiling 0.02": "#7f7f7f", "ceiling both": "#595959", "ceiling 0.35": "#1f77b4"}


def rejected(page: str) -> dict[str, dict[str, float]]:
    """Percent of unrelated models or groups that were found, by test and noise ceiling."""
    table = page.partition("## False positives at 0.05")[2].partition("\n## ")[0]
    found: dict[str, dict[str, float]] = {}
    for test, data, percent in re.findall(r"^\| (.*?) \| (.*?) \| ([\d.]+) ±", table, re.MULTILINE):
        found.setdefault(test, {})[data] = float(percent)
    return found


def draw(app: Any) -> None:
    """Write docs/images/false_positives.svg."""
    folder = Path(app.srcdir)
    found = rejected((folder / "calibration.md").read_text(encoding="utf-8"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "calibration"}):
        figure = Figure(figsize=(7.5, 3), layout="constrained")
        ax = figure.add_subplot()
        for row, test in enumerate(ROWS):
            for data, percent in found[test].items():
                ax.plot(percent, row, "o", color=COLOURS[data], markersize=7)
        for data, name in {"ceiling 0.02": "weak", "ceiling 0.35": "strong"}.items():
            ax.plot([], [], "o", color=COLOURS[data], label=f"{name} noise ceiling")
        ax.axvline(5, color="#333333", linestyle="--", linewidth=1)
        ax.set_yticks(range(len(ROWS)), list(ROWS.values()))
        ax.invert_yaxis()
        ax.set_xlim(0, 50)
        ax.set_xlabel("found something where there is nothing (%)")
        ax.legend(frameon=False, loc="upper right")
        figure.savefig(folder / "images" / "false_positives.svg", metadata={"Date": None})
