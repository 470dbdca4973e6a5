"""What to cite, as a file that reference managers read."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from conceptrsa.analysis.output.report.references import REFERENCES, Reference
from conceptrsa.bids_config.writing import atomic_path

PAPER = REFERENCES["choksi2022"]


def write_citation(references: Sequence[Reference], file: Path) -> None:
    """Write BibTeX entries of this tool, of the paper it began with, and of the methods used."""
    entries = [_of_the_tool(), *(found.bibtex for found in dict.fromkeys((PAPER, *references)))]
    with atomic_path(file) as temporary:
        temporary.write_text("\n\n".join(entries) + "\n", encoding="utf-8")


def _of_the_tool() -> str:
    return "\n".join(
        (
            "@software{conceptrsa,",
            "  author = {{The conceptrsa developers}},",
            "  title = {{conceptrsa: which neural network explains which brain region?}},",
            f"  version = {{{version('conceptrsa')}}},",
            "}",
        )
    )
