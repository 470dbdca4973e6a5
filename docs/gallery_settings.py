"""The order of the gallery, and which warnings its pages leave out."""

import warnings
from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

from conceptrsa import ComparisonWarning

EXAMPLES = (
    "betas_to_answer", "reading_the_statistics", "own_rdms", "layers", "one_subject",
    "subjects_with_own_stimuli", "regions_of_an_atlas", "own_distance", "paper_preset",
)  # fmt: skip
"""From the first steps to the particular ones."""


class GalleryOrder:
    """Sort examples by their place in `EXAMPLES`."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, file: str) -> int:
        """Place of a file; one that is not listed is an error."""
        return EXAMPLES.index(file.removesuffix(".py"))


class ReturnedFigures:
    """Show a figure that is the last expression of a block and is not one of pyplot's."""

    def __init__(self) -> None:
        self._shown: Any = None

    def __call__(self, block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
        """Save the figure, and give the lines that show it."""
        value = block_vars["example_globals"].get("___")
        if not isinstance(value, Figure) or value is self._shown:
            return ""
        self._shown = value
        file = next(block_vars["image_path_iterator"])
        value.savefig(file, dpi=100)
        return figure_rst([file], gallery_conf["src_dir"])


returned_figures = ReturnedFigures()


def ignore_notes(gallery: Any, file: str) -> None:
    """Keep notes out of the pages, which print `result.notes` where they speak of them."""
    warnings.simplefilter("ignore", ComparisonWarning)
