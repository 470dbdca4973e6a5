"""The figures beside the page, as the page shows them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conceptrsa.analysis.output.figures.all_figures import NAMES
from conceptrsa.analysis.output.figures.captions import details_of
from conceptrsa.analysis.output.figures.style import FORMATS, View
from conceptrsa.analysis.output.report.html_page import embed_smallest
from conceptrsa.analysis.results import ComparisonResult

SUFFIXES = {"": "", "_hemispheres": ", each hemisphere"}

TITLES = {
    "figure_1": "Figure 1. Noise ceiling over the number of voxels",
    "figure_2a": "Figure 2A. RSA of every model as a share of the noise ceiling",
    "figure_2b": "Figure 2B. RSA of groups of models",
    "figure_3": "Figure 3. RSA of every model",
    "figure_4": "Figure 4. RSA of every model, other voxels",
    "figure_5": "Figure 5. RSA of every model, another comparison",
    "figure_6": "Figure 6. RSA of every model, another distance and comparison",
    "figure_7": "Figure 7. RSA of every model, another distance",
    "model_tests": "Differences between models",
    "variance_partition": "Variance explained by groups of models",
    "partial_rsa": "RSA of every model beyond the models of all other groups",
    "multiverse": "Every combination of choices",
}

VARIED = "Where this differs from Figure 3, the answer depends on that choice."

SHOWS = {
    "figure_1": (
        "How alike the RDMs of the subjects are when a region's voxels are added one by one, in "
        "the order of their scores and in random order."
    ),
    "figure_2a": (
        "What the models reach of what the noise allows; shares above 1 are possible, because the "
        "ceiling is how well one subject predicts another."
    ),
    "figure_2b": "The groups side by side; brackets join those that the answer calls different.",
    "figure_3": "Scores as they are, beside the noise ceiling and its bounds.",
    "figure_4": VARIED,
    "figure_5": VARIED,
    "figure_6": VARIED,
    "figure_7": VARIED,
    "model_tests": "How much each model's score is above each other's, and which two differ.",
    "variance_partition": (
        "What a group explains of the brain's RDMs, and what it shares with other groups."
    ),
    "partial_rsa": "What is left of a score when the models of the other groups are held constant.",
    "multiverse": (
        "The groups' scores by every combination of voxels, distance and comparison: an answer "
        "that holds for few of them should not be trusted."
    ),
}

TABLES = {
    "figure_1": "noise_ceilings",
    "figure_2b": "group_tests",
    "figure_4": "rsa_variants",
    "figure_5": "rsa_variants",
    "figure_6": "rsa_variants",
    "figure_7": "rsa_variants",
}
"""Table with the numbers of a figure, where it is not called like the figure."""


@dataclass(frozen=True)
class EmbeddedFigure:
    """A figure in the page.

    Attributes
    ----------
    name : str
        Of its files, without the suffix.
    source : str
        The picture as a `data:` address.
    title, shows : str
        Its title, and what it shows.
    alternative : str
        What it says, for whoever cannot see it.
    """

    name: str
    source: str
    title: str
    shows: str
    alternative: str


def embed_figures(result: ComparisonResult, figures_dir: Path) -> Iterator[EmbeddedFigure]:
    """Embed the figures of a comparison that were written, in the order of their numbers."""
    analyses = {variant.name: variant for variant in result.variants}
    for name in NAMES:
        analysis = analyses.get(name, result.primary)
        choices = " ".join(details_of(View(result, analysis, analysis.rois)))
        shows = f"{choices} {SHOWS[name]}" if name in analyses else SHOWS[name]
        for suffix, which in SUFFIXES.items():
            files = [figures_dir / f"{name}{suffix}.{file_format}" for file_format in FORMATS]
            if not all(file.exists() for file in files):
                continue
            title = f"{TITLES[name]}{which}"
            yield EmbeddedFigure(
                name=f"{name}{suffix}",
                source=embed_smallest(*files),
                title=title,
                shows=shows,
                alternative=f"{title}. The numbers are in {_table(name, result)}.tsv.",
            )


def _table(name: str, result: ComparisonResult) -> str:
    """The table that holds a figure's numbers."""
    if name in ("figure_2a", "figure_3"):
        return "rsa" if result.inference is None else "scores"
    return TABLES.get(name, name)
