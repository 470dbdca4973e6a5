"""The order of the gallery, and which warnings its pages leave out."""

import shutil
import warnings
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

from conceptrsa import ComparisonWarning

EXAMPLES = (
    "betas_to_answer", "reading_the_statistics", "the_report", "own_rdms", "layers", "one_subject",
    "subjects_with_own_stimuli", "regions_of_an_atlas", "own_distance", "paper_preset",
)  # fmt: skip
"""From the first steps to the particular ones."""


REPORTS = "gallery/whole_pages"
"""Folder below the pages' for what the build copies as it is."""


class GalleryOrder:
    """Sort examples by their place in `EXAMPLES`."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, file: str) -> int:
        """Place of a file; one that is not listed is an error."""
        return EXAMPLES.index(file.removesuffix(".py"))


REPORT = """
.. raw:: html

   <p><a href="../reports/{name}.html">Open the report in a page of its own</a></p>
   <iframe src="../reports/{name}.html" title="report" width="100%" height="700"></iframe>
"""


class ReturnedResults:
    """Show what the last expression of a block made: a figure, or the folder of a report."""

    def __init__(self) -> None:
        self._shown: Any = None

    def __call__(self, block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
        """Save it, and give the lines that show it."""
        value = block_vars["example_globals"].get("___")
        if value is self._shown or not isinstance(value, (Figure, Path)):
            return ""
        self._shown = value
        if isinstance(value, Path):
            name = Path(block_vars["src_file"]).stem
            reports = Path(gallery_conf["src_dir"]) / REPORTS / "reports"
            reports.mkdir(parents=True, exist_ok=True)
            shutil.copy(value / "report.html", reports / f"{name}.html")
            return REPORT.format(name=name)
        file = next(block_vars["image_path_iterator"])
        value.savefig(file, dpi=100)
        return figure_rst([file], gallery_conf["src_dir"])


returned_results = ReturnedResults()


def ignore_notes(gallery: Any, file: str) -> None:
    """Keep notes out of the pages, which print `result.notes` where they speak of them."""
    warnings.simplefilter("ignore", ComparisonWarning)
