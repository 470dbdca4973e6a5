"""The figures beside the page, as the page shows them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conceptrsa.analysis.output.figures.captions import CAPTIONS, details_of
from conceptrsa.analysis.output.figures.style import FORMATS, View
from conceptrsa.analysis.output.report.html_page import embed_smallest
from conceptrsa.analysis.results import ComparisonResult

SUFFIXES = {"": "", "_hemispheres": ", each hemisphere"}


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
    for name, words in CAPTIONS.items():
        analysis = analyses.get(name, result.primary)
        choices = " ".join(details_of(View(result, analysis, analysis.rois)))
        shows = f"{choices} {words['shows']}" if name in analyses else words["shows"]
        for suffix, which in SUFFIXES.items():
            files = [figures_dir / f"{name}{suffix}.{file_format}" for file_format in FORMATS]
            if not all(file.exists() for file in files):
                continue
            title = f"{words['title']}{which}"
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
    return CAPTIONS[name].get("table", name)
